"""What systemd's own tools say of the unit without starting it."""

import subprocess
from pathlib import Path as FilePath

SYSTEMD = FilePath(__file__).parents[2] / "systemd"

MOST_EXPOSED = 17
"""Tenths of the points that `systemd-analyze security` gives, from 0 (best) to 10."""


def test_the_unit_is_as_confined_as_promised() -> None:
    command = ["systemd-analyze", "security", "--offline=yes", "--no-pager"]
    unit = SYSTEMD / "border-gateway.service"
    done = subprocess.run(
        [*command, f"--threshold={MOST_EXPOSED}", unit], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    assert done.stderr == ""  # an unknown key, which systemd would ignore

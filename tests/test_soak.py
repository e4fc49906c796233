"""A minute of everything at once; `make bench-soak` takes ten, with ten times the devices."""

import subprocess
import sys
from pathlib import Path

DEADLINE_S = 280.0


def test_nothing_is_lost_or_leaked_while_adapters_fail_and_clients_are_attached() -> None:
    soak = [sys.executable, "-m", "benchmarks.soak"]
    done = subprocess.run(
        [*soak, "--seconds", "60", "--devices", "100", "--changes", "20", "--memory"],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "values that differ at rest             0" in done.stdout

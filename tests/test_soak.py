"""A minute of everything at once; `make bench-soak` takes ten, with ten times the devices."""

import subprocess
import sys
from pathlib import Path

DEADLINE_S = 280.0


def test_nothing_is_lost_or_leaked_while_adapters_fail_and_clients_are_attached(
    tmp_path: Path,
) -> None:
    log = tmp_path / "soak.log"
    soak = [sys.executable, "-m", "benchmarks.soak", "--log", str(log)]
    done = subprocess.run(
        [*soak, "--seconds", "60", "--devices", "100", "--changes", "20"],
        cwd=Path(__file__).parent.parent,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    logged = log.read_text("utf-8") if log.exists() else ""
    assert done.returncode == 0, done.stdout + done.stderr + logged
    assert "what is wrong in the end               0" in done.stdout

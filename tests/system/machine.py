"""A container whose PID 1 is systemd: a small Debian from a folder, changed in memory only."""

import contextlib
import fcntl
import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import Any

from tests.deadlines import DEADLINE_S

UNIT = "border-gateway.service"


class Machine:
    """A booted container; commands run in it as root."""

    def __init__(self, leader: int) -> None:
        self._enter = ("nsenter", "-t", str(leader), "-m", "-u", "-i", "-n", "-p", "-C", "--")

    def run(self, *command: str, check: bool = True) -> str:
        """What the command prints; its own exit status does not matter without `check`."""
        done = subprocess.run(
            [*self._enter, *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )
        assert done.returncode == 0 or not check, f"{command}: {done.stdout}\n{self.journal()}"
        return done.stdout.strip()

    def shell(self, script: str, check: bool = True) -> str:
        """The same for a line of shell."""
        return self.run("sh", "-c", script, check=check)

    def show(self, name: str) -> str:
        """A property of the gateway's unit, such as MainPID."""
        return self.run("systemctl", "show", UNIT, "--property", name, "--value")

    def journal(self, *options: str) -> str:
        """What the gateway and systemd about it have logged."""
        words = ("journalctl", "--unit", UNIT, "--no-pager", "--output", "cat", *options)
        return self.run(*words, check=False)

    def write(self, file: str, text: str) -> None:
        """Puts a file there."""
        command = [*self._enter, "tee", file]
        subprocess.run(command, input=text, text=True, stdout=subprocess.DEVNULL, check=True)

    def gateway(self, *words: str) -> Any:
        """The answer of a command line's command, from its JSON."""
        return json.loads(self.run("border-gateway", *words, "--json"))

    def until(self, condition: Callable[[], object]) -> None:
        """Waits until it holds."""
        deadline = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline, f"deadline passed\n{self.journal()}"
            time.sleep(0.05)

    def until_restarted(self, times: int) -> None:
        """Waits until systemd has started the gateway so often again, and it is ready."""
        self.until(lambda: int(self.show("NRestarts")) >= times)
        self.until(lambda: self.show("ActiveState") == "active")


@contextlib.contextmanager
def booted(root: FilePath, packages: FilePath) -> Iterator[Machine]:
    """A machine, with the folder of packages as /packages; it is gone with all its changes then.

    One at a time on this computer: two would have the same control groups.
    """
    with root.with_name(f"{root.name}.booted").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with _booted(root, packages) as machine:
            yield machine


@contextlib.contextmanager
def _booted(root: FilePath, packages: FilePath) -> Iterator[Machine]:
    container = subprocess.Popen(
        [
            *("systemd-nspawn", "--quiet", "--directory", str(root), "--volatile=overlay"),
            *("--register=no", "--keep-unit", "--private-network", "--boot"),
            *("--bind-ro", f"{packages}:/packages", "--console=pipe"),
        ],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        machine = Machine(_leader(container))
        up = ("systemctl", "is-system-running", "--wait")
        machine.until(lambda: machine.run(*up, check=False) in {"running", "degraded"})
        yield machine
    finally:
        container.terminate()  # systemd-nspawn ends the whole container
        try:
            container.communicate(timeout=DEADLINE_S)
        except subprocess.TimeoutExpired:
            container.kill()
            raise


def _leader(container: "subprocess.Popen[str]") -> int:
    """The process that is PID 1 inside."""
    children = FilePath(f"/proc/{container.pid}/task/{container.pid}/children")
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        assert container.poll() is None, container.communicate()[0]
        for pid in children.read_text().split():
            status = FilePath(f"/proc/{pid}/status").read_text()
            ids = next(line for line in status.splitlines() if line.startswith("NSpid:"))
            if ids.split()[2:] == ["1"]:
                return int(pid)
        time.sleep(0.05)
    raise AssertionError("the container has no PID 1")

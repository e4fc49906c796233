"""How each server is started, and when it is ready; knows nothing of what is measured."""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from adapters.sim.port import free_port

HERE = Path(__file__).parent
ROOT = HERE.parent.parent

VALUE = "d{}/3303/0/5700"
"""What is read; there are as many as the server has resources."""

SWITCH = "d1/3312/0/5850"
"""What is observed and written; holds 0 at first."""

START_S = 60.0
"""A server that takes longer to start does not run at all."""

LOOK_S, QUIET_LOOKS = 0.25, 6
"""A server is measured when it has used at most a tick of CPU time in each of so many looks."""

SERVER_CPU, LOAD_CPU = "0", "1"

CONTENT = 0x45


class CannotRun(Exception):
    """A server, or the load generator, cannot be run here; the text says what is missing."""


@dataclass(frozen=True, slots=True)
class Server:
    """A server under measurement; `made_by_put` if its resources come to be by PUT."""

    name: str
    made_by_put: bool = False


OURS = Server("border-gateway")
LIBCOAP = Server("libcoap", made_by_put=True)
NODE = Server("node-coap", made_by_put=True)
AIOCOAP = Server("aiocoap")
SERVERS = (OURS, LIBCOAP, NODE, AIOCOAP)


@dataclass(frozen=True, slots=True)
class Running:
    """A process that answers on a port of 127.0.0.1."""

    pid: int
    port: int

    def resident_kb(self) -> int:
        """Its resident memory."""
        status = Path(f"/proc/{self.pid}/status").read_text("ascii")
        return next(int(line.split()[1]) for line in status.splitlines() if "VmRSS" in line)

    def rest(self) -> None:
        """Waits until its start is over: until it has hardly used a CPU for a while."""
        deadline, quiet, before = time.monotonic() + START_S, 0, self._cpu_ticks()
        while quiet < QUIET_LOOKS and time.monotonic() < deadline:
            time.sleep(LOOK_S)
            now = self._cpu_ticks()
            quiet = quiet + 1 if now - before <= 1 else 0
            before = now

    def _cpu_ticks(self) -> int:
        fields = Path(f"/proc/{self.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])  # user and system, as proc(5) counts them


def prepare() -> None:
    """Installs and finds what the servers need; CannotRun if something is missing."""
    for tool in ("coap-server-notls", "node", "npm", "cc", "taskset"):
        if not shutil.which(tool):
            raise CannotRun(f"{tool} is not installed; `make bench-coap` installs it")
    if not (HERE / "node_modules" / "coap").is_dir():
        install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        done = subprocess.run(install, cwd=HERE, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotRun(f"npm cannot install node-coap:\n{done.stderr}")


@contextmanager
def running(server: Server, resources: int, *, confirmable: bool = True) -> Iterator[Running]:
    """A fresh server with so many values to read; CannotRun if it does not answer."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as log:
        command = _command(server, port, resources, Path(folder), confirmable=confirmable)
        process = subprocess.Popen(
            ["taskset", "-c", SERVER_CPU, *command], cwd=ROOT, stdout=log, stderr=log
        )
        try:
            last = VALUE.format(resources)
            if not _wait(process, port, last, (CONTENT,) if not server.made_by_put else ()):
                log.seek(0)
                said = log.read().decode(errors="replace")[-2000:]
                raise CannotRun(f"{server.name} does not answer: {' '.join(command)}\n{said}")
            yield Running(process.pid, port)
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _command(
    server: Server, port: int, resources: int, folder: Path, *, confirmable: bool
) -> list[str]:
    match server.name:
        case OURS.name:
            (folder / "gateway.toml").write_text(_configuration(port, resources, folder), "utf-8")
            run = [sys.executable, "-m", "gateway", "run"]
            return [*run, "--config", f"{folder}/gateway.toml", "--state", f"{folder}/state"]
        case LIBCOAP.name:
            made = ["-d", str(resources + 1), *([] if confirmable else ["-N"])]
            return ["coap-server-notls", "-A", "127.0.0.1", "-p", str(port), "-v", "3", *made]
        case NODE.name:
            return ["node", str(HERE / "node_coap.js"), str(port), str(resources)]
        case _:
            peer = [sys.executable, "-m", "benchmarks.coap.plain_aiocoap"]
            return [*peer, str(port), str(resources)]


def _configuration(port: int, devices: int, folder: Path) -> str:
    """The real daemon with virtual devices that measure once: only requests make work."""
    listed = [
        f'[[device]]\nid = "sim:{number:016x}"\nprefix = "d{number}"\nwritable = true\n'
        for number in range(1, devices + 1)
    ]
    return f"""
[gateway]
log = "warning"
socket = "{folder}/control.sock"
[coap]
listen = ["127.0.0.1:{port}"]
[sim]
devices = {devices}
interval = "1h"
{"".join(listed)}"""


def _wait(process: subprocess.Popen[bytes], port: int, path: str, codes: tuple[int, ...]) -> bool:
    """Whether a GET is answered in time, with one of these codes where any are given."""
    options, delta = b"", 11
    for segment in path.split("/"):
        options += bytes((delta << 4 | len(segment),)) + segment.encode()
        delta = 0
    deadline = time.monotonic() + START_S
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", port))
        client.settimeout(0.3)
        mid = 0
        while process.poll() is None and time.monotonic() < deadline:
            mid += 1
            with suppress(OSError):
                client.send(bytes((0x40, 1)) + mid.to_bytes(2, "big") + options)
                answer = client.recv(2048)
                if not codes or answer[1] in codes:
                    return True
            time.sleep(0.1)
    return False

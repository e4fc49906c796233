"""The real daemon as a process, with adapters that join it by entry point and may fail."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import socket
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.daemon.devices import Changing

ROOT = Path(__file__).parent.parent.parent
RADIOS = 4
"""Adapters that share the devices; each fails on its own."""

START_S = 300.0
"""Sixteen that start at a time share the processors."""
STOP_S = 15.0
GRACE_S = 60.0


@dataclass(frozen=True, slots=True)
class Plan:
    """What is run: so many devices, changes a second, seconds, and until when all goes on.

    `life_s` is how long an adapter lives on average before it fails.
    """

    devices: int
    changes: float
    seconds: float
    until: float
    life_s: float = 1e6
    first: int = 1


@dataclass(frozen=True, slots=True)
class Daemon:
    """The running process, where it listens, and how long it took to say that it is ready."""

    pid: int
    folder: Path
    coap: int
    status: int
    ready_s: float

    def resident_mb(self) -> float:
        """Its resident memory."""
        text = Path(f"/proc/{self.pid}/status").read_text("ascii")
        match = re.search(r"VmRSS:\s+(\d+) kB", text)
        return int(match[1]) / 1024 if match else 0.0

    def truth(self) -> Mapping[int, Mapping[str, object]] | None:
        """What the devices hold at rest; None while any of them does not rest."""
        files = [self.folder / f"truth{radio}.json" for radio in range(RADIOS)]
        if not all(file.exists() for file in files):
            return None
        parts = [json.loads(file.read_text("utf-8")) for file in files]
        return {int(number): values for part in parts for number, values in part.items()}

    def cpu_s(self) -> float:
        """Processor time that it has taken."""
        fields = Path(f"/proc/{self.pid}/stat").read_text("ascii").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    async def counted(self) -> Mapping[str, float]:
        """Its metrics: each by name and label values, such as `events xmpp_items_published`."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.status)
        writer.write(b"GET /metrics HTTP/1.0\r\n\r\n")
        async with asyncio.timeout(GRACE_S):
            text = (await reader.read()).decode()
        writer.close()
        found = re.findall(
            r'^border_gateway_(\w+?)(?:_total)?(?:\{\w+="(.*)"\})? (\S+)$', text, re.MULTILINE
        )
        return {f"{name} {label}".strip(): float(value) for name, label, value in found}

    def log(self) -> str:
        """What it logged."""
        return (self.folder / "log").read_text("utf-8", errors="replace")


@asynccontextmanager
async def daemon(
    plan: Plan, folder: Path, ports: tuple[int, int], sections: str
) -> AsyncIterator[Daemon]:
    """The daemon as a process; `ports` are CoAP's and the page's, `sections` further TOML."""
    _install_adapters(folder)
    coap, status = ports
    (folder / "gateway.toml").write_text(
        _configuration(plan, folder, coap, status, sections), "utf-8"
    )
    notify = str(folder / "notify")
    with (
        (folder / "log").open("wb") as log,
        socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as told,
    ):
        told.bind(notify)
        told.setblocking(False)
        started = time.monotonic()
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "gateway", "run",
            "--config", str(folder / "gateway.toml"), "--state", str(folder / "state"),
            cwd=ROOT, stdout=log, stderr=log,
            env={"PYTHONPATH": f"{folder}:{ROOT}", "NOTIFY_SOCKET": notify},
        )  # fmt: skip
        try:
            await _ready(process, told)
            asyncio.get_running_loop().add_reader(told, told.recv, 4096)  # as systemd does
            yield Daemon(process.pid, folder, coap, status, time.monotonic() - started)
        finally:
            asyncio.get_running_loop().remove_reader(told)
            if process.returncode is None:
                process.terminate()
                async with asyncio.timeout(STOP_S):
                    await process.wait()


async def _ready(process: asyncio.subprocess.Process, told: socket.socket) -> None:
    """Waits for READY=1, as systemd does."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(START_S):
        while process.returncode is None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    if b"READY=1" in await loop.sock_recv(told, 4096):
                        return
    raise RuntimeError("the daemon ended at once; its log says why")


def _install_adapters(folder: Path) -> None:
    """As a package of another author would: metadata with entry points, on the path."""
    package = folder / "changing-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: changing\nVersion: 1\n", "utf-8"
    )
    names = "\n".join(
        f"radio{r} = {Changing.__module__}:{Changing.__name__}" for r in range(RADIOS)
    )
    (package / "entry_points.txt").write_text(f"[border_gateway.adapters]\n{names}\n", "utf-8")


def _configuration(plan: Plan, folder: Path, coap: int, status: int, sections: str) -> str:
    radios, first = "", plan.first
    for radio in range(RADIOS):
        devices = plan.devices // RADIOS + (radio < plan.devices % RADIOS)
        radios += f"""
[radio{radio}]
first = {first}
devices = {devices}
changes = {plan.changes / RADIOS}
life = "{plan.life_s:.0f}s"
until = {plan.until}
truth = "{folder}/truth{radio}.json"
"""
        first += devices
    listed = "".join(
        f'\n[[device]]\nid = "sim:{number:016x}"\nprefix = "s{number}"\n'
        for number in range(plan.first, first)
    )
    return f"""
[gateway]
socket = "{folder}/control.sock"
[coap]
listen = ["127.0.0.1:{coap}"]
[status]
listen = ["127.0.0.1:{status}"]
{sections}
{radios}
{listed}"""


async def prober(port: int, path: str) -> asyncio.subprocess.Process:
    """A process that asks for a value all the while."""
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.daemon.prober", str(port), path,
        cwd=ROOT, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def answers_of(asking: asyncio.subprocess.Process) -> dict[str, float]:
    """Ends a prober; how often it asked and missed an answer, and how many ms they took."""
    async with asyncio.timeout(GRACE_S):
        out, _ = await asking.communicate(b"\n")
    figures: dict[str, float] = json.loads(out)
    return figures

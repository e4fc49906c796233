"""The whole gateway at once, to break it part by part: radios and servers that are virtual but real
in what they speak, the daemon as a process, and an operator who looks.
"""

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, ClassVar

import aiohttp

from adapters.sim.bench import Bench, ble_bench
from adapters.sim.mesh import Mesh
from adapters.sim.modules import WEATHER_STATION
from adapters.sim.node import Profile
from adapters.sim.port import free_port
from adapters.sim.prosody import ThrowawayProsody
from adapters.sim.rcp import VirtualRcp
from benchmarks.daemon.process import answers_of, prober
from gateway.client import ask
from gateway.errors import GatewayError
from gateway.ports import Section, SouthPort
from tests.lowpan.mesh_bench import ND, add
from tests.xmpp.servers import Line, line_to

ROOT = FilePath(__file__).parent.parent.parent
FAKETIME = FilePath("/usr/lib") / f"{os.uname().machine}-linux-gnu/faketime/libfaketime.so.1"
DEADLINE_S = 90.0
"""A line that went dead is found within 45 s; everything else takes seconds."""

SHORTEST_TIMEOUT_S = 5.0
"""Of those that find a fault here: BlueZ's and the database's. Who waited for one took longer."""


class BrittleSection(Section):
    """An adapter of another author."""

    file: FilePath
    """It breaks when this file is there."""


class Brittle:
    """An adapter with a bug."""

    Config: ClassVar[type[Section]] = BrittleSection

    def __init__(self, config: BrittleSection, port: SouthPort) -> None:
        self._file = config.file
        self._port = port

    async def run(self) -> None:
        self._port.status("runs")
        while not await asyncio.to_thread(self._file.exists):
            await asyncio.sleep(0.1)
        raise KeyError("a bug")

    async def execute(self, command: object) -> None:
        raise NotImplementedError


@dataclass
class House:
    """What is up, and what an operator sees of it."""

    folder: FilePath
    ble: Bench
    rcp: VirtualRcp
    prosody: ThrowawayProsody
    line: Line
    coap_port: int
    http: aiohttp.ClientSession
    systemd: socket.socket
    """The service manager's end of the notification socket."""
    clock_moves: bool
    """Whether `move_clock` can be used: it makes each look at the clock dear."""
    process: asyncio.subprocess.Process | None = None
    _log: list[str] = field(default_factory=list)
    _systemctl_status: str = ""
    _reading: asyncio.Task[None] | None = None

    async def start(self, *under: str) -> None:
        """Starts the daemon, `under` another command if there is one."""
        command = (*under, sys.executable, "-m", "gateway", "run")
        files = ("--config", self.folder / "gateway.toml", "--state", self.folder / "state")
        environment = {
            **os.environ,
            "PYTHONPATH": f"{self.folder}:{ROOT}",
            "NOTIFY_SOCKET": self.systemd.getsockname(),
        }
        if self.clock_moves:
            environment |= {
                "LD_PRELOAD": str(FAKETIME),
                "FAKETIME_TIMESTAMP_FILE": str(self._clock),
                "FAKETIME_CACHE_DURATION": "1",  # without it the file is read at each look
                "FAKETIME_DONT_FAKE_MONOTONIC": "1",
                "NO_FAKE_STAT": "1",
            }
        self.process = await asyncio.create_subprocess_exec(
            *command, *files, cwd=ROOT, env=environment, stderr=asyncio.subprocess.PIPE
        )
        self._reading = asyncio.create_task(self._read(self.process.stderr))

    async def _read(self, log: asyncio.StreamReader | None) -> None:
        assert log
        async for line in log:
            self._log.append(line.decode(errors="replace"))

    async def stop(self) -> None:
        """As systemd does."""
        assert self.process
        self.process.terminate()
        await self.process.wait()

    async def kill(self) -> None:
        """As a power cut would."""
        assert self.process
        self.process.send_signal(signal.SIGKILL)
        await self.process.wait()

    def move_clock(self, offset: str) -> None:
        """Sets the daemon's wall clock, such as "+1h", without its monotonic one."""
        self._clock.write_text(offset)

    @property
    def _clock(self) -> FilePath:
        return self.folder / "clock"

    async def page(self, path: str) -> tuple[int, Any]:
        """What the status page's server answers: HTTP status and JSON."""
        async with self.http.get(path) as answer:
            return answer.status, await answer.json()

    async def told(self, name: str) -> tuple[int, str, str]:
        """An adapter as health tells it: HTTP status, state and reason."""
        status, shown = await self.page(f"/healthz/adapters/{name}")
        return status, shown["state"], shown["reason"]

    async def shown(self, name: str) -> tuple[str, str]:
        """An adapter as the page shows it: state and reason."""
        _, overview = await self.page("/api/overview")
        return next((a["state"], a["reason"]) for a in overview["adapters"] if a["name"] == name)

    async def listed(self, name: str) -> str:
        """An adapter's line in `border-gateway devices`."""
        answer = await asyncio.to_thread(ask, self.folder / "control.sock", {"do": "devices"})
        return str(next(a["status"] for a in answer["adapters"] if a["name"] == name))

    async def systemctl_status(self) -> str:
        """The line about the daemon in `systemctl status`."""
        with suppress(BlockingIOError):
            while message := self.systemd.recv(4096).decode():
                if "STATUS=" in message:
                    self._systemctl_status = message.partition("STATUS=")[2]
        return self._systemctl_status

    async def device(self, prefix: str) -> Mapping[str, Any]:
        """A device as the command line has it."""
        answer = await asyncio.to_thread(ask, self.folder / "control.sock", {"do": "devices"})
        return next(d for d in answer["devices"] if d["prefix"] == prefix)

    def log(self) -> str:
        """Everything that the daemon logged, over its lives."""
        return "".join(self._log)

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        """Waits until an asynchronous condition holds."""
        deadline = time.monotonic() + DEADLINE_S
        seen: object = None
        while time.monotonic() < deadline:
            try:
                if seen := await condition():
                    return
            except (aiohttp.ClientError, GatewayError, KeyError, OSError, StopIteration) as error:
                seen = error
            await asyncio.sleep(0.1)
        raise AssertionError(f"never: {what}; {seen}; {self.log()[-3000:]}")

    async def is_well(self) -> None:
        """Waits until health says that every adapter is."""

        async def well() -> bool:
            return (await self.page("/healthz/adapters"))[0] == 200

        await self.until(well, "all adapters are well")

    async def is_(self, state: str, prefix: str) -> None:
        """Waits until a device is online or offline."""

        async def shown() -> bool:
            return bool((await self.device(prefix))["state"] == state)

        await self.until(shown, f"{prefix} is {state}")

    async def says(self, name: str, state: str, reason: str) -> None:
        """Waits until health, page, command line, systemd and log tell so of an adapter."""

        async def told() -> bool:
            status, now, why = await self.told(name)
            return status == 503 and now == state and reason in why

        await self.until(told, f"{name} is {state}: {reason}")
        assert await self.shown(name) == (await self.told(name))[1:]
        assert reason in await self.listed(name)

        async def systemd_shows() -> bool:
            _, _, told = (await self.systemctl_status()).partition(f"; {name} ({state}): ")
            return reason in told

        await self.until(systemd_shows, f"systemctl status tells {reason}")
        await self.logs(reason, "warning", "error")

    async def logs(self, text: str, *levels: str) -> None:
        """Waits until the log has the text, and its end on the page, too; in one of the levels."""

        async def logged() -> bool:
            _, tail = await self.page("/api/log")
            told = [line["level"] for line in tail if text in line["text"]]
            return text in self.log() and any(not levels or level in levels for level in told)

        await self.until(logged, f"the log tells {text}")

    @asynccontextmanager
    async def others_answer(self) -> AsyncIterator[None]:
        """Asks for another adapter's value over CoAP, all the while: no request waits for the fault
        that is going on, or is lost.
        """
        asking = await prober(self.coap_port, "attic/3303/0/5700")
        try:
            yield
        finally:
            figures = await answers_of(asking)
        print("CoAP meanwhile:", figures)
        assert figures["asked"] > 0
        assert figures["missed"] == 0
        assert figures["max"] < 1000 * SHORTEST_TIMEOUT_S


@asynccontextmanager
async def house(folder: FilePath, *, clock_moves: bool) -> AsyncIterator[House]:
    """All of it, up and well."""
    async with AsyncExitStack() as stack:
        ble = await stack.enter_async_context(ble_bench([WEATHER_STATION], interval_ms=100))
        mesh = Mesh()
        add(mesh, ND, Profile.ND)
        rcp = await stack.enter_async_context(mesh.running())
        prosody = await stack.enter_async_context(
            ThrowawayProsody({"gateway": "gateway-pw"}, admins=["gateway"])
        )
        line = await stack.enter_async_context(line_to(prosody.port))
        coap, status = free_port(), free_port()
        http = await stack.enter_async_context(aiohttp.ClientSession(f"http://127.0.0.1:{status}"))
        systemd = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        systemd.bind(str(folder / "notify"))
        systemd.setblocking(False)
        made = House(folder, ble, rcp, prosody, line, coap, http, systemd, clock_moves)
        _write(made, status)
        await made.start()
        try:
            for prefix in ("weather", "node", "attic"):
                await made.is_("online", prefix)
            await made.is_well()
            yield made
        finally:
            if made.process and made.process.returncode is None:
                await made.stop()


def _write(made: House, status: int) -> None:
    folder = made.folder
    package = folder / "brittle-1.dist-info"
    package.mkdir()
    (package / "METADATA").write_text("Metadata-Version: 2.1\nName: brittle\nVersion: 1\n")
    point = f"[border_gateway.adapters]\nbrittle = {__name__}:Brittle\n"
    (package / "entry_points.txt").write_text(point)
    # asyncio's own loop: uvloop's has no clock that can be moved
    (folder / "uvloop.py").write_text("raise ImportError")
    made.move_clock("+0")
    (folder / "password").write_text("gateway-pw")
    (folder / "gateway.toml").write_text(
        f"""
[gateway]
socket = "{folder}/control.sock"
[ble]
[lowpan]
radio = "spinel+hdlc://{made.rcp.path}"
poll = "1s"
ack_timeout = "150ms"
silence_timeout = "10s"
[sim]
interval = "100ms"
[brittle]
file = "{folder}/break"
[coap]
listen = ["127.0.0.1:{made.coap_port}"]
[status]
listen = ["127.0.0.1:{status}"]
[xmpp]
jid = "gateway@localhost"
password_file = "{folder}/password"
host = "127.0.0.1"
port = {made.line.port}
ca_file = "{made.prosody.ca_file}"
[[device]]
id = "ble:{WEATHER_STATION.address}"
prefix = "weather"
[[device]]
id = "lowpan:{ND.hex()}"
prefix = "node"
[[device]]
id = "sim:0000000000000001"
prefix = "attic"
"""
    )

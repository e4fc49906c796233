"""CoAP clients outside the guest: one observes each device, and sees values in order or fails."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiocoap
from aiocoap.error import Error

from tests.system.guest.world import Device

SENML_JSON = 110

GIVES_UP_S = 10.0
PAUSE_S = 1.0


@dataclass(frozen=True, slots=True)
class Measured:
    """A value and when it was measured, in seconds since 1970."""

    value: float
    at: float


class Watcher:
    """One observation. `last` is what it has told last."""

    def __init__(self, context: aiocoap.Context, port: int, device: Device) -> None:
        self.device = device
        self.last: Measured | None = None
        self.notifications = 0
        self._echo: bytes | None = None
        self._context = context
        self._uri = f"coap://127.0.0.1:{port}/{device.prefix}/{device.shows}"

    async def get(self) -> Measured | None:
        """What a plain read gives; None without an answer or value."""
        try:
            async with asyncio.timeout(GIVES_UP_S):
                return _measured(await self._context.request(self._message()).response)
        except (Error, OSError, TimeoutError):
            return None

    async def run(self) -> None:
        """Observes once there is something to observe; AssertionError if a value is overtaken."""
        while True:
            with contextlib.suppress(Error, OSError, TimeoutError):
                await self._observe()
            await asyncio.sleep(PAUSE_S)

    async def _observe(self) -> None:
        request = self._context.request(self._message(observe=0, echo=self._echo))
        async with asyncio.timeout(GIVES_UP_S):
            first = await request.response
        if first.opt.echo:  # shows that this address is not a forged one (RFC 9175 2.4)
            self._echo = first.opt.echo
            return
        self._told(first)
        if request.observation is not None:
            async for notification in request.observation:
                self._told(notification)

    def _told(self, message: aiocoap.Message) -> None:
        if (told := _measured(message)) is None:
            return
        if self.last is not None:
            before = f"{self.device.prefix}: {told} came after {self.last}"
            assert told.value >= self.last.value, before
            assert told.at >= self.last.at, before
        self.last = told
        self.notifications += 1

    def _message(self, **options: int | bytes | None) -> aiocoap.Message:
        return aiocoap.Message(code=aiocoap.GET, uri=self._uri, accept=SENML_JSON, **options)


def _measured(message: aiocoap.Message) -> Measured | None:
    if not message.code.is_successful():
        return None
    base: dict[str, float] = {}
    for record in json.loads(message.payload):
        base |= {key: number for key, number in record.items() if key in {"bt", "bv"}}
        if "v" in record:
            return Measured(record["v"], base.get("bt", 0.0) + record.get("t", 0.0))
    return None


class Watchers:
    """All of them; they are started within a task group."""

    def __init__(
        self,
        context: aiocoap.Context,
        port: int,
        devices: Sequence[Device],
        group: asyncio.TaskGroup,
    ) -> None:
        self.each = [Watcher(context, port, device) for device in devices]
        self._group = group
        self._tasks: list[asyncio.Task[None]] = []

    def start_over(self) -> None:
        """Observes anew, as clients of a gateway that was restarted do, and forgets the order."""
        self.end()
        for watcher in self.each:
            watcher.last = None
        self._tasks = [self._group.create_task(watcher.run()) for watcher in self.each]

    def end(self) -> None:
        """Observes no longer."""
        for task in self._tasks:
            task.cancel()


@asynccontextmanager
async def watching(devices: Sequence[Device], port: int) -> AsyncIterator[Watchers]:
    """Every device is observed within the block."""
    context = await aiocoap.Context.create_client_context()
    try:
        async with asyncio.TaskGroup() as group:
            watchers = Watchers(context, port, devices, group)
            watchers.start_over()
            yield watchers
            watchers.end()
    finally:
        await context.shutdown()

"""What the tests of radios share: a listener that remembers, and a radio that runs."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TypeVar

from adapters.lowpan.radio import url
from adapters.lowpan.radio.interface import (
    Radio,
    RadioFrame,
    RadioInfo,
    RadioSettings,
    Timings,
)
from adapters.lowpan.radio.opener import make_radio
from tests.deadlines import DEADLINE_S

QUICK = Timings(reopen_s=0.02)
IMPATIENT = Timings(reply_s=0.4, probe_s=0.1, transmit_s=0.6, ping_s=0.05, reopen_s=0.02)

SETTINGS = RadioSettings(channel=26, pan_id=0x0023, eui64=bytes.fromhex("0200000000001234"))

GATEWAY = bytes.fromhex("3412000000000002")  # the address above, as on the air
NODE = bytes.fromhex("01aa000000000002")
BROADCAST_OUT = bytes.fromhex("41d8012300ffff") + GATEWAY + b"\x00hello"
UNICAST_OUT = bytes.fromhex("61dc022300") + NODE + GATEWAY + b"\x00hello"
BROADCAST_IN = bytes.fromhex("41d8442300ffff") + NODE + b"\x00here"
UNICAST_IN = bytes.fromhex("61dc452300") + GATEWAY + NODE + b"\x00here"

T = TypeVar("T")


async def soon(queue: "asyncio.Queue[T]") -> T:
    """The next of a queue, before the deadline."""
    async with asyncio.timeout(DEADLINE_S):
        return await queue.get()


class Listener:
    """Remembers what a radio tells."""

    def __init__(self) -> None:
        self.ups: asyncio.Queue[RadioInfo] = asyncio.Queue()
        self.downs: asyncio.Queue[str] = asyncio.Queue()
        self.frames: asyncio.Queue[RadioFrame] = asyncio.Queue()
        self.faults: list[str] = []

    def radio_up(self, info: RadioInfo) -> None:
        self.ups.put_nowait(info)

    def radio_down(self, reason: str) -> None:
        self.downs.put_nowait(reason)

    def received(self, frame: RadioFrame) -> None:
        self.frames.put_nowait(frame)

    def line_fault(self, fault: str) -> None:
        self.faults.append(fault)


class Air:
    """Where a virtual RCP's frames go."""

    def __init__(self) -> None:
        self.frames: list[bytes] = []
        self.acks = True

    def __call__(self, psdu: bytes) -> bool:
        self.frames.append(psdu)
        return self.acks


@asynccontextmanager
async def running(
    address: str,
    listener: Listener,
    settings: RadioSettings = SETTINGS,
    timings: Timings = QUICK,
) -> AsyncIterator[Radio]:
    """A radio that runs, and is up when the block begins."""
    radio = make_radio(url.parse(address), settings, listener, timings)
    task = asyncio.ensure_future(radio.run())
    try:
        first = asyncio.ensure_future(soon(listener.ups))
        await asyncio.wait({task, first}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            first.cancel()
            await task
        yield radio
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

"""One radio through all its failures: reopens the connection, and serialises what is asked of it.

It knows neither ports nor protocols; connections come from a connector.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic, Never, TypeVar

from adapters.lowpan.phy import CHANNELS, PSDU_LIMIT
from adapters.lowpan.radio.interface import (
    Connection,
    Connector,
    RadioError,
    RadioFrame,
    RadioInfo,
    RadioListener,
    RadioReplacedError,
    RadioSettings,
    Tap,
    Timings,
    TxResult,
    Upcalls,
)
from gateway.errors import EncodeError
from gateway.model import printable

QUEUE_LIMIT = 64
"""Frames that wait for the radio: about a second of full ones on the air."""

PENDING_LIMIT = 64
"""Neighbours with waiting frames: more than the source match table of any stick."""

PERIODS_MS = range(1, 10_001)
"""For measuring one channel, on which nothing is heard or sent meanwhile."""

REOPEN_LIMIT_S = 5.0
"""Between attempts when one fails after the other: a stick plugged in again is found soon."""

log = logging.getLogger(__name__)

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class _Job(Generic[T]):
    action: Callable[[Connection], Awaitable[T]]
    done: asyncio.Future[T]

    async def perform(self, connection: Connection) -> None:
        """Runs the action, and to its end even if nobody waits any more: the radio is busy."""
        if self.done.done():
            return
        try:
            result = await self.action(connection)
        except RadioError as error:
            self.fail(error)
        else:
            if not self.done.done():
                self.done.set_result(result)
        finally:
            self.fail(RadioError("the radio was closed"))  # cancelled: nothing else has told it

    def fail(self, error: RadioError) -> None:
        if not self.done.done():
            self.done.set_exception(error)


class ReopeningRadio:
    """A Radio over any connector."""

    def __init__(
        self,
        connector: Connector,
        settings: RadioSettings,
        listener: RadioListener,
        timings: Timings | None = None,
        tap: Tap | None = None,
    ) -> None:
        self._connector = connector
        self._settings = settings
        self._listener = listener
        self._timings = timings or Timings()
        self._tap = tap
        self._jobs: asyncio.Queue[_Job[Any] | None] = asyncio.Queue()
        self._pending: set[bytes] = set()
        self._first_up = asyncio.Event()
        self._reason = ""
        self._connection: Connection | None = None
        self.info: RadioInfo | None = None

    @property
    def is_up(self) -> bool:
        return self._connection is not None

    async def run(self) -> Never:
        upcalls = Upcalls(self._received, self._line_fault, lambda: self._jobs.put_nowait(None))
        loop = asyncio.get_running_loop()
        delay_s = self._timings.reopen_s
        while True:
            started = loop.time()
            try:
                async with self._connector.connect(self._settings, upcalls) as connection:
                    await self._come_up(connection)
                    await self._serve(connection)
            except RadioReplacedError:
                raise
            except RadioError as error:
                if self.info is None:
                    raise
                self._go_down(error)
            finally:
                self._abandon()
            await asyncio.sleep(delay_s)
            lasted_s = loop.time() - started
            delay_s = min(2 * delay_s, REOPEN_LIMIT_S)
            if lasted_s > self._timings.ping_s:
                delay_s = self._timings.reopen_s

    async def opened(self) -> RadioInfo:
        await self._first_up.wait()
        if self.info is None:
            raise RadioError("the radio was never opened")
        return self.info

    async def send(self, psdu: bytes) -> TxResult:
        if not 1 <= len(psdu) <= PSDU_LIMIT:
            raise EncodeError(f"a frame has 1 to {PSDU_LIMIT} octets, not {len(psdu)}")
        if self._jobs.qsize() >= QUEUE_LIMIT:
            return TxResult.QUEUE_FULL
        try:
            return await self._ask(lambda connection: self._transmit(connection, psdu))
        except RadioError:
            return TxResult.DOWN

    async def set_pending(self, address: bytes, pending: bool) -> None:
        if pending == (address in self._pending):
            return
        if pending and len(self._pending) >= PENDING_LIMIT:
            return
        (self._pending.add if pending else self._pending.discard)(address)
        try:
            await self._ask(lambda connection: connection.set_pending(address, pending))
        except RadioError:
            log.debug("the table of waiting frames is set up again when the radio is back")

    async def energy_scan(
        self, channels: Iterable[int] = CHANNELS, period_ms: int = 100
    ) -> Mapping[int, int]:
        if period_ms not in PERIODS_MS:
            raise ValueError(f"a channel is measured for 1 to {PERIODS_MS[-1]} ms")
        # One job a channel, so that frames can go out in between.
        return {channel: await self._energy(channel, period_ms) for channel in channels}

    async def _transmit(self, connection: Connection, psdu: bytes) -> TxResult:
        if self._tap:
            self._tap(psdu, time.time())
        return await connection.transmit(psdu)

    async def _energy(self, channel: int, period_ms: int) -> int:
        if channel not in CHANNELS:
            raise ValueError(f"channel is {CHANNELS[0]} to {CHANNELS[-1]}, not {channel}")
        return await self._ask(lambda connection: connection.energy(channel, period_ms))

    async def _ask(self, action: Callable[[Connection], Awaitable[T]]) -> T:
        if self._connection is None:
            raise RadioError(self._reason or "the radio is not open yet")
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put_nowait(_Job(action, done))
        return await done

    async def _come_up(self, connection: Connection) -> None:
        await self._tell_pending(connection)
        self._connection = connection
        self.info = connection.info
        # From here on the mesh knows this address: it must not change with the stick.
        self._settings = replace(self._settings, eui64=connection.info.eui64)
        self._reason = ""
        log.info(
            "radio up: %s, EUI-64 %s, channel %d, PAN 0x%04x",
            printable(connection.info.firmware),
            connection.info.eui64.hex(),
            self._settings.channel,
            self._settings.pan_id,
        )
        self._first_up.set()
        self._listener.radio_up(connection.info)

    async def _tell_pending(self, connection: Connection) -> None:
        """Tells a new connection who is waited for, whatever changes in the meantime."""
        told: set[bytes] = set()
        while told != self._pending:
            for address in told ^ self._pending:
                pending = address in self._pending
                await connection.set_pending(address, pending)
                (told.add if pending else told.discard)(address)

    async def _serve(self, connection: Connection) -> None:
        """Does one job after another until the connection fails; asks after it when idle."""
        loop = asyncio.get_running_loop()
        while connection.error is None:
            idle = loop.call_later(self._timings.ping_s, self._jobs.put_nowait, None)
            try:
                job = await self._jobs.get()
            finally:
                idle.cancel()
            if job is not None:
                await job.perform(connection)
            elif connection.error is None:
                await connection.ping()
        raise connection.error

    def _received(self, frame: RadioFrame) -> None:
        if self.is_up:
            if self._tap:
                self._tap(frame.psdu, frame.at)
            self._listener.received(frame)

    def _line_fault(self, fault: str) -> None:
        if self.is_up:  # while the baud rate is being found, faults say nothing
            self._listener.line_fault(fault)

    def _go_down(self, error: RadioError) -> None:
        reason = str(error)
        if reason != self._reason:
            self._reason = reason
            self._listener.radio_down(reason)

    def _abandon(self) -> None:
        self._connection = None
        while not self._jobs.empty():
            if job := self._jobs.get_nowait():
                job.fail(RadioError(self._reason or "the radio was closed"))

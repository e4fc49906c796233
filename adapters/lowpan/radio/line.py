"""A stick on a serial line: packets out, one answer awaited at a time, the baud rate found.

It knows no protocol; a dialogue on top of it says what packets mean.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

from adapters.lowpan.framing.delimited import BadFrame, Deframer
from adapters.lowpan.radio.interface import (
    Connection,
    RadioError,
    RadioSettings,
    Timings,
    Upcalls,
)
from adapters.lowpan.radio.port import PortLostError, SerialPort, also_open, open_port
from adapters.lowpan.radio.url import SerialUrl

BAUDRATES = (460_800, 115_200, 1_000_000, 921_600, 230_400)
"""What sticks are sold and built with, the most frequent first."""

_REAPPEAR_POLLS = 5

T = TypeVar("T")


class SilentError(RadioError):
    """Nothing answers on the line: wrong rate, wrong firmware, or a stick that hangs."""


@dataclass(frozen=True, slots=True)
class Framing:
    """How packets become octets on the line and back."""

    encode: Callable[[bytes], bytes]
    decoder: Callable[[], Deframer]


class Line(Generic[T]):
    """The line to one stick, from opening to its first failure; T is what answers are."""

    def __init__(
        self, framing: Framing, on_packet: Callable[[bytes], None], upcalls: Upcalls
    ) -> None:
        self._encode = framing.encode
        self._decoder = framing.decoder()
        self._on_packet = on_packet
        self._upcalls = upcalls
        self._port: SerialPort | None = None
        self._answer: asyncio.Future[T] | None = None
        self.error: RadioError | None = None

    def attach(self, port: SerialPort) -> None:
        """Gives the line its port."""
        self._port = port

    async def ask(self, packet: bytes, timeout_s: float) -> T:
        """Sends a packet and waits for what `answer` is given; TimeoutError if nothing comes."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._answer = answer
        # Half the time of asyncio.timeout, for every frame that is sent.
        timer = loop.call_later(timeout_s, _expire, answer)
        try:
            self.send(packet)
            return await answer
        finally:
            timer.cancel()
            self._answer = None

    def answer(self, value: T) -> bool:
        """Hands over the answer; False if nobody waits for one."""
        if self._answer is None or self._answer.done():
            return False
        self._answer.set_result(value)
        return True

    def send(self, packet: bytes) -> None:
        """Sends a packet; raises the error that ended the line, once it is over."""
        if self.error is None and self._port is not None:
            self._port.write(self._encode(packet))
        if self.error is not None:
            raise self.error

    def lost(self, error: RadioError) -> RadioError:
        """Ends this life of the stick: whoever waits for an answer gets the error."""
        if self.error is None:
            self.error = error
            if self._answer is not None and not self._answer.done():
                self._answer.set_exception(error)
            self._upcalls.broken()
        return self.error

    def feed(self, data: bytes) -> None:
        """Takes octets from the port."""
        for packet in self._decoder.feed(data):
            if self.error is not None:
                return
            if isinstance(packet, BadFrame):
                self._upcalls.line_fault(packet.fault.value)
            else:
                self._on_packet(packet)


def _expire(answer: asyncio.Future[T]) -> None:
    if not answer.done():
        answer.set_exception(TimeoutError())


class Dialogue(Connection, Protocol):
    """A connection over a line."""

    def attach(self, port: SerialPort) -> None:
        """Gives the dialogue its port."""

    def feed(self, data: bytes) -> None:
        """Takes octets from the port."""

    def lost(self, error: RadioError) -> RadioError:
        """Ends this life of the stick."""

    async def start(self, reply_s: float, gently: bool) -> None:
        """Resets, identifies and configures the stick; `gently` leaves out the reset.

        SilentError if it does not answer, another RadioError if it cannot be used.
        """


DialogueFactory = Callable[[RadioSettings, Upcalls, Timings], Dialogue]


class SerialConnector:
    """Opens the port of a URL and starts a dialogue; finds the baud rate if none is given."""

    def __init__(
        self,
        url: SerialUrl,
        timings: Timings,
        dialogue: DialogueFactory,
    ) -> None:
        self._url = url
        self._timings = timings
        self._dialogue = dialogue
        self._baudrate = url.baudrate

    @asynccontextmanager
    async def connect(self, settings: RadioSettings, upcalls: Upcalls) -> AsyncIterator[Connection]:
        url, rates = self._url, (self._baudrate,) if self._baudrate else BAUDRATES
        reply_s = self._timings.reply_s if len(rates) == 1 else self._timings.probe_s
        # A stick that is silent at the rate found before is looked for at all rates again.
        self._baudrate = url.baudrate
        for gently in (False, True):
            for baudrate in rates:
                talk = self._dialogue(settings, upcalls, self._timings)
                with open_port(url.path, baudrate, url.rtscts, talk.feed, talk.lost) as port:
                    talk.attach(port)
                    try:
                        await talk.start(reply_s, gently)
                    except SilentError:
                        continue
                    except PortLostError:
                        if gently:
                            raise
                        break
                    self._baudrate = baudrate
                    yield talk
                    return
            else:
                raise SilentError(
                    f"{url.path} does not answer at {', '.join(map(str, rates))} baud: is it a "
                    f"stick with {url.protocol.value} firmware{also_open(url.path)}?"
                )
            # Some USB sticks leave the bus when they are reset: the second time they are spared it.
            await self._reappearance()

    async def _reappearance(self) -> None:
        """Gives the stick time to come back; whether it did is told by opening it."""
        await asyncio.sleep(self._timings.reopen_s)
        for _ in range(_REAPPEAR_POLLS):
            if os.access(self._url.path, os.R_OK | os.W_OK):
                return
            await asyncio.sleep(self._timings.reopen_s)

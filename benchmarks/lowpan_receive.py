"""How many frames of 100 octets one core decodes, routes and answers, and where its time goes.

Each frame brings a node's UDP datagram, and as much data goes back. Times are of the processor, so
that what else the machine does is left out.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count, pairwise
from time import process_time
from typing import TypeVar
from unittest import mock

from adapters.lowpan.effects import Effect, NodeChanged, Transmit, UdpReceived, Undeliverable
from adapters.lowpan.framing import hdlc
from adapters.lowpan.link import LinkFrame
from adapters.lowpan.mac.link import Received
from adapters.lowpan.mac.security import LinkSecurity
from adapters.lowpan.network import Network, NetworkSettings
from adapters.lowpan.radio import line, spinel, url
from adapters.lowpan.radio.interface import (
    RadioFrame,
    RadioInfo,
    RadioSettings,
    Timings,
    Upcalls,
)
from adapters.lowpan.radio.spinel import Command, Property
from adapters.lowpan.radio.spinel_radio import SpinelRadio
from adapters.lowpan.router import Router, RouterConfig
from adapters.sim.spinel import Responder
from benchmarks.lowpan_traffic import (
    CHANNEL,
    FRAME,
    GATEWAY,
    NODE,
    PAN_ID,
    PORT,
    PREFIX,
    SECURITY,
    Node,
    heard,
    mac,
    report,
)
from gateway.hub import Hub
from gateway.objects.registry import Registry
from gateway.policy import Rules
from gateway.slots import SouthSlot
from tests.fakes import DictMemory

REQUIRED_PER_S = 5000
"""Twenty times what 250 kbit/s on the air carry."""

BATCH = 1000
ROUNDS = 7
"""Of which the fastest counts for each layer: the others were disturbed."""

READ = 4096
"""Octets that one read from the serial port gives."""

IN_FLIGHT = 8
"""Frames of the node that wait for their answer: what one neighbour may have in the queue."""
DEADLINE_S = 60.0

Item = TypeVar("Item")
Result = TypeVar("Result")


class Layers:
    """The gateway's layers, and a batch that passes them one after the other."""

    def __init__(self, security: LinkSecurity | None) -> None:
        self._node = Node(mac(NODE, security))
        self._mac = mac(GATEWAY, security)
        self._router = Router(RouterConfig(GATEWAY, PREFIX, frozenset({PORT})), 0.0)
        self._frames: list[RadioFrame] = []
        upcalls = Upcalls(self._frames.append, lambda _: None, lambda: None)
        self._radio = SpinelRadio(RadioSettings(CHANNEL, PAN_ID), upcalls, Timings())
        self._now = count()

    def times(self) -> dict[str, float]:
        """Seconds that a batch takes in each layer."""
        times: dict[str, float] = {}

        def measure(
            layer: str, step: Callable[[Item], Result], inputs: Iterable[Item]
        ) -> list[Result]:
            inputs = list(inputs)
            start = process_time()
            outputs = [step(item) for item in inputs]
            times[layer] = process_time() - start
            return outputs

        octets = b"".join(heard(self._node.frame()) for _ in range(BATCH))
        self._frames.clear()
        measure("HDLC and Spinel", self._radio.feed, _reads(octets))
        taken = measure("MAC", self._receive, self._frames)
        got = measure("6LoWPAN, IPv6, UDP", self._route, map(_link_frame, taken))
        answers = measure("answer: UDP, IPv6, 6LoWPAN", self._answer, _only(UdpReceived, got))
        psdus = measure("answer: MAC", self._secure, _only(Transmit, answers))
        if len(psdus) != BATCH:
            raise AssertionError(f"{len(psdus)} answers to {BATCH} frames")
        measure("answer: Spinel and HDLC", _to_line, psdus)
        reports = b"".join(report(1) for _ in range(BATCH))
        measure("answer: report of the radio", self._radio.feed, _reads(reports))
        return times

    def _receive(self, frame: RadioFrame) -> object:
        return self._mac.receive(frame.psdu, next(self._now) / REQUIRED_PER_S)

    def _route(self, frame: LinkFrame) -> list[Effect]:
        return self._router.receive(frame, 0.0)

    def _answer(self, got: UdpReceived) -> list[Effect]:
        to, own = got.source, got.destination
        return self._router.send_udp(to, got.source_port, PORT, got.data, 0.0, source=own)

    def _secure(self, transmit: Transmit) -> bytes:
        (payload,) = transmit.payloads
        return self._mac.data(transmit.destination, payload)


def _link_frame(received: object) -> LinkFrame:
    if not isinstance(received, Received):
        raise AssertionError(f"a frame was dropped: {received}")  # noqa: TRY004
    return LinkFrame(received.source, received.destination, received.payload, -60, 200)


def _only(kind: type[Result], effects: Iterable[Iterable[object]]) -> list[Result]:
    return [effect for each in effects for effect in each if isinstance(effect, kind)]


def _to_line(psdu: bytes) -> bytes:
    value = spinel.stream_raw(psdu, CHANNEL)
    return hdlc.encode(spinel.encode(spinel.Frame(1, Command.SET, Property.STREAM_RAW, value)))


def _reads(octets: bytes) -> Iterator[bytes]:
    return (octets[at : at + READ] for at in range(0, len(octets), READ))


class Stick:
    """A stick in memory and a node behind it, which sends as its frames are answered."""

    def __init__(self, security: LinkSecurity | None) -> None:
        node = Node(mac(NODE, security))
        self._frames = iter([heard(node.frame()) for _ in range(BATCH * ROUNDS + 2 * IN_FLIGHT)])
        self._reports = [report(tid) for tid in range(16)]
        self._firmware = Responder(GATEWAY, "benchmark", self._tell, lambda _: None)
        self._line = hdlc.decoder()
        self._read: Callable[[bytes], None] = lambda _: None

    @contextmanager
    def open(
        self,
        path: str,
        baudrate: int,
        rtscts: bool,
        on_data: Callable[[bytes], None],
        on_lost: object,
    ) -> Iterator[Stick]:
        """Stands for `port.open_port`."""
        self._read = on_data
        yield self

    def begin(self) -> None:
        """Lets the node send."""
        self._write(b"".join(next(self._frames) for _ in range(IN_FLIGHT)))

    def write(self, data: bytes) -> None:
        """Stands for `SerialPort.write`."""
        if data[3] == Property.STREAM_RAW:
            self._write(self._reports[data[1] & 15] + next(self._frames, b""))
            return
        for packet in self._line.feed(data):
            if isinstance(packet, bytes):
                self._firmware.receive(packet)

    def _tell(self, frame: bytes) -> None:
        self._write(hdlc.encode(frame))

    def _write(self, data: bytes) -> None:
        asyncio.get_running_loop().call_soon(self._read, data)


class Whole:
    """The gateway on the event loop, from octets of the stick to octets for it."""

    def __init__(self, security: LinkSecurity | None) -> None:
        settings = NetworkSettings(
            url.parse("spinel+hdlc:///memory?baudrate=460800"),
            RadioSettings(CHANNEL, PAN_ID, GATEWAY),
            *(PREFIX, security, frozenset({PORT})),
        )
        hub = Hub(Registry.builtin(), Rules({}), DictMemory())
        self._network = Network(settings, SouthSlot("lowpan", hub), self)
        self._stick = Stick(security)
        self._marks: list[float] = []
        self._frames = 0
        self._done = asyncio.Event()

    async def run(self) -> float:
        """Seconds for each frame, answer and report included, in the fastest batch."""
        with mock.patch.object(line, "open_port", self._stick.open):
            life = asyncio.ensure_future(self._network.run(()))
            async with asyncio.timeout(DEADLINE_S):
                await self._done.wait()
            life.cancel()
            await asyncio.gather(life, return_exceptions=True)
        return min(after - before for before, after in pairwise(self._marks)) / BATCH

    def network_up(self, info: RadioInfo) -> None:
        self._stick.begin()

    def network_down(self, reason: str) -> None:
        raise AssertionError(reason)

    def udp_received(self, datagram: UdpReceived) -> None:
        if self._frames % BATCH == 0:
            self._marks.append(process_time())
        if len(self._marks) > ROUNDS:
            self._done.set()
        self._frames += 1
        to = datagram.source, datagram.source_port
        self._network.send_udp(to, PORT, datagram.data, datagram.destination)

    def undeliverable(self, what: Undeliverable) -> None:
        raise AssertionError(str(what))

    def node_changed(self, change: NodeChanged) -> None:
        """The node is known from its first frame on."""


def main() -> int:
    """Prints the table; 1 if the promise is not kept."""
    rates = []
    for title, security in (("in clear", None), ("secured (AES-CCM*-32)", SECURITY)):
        layers = Layers(security)
        rounds = [layers.times() for _ in range(ROUNDS)]
        best = {layer: min(times[layer] for times in rounds) / BATCH for layer in rounds[0]}
        print(f"{FRAME} octets a frame, {title}: microseconds")
        for layer, seconds in best.items():
            print(f"  {layer:32}{seconds * 1e6:8.1f}")
        print(f"  {'all layers':32}{sum(best.values()) * 1e6:8.1f}")
        seconds = asyncio.run(Whole(security).run())
        rates.append(1 / seconds)
        print(f"  {'with the event loop':32}{seconds * 1e6:8.1f}   {rates[-1]:,.0f}/s\n")
    kept = min(rates) >= REQUIRED_PER_S
    print(f"{'kept' if kept else 'NOT KEPT'}: {REQUIRED_PER_S:,} frames a second on one core")
    return 0 if kept else 1


if __name__ == "__main__":
    sys.exit(main())

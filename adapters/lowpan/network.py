"""Joins radio, MAC and router on the event loop: frames in, effects carried out, timers kept.

It knows no CoAP: UDP datagrams come out of it and go into it.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
from collections import Counter, deque
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol, assert_never

from adapters.lowpan import durable
from adapters.lowpan.drops import Dropped
from adapters.lowpan.effects import (
    Effect,
    ForeignRouter,
    Node,
    NodeChanged,
    Transmit,
    UdpReceived,
    Undeliverable,
)
from adapters.lowpan.link import BROADCAST, LinkFrame
from adapters.lowpan.mac.drops import Drop
from adapters.lowpan.mac.frame import FrameType
from adapters.lowpan.mac.link import Identity, MacLink
from adapters.lowpan.mac.security import LinkSecurity
from adapters.lowpan.radio.interface import RadioFrame, RadioInfo, RadioSettings
from adapters.lowpan.radio.opener import make_radio
from adapters.lowpan.radio.url import RadioUrl
from adapters.lowpan.router import MAX_PAYLOAD, Router, RouterConfig
from gateway.errors import StateError
from gateway.ports import SouthPort

QUEUE_LIMIT = 64
"""Datagrams that wait for the radio: two seconds of a busy channel; older ones are of no use."""

QUEUE_LIMIT_EACH = 8
"""The same to one neighbour, so that one which is gone does not take the others' place."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class NetworkSettings:
    """Which radio, how it is set, the /64 prefix (8 octets), the link security, the UDP ports."""

    url: RadioUrl
    radio: RadioSettings
    prefix: bytes
    security: LinkSecurity | None
    ports: frozenset[int]


class NetworkListener(Protocol):
    """Who is told what the mesh does. All calls are synchronous."""

    def network_up(self, info: RadioInfo) -> None:
        """The mesh can be used, for the first time or again."""

    def network_down(self, reason: str) -> None:
        """The radio failed and is being reopened."""

    def udp_received(self, datagram: UdpReceived) -> None:
        """A datagram came for one of our ports."""

    def undeliverable(self, what: Undeliverable) -> None:
        """A datagram of ours will not arrive."""

    def node_changed(self, change: NodeChanged) -> None:
        """A node was heard for the first time, or can be reached, or not any more."""


class Network:
    """One mesh behind one radio. `counters` holds how often what happened."""

    def __init__(
        self, settings: NetworkSettings, port: SouthPort, listener: NetworkListener
    ) -> None:
        self._settings = settings
        self._port = port
        self._listener = listener
        self.taps: set[Callable[[bytes, float], None]] = set()
        """Each gets every frame, without FCS, and its time."""
        self._radio = make_radio(settings.url, settings.radio, self, tap=self._tapped)
        self._mac: MacLink | None = None
        self._router: Router | None = None
        self._kept: object = None
        self._queue: deque[Transmit] = deque()
        self._waiting: Counter[bytes] = Counter()
        self._to_send = asyncio.Event()
        self._deadline_moved = asyncio.Event()
        self._wakes_at = 0.0
        self._counters: Counter[str] = Counter()
        self.down_reason = "the radio is not open yet"
        self.heard_at = 0.0
        """When the radio came up, or heard the last frame of whomever (the loop's time)."""

    async def energy_scan(self) -> Mapping[int, int]:
        """The strongest signal on each channel in dBm; RadioError where the radio is down."""
        return await self._radio.energy_scan()

    def _tapped(self, psdu: bytes, at: float) -> None:
        for tap in self.taps:
            tap(psdu, at)

    async def run(self, known: Iterable[bytes]) -> None:
        """Lives until cancelled; `known` are the EUI-64s of nodes of an earlier life.

        RadioError if the radio cannot be opened or was replaced.
        """
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._radio.run())
            info = await self._radio.opened()
            self.heard_at = asyncio.get_running_loop().time()
            self._join(info.eui64, known)
            self._listener.network_up(info)
            tasks.create_task(self._transmit())
            await self._keep_time()

    @property
    def is_up(self) -> bool:
        """Whether datagrams go out now."""
        return self._radio.is_up

    def nodes(self) -> list[Node]:
        """Every node that the tables know."""
        return self._router.nodes() if self._router else []

    def path(self, address: bytes) -> tuple[bytes, ...]:
        """The addresses from first hop to destination; empty if there is no way."""
        return self._router.path(address) if self._router else ()

    def take_counters(self) -> Counter[str]:
        """What happened since the last call."""
        taken, self._counters = self._counters, Counter()
        if self._router:
            taken.update(self._router.counters)
            self._router.counters.clear()
        return taken

    def send_udp(
        self, destination: tuple[bytes, int], source_port: int, data: bytes, source: bytes | None
    ) -> None:
        """Sends data to an address and port; EncodeError if it is too long."""
        if self._router is not None:
            address, port = destination
            now = asyncio.get_running_loop().time()
            self._act(self._router.send_udp(address, port, source_port, data, now, source=source))

    # --- what the radio tells ---------------------------------------------------------------

    def radio_up(self, info: RadioInfo) -> None:
        self.heard_at = asyncio.get_running_loop().time()
        if self._router is not None:
            self._listener.network_up(info)

    def radio_down(self, reason: str) -> None:
        self.down_reason = reason
        self._listener.network_down(reason)

    def received(self, frame: RadioFrame) -> None:
        if self._mac is None or self._router is None:
            return
        now = self.heard_at = asyncio.get_running_loop().time()
        taken = self._mac.receive(frame.psdu, now)
        if isinstance(taken, Drop):
            self._counters[taken] += 1
        elif taken.type is not FrameType.DATA:
            self._counters["mac_not_data"] += 1
        else:
            link = LinkFrame(
                *(taken.source, taken.destination, taken.payload), frame.rssi_dbm, frame.lqi
            )
            self._act(self._router.receive(link, now))

    def line_fault(self, fault: str) -> None:
        self._counters["radio_line_faults"] += 1
        log.debug("the serial line: %s", fault)

    # --- inside -------------------------------------------------------------------------------

    def _join(self, eui64: bytes, known: Iterable[bytes]) -> None:
        settings, security = self._settings, self._settings.security
        self._mac = mac = MacLink(
            Identity(settings.radio.pan_id, eui64),
            first_sequence=secrets.randbelow(256),
            link_security=security,
            counter=durable.frame_counter(self._port, security.key, eui64) if security else None,
            eui64_of=lambda link: self._router.eui64_of(link) if self._router else None,
        )
        self._router = Router(
            RouterConfig(
                *(eui64, settings.prefix, settings.ports),
                max_payload=min(MAX_PAYLOAD, mac.payload_limit(eui64)),
            ),
            asyncio.get_running_loop().time(),
            durable.router_state(self._port),
        )
        with suppress(Dropped):  # more than fit: the others are known once they are heard
            for node in known:
                self._router.introduce(node)
        self._keep_state(self._router)

    def _act(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Transmit():
                    self._enqueue(effect)
                case UdpReceived():
                    self._listener.udp_received(effect)
                case NodeChanged():
                    self._listener.node_changed(effect)
                case Undeliverable():
                    self._listener.undeliverable(effect)
                case ForeignRouter(link, kind, reason):
                    log.warning(
                        "another network's %s is in range: %s (%s)", kind, link.hex(), reason
                    )
                case _:
                    assert_never(effect)
        if self._router is not None and (
            self._router.next_deadline() < self._wakes_at or self._router.state != self._kept
        ):
            self._deadline_moved.set()

    def _enqueue(self, transmit: Transmit) -> None:
        to = transmit.destination
        if len(self._queue) >= QUEUE_LIMIT or self._waiting[to] >= QUEUE_LIMIT_EACH:
            self._counters["transmit_queue_full"] += 1
            return
        self._queue.append(transmit)
        self._waiting[to] += 1
        self._to_send.set()

    async def _transmit(self) -> None:
        """Sends one datagram after the other, so that none is interleaved with another."""
        while True:
            while not self._queue:
                self._to_send.clear()
                await self._to_send.wait()
            transmit = self._queue.popleft()
            self._waiting[transmit.destination] -= 1
            if not self._waiting[transmit.destination]:
                del self._waiting[transmit.destination]
            await self._send(transmit)

    async def _send(self, transmit: Transmit) -> None:
        assert self._mac is not None  # noqa: S101  (the task starts after it was made)
        for payload in transmit.payloads:
            result = await self._radio.send(self._mac.data(transmit.destination, payload))
            if not result.ok:
                self._counters[f"transmit_{result.name.lower()}"] += 1
                to = "all" if transmit.destination == BROADCAST else transmit.destination.hex()
                log.debug("a frame to %s: %s", to, result.value)
                return

    async def _keep_time(self) -> None:
        loop = asyncio.get_running_loop()
        assert self._router is not None  # noqa: S101
        while True:
            self._deadline_moved.clear()
            self._wakes_at = self._router.next_deadline()
            try:
                async with asyncio.timeout_at(self._wakes_at):
                    await self._deadline_moved.wait()
            except TimeoutError:
                self._act(self._router.expire(loop.time()))
            self._keep_state(self._router)

    def _keep_state(self, router: Router) -> None:
        if (state := router.state) != self._kept:
            self._kept = state
            try:
                durable.keep_router_state(self._port, state)
            except StateError as error:
                log.error("nodes may take minutes to join again after a restart: %s", error)

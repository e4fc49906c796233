"""The gateway's network layer: 6LoWPAN router, RPL root and plain neighbour in one.

Frames go in and effects come out; time is an argument. Does not know radios, MAC or CoAP.
"""

from __future__ import annotations

import random as randomness
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from types import MappingProxyType

from adapters.lowpan.drops import Drop, Dropped, Refused
from adapters.lowpan.effects import Effect, ForeignRouter, Node, UdpReceived
from adapters.lowpan.ipv6 import icmpv6, udp
from adapters.lowpan.ipv6.address import UNSPECIFIED, is_multicast
from adapters.lowpan.ipv6.extensions import next_header_at, obey
from adapters.lowpan.ipv6.packet import HEADER as IPV6_HEADER
from adapters.lowpan.ipv6.packet import ICMPV6, MIN_MTU, NO_NEXT, UDP, Packet, parse
from adapters.lowpan.link import BROADCAST, LinkFrame
from adapters.lowpan.routing.control import Control
from adapters.lowpan.routing.identity import Identity
from adapters.lowpan.routing.nd import NeighbourDiscovery
from adapters.lowpan.routing.nd_messages import RouterAdvertisement
from adapters.lowpan.routing.neighbours import Neighbour, Neighbours
from adapters.lowpan.routing.output import Output
from adapters.lowpan.routing.root import Root, RootState
from adapters.lowpan.routing.topology import Topology
from adapters.lowpan.sixlowpan.adaptation import Adaptation
from adapters.lowpan.sixlowpan.contexts import CONTEXT_IDS, Context, Contexts
from adapters.lowpan.sixlowpan.fragments import ReassemblyLimits
from gateway.errors import EncodeError

MIN_PAYLOAD = 64
"""Octets of a frame; the strongest security with the longest key name leaves 74."""
MAX_PAYLOAD = 104
"""Between two long addresses without security."""

MAX_UDP_DATA = MIN_MTU - IPV6_HEADER - udp.HEADER

SWEEP_S = 10.0
"""How late the end of a registration or route may be noticed; they are counted in minutes."""

MAX_FOREIGN = 16
"""Foreign routers that are reported, each once; more would be an attack, and are counted."""
_FOREIGN = {Drop.FOREIGN_ROUTER: "router", Drop.FOREIGN_ROOT: "RPL root"}


@dataclass(frozen=True, slots=True)
class RouterConfig:
    """Who we are: EUI-64, /64 prefix (8 octets), the UDP ports that somebody listens to.

    `context_id` names the context that carries the prefix; `contexts` are others that nodes may
    use. `max_payload` is what the MAC leaves of a frame to a long address.
    """

    eui64: bytes
    prefix: bytes
    ports: frozenset[int]
    context_id: int = 0
    contexts: Contexts = field(default_factory=lambda: MappingProxyType({}))
    max_payload: int = MAX_PAYLOAD
    limits: ReassemblyLimits = field(default_factory=ReassemblyLimits)
    accept_elided_checksum: bool = False

    def __post_init__(self) -> None:
        if not MIN_PAYLOAD <= self.max_payload <= MAX_PAYLOAD:
            raise ValueError(f"frames of {MIN_PAYLOAD} to {MAX_PAYLOAD} octets")
        if not all(0 <= i < CONTEXT_IDS for i in (self.context_id, *self.contexts)):
            raise ValueError(f"context ids of 0 to {CONTEXT_IDS - 1}")


@dataclass(frozen=True, slots=True)
class RouterState:
    """What has to survive a restart, since nodes remember it."""

    prefix: bytes
    root: RootState
    border_version: int = 1
    """Of the prefix and context that our advertisements carry (RFC 6775 4.3)."""


class Router:
    """One mesh. `counters` holds how often each `Drop` and notable thing happened.

    `random` gives numbers from 0 to 1.
    """

    def __init__(
        self,
        config: RouterConfig,
        now: float,
        state: RouterState | None = None,
        random: Callable[[], float] = randomness.random,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self.identity = identity = Identity(config.eui64, config.prefix)
        self._ports = config.ports
        self._border_version = _border_version(config.prefix, state)
        contexts = {**config.contexts, config.context_id: Context(config.prefix + bytes(8))}
        self._neighbours = Neighbours()
        self._root = Root(identity, state.root if state else None, random, now)
        self._topology = Topology(identity, self._neighbours, self._root)
        advertisement = RouterAdvertisement(
            *(config.eui64, config.prefix, config.context_id),
            *(identity.mesh, self._border_version),
        )
        discovery = NeighbourDiscovery(identity, self._neighbours, advertisement, self.counters)
        self._adaptation = Adaptation(
            *(contexts, config.max_payload, config.limits, self.counters),
            accept_elided_checksum=config.accept_elided_checksum,
        )
        self._output = Output(
            *(identity, contexts, self._adaptation),
            topology=self._topology,
            discovery=discovery,
            counters=self.counters,
        )
        self._control = Control(
            identity,
            discovery=discovery,
            root=self._root,
            topology=self._topology,
            output=self._output,
            counters=self.counters,
        )
        self._swept_at = now
        self._foreign: set[tuple[bytes, Drop]] = set()

    @property
    def state(self) -> RouterState:
        """What to give to the next Router of this mesh; compare it to know whether to save it."""
        return RouterState(self.identity.prefix, self._root.state, self._border_version)

    def nodes(self) -> list[Node]:
        """Every node that the tables know."""
        return self._topology.nodes()

    def path(self, address: bytes) -> tuple[bytes, ...]:
        """The addresses on the way to a node, itself last; empty if there is no way."""
        hop = self._topology.next_hop(address)
        return hop.path if hop else ()

    def introduce(self, eui64: bytes) -> None:
        """Makes a node known that was a neighbour before a restart; raises Dropped if too many."""
        self._neighbours.add(eui64)

    def eui64_of(self, link: bytes) -> bytes | None:
        """The EUI-64 behind a link address, which a node with a short one has registered."""
        neighbour = self._neighbours.get(link)
        return neighbour.eui64 if neighbour else None

    def refresh(self, now: float) -> None:
        """Has all RPL nodes advertise their routes again, at the next DIO."""
        self._root.refresh(now)

    def repair(self, now: float) -> None:
        """Has all RPL nodes join afresh, from the next DIO on."""
        self._root.repair(now)

    def send_udp(
        self,
        destination: bytes,
        destination_port: int,
        source_port: int,
        data: bytes,
        now: float,
        *,
        source: bytes | None = None,
    ) -> list[Effect]:
        """Sends data to a node or group; raises EncodeError if it is longer than MAX_UDP_DATA.

        `source` is one of our addresses; an answer comes from that which was asked.
        """
        if len(data) > MAX_UDP_DATA:
            raise EncodeError(f"{len(data)} octets of UDP data, but at most {MAX_UDP_DATA} fit")
        own = source or self.identity.source(destination)
        datagram = udp.UdpDatagram(source_port, destination_port, data)
        payload = udp.encode(own, destination, datagram)
        return self._output.send(Packet(own, destination, UDP, payload), now)

    def expire(self, now: float) -> list[Effect]:
        """Does what time has brought: DIOs, questions again, ends of registrations and routes."""
        effects = self._output.expire(now)
        self._adaptation.expire(now)
        if information := self._root.expire(now):
            effects += self._output.answer(information)
        if now >= self._swept_at + SWEEP_S:
            self._swept_at = now
            self._neighbours.expire(now)
            self._root.expire_routes(now)
            effects += self._topology.changes()
        return effects

    def next_deadline(self) -> float:
        """When `expire` has something to do."""
        others = (
            self._adaptation.reassembler.next_deadline(),
            self._output.resolution.next_deadline(),
        )
        own = (self._root.next_deadline(), self._swept_at + SWEEP_S)
        return min(*own, *(deadline for deadline in others if deadline is not None))

    def receive(self, frame: LinkFrame, now: float) -> list[Effect]:
        """Takes a frame; what cannot be used is counted."""
        effects: list[Effect] = []
        packet: Packet | None = None
        try:
            if frame.source in (self.identity.eui64, BROADCAST):
                raise Dropped(Drop.IPV6_SOURCE, "a link address that nobody else has")
            received = self._adaptation.receive(frame, now)
            if received is None:
                return effects
            packet = parse(received.datagram)
            self._check_addresses(packet)
            sender = self._sender(frame, now, effects)
            effects += self._deliver(packet, sender, received.contexts, now)
        except Refused as refused:
            self.counters[refused.reason] += 1
            if packet is not None:
                effects += self._control.report(refused, packet, now)
        except Dropped as dropped:
            self.counters[dropped.reason] += 1
            effects += self._foreign_router(frame.source, dropped)
        return effects

    def _check_addresses(self, packet: Packet) -> None:
        own = self.identity
        if is_multicast(packet.source) or packet.source in own.addresses:
            raise Dropped(Drop.IPV6_SOURCE)
        if packet.destination not in own.addresses and packet.destination not in own.groups:
            raise Dropped(Drop.IPV6_NOT_FOR_US)

    def _sender(self, frame: LinkFrame, now: float, effects: list[Effect]) -> Neighbour:
        is_new = self._neighbours.get(frame.source) is None
        sender = self._neighbours.heard(frame, now)
        if is_new:
            effects.append(self._topology.heard(sender))
        return sender

    def _deliver(
        self, packet: Packet, sender: Neighbour, contexts: int, now: float
    ) -> list[Effect]:
        """Takes a packet to its end; `contexts` has the bits of those with which it came."""
        option = obey(packet)
        if option and (option.downward or option.rank_error):
            self.counters["rpl_option_error"] += 1
        ends = packet.source, packet.destination
        match packet.next_header:
            case number if number == UDP:
                datagram = udp.parse(*ends, packet.payload)
                # A checksum over the right addresses shows that both sides hold the contexts.
                sender.contexts |= contexts
                return [self._udp_received(packet, datagram, sender)]
            case number if number == ICMPV6:
                message = icmpv6.parse(*ends, packet.payload)
                sender.contexts |= contexts
                return self._control.receive(packet, message, sender, now)
            case number if number == NO_NEXT:
                return []
        raise Refused(
            Drop.IPV6_NEXT_HEADER,
            *(icmpv6.PARAMETER_PROBLEM, icmpv6.UNKNOWN_NEXT_HEADER),
            next_header_at(packet),
        )

    def _udp_received(
        self, packet: Packet, datagram: udp.UdpDatagram, sender: Neighbour
    ) -> UdpReceived:
        if packet.source == UNSPECIFIED:
            raise Dropped(Drop.IPV6_SOURCE, "unspecified")
        if datagram.destination_port not in self._ports:
            raise Refused(Drop.UDP_PORT, icmpv6.UNREACHABLE, icmpv6.PORT_UNREACHABLE)
        return UdpReceived(
            source=packet.source,
            source_port=datagram.source_port,
            destination=packet.destination,
            destination_port=datagram.destination_port,
            data=datagram.data,
            hops=self._topology.hops(packet.source, sender),
            link=sender.link,
        )

    def _foreign_router(self, link: bytes, dropped: Dropped) -> list[Effect]:
        kind = _FOREIGN.get(dropped.reason)
        known = (link, dropped.reason) in self._foreign or len(self._foreign) >= MAX_FOREIGN
        if kind is None or known:
            return []
        self._foreign.add((link, dropped.reason))
        return [ForeignRouter(link, kind, str(dropped))]


def _border_version(prefix: bytes, state: RouterState | None) -> int:
    """Newer than before if the prefix is another now."""
    if state is None:
        return 1
    return state.border_version + (state.prefix != prefix)

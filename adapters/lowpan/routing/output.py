"""Sends packets: finds the next hop, adds the source route, compresses, asks when it must."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from adapters.lowpan.drops import Drop, Dropped
from adapters.lowpan.effects import Effect, Transmit, Undeliverable
from adapters.lowpan.ipv6 import icmpv6, srh
from adapters.lowpan.ipv6.packet import ICMPV6, ROUTING, UDP, Extension, Packet, encode
from adapters.lowpan.routing.identity import Identity
from adapters.lowpan.routing.nd import NeighbourDiscovery
from adapters.lowpan.routing.outgoing import Outgoing
from adapters.lowpan.routing.resolution import Resolution
from adapters.lowpan.routing.topology import Hop, Topology
from adapters.lowpan.sixlowpan.adaptation import Adaptation
from adapters.lowpan.sixlowpan.contexts import Contexts
from gateway.errors import EncodeError

_WHY = {
    Drop.NO_ROUTE: "there is no route",
    Drop.UNRESOLVED: "no node answers for the address",
    Drop.RESOLUTIONS_FULL: "too much waits for unknown addresses",
    Drop.TOO_LONG: "the route is too long for a frame",
}


class Output:
    """The way out. `contexts` are all; a packet uses those that its receiver has shown to hold."""

    def __init__(
        self,
        identity: Identity,
        contexts: Contexts,
        adaptation: Adaptation,
        *,
        topology: Topology,
        discovery: NeighbourDiscovery,
        counters: Counter[str],
    ) -> None:
        self._identity = identity
        self._contexts = contexts
        self._adaptation = adaptation
        self._topology = topology
        self._discovery = discovery
        self._counters = counters
        self.resolution = Resolution()

    def send(self, packet: Packet, now: float) -> list[Effect]:
        """Sends a packet of ours, at once or when it is known to whom."""
        destination = packet.destination
        known = self._topology.is_beyond(destination) or destination in self._identity.addresses
        if known or self._topology.next_hop(destination) is not None:
            return self.reply(packet)
        try:
            must_ask = self.resolution.wait(packet, now)
        except Dropped as dropped:
            return self._lost(packet, dropped.reason)
        return self.answer(self._discovery.solicit(destination)) if must_ask else []

    def reply(self, packet: Packet) -> list[Effect]:
        """Sends a packet now or never: strangers must not make us ask around."""
        hop = self._topology.next_hop(packet.destination)
        return self._transmit(packet, hop) if hop else self._lost(packet, Drop.NO_ROUTE)

    def answer(self, outgoing: Outgoing) -> list[Effect]:
        """Sends a message, to its link address if it has one."""
        ends = outgoing.source, outgoing.destination
        payload = icmpv6.encode(*ends, outgoing.message)
        packet = Packet(*ends, ICMPV6, payload, outgoing.hop_limit)
        if outgoing.link is None:
            return self.reply(packet)
        return self._transmit(packet, Hop(outgoing.link, (outgoing.destination,)))

    def resolved(self, address: bytes, now: float) -> list[Effect]:
        """Sends what has waited for an address."""
        packets = self.resolution.resolved(address)
        return [effect for packet in packets for effect in self.send(packet, now)]

    def expire(self, now: float) -> list[Effect]:
        """Asks again, or gives up."""
        effects: list[Effect] = []
        again, lost = self.resolution.expire(now)
        for address in again:
            effects += self.answer(self._discovery.solicit(address))
        for packet in lost:
            effects += self._lost(packet, Drop.UNRESOLVED)
        return effects

    def _transmit(self, packet: Packet, hop: Hop) -> list[Effect]:
        if len(hop.path) > 1:
            first, route = srh.hops(hop.path)
            extension = Extension(ROUTING, srh.encode(first, route))
            packet = replace(packet, destination=first, extensions=(extension,))
        held = self._topology.contexts_of(hop.link)
        contexts = {i: context for i, context in self._contexts.items() if held >> i & 1}
        ends = self._identity.eui64, hop.link
        try:
            payloads = self._adaptation.frames(encode(packet), *ends, contexts)
        except EncodeError:
            return self._lost(replace(packet, destination=hop.path[-1]), Drop.TOO_LONG)
        return [Transmit(hop.link, payloads)]

    def _lost(self, packet: Packet, reason: Drop) -> list[Effect]:
        self._counters[reason] += 1
        if packet.next_header != UDP:
            return []
        source_port = int.from_bytes(packet.payload[:2], "big")
        destination_port = int.from_bytes(packet.payload[2:4], "big")
        return [Undeliverable(packet.destination, destination_port, source_port, _WHY[reason])]

"""Answers neighbour discovery as a 6LoWPAN router and as a plain neighbour (RFC 6775, 4861).

Decides who holds which address; does not know how its answers travel.
"""

from __future__ import annotations

import math
from collections import Counter

from adapters.lowpan.drops import Drop, Dropped
from adapters.lowpan.effects import Profile
from adapters.lowpan.ipv6.address import (
    ALL_NODES,
    UNSPECIFIED,
    is_link_local,
    is_multicast,
    link_local,
    solicited_node,
)
from adapters.lowpan.ipv6.icmpv6 import Message
from adapters.lowpan.ipv6.packet import Packet
from adapters.lowpan.link import BROADCAST, interface_id
from adapters.lowpan.routing import nd_messages as nd
from adapters.lowpan.routing.identity import Identity
from adapters.lowpan.routing.neighbours import Neighbour, Neighbours
from adapters.lowpan.routing.outgoing import Outgoing

SUCCESS, DUPLICATE, FULL = 0, 1, 2
"""Status of a registration."""


class NeighbourDiscovery:
    """One link's discovery; what it learns goes to the table of neighbours."""

    def __init__(
        self,
        identity: Identity,
        neighbours: Neighbours,
        advertisement: nd.RouterAdvertisement,
        counters: Counter[str],
    ) -> None:
        self._identity = identity
        self._neighbours = neighbours
        self._advertisement = advertisement.message()
        self._counters = counters

    def router_solicited(self, packet: Packet, message: Message, sender: Neighbour) -> Outgoing:
        """The advertisement that answers a router solicitation; raises Dropped."""
        has_link = nd.check_router_solicitation(message)
        if packet.source == UNSPECIFIED:
            if has_link:
                raise Dropped(Drop.ND_MALFORMED, "a link address of no one")
            return self._outgoing(ALL_NODES, self._advertisement, BROADCAST)
        # It starts, or starts again: what it knew of contexts before is void.
        sender.contexts = 0
        return self._outgoing(packet.source, self._advertisement, sender.link)

    def neighbour_solicited(
        self, packet: Packet, message: Message, sender: Neighbour, now: float
    ) -> Outgoing:
        """Registers or learns the sender's address and answers; raises Dropped."""
        asked = nd.parse_solicitation(message)
        if asked.target not in self._identity.addresses:
            raise Dropped(Drop.ND_OTHER_TARGET)
        if packet.source == UNSPECIFIED:
            if asked.has_link:
                raise Dropped(Drop.ND_MALFORMED, "a link address of no one")
            return self._advertise(asked.target, ALL_NODES, nd.ROUTER | nd.OVERRIDE, BROADCAST)
        if asked.registration and asked.has_link:
            return self._registered(packet.source, asked, asked.registration, sender, now)
        if is_multicast(packet.destination):
            sender.profile |= Profile.PLAIN
        if asked.has_link:
            self.learn(packet.source, sender)
        flags = nd.ROUTER | nd.SOLICITED | nd.OVERRIDE
        return self._advertise(asked.target, packet.source, flags, sender.link)

    def learn(self, address: bytes, neighbour: Neighbour) -> None:
        """Notes whose an address is, unless it is registered; raises Dropped."""
        owner = self._neighbours.owner(address)
        if owner is None or owner.addresses[address] == math.inf:
            self._neighbours.assign(address, neighbour)

    def solicit(self, target: bytes) -> Outgoing:
        """The question whose an address is."""
        question = nd.solicitation(target, self._identity.eui64)
        return self._outgoing(solicited_node(target), question, BROADCAST)

    def _registered(
        self,
        address: bytes,
        asked: nd.Solicitation,
        registration: nd.Registration,
        sender: Neighbour,
        now: float,
    ) -> Outgoing:
        status = self._register(address, registration, sender, now)
        sender.profile |= Profile.ND
        destination = address
        if status != SUCCESS:
            # The address may be another's: the answer goes where only the asker listens.
            destination = link_local(interface_id(registration.eui64))
        answer = nd.advertisement(
            nd.ROUTER | nd.SOLICITED, asked.target, registration.answer(status)
        )
        return Outgoing(asked.target, destination, answer, nd.HOP_LIMIT, sender.link)

    def _register(
        self, address: bytes, registration: nd.Registration, sender: Neighbour, now: float
    ) -> int:
        if not self._identity.in_mesh(address) and not is_link_local(address):
            raise Dropped(Drop.ND_OUTSIDE_PREFIX)
        owner = self._neighbours.owner(address)
        if owner is not None and owner.eui64 not in (None, registration.eui64):
            self._counters[Drop.ND_DUPLICATE] += 1
            return DUPLICATE
        if sender.eui64 is None:
            sender.eui64 = registration.eui64
        if not registration.lifetime_s:
            self._neighbours.release(address)
            return SUCCESS
        try:
            self._neighbours.assign(address, sender, now + registration.lifetime_s)
        except Dropped as dropped:
            self._counters[dropped.reason] += 1
            return FULL
        return SUCCESS

    def _advertise(self, target: bytes, destination: bytes, flags: int, link: bytes) -> Outgoing:
        option = nd.link_option(nd.TARGET_LINK, self._identity.eui64)
        answer = nd.advertisement(flags, target, option)
        return Outgoing(target, destination, answer, nd.HOP_LIMIT, link)

    def _outgoing(self, destination: bytes, message: Message, link: bytes) -> Outgoing:
        return Outgoing(self._identity.link_local, destination, message, nd.HOP_LIMIT, link)

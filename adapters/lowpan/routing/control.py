"""What each ICMPv6 message leads to: discovery, routing, echo, errors, and how often."""

from __future__ import annotations

from collections import Counter

from adapters.lowpan.drops import Drop, Dropped, Refused
from adapters.lowpan.effects import Effect, Profile, Undeliverable
from adapters.lowpan.ipv6 import icmpv6
from adapters.lowpan.ipv6.address import UNSPECIFIED, is_multicast
from adapters.lowpan.ipv6.icmpv6 import Message
from adapters.lowpan.ipv6.packet import ICMPV6, Packet, encode
from adapters.lowpan.routing import nd_messages, rpl_messages
from adapters.lowpan.routing.identity import Identity
from adapters.lowpan.routing.limits import TokenBucket
from adapters.lowpan.routing.nd import NeighbourDiscovery
from adapters.lowpan.routing.neighbours import Neighbour
from adapters.lowpan.routing.output import Output
from adapters.lowpan.routing.root import Root
from adapters.lowpan.routing.topology import Topology

ANSWERS_PER_S, ANSWERS_AT_ONCE = 20.0, 20.0
"""To solicitations and errors of all nodes together: a tenth of what the channel carries."""

_DISCOVERY = frozenset(range(133, 138))


class Control:
    """The control plane: messages in, effects out."""

    def __init__(
        self,
        identity: Identity,
        *,
        discovery: NeighbourDiscovery,
        root: Root,
        topology: Topology,
        output: Output,
        counters: Counter[str],
    ) -> None:
        self._identity = identity
        self._discovery = discovery
        self._root = root
        self._topology = topology
        self._output = output
        self._counters = counters
        self._answers = TokenBucket(ANSWERS_PER_S, ANSWERS_AT_ONCE)

    def receive(
        self, packet: Packet, message: Message, sender: Neighbour, now: float
    ) -> list[Effect]:
        """Obeys a message; raises Dropped."""
        match message.type:
            case type if type in _DISCOVERY:
                return self._discover(packet, message, sender, now)
            case icmpv6.RPL_CONTROL:
                return self._route(packet, message, sender, now)
            case icmpv6.ECHO_REQUEST:
                return self._echo(packet, message)
            case icmpv6.ECHO_REPLY:
                return []
            case icmpv6.UNREACHABLE | icmpv6.TIME_EXCEEDED | icmpv6.PARAMETER_PROBLEM:
                error = icmpv6.udp_error(message)
                if error is None:
                    return []
                ports = error.destination_port, error.source_port
                return [Undeliverable(error.destination, *ports, error.reason)]
            case type:
                raise Dropped(Drop.ICMPV6_TYPE, str(type))

    def report(self, refused: Refused, packet: Packet, now: float) -> list[Effect]:
        """Tells a packet's sender why it was refused, if that is allowed."""
        if not icmpv6.may_report(packet, refused.type, refused.code):
            return []
        if not self._answers.take(now):
            self._counters[Drop.RATE_LIMITED] += 1
            return []
        message = icmpv6.error(refused.type, refused.code, encode(packet), refused.pointer)
        return self._reply(packet, message)

    def _discover(
        self, packet: Packet, message: Message, sender: Neighbour, now: float
    ) -> list[Effect]:
        if packet.hop_limit != nd_messages.HOP_LIMIT:
            raise Dropped(Drop.ND_HOP_LIMIT)
        match message.type:
            case icmpv6.ROUTER_SOLICITATION:
                self._limit(sender, now)
                answer = self._discovery.router_solicited(packet, message, sender)
                return self._output.answer(answer)
            case icmpv6.NEIGHBOUR_SOLICITATION:
                self._limit(sender, now)
                answer = self._discovery.neighbour_solicited(packet, message, sender, now)
                return [*self._output.answer(answer), *self._changes(packet.source, now)]
            case icmpv6.NEIGHBOUR_ADVERTISEMENT:
                target = nd_messages.parse_advertisement(message)
                if target not in self._output.resolution:
                    return []
                self._discovery.learn(target, sender)
                return self._changes(target, now)
            case icmpv6.ROUTER_ADVERTISEMENT:
                raise Dropped(Drop.FOREIGN_ROUTER)
            case type:
                raise Dropped(Drop.ICMPV6_TYPE, str(type))

    def _route(
        self, packet: Packet, message: Message, sender: Neighbour, now: float
    ) -> list[Effect]:
        sender.profile |= Profile.RPL
        match message.code:
            case rpl_messages.DIS:
                self._limit(sender, now)
                answer = self._root.solicited(packet, message.body, sender, now)
                return self._output.answer(answer) if answer else []
            case rpl_messages.DIO:
                self._root.informed(packet, message.body, now)
                return []
            case rpl_messages.DAO:
                taken = self._root.advertised(packet, message.body, sender, now)
                if taken.refused:
                    self._counters[taken.refused] += 1
                effects = self._output.answer(taken.answer) if taken.answer else []
                for target in taken.targets:
                    effects += self._changes(target, now)
                return effects
            case code:
                raise Dropped(Drop.RPL_CODE, f"{code:#04x}")

    def _echo(self, packet: Packet, message: Message) -> list[Effect]:
        if packet.source == UNSPECIFIED:
            raise Dropped(Drop.IPV6_SOURCE, "unspecified")
        return self._reply(packet, Message(icmpv6.ECHO_REPLY, 0, message.body))

    def _reply(self, packet: Packet, message: Message) -> list[Effect]:
        own = packet.destination
        if is_multicast(own):
            own = self._identity.source(packet.source)
        payload = icmpv6.encode(own, packet.source, message)
        return self._output.reply(Packet(own, packet.source, ICMPV6, payload))

    def _limit(self, sender: Neighbour, now: float) -> None:
        if not sender.answers.take(now) or not self._answers.take(now):
            raise Dropped(Drop.RATE_LIMITED)

    def _changes(self, address: bytes, now: float) -> list[Effect]:
        """What follows when an address may have become known or unknown."""
        change = self._topology.changed(address)
        if self._topology.next_hop(address) is None:
            return [change] if change else []
        waiting = self._output.resolved(address, now)
        return [change, *waiting] if change else waiting

"""A mesh around a Router: nodes that speak, and what the gateway answers, all in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from adapters.lowpan.drops import Drop
from adapters.lowpan.effects import Effect, Transmit
from adapters.lowpan.ipv6 import icmpv6, srh, udp
from adapters.lowpan.ipv6.address import ALL_NODES, ALL_ROUTERS, ALL_RPL_NODES, link_local, parse
from adapters.lowpan.ipv6.icmpv6 import Message
from adapters.lowpan.ipv6.packet import ICMPV6, ROUTING, UDP, Extension, Packet, encode
from adapters.lowpan.ipv6.packet import parse as parse_packet
from adapters.lowpan.link import BROADCAST, LinkFrame, interface_id
from adapters.lowpan.router import Router, RouterConfig, RouterState
from adapters.lowpan.routing import nd_messages, rpl_messages
from adapters.lowpan.sixlowpan.adaptation import Adaptation
from adapters.lowpan.sixlowpan.contexts import Context
from adapters.lowpan.sixlowpan.fragments import ReassemblyLimits
from tests.lowpan.networks import GATEWAY, context

COAP = 5683
PORTS = frozenset({COAP, 61617})
"""To which the recorded nodes spoke."""


@dataclass(frozen=True)
class Sent:
    """A packet that the gateway transmitted, and to which link address."""

    link: bytes
    packet: Packet
    frames: tuple[bytes, ...]

    @property
    def message(self) -> Message:
        p = self.packet
        assert p.next_header == ICMPV6
        final = p.destination
        for extension in p.extensions:
            route = srh.parse(p.destination, extension.body)
            final = route.addresses[-1] if route.segments_left else final
        return icmpv6.parse(p.source, final, p.payload)


class Mesh:
    """A gateway with the prefix `prefix`, and a clock that stands still until told."""

    def __init__(
        self,
        prefix: str = "fd00::",
        *,
        state: RouterState | None = None,
        contexts: Mapping[int, Context] | None = None,
        max_payload: int = 104,
        accept_elided_checksum: bool = False,
    ) -> None:
        self.now = 1000.0
        self.prefix = parse(prefix)[:8]
        self.config = RouterConfig(
            GATEWAY,
            self.prefix,
            PORTS,
            contexts=contexts or {},
            max_payload=max_payload,
            accept_elided_checksum=accept_elided_checksum,
        )
        self.contexts = {0: context(f"{prefix}/64"), **(contexts or {})}
        self.router = Router(self.config, self.now, state, random=lambda: 0.5)

    @property
    def gateway(self) -> bytes:
        return self.router.identity.mesh

    def node(self, number: int) -> Node:
        return Node(self, bytes.fromhex("020000000000") + number.to_bytes(2, "big"))

    def hear(self, frame: LinkFrame) -> list[Effect]:
        return self.router.receive(frame, self.now)

    def wait(self, seconds: float) -> list[Effect]:
        """Lets time pass as the shell does: from deadline to deadline."""
        end = self.now + seconds
        effects: list[Effect] = []
        while (deadline := self.router.next_deadline()) <= end:
            self.now = max(self.now, deadline)
            effects += self.router.expire(self.now)
        self.now = end
        return effects

    def send(
        self, destination: bytes, data: bytes = b"hello", source: bytes | None = None
    ) -> list[Effect]:
        return self.router.send_udp(destination, COAP, COAP, data, self.now, source=source)

    def sent(self, effects: Iterable[Effect]) -> list[Sent]:
        """What was transmitted, decoded by its receiver, who holds every context."""
        packets = []
        for effect in effects:
            if isinstance(effect, Transmit):
                layer = Adaptation(self.contexts, 104, ReassemblyLimits(), Counter())
                received = None
                for payload in effect.payloads:
                    frame = LinkFrame(GATEWAY, effect.destination, payload)
                    received = layer.receive(frame, 0.0)
                assert received is not None
                packet = parse_packet(received.datagram)
                packets.append(Sent(effect.destination, packet, effect.payloads))
        return packets

    def messages(self, effects: Iterable[Effect]) -> list[Message]:
        return [sent.message for sent in self.sent(effects)]

    def drops(self) -> dict[str, int]:
        return dict(self.router.counters)


@dataclass(frozen=True)
class Node:
    """A node in reach of the gateway."""

    mesh: Mesh
    link: bytes
    contexts: bool = False
    """Whether it compresses with the mesh's contexts."""

    @property
    def link_local(self) -> bytes:
        return link_local(interface_id(self.link))

    @property
    def address(self) -> bytes:
        return self.mesh.prefix + interface_id(self.link)

    def compressing(self) -> Node:
        return replace(self, contexts=True)

    def send(self, packet: Packet, to: bytes = GATEWAY) -> list[Effect]:
        contexts = self.mesh.contexts if self.contexts else {}
        layer = Adaptation(contexts, 104, ReassemblyLimits(), Counter())
        effects: list[Effect] = []
        for payload in layer.frames(encode(packet), self.link, to, contexts):
            effects += self.mesh.hear(LinkFrame(self.link, to, payload, -60, 200))
        return effects

    def say(
        self,
        message: Message,
        destination: bytes,
        *,
        source: bytes | None = None,
        hop_limit: int = 255,
        extensions: tuple[Extension, ...] = (),
    ) -> list[Effect]:
        own = source or self.link_local
        payload = icmpv6.encode(own, destination, message)
        packet = Packet(own, destination, ICMPV6, payload, hop_limit, extensions)
        return self.send(packet, BROADCAST if destination[0] == 0xFF else GATEWAY)

    def udp(
        self,
        data: bytes,
        *,
        source: bytes | None = None,
        destination: bytes | None = None,
        port: int = COAP,
        extensions: tuple[Extension, ...] = (),
    ) -> list[Effect]:
        ends = source or self.address, destination or self.mesh.gateway
        payload = udp.encode(*ends, udp.UdpDatagram(COAP, port, data))
        return self.send(Packet(*ends, UDP, payload, extensions=extensions))

    def solicit_router(self) -> list[Effect]:
        body = bytes(4) + nd_messages.link_option(nd_messages.SOURCE_LINK, self.link)
        return self.say(Message(icmpv6.ROUTER_SOLICITATION, 0, body), ALL_ROUTERS)

    def register(
        self,
        lifetime_min: int = 15,
        *,
        address: bytes | None = None,
        eui64: bytes | None = None,
        hop_limit: int = 255,
    ) -> list[Effect]:
        router = self.mesh.router.identity.link_local
        option = bytes((33, 2, 0, 0, 0, 0)) + lifetime_min.to_bytes(2, "big") + (eui64 or self.link)
        question = nd_messages.solicitation(router, self.link)
        message = replace(question, body=question.body + option)
        return self.say(message, router, source=address or self.address, hop_limit=hop_limit)

    def solicit_dodag(
        self, destination: bytes = ALL_RPL_NODES, options: bytes = b""
    ) -> list[Effect]:
        message = Message(icmpv6.RPL_CONTROL, rpl_messages.DIS, bytes(2) + options)
        return self.say(message, destination, hop_limit=64)

    def advertise(
        self,
        parent: bytes | None,
        *,
        targets: tuple[bytes, ...] = (),
        lifetime: int = 30,
        sequence: int = 240,
        through: Node | None = None,
    ) -> list[Effect]:
        """A DAO, handed over by `through` if that is the last hop on its way."""
        body = bytes((0, 0x80, 0, sequence))
        for target in targets or (self.address,):
            body += bytes((5, 18, 0, 128)) + target
        body += bytes((6, 20 if parent else 4, 0, 0, 0, lifetime)) + (parent or b"")
        message = Message(icmpv6.RPL_CONTROL, rpl_messages.DAO, body)
        source, destination = self.address, self.mesh.gateway
        payload = icmpv6.encode(source, destination, message)
        return (through or self).send(Packet(source, destination, ICMPV6, payload, 63))


def source_route(packet: Packet) -> tuple[bytes, ...]:
    """The hops of a packet, its destination first."""
    for extension in packet.extensions:
        if extension.number == ROUTING:
            route = srh.parse(packet.destination, extension.body)
            return (packet.destination, *route.addresses)
    return (packet.destination,)


__all__ = ["ALL_NODES", "COAP", "Drop", "Mesh", "Node", "Sent", "source_route"]

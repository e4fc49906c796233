"""ICMPv6 messages: echo and errors (RFC 4443). What ND and RPL put in them is theirs."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.lowpan.drops import Drop, Dropped
from adapters.lowpan.ipv6 import srh
from adapters.lowpan.ipv6.address import UNSPECIFIED, is_multicast
from adapters.lowpan.ipv6.checksum import checksum
from adapters.lowpan.ipv6.packet import HEADER, ICMPV6, MIN_MTU, ROUTING, UDP, Packet

UNREACHABLE, TOO_BIG, TIME_EXCEEDED, PARAMETER_PROBLEM = 1, 2, 3, 4
ECHO_REQUEST, ECHO_REPLY = 128, 129
ROUTER_SOLICITATION, ROUTER_ADVERTISEMENT = 133, 134
NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT = 135, 136
RPL_CONTROL = 155

PORT_UNREACHABLE = 4
"""Code of UNREACHABLE."""
UNKNOWN_NEXT_HEADER, UNKNOWN_OPTION = 1, 2
"""Codes of PARAMETER_PROBLEM."""

_ERRORS = range(128)
_UNREACHABLE_TEXT = {
    0: "no route to the node",
    1: "forbidden on the way",
    3: "the node cannot be reached",
    4: "nothing listens on the port",
    7: "the source route is broken",
}


@dataclass(frozen=True, slots=True)
class Message:
    """A message; `body` is what follows the checksum."""

    type: int
    code: int
    body: bytes


@dataclass(frozen=True, slots=True)
class UdpError:
    """What an error message says about a UDP datagram of ours."""

    destination: bytes
    destination_port: int
    source_port: int
    reason: str


def parse(source: bytes, destination: bytes, payload: bytes) -> Message:
    """The message in a packet's payload; raises Dropped."""
    if len(payload) < 4:
        raise Dropped(Drop.ICMPV6_MALFORMED, "shorter than its header")
    if checksum(source, destination, ICMPV6, payload):
        raise Dropped(Drop.ICMPV6_CHECKSUM)
    return Message(payload[0], payload[1], payload[4:])


def encode(source: bytes, destination: bytes, message: Message) -> bytes:
    """The payload that carries a message."""
    head = bytes((message.type, message.code))
    value = checksum(source, destination, ICMPV6, head + b"\0\0" + message.body)
    return head + value.to_bytes(2, "big") + message.body


def may_report(packet: Packet, type: int, code: int) -> bool:
    """Whether an error message may answer a packet (RFC 4443 2.4 e)."""
    if packet.source == UNSPECIFIED or is_multicast(packet.source):
        return False
    if packet.next_header == ICMPV6 and packet.payload[:1] and packet.payload[0] in _ERRORS:
        return False
    return not is_multicast(packet.destination) or (type, code) == (
        PARAMETER_PROBLEM,
        UNKNOWN_OPTION,
    )


def error(type: int, code: int, datagram: bytes, pointer: int = 0) -> Message:
    """The error message about a datagram, of which it carries as much as fits."""
    room = MIN_MTU - HEADER - 8
    return Message(type, code, pointer.to_bytes(4, "big") + datagram[:room])


def udp_error(message: Message) -> UdpError | None:
    """Whose UDP datagram an error message is about; None if it does not say, or raises Dropped."""
    datagram = message.body[4:]
    if len(datagram) < HEADER:
        return None
    destination, number, at = datagram[24:40], datagram[6], HEADER
    if number == ROUTING and len(datagram) > at + 8:
        number, behind = datagram[at], at + 8 + 8 * datagram[at + 1]
        route = srh.parse(destination, datagram[at + 2 : behind])
        destination = route.addresses[-1] if route.segments_left else destination
        at = behind
    if number != UDP or len(datagram) < at + 4:
        return None
    text = f"ICMPv6 error {message.type}.{message.code}"
    if message.type == UNREACHABLE:
        text = _UNREACHABLE_TEXT.get(message.code, text)
    source_port = int.from_bytes(datagram[at : at + 2], "big")
    destination_port = int.from_bytes(datagram[at + 2 : at + 4], "big")
    return UdpError(destination, destination_port, source_port, text)

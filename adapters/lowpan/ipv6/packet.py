"""IPv6 packets with their extension headers (RFC 8200): octets to fields and back."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.lowpan.drops import Drop, Dropped
from gateway.errors import EncodeError

HEADER = 40
MIN_MTU = 1280
"""What every IPv6 link carries; nothing longer is sent."""

HOP_BY_HOP, UDP, ROUTING, FRAGMENT, ICMPV6, NO_NEXT, DESTINATION, MOBILITY = (
    *(0, 17, 43, 44, 58, 59, 60, 135),
)
_EXTENSIONS = frozenset({HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION, MOBILITY})

MAX_EXTENSIONS = 8
"""Extension headers in one packet; each kind at most twice (RFC 8200 4.1)."""


@dataclass(frozen=True, slots=True)
class Extension:
    """An extension header: its number, and what follows its next-header and length octets.

    Of a fragment header that is what follows its reserved octet, which is 0.
    """

    number: int
    body: bytes


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet; `next_header` is the number of the payload, behind all extension headers."""

    source: bytes
    destination: bytes
    next_header: int
    payload: bytes
    hop_limit: int = 64
    extensions: tuple[Extension, ...] = ()
    traffic_class: int = 0
    flow_label: int = 0


def parse(datagram: bytes) -> Packet:
    """The packet in a datagram; raises Dropped."""
    if len(datagram) < HEADER or datagram[0] >> 4 != 6:
        raise Dropped(Drop.IPV6_MALFORMED, "no IPv6 header")
    end = HEADER + (datagram[4] << 8 | datagram[5])
    if end > len(datagram):
        raise Dropped(Drop.IPV6_MALFORMED, "shorter than it says")
    number, at = datagram[6], HEADER
    extensions: tuple[Extension, ...] = ()
    while number in _EXTENSIONS:
        if end < at + 8 or len(extensions) == MAX_EXTENSIONS or (number == 0 and extensions):
            raise Dropped(Drop.IPV6_MALFORMED, "extension headers")
        behind = at + 8 + (0 if number == FRAGMENT else 8 * datagram[at + 1])
        if behind > end:
            raise Dropped(Drop.IPV6_MALFORMED, "extension header is longer than the packet")
        extensions += (Extension(number, datagram[at + 2 : behind]),)
        number, at = datagram[at], behind
    word = int.from_bytes(datagram[:4], "big")
    return Packet(
        source=datagram[8:24],
        destination=datagram[24:40],
        next_header=number,
        payload=datagram[at:end],
        hop_limit=datagram[7],
        extensions=extensions,
        traffic_class=word >> 20 & 0xFF,
        flow_label=word & 0xFFFFF,
    )


def encode(packet: Packet) -> bytes:
    """The datagram of a packet; raises EncodeError if an extension header has no legal length."""
    numbers = (*(extension.number for extension in packet.extensions), packet.next_header)
    octets = bytearray()
    for extension, following in zip(packet.extensions, numbers[1:], strict=True):
        units, odd = divmod(len(extension.body) + 2, 8)
        if odd or not 1 <= units <= 256:
            raise EncodeError(f"an extension header of {len(extension.body) + 2} octets")
        second = 0 if extension.number == FRAGMENT else units - 1
        octets += bytes((following, second)) + extension.body
    octets += packet.payload
    word = 6 << 28 | packet.traffic_class << 20 | packet.flow_label
    header = word << 32 | len(octets) << 16 | numbers[0] << 8 | packet.hop_limit
    return header.to_bytes(8, "big") + packet.source + packet.destination + octets

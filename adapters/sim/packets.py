"""IPv6, UDP, ICMPv6, neighbour discovery and RPL as a small node writes and reads them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

ICMPV6, UDP, ROUTING = 58, 17, 43
RS, RA, NS, NA, RPL = 133, 134, 135, 136, 155
DIS, DIO, DAO, DAO_ACK = 0, 1, 2, 3

ALL_NODES = bytes.fromhex("ff020000000000000000000000000001")
ALL_ROUTERS = bytes.fromhex("ff020000000000000000000000000002")
ALL_RPL_NODES = bytes.fromhex("ff02000000000000000000000000001a")

RANK_INCREASE = 256
INFINITE_RANK = 0xFFFF
REGISTRATION_MIN = 15
"""Minutes for which a node registers its address, as RIOT does."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A datagram without extension headers; `route` is its routing header, with segments left."""

    source: bytes
    destination: bytes
    next_header: int
    hop_limit: int
    payload: bytes
    route: bytes = b""

    def encode(self) -> bytes:
        """The octets."""
        rest = self.route + self.payload
        first = ROUTING if self.route else self.next_header
        head = b"\x60\0\0\0" + len(rest).to_bytes(2, "big") + bytes((first, self.hop_limit))
        return head + self.source + self.destination + rest


def parse(datagram: bytes) -> Packet:
    """The packet in a datagram; options and other routing headers are passed over."""
    next_header, rest, route = datagram[6], datagram[40:], b""
    while next_header in (0, 60, ROUTING):
        size = (rest[1] + 1) * 8
        if next_header == ROUTING and rest[2] == 3:
            route = rest[:size]
        next_header, rest = rest[0], rest[size:]
    return Packet(datagram[8:24], datagram[24:40], next_header, datagram[7], rest, route)


def forward(packet: Packet) -> Packet | None:
    """The packet as it goes to the next address of its source route (RFC 6554 4.2)."""
    route = packet.route
    if not route or not route[3]:
        return None
    shared, shared_last, padding = route[4] >> 4, route[4] & 15, route[5] >> 4
    addresses = route[8 : len(route) - padding]
    count = (len(addresses) - (16 - shared_last)) // (16 - shared) + 1
    left = route[3] - 1
    index = count - left - 1
    at = index * (16 - shared)
    elided = shared_last if index == count - 1 else shared
    suffix = addresses[at : at + 16 - elided]
    head = route[:3] + bytes((left,)) + route[4:8]
    swapped = addresses[:at] + packet.destination[elided:] + addresses[at + 16 - elided :]
    onwards = packet.destination[:elided] + suffix
    return Packet(
        *(packet.source, onwards, packet.next_header, packet.hop_limit - 1, packet.payload),
        head + swapped + bytes(padding),
    )


def checksum(source: bytes, destination: bytes, next_header: int, payload: bytes) -> bytes:
    """The upper layer's checksum; all zeros over a payload that holds a right one."""
    data = source + destination + len(payload).to_bytes(4, "big") + bytes((0, 0, 0, next_header))
    data += payload + bytes(len(payload) % 2)
    total = sum(int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return (total ^ 0xFFFF).to_bytes(2, "big")


def is_intact(packet: Packet) -> bool:
    """Whether the checksum fits the addresses."""
    ends = packet.source, packet.destination
    return checksum(*ends, packet.next_header, packet.payload) == b"\0\0"


def udp(source: bytes, destination: bytes, ports: tuple[int, int], data: bytes) -> Packet:
    """A UDP datagram from and to the given ports."""
    head = b"".join(port.to_bytes(2, "big") for port in ports) + (8 + len(data)).to_bytes(2, "big")
    right = checksum(source, destination, UDP, head + b"\0\0" + data)
    right = b"\xff\xff" if right == b"\0\0" else right
    return Packet(source, destination, UDP, 64, head + right + data)


def icmp(source: bytes, destination: bytes, type: int, code: int, body: bytes) -> Packet:
    """An ICMPv6 message; RPL's go with hop limit 64, as Contiki-NG's and RIOT's do."""
    head = bytes((type, code))
    right = checksum(source, destination, ICMPV6, head + b"\0\0" + body)
    hop_limit = 64 if type == RPL else 255
    return Packet(source, destination, ICMPV6, hop_limit, head + right + body)


def options(data: bytes, unit: int) -> Iterator[tuple[int, bytes]]:
    """Type and content of each option; `unit` is 8 for discovery and 0 for RPL."""
    while len(data) >= 2:
        if not unit and not data[0]:
            data = data[1:]
            continue
        size = data[1] * unit if unit else data[1] + 2
        if not 2 <= size <= len(data):
            return
        yield data[0], data[2:size]
        data = data[size:]


def link_option(type: int, eui64: bytes) -> bytes:
    """The option with a link address of 64 bits."""
    return bytes((type, 2)) + eui64 + bytes(6)


def router_solicitation(eui64: bytes) -> bytes:
    """The body of a router solicitation."""
    return bytes(4) + link_option(1, eui64)


def neighbour_solicitation(target: bytes, eui64: bytes, *, register: bool) -> bytes:
    """The body of a neighbour solicitation, with a registration (RFC 6775 4.1) or without."""
    body = bytes(4) + target + link_option(1, eui64)
    if register:
        body += bytes((33, 2, 0, 0, 0, 0)) + REGISTRATION_MIN.to_bytes(2, "big") + eui64
    return body


def neighbour_advertisement(target: bytes, eui64: bytes) -> bytes:
    """The body of an answer to a neighbour solicitation."""
    return b"\x60\0\0\0" + target + link_option(2, eui64)


def information(rank: int, version: int, dodag: bytes, dtsn: int, options: bytes) -> bytes:
    """The body of a DIO."""
    mode = 0x80 | 1 << 3
    head = bytes((0, version)) + rank.to_bytes(2, "big") + bytes((mode, dtsn, 0, 0))
    return head + dodag + options


def advertisement(sequence: int, dodag: bytes, target: bytes, parent: bytes) -> bytes:
    """The body of a DAO that asks for an acknowledgement."""
    transit = bytes((6, 20, 0, 0, sequence, 30)) + parent
    return bytes((0, 0xC0, 0, sequence)) + dodag + bytes((5, 18, 0, 128)) + target + transit

"""UDP over IPv6 (RFC 768, RFC 8200 8.1). Does not know what CoAP is."""

from dataclasses import dataclass

from adapters.lowpan.drops import Drop, Dropped
from adapters.lowpan.ipv6.checksum import checksum
from adapters.lowpan.ipv6.packet import UDP

HEADER = 8


@dataclass(frozen=True, slots=True)
class UdpDatagram:
    """Ports and data."""

    source_port: int
    destination_port: int
    data: bytes


def parse(source: bytes, destination: bytes, payload: bytes) -> UdpDatagram:
    """The datagram in a packet's payload; raises Dropped, also where the checksum is 0."""
    if len(payload) < HEADER or payload[4] << 8 | payload[5] != len(payload):
        raise Dropped(Drop.UDP_MALFORMED, "length")
    if payload[6:8] == b"\0\0" or checksum(source, destination, UDP, payload):
        raise Dropped(Drop.UDP_CHECKSUM)
    return UdpDatagram(payload[0] << 8 | payload[1], payload[2] << 8 | payload[3], payload[8:])


def encode(source: bytes, destination: bytes, datagram: UdpDatagram) -> bytes:
    """The payload that carries a datagram; `destination` is the final one."""
    length = HEADER + len(datagram.data)
    header = (datagram.source_port << 32 | datagram.destination_port << 16 | length).to_bytes(
        6, "big"
    )
    return _with_checksum(source, destination, header + b"\0\0" + datagram.data)


def fill_checksum(datagram: bytes, at: int) -> bytes:
    """An IPv6 datagram without routing header, with the checksum of its UDP header at `at`."""
    return datagram[:at] + _with_checksum(datagram[8:24], datagram[24:40], datagram[at:])


def _with_checksum(source: bytes, destination: bytes, payload: bytes) -> bytes:
    value = checksum(source, destination, UDP, payload) or 0xFFFF
    return payload[:6] + value.to_bytes(2, "big") + payload[8:]

"""Compression of what follows the IPv6 header (RFC 6282 4): extension headers and UDP."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from adapters.lowpan.drops import Drop, Dropped

HOP_BY_HOP, UDP, IPV6, ROUTING, FRAGMENT, DESTINATION, MOBILITY = 0, 17, 41, 43, 44, 60, 135
_NUMBERS = (HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION, MOBILITY, None, None, IPV6)
"""IPv6 header numbers by extension header id."""
_IDS = {number: eid for eid, number in enumerate(_NUMBERS[:5])}

MAX_HEADERS = 8
"""Compressed headers in one datagram; real ones have two, and nothing legal needs more."""

_PORTS = 0xF000
_PORTS_SHORT = 0xF0B0
_PORT_OCTETS = (4, 3, 3, 1)


@dataclass(frozen=True, slots=True)
class Expanded:
    """A header's number and the octets from it to the end.

    `udp_behind` counts the octets from a UDP header without checksum to the end; `contexts` has
    the bits of those that a tunnelled datagram used.
    """

    number: int
    octets: bytes
    udp_behind: int = 0
    contexts: int = 0


Inner = Callable[[bytes, int | None], Expanded]
"""Decompresses a tunnelled IPHC datagram, given its octets and the room that it has."""


@dataclass(frozen=True, slots=True)
class Chain:
    """Compressed headers, and how many octets of the datagram they stand for."""

    octets: bytes
    covered: int


def expand(data: bytes, at: int, room: int | None, inner: Inner, depth: int = 0) -> Expanded:
    """Restores the headers from `data[at]` on; raises Dropped.

    `room` is what the datagram has left for them where `data` is only its first fragment.
    """
    if at >= len(data):
        raise Dropped(Drop.TRUNCATED, "next header")
    if depth >= MAX_HEADERS:
        raise Dropped(Drop.NHC, "too many headers")
    octet = data[at]
    if octet & 0xF8 == 0xF0:
        return _expand_udp(data, at, room)
    if octet == 0xEE:
        return inner(data[at + 1 :], room)
    number = _NUMBERS[octet >> 1 & 7]
    if octet & 0xF0 != 0xE0 or number is None or number == IPV6:
        raise Dropped(Drop.NHC, f"{octet:#04x}")
    return _expand_extension(number, data, at, room, inner, depth=depth)


def _expand_extension(
    number: int, data: bytes, at: int, room: int | None, inner: Inner, *, depth: int
) -> Expanded:
    inline = not data[at] & 1
    at += 1 + inline
    if at >= len(data):
        raise Dropped(Drop.TRUNCATED, "extension header")
    length = 6 if number == FRAGMENT else data[at]
    body = data[at + 1 : at + 1 + length]
    if len(body) < length:
        raise Dropped(Drop.TRUNCATED, "extension header")
    missing = -(length + 2) % 8
    if missing and number not in (HOP_BY_HOP, DESTINATION):
        raise Dropped(Drop.NHC_LENGTH, f"header {number} of {length} octets")
    second = data[at] if number == FRAGMENT else (length + missing + 2) // 8 - 1
    behind = at + 1 + length
    left = None if room is None else room - 2 - length - missing
    if inline:
        following = Expanded(data[at - 1], data[behind:])
    else:
        following = expand(data, behind, left, inner, depth + 1)
    octets = bytes((following.number, second)) + body + _padding(missing) + following.octets
    return Expanded(number, octets, following.udp_behind, following.contexts)


def _padding(octets: int) -> bytes:
    """The Pad1 or PadN option that fills so many octets."""
    if octets < 2:
        return bytes(octets)
    return bytes((1, octets - 2)) + bytes(octets - 2)


def _expand_udp(data: bytes, at: int, room: int | None) -> Expanded:
    elided, form = data[at] & 4, data[at] & 3
    ports_end = at + 1 + _PORT_OCTETS[form]
    end = ports_end if elided else ports_end + 2
    if len(data) < end:
        raise Dropped(Drop.TRUNCATED, "UDP header")
    ports = int.from_bytes(data[at + 1 : ports_end], "big")
    match form:
        case 0:
            source, destination = ports >> 16, ports & 0xFFFF
        case 1:
            source, destination = ports >> 8, _PORTS | ports & 0xFF
        case 2:
            source, destination = _PORTS | ports >> 16, ports & 0xFFFF
        case _:
            source, destination = _PORTS_SHORT | ports >> 4, _PORTS_SHORT | ports & 15
    length = 8 + len(data) - end
    if room is not None:
        if length > room:
            raise Dropped(Drop.FRAGMENT_SIZE, "UDP data is longer than its datagram")
        length = room
    header = (source << 32 | destination << 16 | length).to_bytes(6, "big")
    octets = header + (data[ports_end:end] or bytes(2)) + data[end:]
    return Expanded(UDP, octets, len(octets) if elided else 0)


def compress(number: int, datagram: bytes, at: int) -> Chain | None:
    """The compressed form of the headers from `datagram[at]` on; None where there is none."""
    if number == UDP:
        return _compress_udp(datagram, at)
    if number not in _IDS or len(datagram) < at + 8:
        return None
    length = 8 if number == FRAGMENT else 8 * (datagram[at + 1] + 1)
    body = datagram[at + 2 : at + length]
    if len(body) < length - 2:
        return None
    if number in (HOP_BY_HOP, DESTINATION):
        body = body[: len(body) - _trailing_padding(body)]
    if len(body) > 255:
        return None
    second = datagram[at + 1] if number == FRAGMENT else len(body)
    # What a fragment of a UDP datagram says about its length is not the length of what is here.
    following = None if number == FRAGMENT else compress(datagram[at], datagram, at + length)
    octet = 0xE0 | _IDS[number] << 1
    if following is None:
        return Chain(bytes((octet, datagram[at], second)) + body, length)
    return Chain(bytes((octet | 1, second)) + body + following.octets, length + following.covered)


def _trailing_padding(options: bytes) -> int:
    """How many octets at the end are one padding option that `expand` will restore as it was."""
    at = last = 0
    while at < len(options):
        last = at
        at += 1 if options[at] == 0 else 2 + (options[at + 1] if at + 1 < len(options) else 0)
    octets = len(options) - last
    return octets if octets < 8 and options[last:] == _padding(octets) else 0


def _compress_udp(datagram: bytes, at: int) -> Chain | None:
    """Ports and checksum; the checksum is never elided."""
    length = int.from_bytes(datagram[at + 4 : at + 6], "big")
    if len(datagram) < at + 8 or length != len(datagram) - at:
        return None
    source = int.from_bytes(datagram[at : at + 2], "big")
    destination = int.from_bytes(datagram[at + 2 : at + 4], "big")
    if source & 0xFFF0 == destination & 0xFFF0 == _PORTS_SHORT:
        form, ports = 3, bytes((source << 4 & 0xF0 | destination & 15,))
    elif destination & 0xFF00 == _PORTS:
        form, ports = 1, datagram[at : at + 2] + datagram[at + 3 : at + 4]
    elif source & 0xFF00 == _PORTS:
        form, ports = 2, datagram[at + 1 : at + 4]
    else:
        form, ports = 0, datagram[at : at + 4]
    return Chain(bytes((0xF0 | form,)) + ports + datagram[at + 6 : at + 8], 8)

"""The source routing header of RPL (RFC 6554): built by the root, advanced by each hop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from adapters.lowpan.drops import Drop, Dropped
from gateway.errors import EncodeError

TYPE = 3
MAX_ELIDED = 15
"""Octets of a prefix that the header's four bits can leave out."""
_FIXED = 6
"""Octets of an extension header's body before the addresses."""


@dataclass(frozen=True, slots=True)
class SourceRoute:
    """The hops behind the packet's destination; the last `segments_left` are yet to be visited."""

    segments_left: int
    addresses: tuple[bytes, ...]


def encode(destination: bytes, route: SourceRoute) -> bytes:
    """The body of the routing header of a packet whose destination is `destination`."""
    if not 0 <= route.segments_left <= len(route.addresses) < 128:
        raise EncodeError("a source route visits each of its addresses once")
    elided = min((_shared(destination, a) for a in route.addresses), default=MAX_ELIDED)
    octets = b"".join(address[elided:] for address in route.addresses)
    padding = -len(octets) % 8
    head = bytes((TYPE, route.segments_left, elided << 4 | elided, padding << 4, 0, 0))
    return head + octets + bytes(padding)


def parse(destination: bytes, body: bytes) -> SourceRoute:
    """The source route in a routing header's body; raises Dropped."""
    if len(body) < _FIXED or body[0] != TYPE:
        raise Dropped(Drop.IPV6_ROUTING, "not a source route")
    elided, elided_last = body[2] >> 4, body[2] & 15
    octets = body[_FIXED : len(body) - (body[3] >> 4)]
    each, last = 16 - elided, 16 - elided_last
    before = len(octets) - last
    if not octets:
        addresses: tuple[bytes, ...] = ()
    elif before < 0 or before % each:
        raise Dropped(Drop.IPV6_ROUTING, "a part of an address")
    else:
        starts = range(0, before, each)
        addresses = (
            *(destination[:elided] + octets[at : at + each] for at in starts),
            destination[:elided_last] + octets[before:],
        )
    if body[1] > len(addresses):
        raise Dropped(Drop.IPV6_ROUTING, "more segments left than there are")
    return SourceRoute(body[1], addresses)


def advance(destination: bytes, route: SourceRoute) -> tuple[bytes, SourceRoute]:
    """The next destination and the route from there; there is one only with segments left."""
    at = len(route.addresses) - route.segments_left
    addresses = (*route.addresses[:at], destination, *route.addresses[at + 1 :])
    return route.addresses[at], SourceRoute(route.segments_left - 1, addresses)


def hops(path: Sequence[bytes]) -> tuple[bytes, SourceRoute]:
    """First destination and source route of a path from its first hop to its end."""
    return path[0], SourceRoute(len(path) - 1, tuple(path[1:]))


def _shared(one: bytes, other: bytes) -> int:
    shared = 0
    while shared < MAX_ELIDED and one[shared] == other[shared]:
        shared += 1
    return shared

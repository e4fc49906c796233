"""Decides what a frame's payload is from its first octets (RFC 4944 5.1, 8025, 8138)."""

from enum import Enum, auto

from adapters.lowpan.drops import Drop, Dropped


class Dispatch(Enum):
    """What follows."""

    IPV6 = auto()
    IPHC = auto()
    FIRST_FRAGMENT = auto()
    NEXT_FRAGMENT = auto()


_BROADCAST = 0x50
_REFUSED = {0x42: Drop.HC1, **dict.fromkeys(range(0xE8, 0xEC), Drop.RECOVERABLE_FRAGMENT)}


def classify(payload: bytes) -> tuple[Dispatch, bytes]:
    """What the payload is, and the payload from there on; raises Dropped.

    Page switches, the broadcast header and elective routing headers are skipped; the octet of
    an uncompressed IPv6 datagram too.
    """
    at = page = 0
    while at < len(payload):
        octet = payload[at]
        if octet & 0xE0 == 0x60:
            return Dispatch.IPHC, payload[at:] if at else payload
        if octet >= 0xF0:
            page = octet & 15
            if page > 1:
                raise Dropped(Drop.PAGE, f"page {page}")
            at += 1
        elif page == 1:
            at = _skip_routing_header(payload, at)
        elif octet == _BROADCAST:
            at += 2
        else:
            return _page_0(octet), payload[at + (octet == 0x41) :]
    raise Dropped(Drop.EMPTY)


def _skip_routing_header(payload: bytes, at: int) -> int:
    """Where the elective 6LoRH at `at` ends: its length is what follows its two octets."""
    octet = payload[at]
    if octet & 0xE0 == 0xA0:
        return at + 2 + (octet & 0x1F)
    raise Dropped(Drop.CRITICAL_6LORH if octet & 0xE0 == 0x80 else Drop.UNKNOWN_DISPATCH)


def _page_0(octet: int) -> Dispatch:
    if octet == 0x41:
        return Dispatch.IPV6
    if octet & 0xF8 == 0xC0:
        return Dispatch.FIRST_FRAGMENT
    if octet & 0xF8 == 0xE0:
        return Dispatch.NEXT_FRAGMENT
    if octet < 0x40:
        raise Dropped(Drop.NOT_LOWPAN)
    if octet & 0xC0 == 0x80:
        raise Dropped(Drop.MESH)
    raise Dropped(_REFUSED.get(octet, Drop.UNKNOWN_DISPATCH), f"{octet:#04x}")

"""Information elements of 802.15.4-2015 (7.4): where they end. What they say is of no use here."""

from __future__ import annotations

from adapters.lowpan.mac.drops import Drop, Dropped

_TERMINATION_1 = 0x7E
"""Payload elements follow the header elements."""

_TERMINATION_2 = 0x7F
"""The payload proper follows the header elements."""

_PAYLOAD_TERMINATION = 0xF


def skip_header(psdu: bytes, at: int) -> tuple[int, bool]:
    """Where the header elements that begin at `at` end, and whether payload elements follow.

    Without termination they reach to the end of the frame (7.4.1).
    """
    while at < len(psdu):
        descriptor = _descriptor(psdu, at)
        if descriptor & 0x8000:
            raise Dropped(Drop.ELEMENTS)
        at += 2 + (descriptor & 0x7F)
        element = descriptor >> 7 & 0xFF
        if at > len(psdu):
            raise Dropped(Drop.ELEMENTS)
        if element in {_TERMINATION_1, _TERMINATION_2}:
            return at, element == _TERMINATION_1
    return at, False


def skip_payload(payload: bytes) -> bytes:
    """The payload behind its payload elements."""
    at = 0
    while at < len(payload):
        descriptor = _descriptor(payload, at)
        if not descriptor & 0x8000:
            raise Dropped(Drop.ELEMENTS)
        at += 2 + (descriptor & 0x7FF)
        if at > len(payload):
            raise Dropped(Drop.ELEMENTS)
        if descriptor >> 11 & 0xF == _PAYLOAD_TERMINATION:
            break
    return payload[at:]


def _descriptor(octets: bytes, at: int) -> int:
    if at + 2 > len(octets):
        raise Dropped(Drop.ELEMENTS)
    return int.from_bytes(octets[at : at + 2], "little")

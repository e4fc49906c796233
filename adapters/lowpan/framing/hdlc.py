"""HDLC-lite as Spinel uses it: flag 7E, escape 7D, a CRC-16/X-25 at the end of each packet."""

from __future__ import annotations

import re

from adapters.lowpan.crc import crc16
from adapters.lowpan.framing.delimited import BadFrame, Deframer, Fault

PACKET_LIMIT = 1300
"""Octets: the longest Spinel frame that RCP firmware builds."""

_FLAG = b"\x7e"
_ESCAPE = b"\x7d"
_FLIP = 0x20
_CHECKSUM_SIZE = 2
_MUST_ESCAPE = re.compile(rb"[\x7e\x7d\x11\x13\xf8]")
_ESCAPED = re.compile(rb"\x7d(.)", re.DOTALL)


def encode(packet: bytes) -> bytes:
    """The packet as it goes onto the line, with a flag on either side."""
    body = packet + _checksum(packet)
    return _FLAG + _MUST_ESCAPE.sub(lambda m: _ESCAPE + bytes((m[0][0] ^ _FLIP,)), body) + _FLAG


def decoder() -> Deframer:
    """A decoder for what the line brings."""
    return Deframer(_FLAG, 2 * (PACKET_LIMIT + _CHECKSUM_SIZE), _unwrap)


def _checksum(packet: bytes) -> bytes:
    return (crc16(packet, 0xFFFF) ^ 0xFFFF).to_bytes(_CHECKSUM_SIZE, "little")


def _unwrap(piece: bytes) -> bytes | BadFrame:
    if (len(piece) - len(piece.rstrip(_ESCAPE))) % 2:
        return BadFrame(Fault.ESCAPE, len(piece))
    body = _ESCAPED.sub(lambda m: bytes((m[1][0] ^ _FLIP,)), piece)
    packet, checksum = body[:-_CHECKSUM_SIZE], body[-_CHECKSUM_SIZE:]
    if not packet:
        return BadFrame(Fault.TOO_SHORT, len(piece))
    if checksum != _checksum(packet):
        return BadFrame(Fault.CHECKSUM, len(piece))
    if len(packet) > PACKET_LIMIT:
        return BadFrame(Fault.TOO_LONG, len(piece))
    return packet

"""SLIP (RFC 1055): END C0, ESC DB; neither checksum nor length, so whoever reads must judge."""

from __future__ import annotations

import re

from adapters.lowpan.framing.delimited import BadFrame, Deframer, Fault

PACKET_LIMIT = 512
"""Octets: four times a radio frame, room for the firmware's debug lines."""

_END = b"\xc0"
_ESCAPE = b"\xdb"
_MUST_ESCAPE = re.compile(rb"[\xc0\xdb]")
_ESCAPED = re.compile(rb"\xdb(.?)", re.DOTALL)
_ENCODED = {b"\xc0": b"\xdb\xdc", b"\xdb": b"\xdb\xdd"}
_DECODED = {b"\xdc": b"\xc0", b"\xdd": b"\xdb"}


def encode(packet: bytes) -> bytes:
    """The packet as it goes onto the line, with END on either side."""
    return _END + _MUST_ESCAPE.sub(lambda m: _ENCODED[m[0]], packet) + _END


def decoder() -> Deframer:
    """A decoder for what the line brings."""
    return Deframer(_END, 2 * PACKET_LIMIT, _unwrap)


def _unwrap(piece: bytes) -> bytes | BadFrame:
    if any(follower not in _DECODED for follower in _ESCAPED.findall(piece)):
        return BadFrame(Fault.ESCAPE, len(piece))
    packet = _ESCAPED.sub(lambda m: _DECODED[m[1]], piece)
    if len(packet) > PACKET_LIMIT:
        return BadFrame(Fault.TOO_LONG, len(piece))
    return packet

"""Floats of 32 bits, which is how BLE devices measure. Pure."""

from __future__ import annotations

import struct

_SINGLE = struct.Struct("<f")


def meant(octets: bytes) -> float:
    """The shortest decimal number that is kept in these four octets.

    A thermometer that says 26.4 has it; its octets widened would be 26.399999618530273.
    """
    exact: float = _SINGLE.unpack(octets)[0]
    for digits in (6, 7, 8, 9):
        short = float(f"{exact:.{digits}g}")
        if _SINGLE.pack(short) == octets:
            return short
    return exact  # not a number

"""Floats of 32 bits, which is how small devices measure. Pure."""

from __future__ import annotations

import struct

_SINGLE = struct.Struct("<f")


def meant(single: float) -> float:
    """The shortest decimal number that is kept in the same 32 bits as this one.

    A thermometer that says 26.4 has it; its octets widened are 26.399999618530273. What nine digits
    tell exactly, a counter's 134217728, is meant as it is.
    """
    if float(f"{single:.9g}") == single:
        return single
    for digits in (6, 7, 8, 9):
        short = float(f"{single:.{digits}g}")
        if narrowed(short) == single:
            return short
    return single  # not a number


def narrowed(number: float) -> float:
    """The float of 32 bits that is nearest; OverflowError if it is beyond them."""
    single: float = _SINGLE.unpack(_SINGLE.pack(number))[0]
    return single

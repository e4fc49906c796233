"""Time spans as people write them, with their unit."""

from __future__ import annotations

import re

_UNITS_S = {"ms": 0.001, "s": 1.0, "min": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s|min|h|d)")


def parse_duration(value: object) -> float:
    """The seconds in text such as "500ms", "30s", "5min", "1h", "2d"; ValueError otherwise."""
    if isinstance(value, str) and (match := _DURATION.fullmatch(value.strip())):
        return float(match[1]) * _UNITS_S[match[2]]
    raise ValueError('expected a duration with its unit, such as "500ms", "30s", "5min", "1h"')


def about(seconds: float) -> str:
    """A time span for people, in its largest unit and rounded down: "5 min"."""
    for unit in ("d", "h", "min"):
        if seconds >= _UNITS_S[unit]:
            return f"{int(seconds // _UNITS_S[unit])} {unit}"
    return f"{max(0, int(seconds))} s"


def duration_text(seconds: float) -> str:
    """The inverse of `parse_duration`, in the largest unit without fraction."""
    for unit, size in reversed(_UNITS_S.items()):
        if seconds >= size and (seconds / size).is_integer():
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"

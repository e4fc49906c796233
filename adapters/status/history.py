"""The last hour of one value, thinned to what a plot can show."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from gateway.model import DeviceId, Path
from gateway.ports import NorthPort

HOUR_S = 3_600.0

PAGE = 1_000
"""Entries of one question to the journal."""

PARTS = 12
"""Parts into which the hour of a value that changes more often is cut, so that none is left out."""

BUCKET_S = 10.0
"""Of what lies within ten seconds, three pixels of a plot, the lowest and the highest are kept."""

Point = tuple[float, float]
"""Unix seconds, and the number; yes and no are 1 and 0."""


async def last_hour(port: NorthPort, device: DeviceId, path: Path, now: float) -> Sequence[Point]:
    """The points of a numeric value, the oldest first; Busy or StateError as the journal says."""
    start = now - HOUR_S
    entries = list(await port.history(device, path, start, now, limit=PAGE))
    if len(entries) == PAGE:
        length = HOUR_S / PARTS
        entries = [
            entry
            for part in range(PARTS)
            for entry in await port.history(
                device,
                path,
                start + part * length,
                start + (part + 1) * length,
                limit=PAGE // 3,
            )
        ]
    return thinned((e.at, float(e.value)) for e in entries if isinstance(e.value, int | float))


def thinned(points: Iterable[Point]) -> list[Point]:
    """Of each bucket the lowest and the highest point, in their order. Pure."""
    kept: list[Point] = []
    bucket: list[Point] = []
    for point in points:
        if bucket and point[0] // BUCKET_S != bucket[0][0] // BUCKET_S:
            kept += _extremes(bucket)
            bucket = []
        bucket.append(point)
    return kept + _extremes(bucket)


def _extremes(bucket: Sequence[Point]) -> list[Point]:
    if not bucket:
        return []
    low, high = min(bucket, key=_value), max(bucket, key=_value)
    return sorted({low, high})


def _value(point: Point) -> float:
    return point[1]

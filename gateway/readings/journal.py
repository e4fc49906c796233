"""The journal: every change that was told, numbered in its order, with its time. Pure.

It holds what is not on disk yet, and overlays it on what an `Archive` has.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Protocol

from gateway.events import Entry, Reading
from gateway.model import DeviceId, Path
from gateway.policy import Retention

MAX_UNSAVED = 20_000
"""Entries in memory: 100 s at 200 changes a second while a disk is full, 5 MB."""

MAX_BATCH = 5_000
"""Entries that are saved in one go, so that each go is short."""

MAX_PAGE = 1_000
"""Entries that are read in one go: a few milliseconds of work, 200 kB."""


@dataclass(frozen=True, slots=True)
class Query:
    """What of a device was measured at and below a path, after `start` until `end`.

    Unix seconds; oldest first, at most `limit`, those behind the entry `after`.
    """

    device: DeviceId
    path: Path
    start: float
    end: float
    limit: int
    after: Entry | None = None

    def matches(self, entry: Entry) -> bool:
        """Whether an entry is one of those, apart from the limit."""
        return (
            entry.device == self.device
            and self.start < entry.at <= self.end
            and self.path.covers(entry.path)
            and (self.after is None or order(entry) > order(self.after))
        )


@dataclass(frozen=True, slots=True)
class Correction:
    """The clock was set: entries numbered from `first` to `last` were measured `moved_s` later.

    Not those that would be in the future then, behind `now`: they have the new time already.
    """

    first: int
    last: int
    moved_s: float
    now: float


@dataclass(frozen=True, slots=True)
class Batch:
    """What is to be saved: entries in their order, how far readers have come, a correction."""

    entries: Sequence[Entry] = ()
    places: Mapping[str, int] = field(default_factory=dict)
    correction: Correction | None = None

    def __bool__(self) -> bool:
        return bool(self.entries or self.places or self.correction)


class Archive(Protocol):
    """The entries on disk. Busy if too many ask at a time, StateError if it cannot be read."""

    async def find(self, query: Query) -> Sequence[Entry]:
        """The entries that a query means."""

    async def since(self, number: int, limit: int) -> Sequence[Entry]:
        """The entries behind a number, in the order in which they were told."""


class Journal:
    """The journal of all devices. Without an archive it holds only the last entries.

    `last` is the number of the newest entry of an earlier life, `places` how far readers had come.
    """

    def __init__(
        self,
        archive: Archive | None = None,
        *,
        last: int = 0,
        places: Mapping[str, int] | None = None,
    ) -> None:
        self.retention = Retention()
        self.lost = 0
        self._archive = archive
        self._last = last
        self._first = last + 1  # of this life
        self._correction: Correction | None = None
        self._places = dict(places or {})
        self._moved: set[str] = set()
        self._unsaved: deque[Entry] = deque()

    @property
    def waiting(self) -> int:
        """How many changes are not on disk yet."""
        return len(self._unsaved)

    def record(self, reading: Reading, *, changed: bool = True) -> Entry | None:
        """Adds a change and gives its entry; None where nothing is to be kept of it."""
        if reading.value is None or not self.retention.entries:
            return None
        self._last += 1
        at = round(reading.at, 3)  # as SenML will show it
        entry = Entry(self._last, reading.device, reading.path, reading.value, at, changed)
        self._unsaved.append(entry)
        if len(self._unsaved) > MAX_UNSAVED:
            self._unsaved.popleft()
            self.lost += 1
        return entry

    def correct_times(self, moved_s: float, now: float) -> None:
        """The clock was set, which has moved it; on disk with the next batch. `now` as it says."""
        self._correction = Correction(self._first, self._last, moved_s, now)

    @property
    def is_settled(self) -> bool:
        """Whether times on disk are as they should be."""
        return self._correction is None

    def forget(self, device: DeviceId) -> None:
        """Drops what is not saved yet of a device."""
        self._unsaved = deque(entry for entry in self._unsaved if entry.device != device)

    # --- saving ----------------------------------------------------------------------------

    def unsaved(self) -> Batch:
        """The oldest of what is not on disk; it stays here until it is `saved`."""
        entries = list(islice(self._unsaved, MAX_BATCH))
        if len(entries) < len(self._unsaved):
            return Batch(entries)  # nothing else may be ahead of the entries on disk
        places = {reader: self._places[reader] for reader in self._moved}
        return Batch(entries, places, self._correction)

    def saved(self, batch: Batch) -> None:
        """A batch is on disk."""
        last = batch.entries[-1].number if batch.entries else 0
        while self._unsaved and self._unsaved[0].number <= last:
            self._unsaved.popleft()
        if batch.correction:
            self._correction = None
        self._moved -= {r for r, number in batch.places.items() if self._places[r] == number}

    # --- reading ---------------------------------------------------------------------------

    def place(self, reader: str) -> int:
        """The number that a reader has reached; a new reader starts with what is told next."""
        if reader not in self._places:
            self.reached(reader, self._last)
        return self._places[reader]

    def reached(self, reader: str, number: int) -> None:
        """Notes how far a reader has come; on disk with the next batch."""
        if self._places.get(reader) != number:
            self._places[reader] = number
            self._moved.add(reader)

    async def find(self, query: Query) -> Sequence[Entry]:
        """The entries that a query means; at most MAX_PAGE."""
        limit = min(query.limit, MAX_PAGE)
        found = {entry.number: entry for entry in self._unsaved if query.matches(entry)}
        if self._archive:  # what is saved meanwhile comes twice, and what was saved before once
            found |= {entry.number: entry for entry in await self._archive.find(query)}
        return sorted(found.values(), key=order)[:limit]

    async def since(self, number: int, limit: int) -> tuple[Sequence[Entry], int]:
        """The entries behind a number, in the order in which they were told; at most MAX_PAGE.

        And the number up to which nothing is missing: that of the newest one, if these are all.
        """
        limit, newest = min(limit, MAX_PAGE), self._last
        first = self._unsaved[0].number if self._unsaved else newest + 1
        entries = list(islice((e for e in self._unsaved if e.number > number), limit))
        if self._archive and first > number + 1:
            saved = list(await self._archive.since(number, limit))
            last = saved[-1].number if saved else number
            entries = [*saved, *(entry for entry in entries if entry.number > last)][:limit]
        return entries, newest if len(entries) < limit else entries[-1].number


def order(entry: Entry) -> tuple[float, int]:
    """By the time of the measurement; those of one moment as they were told."""
    return entry.at, entry.number


def whole_moments(entries: Sequence[Entry], limit: int) -> Sequence[Entry]:
    """The oldest of them, about `limit`, so that no moment is shown in part.

    Who got them goes on from the time of the last one.
    """
    if len(entries) <= limit:
        return entries
    cut = entries[limit].at
    return [e for e in entries[:limit] if e.at < cut] or [e for e in entries if e.at == cut]

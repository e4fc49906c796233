"""A subscriber's view: the newest record of each name, whatever order items and events come in.

Pure. Duplicates are normal (XEP-0060 4.3: a service may send the last item again).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from adapters.xmpp.formats import records
from adapters.xmpp.stanzas import Deleted, Item, NodeEvent, Published
from gateway.errors import DecodeError
from gateway.formats.senml import Record

MAX_NAMES = 1_000_000
"""Ten thousand devices of a hundred records; a bound against a publisher gone wild."""


@dataclass(frozen=True, slots=True)
class Update:
    """A record is new or has changed, or (`gone`) is the last one of a name that is gone."""

    node: str
    item: str
    record: Record
    gone: bool = False


class View:
    """What a subscriber knows of several nodes."""

    def __init__(self) -> None:
        self._records: dict[tuple[str, str], Mapping[str, Record]] = {}
        self._names = 0

    def apply(self, event: NodeEvent, now: float) -> Sequence[Update]:
        """What an event changes; `now` counts for records with relative time."""
        match event:
            case Published():
                gone = [u for item in event.retracted for u in self._drop(event.node, item)]
                new = [u for item in event.items for u in self._take(event.node, item, now)]
                return gone + new
            case Deleted():
                items = [item for node, item in self._records if node == event.node]
                return [u for item in items for u in self._drop(event.node, item)]

    def _take(self, node: str, item: Item, now: float) -> Sequence[Update]:
        known = self._records.get((node, item.id), {})
        said = _keyed(_records(item, now))
        if not said or _newest(said) < _newest(known):
            return []  # none of ours, or an older one that comes late
        if self._names + len(said) - len(known) > MAX_NAMES:
            return []
        self._names += len(said) - len(known)
        self._records[node, item.id] = said
        gone = [Update(node, item.id, r, gone=True) for n, r in known.items() if n not in said]
        new = [Update(node, item.id, r) for n, r in said.items() if known.get(n) != r]
        return gone + new

    def _drop(self, node: str, item: str) -> Sequence[Update]:
        known = self._records.pop((node, item), {})
        self._names -= len(known)
        return [Update(node, item, record, gone=True) for record in known.values()]


def _keyed(records: Sequence[Record]) -> Mapping[str, Record]:
    """The records by name; by name and time where a pack of the past has several of one name."""
    times = Counter(record.name for record in records)
    return {r.name if times[r.name] == 1 else f"{r.name} {r.time}": r for r in records}


def _newest(records: Mapping[str, Record]) -> float:
    return max((record.time or 0.0 for record in records.values()), default=0.0)


def _records(item: Item, now: float) -> Sequence[Record]:
    """The records of an item; none of one that is not SenML."""
    if item.payload is None:
        return []
    try:
        return records(item.payload, now)
    except DecodeError:
        return []

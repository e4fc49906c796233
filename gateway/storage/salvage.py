"""What is saved of a damaged state database: what can still be read and makes sense, and the spare.

The spare is a small copy of who the devices are, written anew when that changes. An SD card that
loses power while it writes seldom damages both.
"""

from __future__ import annotations

import contextlib
import logging
import math
import sqlite3
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path as FilePath
from typing import Any

from gateway.errors import StateError
from gateway.model import GATEWAY, MAX_ID, DeviceId, Path, check_prefix, eui64
from gateway.storage.values import value_from

log = logging.getLogger(__name__)

SPARED = ("device", "instance")
"""The tables of a spare: what a client's paths depend on."""

_JUDGED = {
    "device": "device",
    "instance": "instance number",
    "value": "last value",
    "series": "journal of a resource",
}
"""The tables whose rows must make sense before the daemon starts, and what a row of them is."""

Row = tuple[Any, ...]
Rows = Mapping[str, Sequence[Row]]
"""Rows by their table."""

as_text = partial(str, encoding="utf-8", errors="replace")
"""How text is read: where a bit has turned, SQLite's own way would refuse all rows behind it."""


def salvage(source: FilePath, tables: Sequence[str], into: sqlite3.Connection) -> int:
    """Copies the rows that can be read, make sense and are not there yet; how many.

    Nothing is committed.
    """
    saved = 0
    for table in tables:
        for row in _rows(source, table):
            saved += _insert(into, table, row)
    return saved


def judged(db: sqlite3.Connection, tables: Iterable[str] = _JUDGED) -> tuple[Rows, Rows]:
    """The rows that make sense, and those that do not: an old SD card turns bits."""
    sensible: dict[str, list[Row]] = {table: [] for table in _JUDGED}
    garbled: dict[str, list[Row]] = defaultdict(list)
    taken: set[object] = set()
    for table in tables:
        for row in db.execute(f"SELECT * FROM {table}"):  # noqa: S608  (our own names)
            owned = _owned(table, row)
            fits = _sensible(table, row) and taken.isdisjoint(owned)
            taken.update(owned if fits else ())
            (sensible if fits else garbled)[table].append(row)
    return sensible, garbled


def fill(db: sqlite3.Connection, rows: Rows) -> sqlite3.Connection:
    """A new database, with the rows in it."""
    with db:
        for table in rows:
            for row in rows[table]:
                _insert(db, table, row)
    return db


def mend(db: sqlite3.Connection, sensible: Rows, garbled: Rows, spare: FilePath) -> None:
    """Takes out what is garbled, and takes from the spare what it has of it; one line a table."""
    with db:
        for table in garbled.keys() - {"series"}:  # written anew: a garbled key is hard to name
            db.execute(f"DELETE FROM {table}")  # noqa: S608
            for row in sensible[table]:
                _insert(db, table, row)
        forgotten = [(row[0],) for row in garbled.get("series", ())]  # and so pruned
        db.executemany("UPDATE series SET device = NULL WHERE id = ?", forgotten)
        if not garbled.keys().isdisjoint(SPARED):
            salvage(spare, SPARED, db)
        drop_orphans(db)
    for table, rows in garbled.items():
        log.warning(
            "%d times, a %s in the state database makes no sense any more and is left out: %.200r. "
            "Does the disk wear out? Who the devices are is taken from %s, where that has it",
            len(rows), _JUDGED[table], rows[0], spare,
        )  # fmt: skip


def drop_orphans(db: sqlite3.Connection) -> None:
    """Drops instance numbers without their device: a number counts only with it."""
    db.execute(
        "DELETE FROM instance WHERE device != ? AND device NOT IN (SELECT id FROM device)",
        (GATEWAY,),
    )


def _insert(into: sqlite3.Connection, table: str, row: Row) -> int:
    """Inserts a row where its place is free; how many that are."""
    places = ", ".join("?" * len(row))
    with contextlib.suppress(sqlite3.IntegrityError):
        sql = f"INSERT OR IGNORE INTO {table} VALUES ({places})"  # noqa: S608  (our names)
        return into.execute(sql, row).rowcount
    return 0


def _rows(source: FilePath, table: str) -> Iterator[Row]:
    """A table's rows, until a damaged one cannot be read."""
    with (
        contextlib.suppress(sqlite3.Error, OverflowError),
        contextlib.closing(
            sqlite3.connect(f"{source.absolute().as_uri()}?mode=rw", uri=True)
        ) as db,
    ):
        db.text_factory = as_text
        db.execute("PRAGMA locking_mode = EXCLUSIVE")  # which wants no room on the disk
        for row in db.execute(f"SELECT * FROM {table}"):  # noqa: S608  (our own names)
            if _sensible(table, row):
                yield row


def _sensible(table: str, row: Row) -> bool:
    """Whether a row that could be read is one that the gateway would have written."""
    try:
        match table, row:
            case "adapter", (str(), str(), bytes()):
                return True
            case "device", (str(device), str(prefix), str(), str(), int(), float() | None):
                return bool(eui64(DeviceId(device))) and check_prefix(prefix) == prefix
            case "instance", (str(device), int(object_id), str(), int(number)):
                is_device = device == GATEWAY or bool(eui64(DeviceId(device)))
                return is_device and 0 <= object_id <= MAX_ID and 0 <= number <= MAX_ID
            case "value", (str(device), str(path), str(text), float(at)):
                value_from(text)
                return bool(eui64(DeviceId(device)) and Path.parse(path)) and math.isfinite(at)
            case "series", (int(), None, str()):
                return True
            case "series", (int(), str(device), str(path)):
                return bool(eui64(DeviceId(device)) and Path.parse(path))
            case _:
                return False
    except (ValueError, RecursionError, StateError):
        return False


def _owned(table: str, row: Row) -> Sequence[object]:
    """What no second row of the table may have: an index may not know of a turned bit."""
    match table, row:
        case "device", (device, prefix, *_):
            return [("id", device), ("prefix", prefix)]
        case "instance", (device, object_id, _, number):
            return [(device, object_id, number)]
        case _:
            return []

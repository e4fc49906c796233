"""What is saved of a damaged state database: what can still be read of it, and the spare.

The spare is a small copy of who the devices are, written anew when that changes. An SD card that
loses power while it writes seldom damages both.
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path as FilePath
from typing import Any

from gateway.model import GATEWAY, Path, check_prefix, parse_device_id

SPARED = ("device", "instance")
"""The tables of a spare: what a client's paths depend on."""

as_text = partial(str, encoding="utf-8", errors="replace")
"""How text is read: where a bit has turned, SQLite's own way would refuse all rows behind it."""


def salvage(source: FilePath, tables: Sequence[str], into: sqlite3.Connection) -> int:
    """Copies the rows that can be read, make sense and are not there yet; how many.

    Nothing is committed.
    """
    saved = 0
    for table in tables:
        for row in _rows(source, table):
            places = ", ".join("?" * len(row))
            with contextlib.suppress(sqlite3.IntegrityError):
                sql = f"INSERT OR IGNORE INTO {table} VALUES ({places})"  # noqa: S608  (our names)
                saved += into.execute(sql, row).rowcount
    return saved


def _rows(source: FilePath, table: str) -> Iterator[tuple[Any, ...]]:
    """A table's rows, until a damaged one cannot be read."""
    with (
        contextlib.suppress(sqlite3.Error, OverflowError),
        contextlib.closing(
            sqlite3.connect(f"{source.absolute().as_uri()}?mode=ro", uri=True)
        ) as db,
    ):
        db.text_factory = as_text
        for row in db.execute(f"SELECT * FROM {table}"):  # noqa: S608  (our own names)
            if _sensible(table, row):
                yield row


def _sensible(table: str, row: tuple[Any, ...]) -> bool:
    """Whether a row that could be read is one that the gateway would have written."""
    try:
        match table, row:
            case "adapter", (str(), str(), bytes()):
                return True
            case "device", (str(device), str(prefix), str(), str(), int(), float() | None):
                return parse_device_id(device) == device and check_prefix(prefix) == prefix
            case "instance", (str(device), int(), str(), int()):
                return device == GATEWAY or parse_device_id(device) == device
            case "value", (str(device), str(path), str(), float()):
                return parse_device_id(device) == device and bool(Path.parse(path))
            case _:
                return False
    except ValueError:
        return False

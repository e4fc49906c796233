"""The journal on disk: writes it in batches, prunes it in pieces, and reads it in a thread.

Writing and pruning are the saver's; readers have a connection of their own, so that neither waits
for the other (SQLite's WAL).
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from gateway.errors import Busy, StateError
from gateway.events import Entry
from gateway.model import DeviceId, Path
from gateway.policy import Retention
from gateway.readings.journal import Batch, Correction, Query
from gateway.storage.database import BUSY_TIMEOUT_S
from gateway.storage.salvage import as_text
from gateway.storage.state import StateDatabase
from gateway.storage.values import text_of, value_from

PIECE = 1_000
"""Entries that one transaction writes or deletes: a few milliseconds, in which others wait."""

PIECES = 20
"""Pieces that are pruned in one go; what is still too much then is pruned in the next."""

REST_S = 0.002
"""Between pieces, so that who waits for the database gets it."""

MAX_QUERIES = 16
"""Queries that wait for the one reading thread; more get a Busy."""

READ_TIMEOUT_S = 10.0
"""A query over everything takes a second; one that takes longer has a broken disk."""

_FOUND = (
    "SELECT number, device, path, at_ms, value, changed "
    "FROM journal JOIN series ON series.id = series AND json_valid(value) "
    "AND (value NOT GLOB '[[{n]*' OR is_value(value))"
)
"""An entry that an old SD card garbled is lost alone."""

_DELETE_OLDEST = (
    "DELETE FROM journal WHERE number IN (SELECT number FROM journal ORDER BY number LIMIT ?)"
)
_DELETE_ORPHANS = (
    "DELETE FROM journal WHERE number IN (SELECT number FROM journal "
    "WHERE series IN (SELECT id FROM series WHERE device IS NULL) LIMIT ?)"
)

_TO_DO = "correction until *"
"""Among the readers' places: how far a correction of times has come."""

_LARGEST = 2**62
"""What a device may say as time in milliseconds, either way, lest SQLite cannot hold it."""


class Archive:
    """The journal's tables of a database; implements the journal's Archive."""

    def __init__(self, state: StateDatabase) -> None:
        self._state = state
        self._entries: int | None = None
        self._db: sqlite3.Connection | None = None
        self._reader = ThreadPoolExecutor(1, "archive")
        self._queries = 0
        self._is_corrected = False

    def close(self) -> None:
        """Ends what is being read; nothing may be asked afterwards."""
        self._interrupt()
        self._reader.submit(self._close)
        self._reader.shutdown(wait=False)

    def _interrupt(self) -> None:
        if self._db:
            self._db.interrupt()

    def _close(self) -> None:
        if self._db:
            self._db.close()

    # --- the saver's ---------------------------------------------------------------------------

    def load(self) -> tuple[int, dict[str, int]]:
        """The last number that was given, and how far readers have come."""
        with self._state.commit(synced=False) as db:
            places = dict(
                db.execute(f"SELECT reader, number FROM place WHERE reader NOT GLOB '{_TO_DO}'")  # noqa: S608
            )
            (last,) = db.execute("SELECT max(number) FROM journal").fetchone()
        return max(last or 0, *places.values(), 0), places

    def write(self, batch: Batch) -> None:
        """Writes a batch, or as much of it as can be written before a StateError."""
        for start in range(0, len(batch.entries), PIECE):
            self._write(batch.entries[start : start + PIECE])
        if batch.correction or batch.places:  # together: a correction is never noted twice
            with self._state.commit(synced=False) as db:
                if batch.correction:
                    _note(db, batch.correction)
                    self._is_corrected = False
                db.executemany("INSERT OR REPLACE INTO place VALUES (?, ?)", batch.places.items())

    def _write(self, entries: Sequence[Entry]) -> None:
        series = {(entry.device, str(entry.path)) for entry in entries}
        with self._state.commit(synced=False) as db:
            # A device may have been forgotten since: nothing of it comes back.
            db.executemany(
                "INSERT OR IGNORE INTO series (device, path) SELECT ?, ? "
                "WHERE EXISTS (SELECT 1 FROM device WHERE id = ?)",
                [(device, path, device) for device, path in series],
            )
            cursor = db.executemany(
                "INSERT OR IGNORE INTO journal "
                "SELECT ?, id, ?, ?, ? FROM series WHERE device = ? AND path = ?",
                [
                    (e.number, _ms(e.at), text_of(e.value), e.changed, e.device, str(e.path))
                    for e in entries
                ],
            )
        if self._entries is not None:
            self._entries += cursor.rowcount

    def correct(self) -> bool:
        """Corrects times as corrections that were written want it, some of them at a time; False
        if more is to be done.

        One that a kill has interrupted goes on in the next life, where it was.
        """
        for _ in range(0 if self._is_corrected else PIECES):
            with self._state.commit(synced=False) as db:
                self._is_corrected = not _correct_piece(db)
            if self._is_corrected:
                break
            time.sleep(REST_S)
        return self._is_corrected

    def prune(self, retention: Retention, now: float) -> bool:
        """Deletes what is too old or too much, some of it at a time; False if more is to be done.

        `now` is Unix seconds.
        """
        for _ in range(PIECES):
            with self._state.commit(synced=False) as db:
                if self._entries is None:
                    self._entries = db.execute("SELECT count(*) FROM journal").fetchone()[0]
                excess = min(self._entries - retention.entries, PIECE)
                deleted = sum(_deleted(db, excess, _ms(now - retention.age_s)))
            self._entries -= deleted
            if deleted < PIECE:
                return True
            time.sleep(REST_S)
        return False

    # --- what is asked ---------------------------------------------------------------------------

    async def find(self, query: Query) -> Sequence[Entry]:
        if self._queries >= MAX_QUERIES:
            raise Busy("too many ask for the history at the moment")
        self._queries += 1
        try:
            return await self._read(lambda: self._find(query))
        finally:
            self._queries -= 1

    async def since(self, number: int, limit: int) -> Sequence[Entry]:
        sql = f"{_FOUND} WHERE number > ? AND device IS NOT NULL ORDER BY number LIMIT ?"
        return await self._read(lambda: self._entries_of(sql, (number, limit)))

    async def _read(self, work: Callable[[], Sequence[Entry]]) -> Sequence[Entry]:
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                return await asyncio.get_running_loop().run_in_executor(self._reader, work)
        except TimeoutError:
            self._interrupt()
            raise StateError(f"{self._state.file} cannot be read in {READ_TIMEOUT_S:g} s") from None
        except (sqlite3.Error, ValueError) as error:  # a ValueError: garbled
            raise StateError(f"{self._state.file}: {error}") from error
        except RuntimeError as error:  # closed
            raise StateError("the journal is closed") from error

    def _find(self, query: Query) -> Sequence[Entry]:
        path, after = str(query.path), query.after
        ids = [
            row[0]
            for row in self._execute(
                "SELECT id FROM series WHERE device = ? AND (path = ? OR path GLOB ?)",
                (query.device, path, f"{path}/*"),
            )
        ]
        # One series alone comes in the order of its index, without being sorted.
        which = f"series IN ({', '.join('?' * len(ids))})" if len(ids) != 1 else "series = ?"
        sql = (
            f"{_FOUND} WHERE {which} AND at_ms > ? AND at_ms <= ? AND (at_ms, number) > (?, ?) "
            "ORDER BY at_ms, number LIMIT ?"
        )
        behind = (_ms(after.at), after.number) if after else (-_LARGEST, 0)
        times = (_ms(query.start), _ms(query.end))
        return self._entries_of(sql, (*ids, *times, *behind, query.limit)) if ids else []

    def _entries_of(self, sql: str, parameters: Iterable[Any]) -> Sequence[Entry]:
        paths: dict[str, Path] = {}
        return [
            Entry(
                number,
                DeviceId(device),
                paths.get(path) or paths.setdefault(path, Path.parse(path)),
                value,
                at_ms / 1000,
                bool(changed),
            )
            for number, device, path, at_ms, text, changed in self._execute(sql, tuple(parameters))
            if (value := value_from(text)) is not None
        ]

    def _execute(self, sql: str, parameters: Sequence[Any]) -> sqlite3.Cursor:
        if not self._db:
            self._state.require_shared()
            self._db = sqlite3.connect(
                self._state.file, timeout=BUSY_TIMEOUT_S, check_same_thread=False
            )
            self._db.execute("PRAGMA query_only = 1")
            self._db.text_factory = as_text
            self._db.create_function("is_value", 1, _is_value, deterministic=True)
        return self._db.execute(sql, parameters)


def _note(db: sqlite3.Connection, correction: Correction) -> None:
    """Notes a correction as a reader who changes what it reads, and has read nothing yet."""
    moved_ms, now_ms = _ms(correction.moved_s), _ms(correction.now)
    reader = f"correction until {correction.last} by {moved_ms} before {now_ms}"
    db.execute("INSERT OR REPLACE INTO place VALUES (?, ?)", (reader, correction.first - 1))


def _correct_piece(db: sqlite3.Connection) -> bool:
    """Corrects a piece, and notes in the same transaction that it is done; False if all is."""
    sql = f"SELECT reader, number FROM place WHERE reader GLOB '{_TO_DO}' LIMIT 1"  # noqa: S608
    if not (row := db.execute(sql).fetchone()):
        return False
    reader, done = row
    try:
        last, moved_ms, now_ms = map(int, reader.split()[2::2])
    except ValueError:  # garbled
        last, moved_ms, now_ms = done, 0, 0
    upto = min(done + PIECE, last)
    db.execute(
        "UPDATE journal SET at_ms = at_ms + ? WHERE number > ? AND number <= ? AND at_ms + ? <= ?",
        (moved_ms, done, upto, moved_ms, now_ms),
    )
    if upto < last:
        db.execute("UPDATE place SET number = ? WHERE reader = ?", (upto, reader))
    else:
        db.execute("DELETE FROM place WHERE reader = ?", (reader,))
    return True


def _deleted(db: sqlite3.Connection, excess: int, too_old_ms: int) -> Iterable[int]:
    """Deletes the oldest ones above the number, those before the time, those of no device."""
    if excess > 0:
        yield db.execute(_DELETE_OLDEST, (excess,)).rowcount
    yield db.execute(f"{_DELETE_OLDEST} AND at_ms < ?", (PIECE, too_old_ms)).rowcount
    orphans = db.execute(_DELETE_ORPHANS, (PIECE,)).rowcount
    if not orphans:
        db.execute("DELETE FROM series WHERE device IS NULL")
    yield orphans


def _is_value(text: str) -> bool:
    try:
        return value_from(text) is not None
    except (ValueError, RecursionError, StateError):
        return False


def _ms(at: float) -> int:
    return round(max(-_LARGEST, min(at * 1000, _LARGEST)))

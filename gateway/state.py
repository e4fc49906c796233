"""The state database: what is kept for ever, and the last values. Nothing else touches disk.

SQLite in WAL mode: a killed process loses nothing committed, a power cut at most the last
seconds of values; who a device is, is synced before it is used.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import os
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path as FilePath

from gateway.errors import StateError
from gateway.events import Device, Resource
from gateway.identities import Remembered
from gateway.model import GATEWAY, DeviceId, ObjLink, Path, Value

log = logging.getLogger(__name__)

FILE_NAME = "state.db"

BUSY_TIMEOUT_S = 5.0
"""How long another process (a backup) may hold the database."""

# One step an entry; a database of version n has had the first n. Never change one that shipped.
MIGRATIONS = (
    """
    CREATE TABLE device (
        id TEXT PRIMARY KEY, prefix TEXT NOT NULL UNIQUE, name TEXT NOT NULL,
        adapter TEXT NOT NULL, joined INTEGER NOT NULL, last_seen REAL
    ) STRICT;
    CREATE TABLE instance (
        device TEXT NOT NULL, object INTEGER NOT NULL, key TEXT NOT NULL, number INTEGER NOT NULL,
        PRIMARY KEY (device, object, key), UNIQUE (device, object, number)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE value (
        device TEXT NOT NULL, path TEXT NOT NULL, value TEXT NOT NULL, at REAL NOT NULL,
        PRIMARY KEY (device, path)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE adapter (
        name TEXT NOT NULL, key TEXT NOT NULL, data BLOB NOT NULL, PRIMARY KEY (name, key)
    ) STRICT, WITHOUT ROWID;
    """,
    # The journal. A series without device is one that was forgotten: its entries are pruned.
    """
    CREATE TABLE series (
        id INTEGER PRIMARY KEY, device TEXT, path TEXT NOT NULL, UNIQUE (device, path)
    ) STRICT;
    CREATE TABLE journal (
        number INTEGER PRIMARY KEY, series INTEGER NOT NULL, at_ms INTEGER NOT NULL,
        value TEXT NOT NULL
    ) STRICT;
    CREATE INDEX journal_of_series ON journal (series, at_ms);
    CREATE TABLE place (reader TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    """,
)

BACKED_UP = ("device", "instance", "value", "adapter")
"""The tables of a backup. The journal is not in it: it is large, and only of the last days."""


class StateDatabase:
    """The database in `folder`; implements the hub's Memory. Safe to use from two threads."""

    def __init__(self, folder: FilePath) -> None:
        self.file = folder / FILE_NAME
        self._lock = threading.Lock()
        with contextlib.ExitStack() as undo:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                undo.callback(os.close, lock_folder(folder))
                self._db = self._open()
            except OSError as error:
                raise StateError(
                    f"{folder}: {error.strerror or error}; is it writable for the daemon's user? "
                    "Another folder is named by --state"
                ) from error
            undo.callback(self._db.close)
            self._undo = undo.pop_all()

    def close(self) -> None:
        """Closes the database; nothing may be asked of it afterwards."""
        with self._lock:
            self._undo.close()

    def load(self) -> Sequence[Remembered]:
        """Every remembered device with its instance numbers and last values."""
        with self._errors():
            rows = self._db.execute("SELECT * FROM device ORDER BY rowid").fetchall()
            instances: dict[str, dict[tuple[int, str], int]] = defaultdict(dict)
            for device, object_id, key, number in self._db.execute("SELECT * FROM instance"):
                instances[device][object_id, key] = number
            values: dict[str, list[Resource]] = defaultdict(list)
            for device, path, value, at in self._db.execute("SELECT * FROM value"):
                values[device].append(Resource(Path.parse(path), value_from(value), at))
        known = [
            Remembered(
                DeviceId(i), prefix, name, adapter, bool(joined), seen, instances[i], values[i]
            )
            for i, prefix, name, adapter, joined, seen in rows
        ]
        # The gateway has no row of its own, but instance numbers.
        own = Remembered(GATEWAY, "", "", "", False, None, instances[GATEWAY], [])
        return [own, *known]

    def remember_device(self, device: Device, *, joined: bool) -> None:
        with self.commit() as db:
            db.execute(
                "INSERT INTO device VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                "prefix = excluded.prefix, name = excluded.name, adapter = excluded.adapter, "
                "joined = joined OR excluded.joined",
                (device.id, device.prefix, device.name, device.adapter, joined, device.last_seen),
            )

    def remember_instance(self, device: DeviceId, object_id: int, key: str, number: int) -> None:
        with self.commit() as db:
            db.execute("INSERT INTO instance VALUES (?, ?, ?, ?)", (device, object_id, key, number))

    def forget_device(self, device: DeviceId) -> None:
        with self.commit() as db:
            db.execute("DELETE FROM device WHERE id = ?", (device,))
            db.execute("DELETE FROM instance WHERE device = ?", (device,))
            db.execute("DELETE FROM value WHERE device = ?", (device,))
            db.execute("UPDATE series SET device = NULL WHERE device = ?", (device,))

    def recall(self, adapter: str, key: str) -> bytes | None:
        with self._errors():
            row: tuple[bytes] | None = self._db.execute(
                "SELECT data FROM adapter WHERE name = ? AND key = ?", (adapter, key)
            ).fetchone()
        return row[0] if row else None

    def remember(self, adapter: str, key: str, data: bytes) -> None:
        with self.commit() as db:
            db.execute("INSERT OR REPLACE INTO adapter VALUES (?, ?, ?)", (adapter, key, data))

    def save(self, unsaved: Sequence[tuple[Device, Path, Resource | None]]) -> None:
        """Writes changed values (None: gone) and when their devices were seen, in one commit."""
        seen = {device.id: device.last_seen for device, _, _ in unsaved}
        gone = [(d.id, str(path)) for d, path, resource in unsaved if resource is None]
        kept = [
            (device.id, str(path), text_of(resource.value), resource.at, device.id)
            for device, path, resource in unsaved
            if resource is not None
        ]
        with self.commit(synced=False) as db:
            db.executemany("DELETE FROM value WHERE device = ? AND path = ?", gone)
            # A device may have been forgotten since: nothing of it comes back.
            db.executemany(
                "INSERT OR REPLACE INTO value SELECT ?, ?, ?, ? "
                "WHERE EXISTS (SELECT 1 FROM device WHERE id = ?)",
                kept,
            )
            db.executemany(
                "UPDATE device SET last_seen = ? WHERE id = ?", [(s, d) for d, s in seen.items()]
            )

    def snapshot(self) -> bytes:
        """The database as it is now, without the journal, as the content of a file."""
        with self._errors(), contextlib.closing(sqlite3.connect(":memory:")) as copy:
            _migrate(copy)
            for table in BACKED_UP:
                rows = self._db.execute(f"SELECT * FROM {table}")  # noqa: S608  (our own names)
                places = ", ".join("?" * len(rows.description))
                copy.executemany(f"INSERT INTO {table} VALUES ({places})", rows)  # noqa: S608
            copy.commit()
            return copy.serialize()

    @contextlib.contextmanager
    def commit(self, *, synced: bool = True) -> Iterator[sqlite3.Connection]:
        """One transaction, committed at the end; StateError where that fails."""
        with self._errors():
            self._db.execute(f"PRAGMA synchronous = {'FULL' if synced else 'NORMAL'}")
            with self._db:
                yield self._db

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        """The lock, and the database's errors as ours."""
        try:
            with self._lock:
                yield
        except sqlite3.Error as error:
            raise StateError(f"{self.file}: {error}") from error

    def _open(self) -> sqlite3.Connection:
        try:
            return self._connect()
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):  # locked, full, not permitted
                raise StateError(
                    f"{self.file}: {error}; is the disk full, or the file not writable for the "
                    "daemon's user?"
                ) from error
            aside = self.file.with_suffix(f".damaged-{time.time():.0f}")
            self.file.rename(aside)
            for rest in ("-wal", "-shm"):
                FilePath(f"{self.file}{rest}").unlink(missing_ok=True)
            log.error(
                "%s is damaged (%s): set aside as %s; starting anew, so devices get prefixes anew",
                self.file, error, aside,
            )  # fmt: skip
            return self._connect()

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self.file, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
        try:
            db.execute("PRAGMA journal_mode = WAL")
            if db.execute("PRAGMA quick_check").fetchone() != ("ok",):
                raise sqlite3.DatabaseError("integrity check failed")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > len(MIGRATIONS):
                raise _newer(self.file)
            _migrate(db, version)
            with db:  # an instance number counts only with its device
                db.execute(
                    "DELETE FROM instance "
                    "WHERE device != ? AND device NOT IN (SELECT id FROM device)",
                    (GATEWAY,),
                )
        except BaseException:
            db.close()
            raise
        return db


def prefixes(folder: FilePath) -> Mapping[str, str]:
    """Which device has which prefix, as the last daemon left it; empty where that is not readable.

    StateError if the database is that of a newer version.
    """
    file = folder.absolute() / FILE_NAME
    try:  # immutable: no lock, no files beside it, and nothing of a daemon that was killed
        with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?immutable=1", uri=True)) as db:
            if db.execute("PRAGMA user_version").fetchone()[0] > len(MIGRATIONS):
                raise _newer(file)
            return dict(db.execute("SELECT prefix, id FROM device"))
    except sqlite3.Error:
        return {}


def _newer(file: FilePath) -> StateError:
    return StateError(
        f"{file} was written by a newer version of the gateway; install that version again, or "
        "move the file away"
    )


def _migrate(db: sqlite3.Connection, version: int = 0) -> None:
    """Brings a database of a version up to date."""
    for number, step in enumerate(MIGRATIONS[version:], version + 1):
        db.executescript(f"BEGIN; {step} PRAGMA user_version = {number}; COMMIT;")


def lock_folder(folder: FilePath) -> int:
    """A descriptor that holds the folder for this process; StateError if another one has it."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise StateError(
            f"{folder} is in use by another running gateway; stop that one "
            "(systemctl stop border-gateway), or give this one its own --state folder"
        ) from None
    return descriptor


def text_of(value: Value | None) -> str:
    """A value with its type, as it stands in the database."""
    match value:
        case bytes():
            return json.dumps({"opaque": value.hex()})
        case ObjLink():
            return json.dumps({"objlink": [value.object, value.instance]})
        case _:
            return json.dumps(value)


def value_from(text: str) -> Value | None:
    """The inverse of `text_of`; StateError."""
    value = json.loads(text)
    match value:
        case {"opaque": str(digits)}:
            return bytes.fromhex(digits)
        case {"objlink": [int(object_id), int(instance)]}:
            return ObjLink(object_id, instance)
        case None | bool() | int() | float() | str():
            return value
        case _:
            raise StateError(f"not a value: {text}")

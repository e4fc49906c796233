"""The state database's file: its tables, how it is opened, and what happens if it is damaged."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Iterable
from pathlib import Path as FilePath

from gateway.errors import GatewayError, StateError, StateUnusable
from gateway.storage import private_file
from gateway.storage.salvage import SPARED, as_text, drop_orphans, salvage

log = logging.getLogger(__name__)

FILE_NAME = "state.db"

BUSY_TIMEOUT_S = 5.0
"""How long another process (a backup) may hold the database."""

PAGE_SIZE = 1_024
"""Octets. A change touches four pages, most of their rows others', and each is written whole: with
SQLite's usual 4,096 three times as much would reach an SD card.
"""

WAL_PAGES = 4_000
"""After how many pages the WAL goes into the database: 4 MB, as usual."""

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
        value TEXT NOT NULL, changed INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX journal_of_series ON journal (series, at_ms);
    CREATE TABLE place (reader TEXT PRIMARY KEY, number INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    """,
)

BACKED_UP = ("device", "instance", "value", "adapter")
"""The tables of a backup. The journal is not in it: it is large, and only of the last days."""

DAMAGED = ".damaged-"
"""In the name of a database that is set aside, before the time in Unix seconds."""

SPARE_END = ".spare"
"""Behind the database's name: a copy of who the devices are, for the day it is damaged."""


def open_database(file: FilePath) -> sqlite3.Connection:
    """The database in a file, up to date; StateError if it cannot be used.

    One that is damaged is set aside, and a new one begins with what can be read of it and of the
    spare; one that is missing or empty begins with the spare.
    """
    try:
        return _opened(file)
    except sqlite3.Error as error:  # locked, full, not permitted
        raise StateError(
            f"{file}: {error}; is the disk full, or the file not writable for the daemon's user?"
        ) from error


def _opened(file: FilePath) -> sqlite3.Connection:
    try:
        return _begun(file)
    except sqlite3.OperationalError:  # not damaged
        raise
    except sqlite3.DatabaseError as error:
        aside = file.with_suffix(f"{DAMAGED}{time.time():.0f}")
        _move(file, aside)
        log.error("%s is damaged (%s): set aside as %s", file, error, aside)
    try:
        return _begun(file, aside)
    except BaseException:
        _move(aside, file)  # so that a later start, with room, saves what can be read of it
        raise


def _begun(file: FilePath, aside: FilePath | None = None) -> sqlite3.Connection:
    db = _connect(file)
    try:
        if _is_empty(db):
            _begin_anew(db, aside, file.with_name(file.name + SPARE_END))
    except BaseException:
        db.close()
        raise
    return db


def _is_empty(db: sqlite3.Connection) -> bool:
    """Whether nobody has joined yet; also where a beginning was interrupted."""
    sql = "SELECT NOT EXISTS (SELECT 1 FROM device) AND NOT EXISTS (SELECT 1 FROM instance)"
    return bool(db.execute(sql).fetchone()[0])


def _begin_anew(db: sqlite3.Connection, aside: FilePath | None, spare: FilePath) -> None:
    read = salvage(aside, BACKED_UP, db) if aside else 0
    spared = salvage(spare, SPARED, db)
    db.commit()  # all of it or nothing
    if not (aside or spared):
        return
    devices = db.execute("SELECT count(*) FROM device").fetchone()[0]
    log.warning(
        "the state database begins anew with %d devices: %d rows are saved of the old one, %d of "
        "%s; other devices get new prefixes. Frame counters may be lost: with link security, take "
        "a new key",
        devices, read, spared, spare,
    )  # fmt: skip


def _move(source: FilePath, target: FilePath) -> None:
    for end in ("-shm", "-wal", ""):
        FilePath(f"{target}{end}").unlink(missing_ok=True)
        with contextlib.suppress(FileNotFoundError):
            FilePath(f"{source}{end}").rename(f"{target}{end}")


def set_aside(file: FilePath) -> FilePath | None:
    """The latest database that was set aside and still lies beside this one."""
    with contextlib.suppress(OSError):  # a disk that cannot be read is found by who writes to it
        return max(file.parent.glob(f"{file.stem}{DAMAGED}*[0-9]"), default=None)
    return None


def connect(file: FilePath) -> sqlite3.Connection:
    """The database in a file, as it is. On a disk without room for what its connections share,
    this one has it alone, to read all of it.
    """
    try:
        return _in_mode(file, "NORMAL")
    except sqlite3.OperationalError:
        return _in_mode(file, "EXCLUSIVE")  # the index of the WAL is in memory then


def _in_mode(file: FilePath, locking: str) -> sqlite3.Connection:
    db = sqlite3.connect(file, timeout=BUSY_TIMEOUT_S, check_same_thread=False)
    db.text_factory = as_text
    try:
        db.execute(f"PRAGMA page_size = {PAGE_SIZE}")  # of a new one
        db.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        db.execute(f"PRAGMA locking_mode = {locking}")
        db.execute("PRAGMA journal_mode = WAL")
    except BaseException:
        db.close()
        raise
    return db


def is_alone(db: sqlite3.Connection) -> bool:
    """Whether a connection has the database alone."""
    return bool(db.execute("PRAGMA locking_mode").fetchone() == ("exclusive",))


def _connect(file: FilePath) -> sqlite3.Connection:
    db = connect(file)
    try:
        if db.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("integrity check failed")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if version > len(MIGRATIONS):
            raise newer(file)
        if 0 < version < len(MIGRATIONS):
            _copy_aside(db, file, version)
        migrate(db, version)
        with db:
            drop_orphans(db)
    except BaseException:
        db.close()
        raise
    return db


def _copy_aside(db: sqlite3.Connection, file: FilePath, version: int) -> None:
    """Keeps what is backed up as the older version can restore it; only the last such copy."""
    copy = file.with_name(f"{file.name}.before-v{len(MIGRATIONS)}")
    try:
        with db:
            private_file.write(copy, copied(db, BACKED_UP, version))
    except GatewayError as error:
        raise StateError(f"the state is not brought up to date without a copy: {error}") from error
    for older in file.parent.glob(f"{file.name}.before-v*"):
        if older != copy:
            older.unlink(missing_ok=True)
    log.info("the state of the older version is kept as %s, in case you go back to it", copy)


def copied(db: sqlite3.Connection, tables: Iterable[str], version: int = len(MIGRATIONS)) -> bytes:
    """Tables of a database of a version, all of one moment, as the content of a file."""
    with contextlib.closing(sqlite3.connect(":memory:")) as copy:
        copy.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        migrate(copy, upto=version)
        db.execute("BEGIN")
        for table in tables:
            rows = db.execute(f"SELECT * FROM {table}")  # noqa: S608  (our own names)
            places = ", ".join("?" * len(rows.description))
            copy.executemany(f"INSERT INTO {table} VALUES ({places})", rows)  # noqa: S608
        copy.commit()
        return copy.serialize()


def newer(file: FilePath) -> StateUnusable:
    """What to raise for a database that a newer version of the gateway wrote."""
    return StateUnusable(
        f"{file} was written by a newer version of the gateway; install that version again, or "
        "move the file away"
    )


def migrate(db: sqlite3.Connection, version: int = 0, upto: int = len(MIGRATIONS)) -> None:
    """Brings a database of a version up to date, or to another version: wholly or not at all."""
    if steps := "".join(MIGRATIONS[version:upto]):
        db.executescript(f"BEGIN; {steps} PRAGMA user_version = {upto}; COMMIT;")


def require_writable(*places: FilePath) -> None:
    """PermissionError for the first of them that is there and may not be written."""
    for place in places:
        if place.exists() and not os.access(place, os.W_OK, effective_ids=True):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(place))


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

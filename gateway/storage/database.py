"""The state database's file: its tables, how it is opened, and what happens if it is damaged."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path as FilePath

from gateway.errors import GatewayError, StateError, StateUnusable
from gateway.storage import private_file
from gateway.storage.aside import set_aside
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

MODE = 0o640
"""What operators, who are in the group, may read when no daemon runs; SQLite gives the files beside
the database the same mode.
"""

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

SPARE_END = ".spare"
"""Behind the database's name: a copy of who the devices are, for the day it is damaged."""


def open_database(file: FilePath) -> sqlite3.Connection:
    """The database in a file, up to date; StateError if it cannot be used.

    Where it is damaged or missing, a new one begins with what can be read of it and of the spare,
    and then takes its place; on a disk without room it stays in memory, and can only be read.
    """
    try:
        _close_to_others(file)
        if successor(file).exists():  # a kill came before it was in its place
            _succeed(file)
        return _opened(file)
    except sqlite3.Error as error:  # locked, full, not permitted
        raise StateError(
            f"{file}: {error}; is the disk full, or the file not writable for the daemon's user?"
        ) from error


def _close_to_others(file: FilePath) -> None:
    """Also where an earlier version was started by hand, or in a container."""
    for each in file.parent.glob(f"{file.name}*"):
        with contextlib.suppress(PermissionError):  # another user's
            each.chmod(each.stat().st_mode & 0o770)


def _opened(file: FilePath) -> sqlite3.Connection:
    if file.exists():
        try:
            return _connect(file)
        except sqlite3.OperationalError:  # not damaged
            raise
        except sqlite3.DatabaseError as error:
            log.error("%s is damaged (%s)", file, error)
    db = _begun_anew(file)
    try:
        return shared(db, file)
    except StateError as error:
        log.error("the new state database is in memory, until there is room for it: %s", error)
        db.execute("PRAGMA query_only = 1")  # who a device is must not be forgotten once told
        return db


def _begun_anew(file: FilePath) -> sqlite3.Connection:
    """A new database, in memory, of what can be read of one and of its spare."""
    db, spare = in_memory(), file.with_name(file.name + SPARE_END)
    read, spared = salvage(file, BACKED_UP, db), salvage(spare, SPARED, db)
    drop_orphans(db)
    db.commit()
    if file.exists() or spared:
        devices = db.execute("SELECT count(*) FROM device").fetchone()[0]
        log.warning(
            "the state database begins anew with %d devices: %d rows are saved of the old one, %d "
            "of %s; other devices get new prefixes. Frame counters may be lost: with link "
            "security, take a new key",
            devices, read, spared, spare,
        )  # fmt: skip
    return db


def shared(db: sqlite3.Connection, file: FilePath) -> sqlite3.Connection:
    """What a connection has alone, for others too, where the disk has room for that now.

    One in memory gets its file, and what was there is set aside; StateError, and nothing changed,
    if that cannot be.
    """
    if _is_in_memory(db):
        try:
            private_file.write(successor(file), db.serialize(), MODE)
            _succeed(file)
        except (GatewayError, OSError) as error:
            raise StateError(str(error)) from error
    db.close()
    return connect(file)


def successor(file: FilePath) -> FilePath:
    """Where a new database is whole, before it takes the place of a damaged one."""
    return file.with_name(f"{file.name}.successor")


def _succeed(file: FilePath) -> None:
    set_aside(file)
    successor(file).rename(file)


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
        db.execute(f"PRAGMA wal_autocheckpoint = {WAL_PAGES}")
        db.execute(f"PRAGMA locking_mode = {locking}")
        if locking == "NORMAL":  # a file that has no WAL yet is read as it is
            db.execute("PRAGMA journal_mode = WAL")
    except BaseException:
        db.close()
        raise
    return db


def is_alone(db: sqlite3.Connection) -> bool:
    """Whether a connection has the database alone."""
    return _is_in_memory(db) or db.execute("PRAGMA locking_mode").fetchone() == ("exclusive",)


def _is_in_memory(db: sqlite3.Connection) -> bool:
    return not db.execute("PRAGMA database_list").fetchone()[2]


def _connect(file: FilePath) -> sqlite3.Connection:
    db = connect(file)
    try:
        if db.execute("PRAGMA quick_check").fetchone() != ("ok",):
            raise sqlite3.DatabaseError("integrity check failed")
        version = db.execute("PRAGMA user_version").fetchone()[0]
        if not version:
            raise sqlite3.DatabaseError("it is empty")
        if version > len(MIGRATIONS):
            raise newer(file)
        if version < len(MIGRATIONS):
            _copy_aside(db, file, version)
        migrate(db, version)
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
    with contextlib.closing(in_memory(version)) as copy:
        db.execute("BEGIN")
        for table in tables:
            rows = db.execute(f"SELECT * FROM {table}")  # noqa: S608  (our own names)
            places = ", ".join("?" * len(rows.description))
            copy.executemany(f"INSERT INTO {table} VALUES ({places})", rows)  # noqa: S608
        copy.commit()
        return copy.serialize()


def in_memory(version: int = len(MIGRATIONS)) -> sqlite3.Connection:
    """A new database of a version, which a disk has no part in."""
    db = sqlite3.connect(":memory:", check_same_thread=False)
    db.text_factory = as_text
    db.execute(f"PRAGMA page_size = {PAGE_SIZE}")
    migrate(db, upto=version)
    return db


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

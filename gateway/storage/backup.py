"""Putting a backup of the state database back, while no daemon runs. The bytes of a backup are
those of an SQLite file; `StateDatabase.snapshot` makes them.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import time
from dataclasses import dataclass
from pathlib import Path as FilePath

from gateway.errors import StateError
from gateway.model import GATEWAY
from gateway.storage.database import BACKED_UP, FILE_NAME, MIGRATIONS, MODE, lock_folder, successor

_BESIDE = ("", "-wal", "-shm")
"""What SQLite keeps beside a database: together they are its content."""


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did. `aside` is where the previous database is now, if there was one.

    `counters_kept`: what adapters remember (frame counters of link security, which must never
    run twice) is that of the previous database, not of the backup.
    """

    devices: int
    aside: FilePath | None
    counters_kept: bool


def restore(file: FilePath, folder: FilePath) -> Restored:
    """Makes a backup the state database in `folder`; StateError, and nothing changed, if it
    cannot be.
    """
    current, new = folder / FILE_NAME, folder / f"{FILE_NAME}.restoring"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as undo:
            undo.callback(os.close, lock_folder(folder))
            undo.callback(_remove, new)
            shutil.copyfile(file, new)
            devices, counters_kept = _prepared(new, file, current)
            _owned_as(folder, new)
            aside = _moved_aside(current)
            successor(current).unlink(missing_ok=True)  # of what is aside now
            new.rename(current)
            _sync(folder)
    except OSError as error:
        raise StateError(f"{error.filename or folder}: {error.strerror or error}") from error
    return Restored(devices, aside, counters_kept)


def _prepared(new: FilePath, file: FilePath, current: FilePath) -> tuple[int, bool]:
    """Checks the copy and gives it what must not go back; its devices, and whether it got that."""
    try:
        with contextlib.closing(sqlite3.connect(new)) as db:
            _check(db, file)
            counters_kept = _keep_counters(db, current)
            devices: int = db.execute("SELECT count(*) FROM device").fetchone()[0]
    except sqlite3.Error as error:
        raise StateError(f"{file} is not a whole backup of a gateway: {error}") from error
    with new.open("rb") as copy:
        os.fsync(copy.fileno())
    return devices, counters_kept


def _check(db: sqlite3.Connection, file: FilePath) -> None:
    version = db.execute("PRAGMA user_version").fetchone()[0]
    if version > len(MIGRATIONS):
        raise StateError(
            f"{file} was written by a newer version of the gateway; install that version first"
        )
    if db.execute("PRAGMA quick_check").fetchone() != ("ok",):
        raise sqlite3.DatabaseError("integrity check failed")
    tables = {name for (name,) in db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'")}
    if not version or not tables.issuperset(BACKED_UP):
        raise sqlite3.DatabaseError("it has other tables")


def _keep_counters(db: sqlite3.Connection, current: FilePath) -> bool:
    """Whether what adapters remember could be taken from the present database; and so, where
    they can be read, the numbers that the gateway has given.
    """
    if not current.exists():
        return False
    try:
        db.execute("ATTACH ? AS present", (str(current),))
        with db:
            db.execute(
                "INSERT OR REPLACE INTO adapter (name, key, data) "
                "SELECT name, key, data FROM present.adapter"
            )
    except sqlite3.Error:  # damaged: the very reason to restore
        return False
    with contextlib.suppress(sqlite3.Error), db:
        db.execute(
            "INSERT OR IGNORE INTO instance (device, object, key, number) "
            "SELECT device, object, key, number FROM present.instance WHERE device = ?",
            (GATEWAY,),
        )
    return True


def _owned_as(folder: FilePath, new: FilePath) -> None:
    """Gives the file to whom the folder belongs: root restores, but the daemon has its own user."""
    new.chmod(MODE)
    if os.geteuid() == 0:
        owner = folder.stat()
        os.chown(new, owner.st_uid, owner.st_gid)


def _moved_aside(current: FilePath) -> FilePath | None:
    if not current.exists():
        return None
    aside = current.with_suffix(f".before-restore-{time.time_ns() // 1_000_000}")
    for end in reversed(_BESIDE):
        with contextlib.suppress(FileNotFoundError):
            FilePath(f"{current}{end}").rename(f"{aside}{end}")
    return aside


def _remove(file: FilePath) -> None:
    for end in (*_BESIDE, "-journal"):
        FilePath(f"{file}{end}").unlink(missing_ok=True)


def _sync(folder: FilePath) -> None:
    """Has the new name on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

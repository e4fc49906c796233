"""The state database: what is kept for ever, and the last values. Nothing else touches disk.

SQLite in WAL mode: a killed process loses nothing committed, a power cut the last seconds of
values. Who a device is, is synced within half a second, what adapters remember at once.
"""

from __future__ import annotations

import contextlib
import errno
import os
import sqlite3
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path as FilePath

from gateway.devices.identities import Remembered
from gateway.errors import GatewayError, StateError, StateUnusable
from gateway.events import Device, Resource
from gateway.model import GATEWAY, DeviceId, Path, printable
from gateway.policy import MAX_NAME
from gateway.storage import private_file
from gateway.storage.aside import lying_aside
from gateway.storage.database import (
    BACKED_UP,
    BUSY_TIMEOUT_S,
    FILE_NAME,
    MIGRATIONS,
    SPARE_END,
    copied,
    in_memory,
    is_alone,
    lock_folder,
    newer,
    open_database,
    require_writable,
    shared,
)
from gateway.storage.salvage import SPARED, Rows, as_text, drop_orphans, fill, judged, mend
from gateway.storage.values import text_of, value_from

UNTIMED = 0.0
"""The time of a value that was measured while the clock was not set."""

LATEST = 253_402_300_799
"""The end of the year 9999 in Unix seconds: behind it, Python knows no date."""


_FULL = "the disk is full, or fails"

_LASTING = (
    errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.ENOENT,
)  # fmt: skip
"""Why a folder cannot be used, and will not be without an operator."""


class StateDatabase:
    """The database in `folder`; implements the hub's Memory. Safe to use from two threads."""

    def __init__(self, folder: FilePath) -> None:
        self.file = folder / FILE_NAME
        self._spare = folder / (FILE_NAME + SPARE_END)
        self._lock = threading.Lock()
        self._spared = False
        self._synced = True
        with contextlib.ExitStack() as undo:
            try:
                folder.mkdir(parents=True, exist_ok=True)
                undo.callback(os.close, lock_folder(folder))
                require_writable(folder, self.file)
                self._db = open_database(self.file)
            except OSError as error:
                kind = StateUnusable if error.errno in _LASTING else StateError
                raise kind(
                    f"{error.filename or folder}: {error.strerror or error}; is it writable for "
                    "the daemon's user? Another folder is named by --state"
                ) from error
            self._alone = is_alone(self._db)
            self._unlock = undo.pop_all()

    def damage(self) -> str:
        """What is to be told of a damaged database, as long as it lies here set aside."""
        if not (aside := lying_aside(self.file)):
            return ""
        return (
            f"the database was damaged and is set aside as {aside[-1]}; the log of that time "
            "tells what was kept of it; move that file away to end this warning"
        )

    def close(self) -> None:
        """Closes the database; nothing may be asked of it afterwards."""
        with self._lock, self._unlock:
            self._db.close()

    def load(self) -> Sequence[Remembered]:
        """Every remembered device with its instance numbers and last values.

        What a worn disk has garbled of them is told, and dropped.
        """
        with self._errors():
            rows, garbled = judged(self._db)
            if garbled:
                self._spared = False
                db = fill(in_memory(), rows) if self._alone else self._db
                mend(db, rows, garbled, self._spare)
                rows, _ = judged(db)
            elif not self._alone:
                with self._db:
                    drop_orphans(self._db)
            return _remembered(rows)

    def remember_device(self, device: Device, *, joined: bool) -> None:
        with self.commit(synced=False) as db:
            self._spared = self._synced = False  # under the lock: the saver may be at it
            db.execute(
                "INSERT INTO device VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
                "prefix = excluded.prefix, name = excluded.name, adapter = excluded.adapter, "
                "joined = joined OR excluded.joined",
                (device.id, device.prefix, device.name, device.adapter, joined, device.last_seen),
            )

    def remember_instance(self, device: DeviceId, object_id: int, key: str, number: int) -> None:
        with self.commit(synced=False) as db:
            self._spared = self._synced = False
            db.execute("INSERT INTO instance VALUES (?, ?, ?, ?)", (device, object_id, key, number))

    def forget_device(self, device: DeviceId) -> None:
        with self.commit() as db:
            self._spared = False
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
            (device.id, str(path), text_of(resource.value), resource.time or UNTIMED, device.id)
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

    def save_seen(self, devices: Sequence[Device]) -> None:
        """Writes when devices were seen, in one commit."""
        with self.commit(synced=False) as db:
            db.executemany(
                "UPDATE device SET last_seen = ? WHERE id = ?",
                [(device.last_seen, device.id) for device in devices],
            )

    def snapshot(self, tables: Iterable[str] = BACKED_UP) -> bytes:
        """Tables of the database as they are now, as the content of a file.

        Who writes meanwhile need not wait (SQLite's WAL), and is not in it.
        """
        self.require_shared()
        present = f"{self.file.absolute().as_uri()}?mode=rw"  # never makes a file
        try:
            with contextlib.closing(sqlite3.connect(present, BUSY_TIMEOUT_S, uri=True)) as db:
                db.text_factory = as_text
                return copied(db, tables)
        except sqlite3.Error as error:
            raise StateError(f"{self.file}: {error}") from error

    def share(self) -> None:
        """Opens the database as it should be, where a disk without room prevented that at the
        start; StateError while it does.
        """
        if not self._alone:
            return
        with self._errors():
            self._db = shared(self._db, self.file)
            self._alone = is_alone(self._db)
        self.require_shared()
        self.load()  # what makes no sense, a full disk did not let mend

    def require_shared(self) -> None:
        """StateError as long as others find no database, or not this one, in its file."""
        if self._alone:
            raise StateError(f"{self.file}: {_FULL}")

    def sync(self) -> None:
        """Has who the devices are on the disk itself, if that changed since."""
        if self._synced:
            return
        self._synced = True
        try:
            with self.commit() as db:  # whose sync takes with it what was committed before
                db.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")
        except StateError:
            self._synced = False
            raise

    def spare(self) -> None:
        """Writes who the devices are into the spare, if that changed since; StateError."""
        if self._spared:
            return
        self._spared = True
        try:
            private_file.write(self._spare, self.snapshot(SPARED))
        except GatewayError as error:
            self._spared = False
            raise StateError(str(error)) from error

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
            raise StateError(f"{self.file}: {_FULL if self._alone else error}") from error


def remembered(folder: FilePath) -> Sequence[Remembered]:
    """What the last daemon left in a folder, without touching it; empty if that is not readable.

    StateError if the database is that of a newer version.
    """
    file = folder.absolute() / FILE_NAME
    try:  # immutable: no lock, no files beside it, and nothing of a daemon that was killed
        with contextlib.closing(sqlite3.connect(f"{file.as_uri()}?immutable=1", uri=True)) as db:
            if db.execute("PRAGMA user_version").fetchone()[0] > len(MIGRATIONS):
                raise newer(file)
            db.text_factory = as_text
            return _remembered(judged(db, ("device", "instance", "value"))[0])
    except sqlite3.Error:
        return []


def _remembered(rows: Rows) -> Sequence[Remembered]:
    instances: dict[str, dict[tuple[int, str], int]] = defaultdict(dict)
    for device, object_id, key, number in rows["instance"]:
        instances[device][object_id, key] = number
    values: dict[str, list[Resource]] = defaultdict(list)
    for device, path, text, at in rows["value"]:
        resource = Resource(Path.parse(path), value_from(text), at, untimed=at == UNTIMED)
        values[device].append(resource)
    known = [
        Remembered(
            DeviceId(i), prefix, printable(name, MAX_NAME), adapter, bool(joined),
            seen if 0 <= (seen or 0) <= LATEST else None, instances[i], values[i],
        )
        for i, prefix, name, adapter, joined, seen in rows["device"]
    ]  # fmt: skip
    # The gateway has no row of its own, but instance numbers.
    own = Remembered(GATEWAY, "", "", "", False, None, instances[GATEWAY], [])
    return [own, *known]

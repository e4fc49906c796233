"""A state database with something in it, and what can happen to it."""

import contextlib
import resource
import sqlite3
from collections.abc import Iterator
from pathlib import Path as FilePath

from gateway.events import Availability, Device, Resource, State
from gateway.model import DeviceId, Path
from gateway.storage.state import StateDatabase
from tests.fakes import STATION

NOWHERE = Availability(State.UNKNOWN, "", 0.0)


def device(identity: DeviceId, prefix: str, last_seen: float | None = None) -> Device:
    return Device(identity, prefix, "A name", "ble", NOWHERE, last_seen)


def reopened(state: StateDatabase, folder: FilePath) -> StateDatabase:
    state.close()
    return StateDatabase(folder)


def written(folder: FilePath) -> None:
    """A database with a device, an instance number, a value, an adapter's memory, and a spare."""
    state = StateDatabase(folder)
    known, path = device(STATION, "weather"), Path(3303, 4, 5700)
    state.remember_device(known, joined=True)
    state.remember_instance(STATION, 3303, "id0", 4)
    state.save([(known, path, Resource(path, 20.5, 6.0))])
    state.remember("lowpan", "frame-counter", b"\x07")
    state.spare()
    state.close()


def is_as_written(state: StateDatabase) -> None:
    _, known = state.load()
    assert (known.device, known.prefix, known.joined) == (STATION, "weather", True)
    assert known.instances == {(3303, "id0"): 4}
    assert [r.value for r in known.resources] == [20.5]
    assert state.recall("lowpan", "frame-counter") == b"\x07"


def damage(folder: FilePath) -> None:
    """Overwrites a page of the journal."""
    with contextlib.closing(sqlite3.connect(folder / "state.db")) as db:
        page = db.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'journal'").fetchone()[0]
        size = db.execute("PRAGMA page_size").fetchone()[0]
    with (folder / "state.db").open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xff" * size)


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file grows, of this process."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)

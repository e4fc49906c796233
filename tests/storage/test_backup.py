"""A backup of the running daemon, and putting it back."""

import contextlib
import errno
import os
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest

from gateway.devices.identities import Identities
from gateway.errors import GatewayError, StateError
from gateway.events import Availability, Device, State
from gateway.model import DeviceId
from gateway.policy import Rules
from gateway.storage import private_file
from gateway.storage.backup import restore
from gateway.storage.database import MIGRATIONS
from gateway.storage.state import StateDatabase
from tests.daemon import CORE, Daemon
from tests.fakes import METER, STATION


def filled(folder: FilePath, device: DeviceId = STATION, counter: bytes = b"1") -> bytes:
    """A state database with one device; what a backup of it holds."""
    state = StateDatabase(folder)
    where = Availability(State.UNKNOWN, "", 0.0)
    state.remember_device(Device(device, "d1", "A name", "ble", where), joined=True)
    state.remember("lowpan", "frame-counter", counter)
    data = state.snapshot()
    state.close()
    return data


def known(folder: FilePath) -> list[DeviceId]:
    state = StateDatabase(folder)
    found = [r.device for r in state.load()[1:]]
    state.close()
    return found


def test_what_cannot_be_written_leaves_nothing_behind(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(GatewayError, match="No space left on device"):
        private_file.write(tmp_path / "backup", b"x")
    assert not list(tmp_path.iterdir())


def test_a_daemon_is_backed_up_and_put_back_on_another_box(
    daemon: Daemon, tmp_path: FilePath
) -> None:
    daemon.ask({"do": "permit", "seconds": 60})
    daemon.until(lambda: daemon.value("d1/3303/0/5700"))
    daemon.command("name", "d1", "Green house")
    file, state = tmp_path / "box.backup", tmp_path / "state"
    done = daemon.command("backup", str(file))
    assert done.stdout == f"{file}: {file.stat().st_size} octets\n"
    assert file.stat().st_mode & 0o777 == 0o600
    refused = daemon.command("restore", str(file), "--state", str(state))
    assert refused.returncode == 1
    assert "is in use by another running gateway" in refused.stderr
    daemon.end()
    shutil.rmtree(state)
    done = daemon.command("restore", str(file), "--state", str(state))
    assert done.stdout.splitlines() == [
        f"2 devices are restored into {state}",
        "frame counters are as old as the backup: with link security, take a new key",
    ]
    daemon.configure(CORE)
    daemon.start()
    assert "Green house" in daemon.command("devices").stdout


def test_nobody_waits_for_a_backup_that_is_being_made(tmp_path: FilePath) -> None:
    state = StateDatabase(tmp_path)
    where = Availability(State.UNKNOWN, "", 0.0)
    state.remember_device(Device(STATION, "d1", "", "ble", where), joined=True)

    def tables() -> Iterator[str]:
        yield "device"
        write = threading.Thread(target=state.remember, args=("lowpan", "frame-counter", b"2"))
        write.start()
        write.join(10)
        assert not write.is_alive()
        yield "adapter"

    (tmp_path / "copy").write_bytes(state.snapshot(tables()))
    with contextlib.closing(sqlite3.connect(tmp_path / "copy")) as copy:
        rows = [copy.execute(f"SELECT count(*) FROM {t}").fetchone() for t in ("device", "adapter")]
    assert rows == [(1,), (0,)]
    assert state.recall("lowpan", "frame-counter") == b"2"
    state.close()


def test_a_backup_that_cannot_be_written_is_told(daemon: Daemon, tmp_path: FilePath) -> None:
    done = daemon.command("backup", str(tmp_path / "nowhere" / "file"))
    assert (done.returncode, "No such file or directory" in done.stderr) == (1, True)


def test_the_previous_database_is_kept_aside_and_counters_never_run_twice(
    tmp_path: FilePath,
) -> None:
    file, folder = tmp_path / "backup", tmp_path / "state"
    file.write_bytes(filled(folder, STATION, b"1"))
    filled(folder, STATION, b"2")
    state = StateDatabase(folder)
    state.forget_device(STATION)
    state.close()
    done = restore(file, folder)
    assert (done.devices, done.counters_kept) == (1, True)
    assert known(folder) == [STATION]
    assert done.aside
    with contextlib.closing(sqlite3.connect(done.aside)) as previous:
        assert previous.execute("SELECT count(*) FROM device").fetchone() == (0,)
    state = StateDatabase(folder)
    assert state.recall("lowpan", "frame-counter") == b"2"
    state.close()
    assert not list(folder.glob("*restoring*"))


def joined(folder: FilePath, device: DeviceId, *, forget: bool = False) -> str:
    """The prefix that a device gets in a life of the gateway, at whose end it may be forgotten."""
    state = StateDatabase(folder)
    identities = Identities(state)
    taken = [known.prefix for known in identities.restore(state.load(), Rules())]
    prefix = identities.prefix(device, Rules(), taken)
    identities.keep(Device(device, prefix, "", "ble", Availability(State.UNKNOWN, "", 0.0)))
    if forget:
        identities.forget(device)
    state.spare()
    state.close()
    return prefix


@pytest.mark.parametrize("meanwhile", ["restart", "older backup", "lost database"])
def test_the_number_of_a_forgotten_device_is_given_to_no_other(
    tmp_path: FilePath, meanwhile: str
) -> None:
    folder, file = tmp_path / "state", tmp_path / "backup"
    file.write_bytes(filled(folder))
    assert joined(folder, METER, forget=True) == "d2"
    match meanwhile:
        case "older backup":
            restore(file, folder)
        case "lost database":
            (folder / "state.db").unlink()
    assert joined(folder, DeviceId("ble:00-24-be-80-4f-f3")) == "d3"
    assert joined(folder, METER) == "d2"


def test_a_damaged_database_is_replaced(tmp_path: FilePath) -> None:
    file, folder = tmp_path / "backup", tmp_path / "state"
    file.write_bytes(filled(folder))
    (folder / "state.db").write_bytes(b"\0" * 8192)
    done = restore(file, folder)
    assert not done.counters_kept
    assert known(folder) == [STATION]
    assert done.aside
    assert done.aside.read_bytes() == b"\0" * 8192


def other_database(file: FilePath, version: int) -> None:
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute("CREATE TABLE album (title TEXT)")
        db.execute(f"PRAGMA user_version = {version}")


@pytest.mark.parametrize("kind", ["text", "empty", "half", "other", "newer"])
def test_what_is_no_backup_is_refused_and_nothing_changed(kind: str, tmp_path: FilePath) -> None:
    file, folder = tmp_path / "backup", tmp_path / "state"
    whole = filled(folder, METER)
    told = "is not a whole backup"
    match kind:
        case "text":
            file.write_text("hello")
        case "empty":
            file.touch()
        case "half":
            file.write_bytes(whole[: len(whole) // 2])
        case "other":
            other_database(file, 1)
        case "newer":
            other_database(file, len(MIGRATIONS) + 1)
            told = "was written by a newer version"
    with pytest.raises(StateError, match=told):
        restore(file, folder)
    assert known(folder) == [METER]
    assert not list(folder.glob("*restor*"))


def test_what_root_restores_belongs_to_the_daemons_user(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, folder = tmp_path / "backup", tmp_path / "state"
    file.write_bytes(filled(folder))
    owners: list[tuple[int, int]] = []
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(os, "chown", lambda _, user, group: owners.append((user, group)))
    restore(file, folder)
    assert owners == [(folder.stat().st_uid, folder.stat().st_gid)]

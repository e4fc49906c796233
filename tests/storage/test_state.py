"""What survives: identities, instance numbers and values, also a kill."""

import contextlib
import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest

from gateway.errors import StateError, StateUnusable
from gateway.events import Resource
from gateway.model import GATEWAY, ObjLink, Path, Value
from gateway.storage.backup import restore
from gateway.storage.database import MIGRATIONS
from gateway.storage.state import StateDatabase, remembered
from tests.fakes import METER, STATION
from tests.storage.written import (
    damage,
    device,
    full_disk,
    reopened,
    written,
)


def test_a_new_folder_holds_nothing(tmp_path: FilePath) -> None:
    state = StateDatabase(tmp_path / "new" / "folder")
    assert [known.device for known in state.load()] == [GATEWAY]
    state.close()


VALUES: list[Value | None] = [
    True, False, 0, -1, 2**63 - 1, 21.37, 1e300, "text ° \0", b"\x00\xff", ObjLink(3, 65535), None,
]  # fmt: skip


def test_every_kind_of_value_survives_with_its_type_and_time(tmp_path: FilePath) -> None:
    state = StateDatabase(tmp_path)
    station = device(STATION, "d1", 5.0)
    state.remember_device(station, joined=False)
    kept = [Resource(Path(3300, n, 5700), value, 7.25) for n, value in enumerate(VALUES)]
    state.save([(station, each.path, each) for each in kept])
    state = reopened(state, tmp_path)
    _, known = state.load()
    loaded = sorted(known.resources, key=lambda r: r.path)
    assert [(r.value, type(r.value), r.at) for r in loaded] == [
        (r.value, type(r.value), r.at) for r in kept
    ]
    assert (known.device, known.prefix, known.name, known.last_seen) == (
        STATION, "d1", "A name", 5.0,
    )  # fmt: skip
    state.close()


def test_a_change_is_few_octets_on_disk_also_after_a_restore(tmp_path: FilePath) -> None:
    written(tmp_path / "first")
    state = StateDatabase(tmp_path / "first")
    (tmp_path / "backup").write_bytes(state.snapshot())
    restore(tmp_path / "backup", tmp_path / "second")
    state.close()
    for folder in ("first", "second"):
        state, path = StateDatabase(tmp_path / folder), Path(3303, 4, 5700)
        state.save([(device(STATION, "weather"), path, Resource(path, 21.0, 7.0))])
        assert (tmp_path / folder / "state.db-wal").stat().st_size < 3_000
        state.close()


def test_instance_numbers_survive_also_the_gateways_own(tmp_path: FilePath) -> None:
    state = StateDatabase(tmp_path)
    state.remember_device(device(STATION, "d1"), joined=False)
    state.remember_instance(STATION, 3301, "id1#2", 4)
    state.remember_instance(GATEWAY, 25, STATION, 0)
    state = reopened(state, tmp_path)
    own, known = state.load()
    assert known.instances == {(3301, "id1#2"): 4}
    assert own.instances == {(25, STATION): 0}
    state.close()


def test_a_value_that_is_gone_is_gone_after_the_restart(tmp_path: FilePath) -> None:
    state = StateDatabase(tmp_path)
    station, path = device(STATION, "d1"), Path(3303, 0, 5700)
    state.remember_device(station, joined=False)
    state.save([(station, path, Resource(path, 1.0, 1.0))])
    state.save([(station, path, None)])
    assert not state.load()[1].resources
    state.close()


def test_forgetting_a_device_leaves_the_others_alone(tmp_path: FilePath) -> None:
    state = StateDatabase(tmp_path)
    for identity, prefix in ((STATION, "d1"), (METER, "d2")):
        known, path = device(identity, prefix), Path(3303, 0, 5700)
        state.remember_device(known, joined=False)
        state.remember_instance(identity, 3303, "id0", 0)
        state.save([(known, path, Resource(path, 1.0, 1.0))])
    state.forget_device(STATION)
    (left,) = state.load()[1:]
    assert (left.device, left.instances, len(left.resources)) == (METER, {(3303, "id0"): 0}, 1)
    state.close()


@pytest.mark.parametrize(("umask", "mode"), [(0o022, 0o640), (0o027, 0o640), (0o077, 0o600)])
def test_the_state_is_not_for_everybody_to_read(tmp_path: FilePath, umask: int, mode: int) -> None:
    before = os.umask(umask)
    try:
        written(tmp_path)
        for damaged in (False, True):
            if damaged:
                damage(tmp_path)
            state = StateDatabase(tmp_path)
            state.remember("ble", "key", b"")
            modes = {file.name: file.stat().st_mode & 0o777 for file in tmp_path.iterdir()}
            assert len(modes) == 4 + damaged
            assert {modes[f"state.db{end}"] for end in ("", "-wal", "-shm")} == {mode}
            assert set(modes.values()) <= {mode, 0o600}
            state.close()
    finally:
        os.umask(before)


def test_the_state_of_an_earlier_version_is_closed_to_others(tmp_path: FilePath) -> None:
    written(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as other:
        other.execute("SELECT * FROM device").fetchall()
        for file in tmp_path.iterdir():
            file.chmod(0o644)
        state = StateDatabase(tmp_path)
        assert {file.stat().st_mode & 0o777 for file in tmp_path.iterdir()} == {0o640}
        state.close()


def test_the_spare_follows_who_the_devices_are(tmp_path: FilePath) -> None:
    written(tmp_path)
    state = StateDatabase(tmp_path)
    state.forget_device(STATION)
    state.remember_device(device(METER, "meter"), joined=False)
    state.spare()
    state.close()
    (tmp_path / "state.db").unlink()
    state = StateDatabase(tmp_path)
    assert [known.prefix for known in state.load()] == ["", "meter"]
    state.close()


@contextlib.contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to write everything."""
    if os.geteuid():
        yield
        return
    os.seteuid(65_534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_what_the_first_version_left_is_known_before_it_is_brought_up_to_date(
    tmp_path: FilePath,
) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as db:
        db.executescript(f"{MIGRATIONS[0]} PRAGMA user_version = 1;")
        db.execute("INSERT INTO device VALUES (?, 'weather', '', 'ble', 1, NULL)", (STATION,))
        db.commit()
    assert [known.prefix for known in remembered(tmp_path)] == ["", "weather"]


def test_before_the_state_of_an_older_version_is_changed_a_copy_is_kept_that_can_be_restored(
    tmp_path: FilePath,
) -> None:
    old = FilePath(__file__).parents[1] / "data" / "state-v1.db"
    folder, back = tmp_path / "state", tmp_path / "back"
    folder.mkdir()
    shutil.copy(old, folder / "state.db")
    (folder / "state.db.before-v1").touch()
    for _ in range(2):
        StateDatabase(folder).close()
    (copy,) = folder.glob("*before*")
    assert copy.name == f"state.db.before-v{len(MIGRATIONS)}"
    back.mkdir()
    restore(copy, back)
    files = (old, back / "state.db")
    dumps = []
    for file in files:
        with contextlib.closing(sqlite3.connect(file)) as db:
            dumps.append(sorted(db.iterdump()))
            assert db.execute("PRAGMA user_version").fetchone() == (1,)
    assert dumps[0] == dumps[1]


def test_without_room_for_a_copy_the_state_of_an_older_version_stays_as_it_is(
    tmp_path: FilePath,
) -> None:
    shutil.copy(FilePath(__file__).parents[1] / "data" / "state-v1.db", tmp_path / "state.db")
    with full_disk(), pytest.raises(StateError, match="without a copy"):
        StateDatabase(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)


def test_a_file_of_a_newer_version_is_refused_and_left_alone(tmp_path: FilePath) -> None:
    StateDatabase(tmp_path).close()
    with sqlite3.connect(tmp_path / "state.db") as db:
        db.execute(f"PRAGMA user_version = {len(MIGRATIONS) + 1}")
    db.close()
    with pytest.raises(StateUnusable, match="newer version"):
        StateDatabase(tmp_path)
    assert not list(tmp_path.glob("*damaged*"))


def test_a_folder_that_cannot_be_made_is_a_clear_error(tmp_path: FilePath) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StateUnusable, match="is it writable"):
        StateDatabase(tmp_path / "file" / "state")


@pytest.mark.parametrize("place", ["", "state.db"])
def test_what_the_daemons_user_may_not_write_is_a_clear_error(
    place: str,
) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = FilePath(name)
        StateDatabase(folder).close()
        for each in (folder, folder / "state.db"):
            each.chmod(0o777 if each != folder / place else 0o555)
        with as_nobody(), pytest.raises(StateUnusable, match="is it writable") as told:
            StateDatabase(folder)
        assert str(told.value).startswith(f"{folder / place}: Permission denied")
        folder.chmod(0o700)


def test_two_gateways_never_share_a_state_folder(tmp_path: FilePath) -> None:
    state = StateDatabase(tmp_path)
    with pytest.raises(StateError, match="in use by another running gateway"):
        StateDatabase(tmp_path)
    state.close()
    StateDatabase(tmp_path).close()


def test_values_that_were_being_saved_do_not_bring_a_forgotten_device_back(
    tmp_path: FilePath,
) -> None:
    state = StateDatabase(tmp_path)
    station, path = device(STATION, "d1"), Path(3303, 0, 5700)
    state.remember_device(station, joined=False)
    state.forget_device(STATION)
    state.save([(station, path, Resource(path, 1.0, 1.0))])
    state.remember_device(station, joined=False)
    assert not state.load()[1].resources
    state.close()


def test_instance_numbers_without_their_device_are_in_nobodys_way(tmp_path: FilePath) -> None:
    state = StateDatabase(tmp_path)
    state.remember_instance(STATION, 3303, "id0", 0)
    state.remember_instance(GATEWAY, 25, STATION, 7)
    state = reopened(state, tmp_path)
    assert state.load()[0].instances == {(25, STATION): 7}
    state.remember_instance(STATION, 3303, "id0", 1)
    state.close()


def test_a_disk_that_fails_later_is_a_clear_error(tmp_path: FilePath) -> None:
    state = StateDatabase(tmp_path)
    with sqlite3.connect(tmp_path / "state.db") as other:
        other.execute("DROP TABLE value")
    other.close()
    with pytest.raises(StateError, match="no such table"):
        state.load()
    state.close()


def test_what_an_adapter_remembers_survives_and_is_its_own(tmp_path: FilePath) -> None:
    state = StateDatabase(tmp_path)
    state.remember("lowpan", "counter", b"\x00\x01")
    state.remember("lowpan", "counter", b"\x00\x02")
    state.close()
    state = StateDatabase(tmp_path)
    assert state.recall("lowpan", "counter") == b"\x00\x02"
    assert state.recall("ble", "counter") is None
    assert state.recall("lowpan", "other") is None
    state.close()
    with pytest.raises(StateError):
        state.recall("lowpan", "counter")

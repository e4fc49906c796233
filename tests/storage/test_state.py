"""What survives: identities, instance numbers and values, also a kill and a damaged file."""

import contextlib
import os
import resource
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest

from gateway.errors import StateError, StateUnusable
from gateway.events import Availability, Device, Resource, State
from gateway.model import GATEWAY, DeviceId, ObjLink, Path, Value
from gateway.storage.backup import restore
from gateway.storage.database import MIGRATIONS
from gateway.storage.state import StateDatabase, remembered
from tests.fakes import METER, STATION

NOWHERE = Availability(State.UNKNOWN, "", 0.0)


def device(identity: DeviceId, prefix: str, last_seen: float | None = None) -> Device:
    return Device(identity, prefix, "A name", "ble", NOWHERE, last_seen)


def reopened(state: StateDatabase, folder: FilePath) -> StateDatabase:
    state.close()
    return StateDatabase(folder)


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


def test_a_damaged_file_is_set_aside_and_the_gateway_starts_anew(
    tmp_path: FilePath, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "state.db").write_bytes(b"no database at all" * 500)
    state = StateDatabase(tmp_path)
    state.remember_device(device(STATION, "d1"), joined=False)
    assert "set aside as" in caplog.text
    (aside,) = tmp_path.glob("state.damaged-*")
    assert aside.read_bytes().startswith(b"no database")
    assert f"set aside as {aside}" in state.damage()
    aside.unlink()
    assert state.damage() == ""
    state.close()


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


def test_what_can_be_read_of_a_damaged_database_is_kept(tmp_path: FilePath) -> None:
    written(tmp_path)
    damage(tmp_path)
    state = StateDatabase(tmp_path)
    is_as_written(state)
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


def test_of_many_damaged_databases_the_first_and_the_last_are_kept(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path)
    told = []
    for now in (900.0, 900.0, 5.0, 1_764_000_000.0):  # the third with a clock that is not set
        monkeypatch.setattr("time.time", lambda now=now: now)
        damage(tmp_path)
        state = StateDatabase(tmp_path)
        told.append(state.damage().partition("set aside as ")[2].partition(";")[0])
        is_as_written(state)
        state.close()
        FilePath(f"{told[-1]}-wal").touch()
    assert [FilePath(file).name for file in told] == [
        f"state.damaged-{number}" for number in (900, 901, 902, 1_764_000_000)
    ]
    kept = {str(file) for file in tmp_path.glob("state.damaged-*")}
    assert kept == {f"{file}{end}" for file in (told[0], told[-1]) for end in ("", "-wal")}


class Killed(BaseException):
    """At this moment."""


@pytest.mark.parametrize("step", range(5))
def test_a_kill_while_a_damaged_database_is_replaced_loses_nothing(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    rename, steps = FilePath.rename, iter(range(step))

    def killed_at_step(source: FilePath, target: FilePath) -> None:
        if next(steps, None) is None:
            raise Killed
        rename(source, target)

    written(tmp_path)
    damage(tmp_path)
    monkeypatch.setattr(FilePath, "rename", killed_at_step)
    with pytest.raises(Killed):
        StateDatabase(tmp_path)
    monkeypatch.undo()
    state = StateDatabase(tmp_path)
    is_as_written(state)
    assert state.damage()
    state = reopened(state, tmp_path)
    is_as_written(state)
    assert len(list(tmp_path.glob("state.damaged-*[0-9]"))) == 1
    state.close()


def test_a_backup_is_put_back_also_after_a_kill_while_a_damaged_database_was_replaced(
    tmp_path: FilePath,
) -> None:
    other = StateDatabase(tmp_path / "other")
    other.remember_device(device(METER, "meter"), joined=True)
    (tmp_path / "backup").write_bytes(other.snapshot())
    other.close()
    written(tmp_path)
    (tmp_path / "state.db").rename(tmp_path / "state.db.successor")
    restore(tmp_path / "backup", tmp_path)
    state = StateDatabase(tmp_path)
    assert [known.prefix for known in state.load()] == ["", "meter"]
    state.close()


@pytest.mark.parametrize("left", [bytes(40_960), b"", None], ids=["zeroed", "empty", "missing"])
def test_devices_keep_their_prefixes_when_a_power_cut_leaves_no_database(
    tmp_path: FilePath, caplog: pytest.LogCaptureFixture, left: bytes | None
) -> None:
    written(tmp_path)
    (tmp_path / "state.db").unlink()
    if left is not None:
        (tmp_path / "state.db").write_bytes(left)
    state = StateDatabase(tmp_path)
    _, known = state.load()
    assert (known.device, known.prefix) == (STATION, "weather")
    assert known.instances == {(3303, "id0"): 4}
    assert "begins anew with 1 devices" in caplog.text
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


def test_a_value_that_an_old_disk_garbled_is_lost_alone(tmp_path: FilePath) -> None:
    written(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as db:
        garbled = "INSERT INTO value SELECT device, CAST(? AS TEXT), '{', 1.0 FROM value LIMIT 1"
        db.executemany(garbled, [(b"/3303/4/5701",), (b"/3303/4/57\xff1",)])
        db.commit()
    state = StateDatabase(tmp_path)
    assert [r.value for r in state.load()[1].resources] == [20.5]
    state.close()


GARBLED = {
    "device": "INSERT INTO device VALUES ('ble:00-24-be-80-4f-x1', 'd1', '', 'ble', 1, NULL)",
    "prefix": "INSERT INTO device VALUES ('ble:00-24-be-80-4f-f2', 'd/2', '', 'ble', 1, NULL)",
    "object": "INSERT INTO instance VALUES ('ble:00-24-be-80-4f-f1', 70000, 'id0', 0)",
    "number": "INSERT INTO instance VALUES ('ble:00-24-be-80-4f-f1', 3303, 'id1', -1)",
    "no JSON": "INSERT INTO value VALUES ('ble:00-24-be-80-4f-f1', '/3303/4/5701', '{', 1.0)",
    "deep": "INSERT INTO value VALUES ('ble:00-24-be-80-4f-f1', '/3303/4/5701', "
    "replace(hex(zeroblob(50000)), '00', '['), 1.0)",
    "no value": "INSERT INTO value VALUES ('ble:00-24-be-80-4f-f1', '/3303/4/5701', '[1]', 1.0)",
    "path": "INSERT INTO value VALUES ('ble:00-24-be-80-4f-f1', '/3303/4/99999', '1', 1.0)",
    "time": "INSERT INTO value VALUES ('ble:00-24-be-80-4f-f1', '/3303/4/5701', '1', 9e999)",
    "series": "INSERT INTO series VALUES (1, 'ble:00-24-be-80-4f-f1', '/3303//4')",
}


@pytest.mark.parametrize("row", GARBLED.values(), ids=GARBLED.keys())
def test_a_row_that_an_old_disk_garbled_is_told_and_lost_alone(
    tmp_path: FilePath, row: str, caplog: pytest.LogCaptureFixture
) -> None:
    written(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as db:
        db.execute(row)
        db.commit()
    state = StateDatabase(tmp_path)
    for _ in range(2):
        own, known = state.load()
        assert (own.device, known.device, known.prefix) == (GATEWAY, STATION, "weather")
        assert known.instances == {(3303, "id0"): 4}
        assert [r.value for r in known.resources] == [20.5]
    assert len(caplog.messages) == 1
    assert "makes no sense" in caplog.text
    state.remember_device(device(METER, "d1"), joined=False)  # is in nobody's way
    state.close()
    assert [known.device for known in remembered(tmp_path)] == [GATEWAY, STATION, METER]


def test_a_device_whose_name_or_time_is_garbled_is_known_without_them(tmp_path: FilePath) -> None:
    written(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as db:
        db.execute("UPDATE device SET name = 'A' || char(27) || '[2J', last_seen = 1e300")
        db.commit()
    state = StateDatabase(tmp_path)
    _, known = state.load()
    assert (known.prefix, known.name, known.last_seen) == ("weather", "A?[2J", None)
    state.close()


def test_a_thousand_garbled_rows_are_one_line(
    tmp_path: FilePath, caplog: pytest.LogCaptureFixture
) -> None:
    written(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as db:
        db.executemany("INSERT INTO value VALUES (?, '/x', '1', 1.0)", [(n,) for n in range(1000)])
        db.commit()
    state = StateDatabase(tmp_path)
    state.load()
    state.close()
    assert [m.split(",")[0] for m in caplog.messages] == ["1000 times"]


@pytest.mark.parametrize("change", ["id = 'ble:00'", "prefix = '9'"])
def test_a_garbled_device_is_as_the_spare_has_it(tmp_path: FilePath, change: str) -> None:
    written(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as db:
        db.execute(f"UPDATE device SET {change}")
        db.commit()
    state = StateDatabase(tmp_path)
    _, known = state.load()
    assert (known.device, known.prefix, known.joined) == (STATION, "weather", True)
    assert known.instances == {(3303, "id0"): 4}
    assert [r.value for r in known.resources] == [20.5]
    state.close()


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """No file grows, of this process."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


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


@pytest.mark.parametrize("damaged", [False, True], ids=["whole", "damaged"])
def test_what_is_known_is_there_on_a_full_disk_and_saved_when_there_is_room(
    tmp_path: FilePath, damaged: bool
) -> None:
    written(tmp_path / "killed")
    if damaged:
        damage(tmp_path / "killed")
    with contextlib.closing(sqlite3.connect(tmp_path / "killed" / "state.db")) as killed:
        killed.execute("INSERT INTO device VALUES (?, 'late', '', 'ble', 1, NULL)", (METER,))
        killed.commit()
        folder = tmp_path / "state"
        shutil.copytree(tmp_path / "killed", folder)  # as a kill would leave it
    (folder / "state.db-shm").unlink()
    path = Path(3303, 4, 5700)
    with full_disk():
        state = StateDatabase(folder)
        assert [known.prefix for known in state.load()] == ["", "weather", "late"]
        assert state.recall("lowpan", "frame-counter") == b"\x07"
        for _ in range(2):
            with pytest.raises(StateError, match=r"full|File too large"):
                state.share()
            with pytest.raises(StateError, match="full"):
                state.save([(device(STATION, "weather"), path, Resource(path, 21.0, 7.0))])
            with pytest.raises(StateError, match="full"):
                state.snapshot()
        assert [r.value for r in state.load()[1].resources] == [20.5]
    state.share()
    assert bool(state.damage()) == damaged
    state.save([(device(STATION, "weather"), path, Resource(path, 21.0, 7.0))])
    assert state.snapshot()
    state = reopened(state, folder)
    assert [known.prefix for known in state.load()] == ["", "weather", "late"]
    assert [r.value for r in state.load()[1].resources] == [21.0]
    assert state.recall("lowpan", "frame-counter") == b"\x07"
    state.close()


def test_what_an_old_disk_garbled_is_mended_when_a_full_disk_has_room(tmp_path: FilePath) -> None:
    written(tmp_path)
    with contextlib.closing(sqlite3.connect(tmp_path / "state.db")) as db:
        db.execute("UPDATE device SET prefix = 'we/ther'")
        db.execute("INSERT INTO instance VALUES (?, 3303, 'id0', 0)", (METER,))  # of no device
        db.commit()
    with full_disk():
        state = StateDatabase(tmp_path)
        is_as_written(state)
        with pytest.raises(StateError, match="full"):
            state.share()
        is_as_written(state)
    state.share()
    state.remember_device(device(METER, "meter"), joined=False)
    state.remember_instance(METER, 3303, "id0", 1)
    state.close()
    assert [known.prefix for known in remembered(tmp_path)] == ["", "weather", "meter"]


@pytest.mark.parametrize("spare", [True, False], ids=["with a spare", "without"])
def test_a_missing_database_is_made_when_a_full_disk_has_room(
    tmp_path: FilePath, spare: bool
) -> None:
    written(tmp_path)
    for name in ("state.db", *(() if spare else ("state.db.spare",))):
        (tmp_path / name).unlink()
    with full_disk():
        state = StateDatabase(tmp_path)
        assert [known.prefix for known in state.load()] == ["", "weather"][: 1 + spare]
        with pytest.raises(StateError):
            state.remember_device(device(METER, "meter"), joined=True)
    state.share()
    state.remember_device(device(METER, "meter"), joined=True)
    state = reopened(state, tmp_path)
    assert {known.prefix for known in state.load()} == {"", "meter", *(("weather",) * spare)}
    assert not state.damage()
    state.close()


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

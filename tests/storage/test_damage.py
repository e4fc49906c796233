"""What a damaged, garbled or missing database costs, also on a full disk."""

import contextlib
import shutil
import sqlite3
from pathlib import Path as FilePath

import pytest

from gateway.errors import StateError
from gateway.events import Resource
from gateway.model import GATEWAY, Path
from gateway.storage.backup import restore
from gateway.storage.state import StateDatabase, remembered
from tests.fakes import METER, STATION
from tests.storage.written import (
    damage,
    device,
    full_disk,
    is_as_written,
    reopened,
    written,
)


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


def test_what_can_be_read_of_a_damaged_database_is_kept(tmp_path: FilePath) -> None:
    written(tmp_path)
    damage(tmp_path)
    state = StateDatabase(tmp_path)
    is_as_written(state)
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

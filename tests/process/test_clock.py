"""A machine whose clock is not set yet: what is measured then is marked, and corrected later."""

from dataclasses import replace
from pathlib import Path as FilePath

import pytest

from gateway.events import Change, DeviceChanged, Resource
from gateway.model import Path
from gateway.policy import Rules
from gateway.process import machine
from gateway.readings.journal import Journal
from gateway.storage.archive import Archive
from gateway.storage.state import StateDatabase
from tests.fakes import REMEMBERED, STATION, Clock, HubBench, restarted

TEMPERATURE, OTHER = Path(3303, 0, 5700), Path(3303, 1, 5700)
YEARS = 1e8


def of(bench: HubBench, path: Path = TEMPERATURE) -> Resource:
    resource = bench.north.resource(STATION, path)
    assert resource
    return resource


def test_when_the_clock_is_set_the_times_before_are_corrected_and_told(clock: Clock) -> None:
    clock.is_set = False
    bench = HubBench(clock)
    clock.advance(1)
    bench.join()
    bench.say({TEMPERATURE: 20.5})
    measured = clock.wall()
    clock.advance(60)
    bench.hub.tick()
    assert of(bench).time is None
    clock.jump(YEARS)
    clock.is_set = True
    bench.told()
    bench.hub.tick()
    assert of(bench) == Resource(TEMPERATURE, 20.5, measured + YEARS)
    assert bench.told() == [DeviceChanged(STATION), Change(STATION, TEMPERATURE)]
    device = bench.north.device_by_id(STATION)
    assert device
    assert device.last_seen == device.availability.since == measured + YEARS
    bench.say({TEMPERATURE: 21.0})
    assert of(bench).time == clock.wall()


def test_when_an_earlier_life_saw_a_device_needs_no_correction(clock: Clock) -> None:
    clock.is_set = False
    last_seen = clock.wall() + YEARS - 60
    bench = restarted(clock, Rules(), replace(REMEMBERED, last_seen=last_seen))
    clock.jump(YEARS)
    clock.is_set = True
    bench.hub.tick()
    device = bench.north.device_by_id(STATION)
    assert device
    assert device.last_seen == last_seen


async def test_the_journal_is_corrected_too_and_nothing_of_it_pruned_meanwhile(
    tmp_path: FilePath, clock: Clock
) -> None:
    clock.is_set = False
    database = StateDatabase(tmp_path)
    archive = Archive(database)
    bench = HubBench(clock, journal=Journal(archive))
    bench.join()
    database.remember_device(bench.hub.store.require(STATION), joined=True)

    def save() -> None:
        while batch := bench.hub.journal.unsaved():
            archive.write(batch)
            bench.hub.journal.saved(batch)
        assert archive.correct()

    measured = clock.wall()
    bench.say({TEMPERATURE: 20.5})
    save()
    clock.advance(10)
    bench.say({TEMPERATURE: 21.0})
    clock.jump(YEARS)
    assert bench.hub.clock.believed() == measured + 10
    bench.say({TEMPERATURE: 22.0})  # before it was noticed
    clock.is_set = True
    bench.hub.tick()
    settled = [bench.hub.journal.is_settled]
    save()
    settled.append(bench.hub.journal.is_settled)
    assert settled == [False, True]
    found = await bench.north.history(STATION, TEMPERATURE, 0.0, clock.wall())
    assert [(e.value, e.at - measured - YEARS) for e in found] == [
        (20.5, 0.0), (21.0, 10.0), (22.0, 10.0)
    ]  # fmt: skip
    assert of(bench).time == clock.wall()
    archive.close()
    database.close()


def test_a_value_without_time_has_none_after_a_restart_either(
    tmp_path: FilePath, clock: Clock
) -> None:
    clock.is_set = False
    database = StateDatabase(tmp_path)
    first = HubBench(clock)
    first.join()
    first.say({TEMPERATURE: 20.5})
    database.remember_device(first.hub.store.require(STATION), joined=True)
    database.save(first.hub.values.take_unsaved())
    _, known = database.load()
    database.close()
    clock.is_set = True
    second = restarted(clock, Rules(), known)
    assert of(second).restored
    assert of(second).time is None


@pytest.mark.parametrize(
    ("now", "hardware", "timesync", "is_set"),
    [
        (0.0, "1", None, False),
        (machine.MADE_S, "1", False, True),
        (machine.MADE_S, "", False, False),
        (machine.MADE_S, "", True, True),
        (machine.MADE_S, "", None, True),
    ],
)
def test_a_clock_is_believed_that_hardware_or_a_time_server_has_set(
    tmp_path: FilePath,
    monkeypatch: pytest.MonkeyPatch,
    now: float,
    hardware: str,
    timesync: bool | None,
    is_set: bool,
) -> None:
    (tmp_path / "hctosys").write_text(hardware)
    if timesync is not None:
        (tmp_path / "timesync").mkdir()
    if timesync:
        (tmp_path / "timesync" / "synchronized").touch()
    monkeypatch.setattr(machine, "_HARDWARE_CLOCK", tmp_path / "hctosys")
    monkeypatch.setattr(machine, "_TIMESYNC", tmp_path / "timesync")
    monkeypatch.setattr("time.time", lambda: now)
    assert machine.clock_is_set() is is_set

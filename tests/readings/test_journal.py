"""The journal: in memory, on disk, across both; what retention, full disks and kills leave."""

import asyncio
import contextlib
import shutil
import signal
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path as FilePath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.errors import Busy, StateError
from gateway.events import Availability, Change, Device, Entry, Reading, State
from gateway.model import DeviceId, ObjLink, Path, Value
from gateway.policy import ReportRule, Retention
from gateway.process import saver as saver_module
from gateway.process.saver import Saver
from gateway.process.watchdog import Progress
from gateway.readings import journal as journal_module
from gateway.readings.journal import MAX_BATCH, Batch, Journal, Query, order, whole_moments
from gateway.storage import archive as archive_module
from gateway.storage.archive import Archive
from gateway.storage.state import StateDatabase
from tests.daemon import CORE, Daemon
from tests.deadlines import DEADLINE_S
from tests.fakes import METER, STATION, Clock, HubBench

VALUE, SWITCH = Path(3303, 0, 5700), Path(3312, 0, 5850)
T0 = 1_795_217_136.0
DAY_S = 86_400.0
ALL = (float("-inf"), float("inf"), 1_000)


class Disk:
    """A journal on a state database in a folder, with the two devices known to it."""

    def __init__(self, folder: FilePath) -> None:
        self.folder = folder
        self.open()
        for device, prefix in ((STATION, "d1"), (METER, "d2")):
            nowhere = Availability(State.UNKNOWN, "", 0.0)
            known = Device(device, prefix, "", "ble", nowhere)
            self.state.remember_device(known, joined=True)

    def open(self) -> None:
        self.state = StateDatabase(self.folder)
        self.archive = Archive(self.state)
        last, places = self.archive.load()
        self.journal = Journal(self.archive, last=last, places=places)

    def close(self) -> None:
        self.archive.close()
        self.state.close()

    def say(self, value: Value, at: float, path: Path = VALUE, device: DeviceId = STATION) -> None:
        self.journal.record(Reading(device, path, value, at))

    def save(self) -> None:
        while batch := self.journal.unsaved():
            self.archive.write(batch)
            self.journal.saved(batch)
        while not self.archive.correct():
            pass

    async def find(self, path: Path = VALUE, device: DeviceId = STATION) -> Sequence[Entry]:
        return await self.journal.find(Query(device, path, *ALL))

    async def values(self, path: Path = VALUE, device: DeviceId = STATION) -> list[Value]:
        return [entry.value for entry in await self.find(path, device)]


@pytest.fixture
def disk(tmp_path: FilePath) -> Iterator[Disk]:
    disk = Disk(tmp_path)
    yield disk
    disk.close()


# --- what goes in --------------------------------------------------------------------------------


async def test_every_change_that_is_told_is_kept_with_its_time(bench: HubBench) -> None:
    bench.rules(ReportRule(min_interval_s=5))
    bench.join()
    start = bench.clock.wall()
    bench.south.report([Reading(STATION, VALUE, 1.0, start), Reading(STATION, SWITCH, True, start)])
    for value in (2.0, 3.0):  # both within the interval: the newest is told when it ends
        bench.clock.advance(1)
        bench.say({VALUE: value})
    assert await bench.north.history(STATION, VALUE, *ALL[:2]) == [
        Entry(1, STATION, VALUE, 1.0, start)
    ]
    bench.clock.advance(5)
    bench.hub.tick()
    found = await bench.north.history(STATION, VALUE, *ALL[:2])
    assert [(e.number, e.value, e.at - start) for e in found] == [(1, 1.0, 0), (3, 3.0, 2)]
    told, upto = await bench.north.told_since(1)
    assert ([e.value for e in told], upto) == ([True, 3.0], 3)


async def test_a_value_that_is_told_again_is_no_change(bench: HubBench) -> None:
    bench.rules(ReportRule(max_interval_s=5))
    bench.join()
    for value in (True, True, False):
        bench.say({SWITCH: value})
        bench.clock.advance(6)
    found = await bench.north.history(STATION, SWITCH, *ALL[:2])
    assert [(e.value, e.changed) for e in found] == [(True, True), (True, False), (False, True)]


async def test_two_values_in_one_frame_are_both_kept_and_executables_are_not(
    bench: HubBench,
) -> None:
    bench.rules()
    bench.join()
    now = bench.clock.wall()
    readings = [Reading(STATION, VALUE, value, now + value) for value in (1.0, 2.0)]
    bench.south.report([*readings, Reading(STATION, Path(3303, 0, 5605), None, now)])
    found = await bench.north.history(STATION, Path(3303), *ALL[:2])
    assert [e.value for e in found] == [1.0, 2.0]


async def test_a_gap_in_the_numbers_shows_that_a_change_was_replaced(bench: HubBench) -> None:
    bench.rules()
    bench.join()
    bench.told()
    numbers = []
    for values in ([1.0], [2.0], [3.0, 4.0]):
        for value in values:
            bench.say({VALUE: value})
        changes = [event for event in bench.told() if isinstance(event, Change)]
        numbers += [change.entry.number for change in changes if change.entry]
    assert numbers == [1, 2, 4]


def test_a_new_life_numbers_on_from_the_earlier_one(clock: Clock) -> None:
    bench = HubBench(clock, journal=Journal(last=7))
    bench.join()
    bench.say({VALUE: 1.0})
    assert [entry.number for entry in bench.hub.journal.unsaved().entries] == [8]


# --- what comes out ------------------------------------------------------------------------------

KINDS: list[Value] = [
    True, False, 0, 2**63 - 1, -1.5, 1e300, "text ° \0", "", b"\x00\xff", ObjLink(3, 65535)
]  # fmt: skip


async def test_every_kind_of_value_comes_back_with_its_type_and_time(disk: Disk) -> None:
    for number, value in enumerate(KINDS):
        disk.say(value, T0 + number / 1000)
    disk.journal.record(Reading(STATION, SWITCH, True, T0), changed=False)
    disk.say(1.0, 1e305)  # a device may say any time
    disk.save()
    found = await disk.find()
    assert [(e.value, type(e.value), e.at) for e in found[:-1]] == [
        (value, type(value), round(T0 + number / 1000, 3)) for number, value in enumerate(KINDS)
    ]
    assert [e.changed for e in await disk.find(SWITCH)] == [False]


READING = st.tuples(
    st.sampled_from([STATION, METER]),
    st.sampled_from([VALUE, SWITCH, Path(3303, 1, 5700), Path(3, 0, 11, 1)]),
    st.integers(0, 8).map(float),
)


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    said=st.lists(st.lists(READING, max_size=6), min_size=1, max_size=6),
    under=st.sampled_from([Path(3303), Path(3303, 0), VALUE, Path(3)]),
    bounds=st.tuples(st.integers(-1, 8), st.integers(-1, 9)),
    limit=st.integers(1, 5),
)
def test_pages_are_the_whole_in_order_however_much_of_it_is_on_disk(
    tmp_path: FilePath,
    said: list[list[tuple[DeviceId, Path, float]]],
    under: Path,
    bounds: tuple[int, int],
    limit: int,
) -> None:
    folder = tmp_path / "state"
    shutil.rmtree(folder, ignore_errors=True)
    disk, writing = Disk(folder), Batch()
    model: list[Entry] = []
    for batch in said:
        disk.journal.saved(writing)  # it is on disk since the last round, and only now known to be
        for device, path, at in batch:
            disk.say(at, T0 + at, path, device)
            model.append(Entry(len(model) + 1, device, path, at, T0 + at))
        writing = disk.journal.unsaved()
        disk.archive.write(writing)

    async def pages() -> tuple[list[Entry], list[Entry]]:
        found: list[Entry] = []
        start, end = (T0 + bound for bound in bounds)
        while True:
            after = found[-1] if found else None
            page = await disk.journal.find(Query(STATION, under, start, end, limit, after))
            found += page
            if len(page) < limit:
                break
        told: list[Entry] = []
        upto, before = 0, -1
        while upto > before:
            before = upto
            page, upto = await disk.journal.since(before, limit)
            told += page
        assert upto == len(model)
        return found, told

    found, told = asyncio.run(pages())
    disk.close()
    low, high = (T0 + bound for bound in bounds)
    matching = (e for e in model if e.device == STATION and under.covers(e.path))
    assert found == sorted((e for e in matching if low < e.at <= high), key=order)
    assert told == model


async def test_readers_find_their_place_and_new_ones_begin_with_what_is_told_next(
    disk: Disk,
) -> None:
    disk.say(1.0, T0)
    assert disk.journal.place("xmpp/history") == 1
    disk.say(2.0, T0 + 1)
    disk.journal.reached("xmpp/history", 2)
    disk.say(3.0, T0 + 2)
    disk.save()
    disk.close()
    disk.open()
    assert disk.journal.place("xmpp/history") == 2
    assert [e.value for e in (await disk.journal.since(2, 10))[0]] == [3.0]
    assert disk.journal.place("new") == 3
    disk.say(4.0, T0 + 3)
    assert [e.number for e in (await disk.journal.since(3, 10))[0]] == [4]


async def test_a_place_is_never_ahead_of_what_is_on_disk(disk: Disk) -> None:
    for number in range(MAX_BATCH + 1):
        disk.say(float(number), T0)
    disk.journal.reached("reader", MAX_BATCH + 1)
    assert not disk.journal.unsaved().places
    disk.save()
    disk.close()
    disk.open()
    assert disk.journal.place("reader") == MAX_BATCH + 1


async def test_too_many_queries_at_a_time_are_refused(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "MAX_QUERIES", 2)
    disk.say(1.0, T0)
    disk.save()
    answers = await asyncio.gather(*(disk.find() for _ in range(3)), return_exceptions=True)
    assert [isinstance(a, Busy) for a in answers] == [False, False, True]
    assert await disk.values() == [1.0]


def test_a_moment_is_never_shown_in_part() -> None:
    shown = [
        [entry.at for entry in whole_moments([Entry(1, STATION, VALUE, 0, t) for t in times], 2)]
        for times in ((1, 2), (1, 2, 3), (1, 2, 2), (1, 1, 1), (1, 1, 1, 2))
    ]
    assert shown == [[1, 2], [1, 2], [1], [1, 1, 1], [1, 1, 1]]


# --- what is dropped -----------------------------------------------------------------------------


async def test_the_oldest_are_pruned_by_number_and_by_age(disk: Disk) -> None:
    for number in range(10):
        disk.say(number, T0 + number)
    disk.save()
    assert disk.archive.prune(Retention(entries=7), T0 + 10)
    assert await disk.values() == list(range(3, 10))
    assert disk.archive.prune(Retention(age_s=5, entries=7), T0 + 10)
    assert await disk.values() == list(range(5, 10))
    disk.say(10, T0 + 10)
    disk.save()
    assert disk.archive.prune(Retention(entries=3), T0 + 10)
    assert await disk.values() == [8, 9, 10]


async def test_a_clock_that_jumps_ahead_deletes_nothing_until_it_has_stood_for_a_day(
    disk: Disk,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(saver_module, "PRUNE_INTERVAL_S", 0.0)
    hub = HubBench(clock, journal=disk.journal).hub
    hub.journal.retention = Retention(entries=3)
    pruned: asyncio.Queue[float] = asyncio.Queue()
    prune, loop = disk.archive.prune, asyncio.get_running_loop()

    def watched(retention: Retention, now: float) -> bool:
        done = prune(retention, now)
        loop.call_soon_threadsafe(pruned.put_nowait, now)
        return done

    monkeypatch.setattr(disk.archive, "prune", watched)

    async def left_when(jump_s: float, later_s: float) -> list[Value]:
        clock.jump(jump_s)
        hub.tick()
        clock.advance(later_s)
        hub.tick()
        async with asyncio.timeout(DEADLINE_S):
            while await pruned.get() != hub.clock.believed():
                pass
        return await disk.values()

    for number in range(5):
        disk.say(number, clock.wall())
    with Saver(hub, disk.state, disk.archive) as saver:
        saving = asyncio.create_task(saver.run(Progress(clock.monotonic)))
        assert await left_when(30 * DAY_S, 1) == [2, 3, 4]
        assert await left_when(-30 * DAY_S, DAY_S) == [2, 3, 4]
        assert await left_when(30 * DAY_S, DAY_S - 1) == [2, 3, 4]
        assert await left_when(0, 1) == []
        saving.cancel()
        await asyncio.wait([saving])
    told = [m.split(",")[0] for m in caplog.messages if "jumped" in m]
    assert told == [f"the clock jumped by {way}2592000 s" for way in "+-+"]


async def test_a_journal_that_is_far_too_long_is_pruned_in_pieces(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "PIECE", 10)
    monkeypatch.setattr(archive_module, "PIECES", 3)
    for number in range(55):
        disk.say(number, T0 + number)
    disk.save()
    done = [disk.archive.prune(Retention(entries=5), T0) for _ in range(2)]
    assert done == [False, True]
    assert await disk.values() == list(range(50, 55))


def test_a_retention_of_no_entries_keeps_nothing(bench: HubBench) -> None:
    bench.hub.journal.retention = Retention(entries=0)
    bench.rules()
    bench.join()
    bench.say({VALUE: 1.0})
    assert not bench.hub.journal.unsaved()


async def test_of_a_forgotten_device_nothing_is_found_and_nothing_stays_on_disk(disk: Disk) -> None:
    for number in range(5):
        disk.say(number, T0 + number)
        disk.say(number, T0 + number, device=METER)
    disk.save()
    disk.say(9, T0 + 9)
    late = disk.journal.unsaved()
    disk.state.forget_device(STATION)
    disk.journal.forget(STATION)
    disk.archive.write(late)
    assert await disk.values() == []
    told, upto = await disk.journal.since(0, 100)
    assert ({e.device for e in told}, upto) == ({METER}, 11)
    assert disk.archive.prune(Retention(), T0)
    assert disk.archive.prune(Retention(), T0)
    with contextlib.closing(sqlite3.connect(disk.state.file)) as db:
        assert db.execute("SELECT count(*) FROM journal").fetchone() == (5,)
        assert db.execute("SELECT count(*) FROM series").fetchone() == (1,)
    assert await disk.values(device=METER) == list(range(5))


class Counted(StateDatabase):
    """Counts the commits that write."""

    commits = 0

    @contextlib.contextmanager
    def commit(self, *, synced: bool = True) -> Iterator[sqlite3.Connection]:
        with super().commit(synced=synced) as db:
            before = db.total_changes
            yield db
            self.commits += db.total_changes > before


async def test_a_thousand_readings_are_written_in_two_commits(
    tmp_path: FilePath, clock: Clock
) -> None:
    state = Counted(tmp_path)
    archive = Archive(state)
    bench = HubBench(clock, journal=Journal(archive))
    bench.join()
    state.remember_device(bench.hub.store.require(STATION), joined=True)
    with Saver(bench.hub, state, archive) as saver:
        saving = asyncio.create_task(saver.run(Progress(clock.monotonic)))
        for burst in range(2):
            before = state.commits
            for number in range(1_000):
                bench.say({Path(3303, number % 500, 5700): float(burst * 1_000 + number)})
            async with asyncio.timeout(DEADLINE_S):
                while bench.hub.journal.waiting:
                    await asyncio.sleep(0.01)
            assert state.commits - before == 2  # the values, and the journal
        saving.cancel()
        await asyncio.wait([saving])
    saver.save_last()


# --- what goes wrong -----------------------------------------------------------------------------


async def test_a_full_disk_loses_nothing_that_memory_can_hold_and_no_more_is_held(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "MAX_UNSAVED", 300)
    disk.say(0, T0)
    disk.save()
    with disk.state.commit() as db:
        db.execute("PRAGMA max_page_count = 1")  # what SQLite then says is that the disk is full
    for number in range(1, 303):
        disk.say("x" * 200 + str(number), T0 + number)
    with pytest.raises(StateError, match="full"):
        disk.save()
    assert disk.journal.lost == 2
    assert len(await disk.values()) == 301
    with disk.state.commit() as db:
        db.execute("PRAGMA max_page_count = 1000000")
    disk.save()
    assert not disk.journal.unsaved()
    numbers = [e.number for e in await disk.find()]
    assert numbers == [1, *range(4, 304)]


async def test_times_are_corrected_once_though_the_disk_was_full_meanwhile(disk: Disk) -> None:
    disk.say(0, T0)
    disk.save()
    disk.journal.correct_times(30.0, T0 + 600)
    disk.journal.reached("reader", 1)
    with disk.state.commit() as db:
        db.execute("ALTER TABLE place RENAME TO full")
    with pytest.raises(StateError):
        disk.save()
    with disk.state.commit() as db:
        db.execute("ALTER TABLE full RENAME TO place")
    disk.save()
    assert [entry.at for entry in await disk.find()] == [T0 + 30]


async def test_times_are_corrected_once_though_the_daemon_ends_meanwhile(
    disk: Disk, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    write, written, ending = disk.archive.write, threading.Event(), threading.Event()

    def slow(batch: Batch) -> None:
        write(batch)
        written.set()
        ending.wait(DEADLINE_S)

    monkeypatch.setattr(disk.archive, "write", slow)
    disk.say(0, T0)
    disk.journal.correct_times(30.0, T0 + 600)
    hub = HubBench(clock, journal=disk.journal).hub
    with Saver(hub, disk.state, disk.archive) as saver:
        saving = asyncio.create_task(saver.run(Progress(clock.monotonic)))
        assert await asyncio.to_thread(written.wait, 10)
        saving.cancel()
        await asyncio.wait([saving])
        ending.set()
    saver.save_last()
    disk.open()
    disk.save()
    assert [entry.at for entry in await disk.find()] == [T0 + 30]


async def test_times_of_a_large_journal_are_corrected_in_pieces_and_once_whatever_ends_it(
    disk: Disk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "PIECE", 2)
    monkeypatch.setattr(archive_module, "PIECES", 1)
    for number in range(7):
        disk.say(number, T0 + number)
    disk.journal.correct_times(30.0, T0 + 600)
    disk.archive.write(disk.journal.unsaved())
    corrected: list[int] = []
    while not disk.archive.correct():
        corrected.append(sum(T0 + 30 <= entry.at < T0 + 90 for entry in await disk.find()))
        disk.close()  # killed
        disk.open()
        disk.say(9, T0 + 590)
        disk.archive.write(disk.journal.unsaved())
    assert corrected == [2, 4, 6, 7]
    times = [entry.at for entry in await disk.find()]
    assert times == [*(T0 + 30 + n for n in range(7)), *[T0 + 590] * 4]
    assert disk.journal.place("reader") == 11


async def test_a_garbled_note_of_a_correction_is_dropped(disk: Disk) -> None:
    disk.say(0, T0)
    disk.save()
    with disk.state.commit() as db:
        db.execute("INSERT INTO place VALUES ('correction until ten by 3', 0)")
    disk.close()
    disk.open()
    disk.save()
    assert [entry.at for entry in await disk.find()] == [T0]


@pytest.mark.parametrize("garbled", [b"\xff", b"[1]", b"null", b'{"opaque": "xy"}'])
async def test_an_entry_that_an_old_disk_garbled_is_lost_alone(disk: Disk, garbled: bytes) -> None:
    for number in range(4):
        disk.say(number, T0 + number)
    disk.save()
    with disk.state.commit() as db:
        db.execute("UPDATE journal SET value = CAST(? AS TEXT) WHERE number = 2", (garbled,))
    assert await disk.values() == [0, 2, 3]
    told, upto = await disk.journal.since(0, 2)
    assert ([e.number for e in told], upto) == ([1, 3], 3)


async def test_an_unreadable_journal_is_a_clear_error(disk: Disk) -> None:
    with disk.state.commit() as db:
        db.execute("DROP TABLE journal")
        db.execute("INSERT INTO series (device, path) VALUES (?, ?)", (STATION, str(VALUE)))
    with pytest.raises(StateError, match="no such table"):
        await disk.find()
    with pytest.raises(StateError, match="no such table"):
        await disk.journal.since(-1, 1)


def journal_of(daemon: Daemon) -> list[tuple[int, str]]:
    """Numbers and values of one resource's entries, read by another process than the daemon."""
    with contextlib.closing(sqlite3.connect(daemon.folder / "state" / "state.db")) as db:
        sql = (
            "SELECT number, value FROM journal JOIN series ON id = series "
            "WHERE path = '/3303/0/5700' ORDER BY number"
        )
        return db.execute(sql).fetchall()


def test_after_kill_9_the_journal_goes_on_where_it_was(tmp_path: FilePath) -> None:
    often = '[report]\nmax_interval = "1ms"\n[sim]\ndevices = 1\ninterval = "50ms"\n'
    daemon = Daemon(tmp_path, CORE + often)
    daemon.start()
    before = daemon.until(lambda: len(found := journal_of(daemon)) > 20 and found)
    daemon.end(signal.SIGKILL)
    daemon.start()
    after = daemon.until(lambda: len(found := journal_of(daemon)) > len(before) + 20 and found)
    assert after[: len(before)] == before
    numbers = [number for number, _ in after]
    assert numbers == sorted(set(numbers))
    daemon.end()


def test_a_database_of_version_1_is_taken_over(tmp_path: FilePath) -> None:
    shutil.copy(FilePath(__file__).parents[1] / "data" / "state-v1.db", tmp_path / "state.db")
    state = StateDatabase(tmp_path)
    own, known = state.load()
    assert own.instances
    assert (known.prefix, known.name, known.joined) == ("weather", "Weather station", True)
    assert {(str(r.path), r.value, r.at) for r in known.resources} == {
        ("/3303/3/5700", 21.5, 1_795_217_136.241),
        ("/3312/0/5850", True, 1_795_217_100.0),
    }
    assert state.recall("lowpan", "frame-counter") == b"\x00\x07"
    archive = Archive(state)
    assert archive.load() == (0, {})
    archive.close()
    state.close()

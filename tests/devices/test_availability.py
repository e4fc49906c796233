"""When a device is online, asleep or offline: by its kind, what it has taught, its timeout."""

from dataclasses import replace
from pathlib import Path as FilePath

import pytest

from gateway.configuration.config import parse
from gateway.devices.attendance import LEARNED
from gateway.events import DeviceChanged, Reading, Sighting, State
from gateway.hub import Hub
from gateway.model import GATEWAY, Path
from gateway.policy import DeviceRule, Patience, Rules
from gateway.storage.state import StateDatabase
from tests.fakes import METER, REMEMBERED, STATION, Clock, HubBench, restarted

TEMPERATURE = Path(3303, 0, 5700)
HOUR, DAY = 3_600.0, 86_400.0
STOPPED = "not reached since the adapter ble stopped"


def state(bench: HubBench) -> tuple[State, str]:
    device = bench.north.device_by_id(STATION)
    assert device
    return device.availability.state, device.availability.reason


def after(bench: HubBench, seconds: float) -> State:
    """The device's state when that time has passed in silence."""
    bench.clock.advance(seconds)
    bench.hub.tick()
    return state(bench)[0]


def heard_every(bench: HubBench, seconds: float, times: int) -> None:
    for _ in range(times):
        bench.clock.advance(seconds)
        bench.south.seen(Sighting(STATION))
        bench.say({TEMPERATURE: 20.0})
        bench.hub.tick()


def test_a_connected_device_may_be_silent_for_ever(bench: HubBench) -> None:
    bench.join()
    bench.south.online(STATION, "connected over hci0")
    assert after(bench, 30 * DAY) is State.ONLINE


def test_the_log_tells_once_when_a_device_goes_and_comes_and_how_long_it_was_away(
    bench: HubBench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.join()
    bench.south.online(STATION, "connected")
    bench.hub.attendance.away(STATION, "the radio is down")
    assert after(bench, 3 * HOUR + 59) is State.OFFLINE
    caplog.clear()
    bench.south.online(STATION, "connected")
    bench.say({TEMPERATURE: 20.0})
    (line,) = (record.getMessage() for record in caplog.records)
    assert line == f"{STATION} (d1) is online, after 3 h offline: connected"
    bench.hub.attendance.away(STATION, "the radio is down")
    caplog.clear()
    bench.south.online(STATION, "connected")
    (line,) = (record.getMessage() for record in caplog.records)
    assert line == f"{STATION} (d1) is online: connected"


def test_a_device_that_hangs_up_and_comes_back_soon_was_never_offline(bench: HubBench) -> None:
    bench.hub.rules = Rules(patience=Patience(powered_s=10))
    bench.join()
    bench.south.online(STATION, "connected")
    bench.clock.advance(HOUR)
    bench.south.lost(STATION, "hung up")
    assert state(bench) == (State.ONLINE, "looked for: hung up")
    assert after(bench, 9) is State.ONLINE
    bench.south.online(STATION, "connected")
    assert after(bench, 60) is State.ONLINE
    assert state(bench) == (State.ONLINE, "connected")


def test_a_device_is_offline_when_it_was_lost_and_not_reached_for_long_enough(
    bench: HubBench,
) -> None:
    bench.hub.rules = Rules(patience=Patience(powered_s=10))
    bench.join()
    bench.south.online(STATION, "connected")
    bench.clock.advance(HOUR)
    bench.south.lost(STATION, "hung up")
    bench.clock.advance(5)
    bench.south.seen(Sighting(STATION))  # it advertises, which is not enough
    bench.south.lost(STATION, "connecting failed")
    bench.told()
    assert after(bench, 5) is State.OFFLINE
    assert state(bench) == (State.OFFLINE, "connecting failed")
    assert bench.told() == [DeviceChanged(STATION)]
    assert after(bench, 5) is State.OFFLINE
    assert bench.told() == []


def test_a_sleeper_is_asleep_for_a_day_and_then_offline(bench: HubBench) -> None:
    bench.join()
    bench.south.lost(STATION, "sleeps", asleep=True)
    assert after(bench, DAY) is State.ASLEEP
    assert after(bench, HOUR) is State.OFFLINE
    assert state(bench)[1] == "not heard for 25 h"


def test_a_device_that_is_only_heard_is_offline_after_the_time_of_beacons(bench: HubBench) -> None:
    bench.join()
    bench.say({TEMPERATURE: 20.0})
    assert after(bench, 194) is State.ONLINE
    assert after(bench, 1) is State.OFFLINE


@pytest.mark.parametrize(("interval_s", "limit_s"), [(2, 30), (20, 50), (600, 1_500)])
def test_the_interval_of_a_beacon_is_learned(
    bench: HubBench, interval_s: float, limit_s: float
) -> None:
    bench.join()
    heard_every(bench, interval_s, 17)
    assert after(bench, limit_s - 1) is State.ONLINE
    assert after(bench, 1) is State.OFFLINE
    assert "usually every" in state(bench)[1]


def test_a_slow_beacon_is_known_for_one_after_its_second_gap(bench: HubBench) -> None:
    bench.join()
    heard_every(bench, 600, 3)
    assert after(bench, 1_499) is State.ONLINE


def test_one_absence_teaches_nothing(bench: HubBench) -> None:
    bench.join()
    heard_every(bench, 20, 8)
    bench.clock.advance(HOUR / 2)
    heard_every(bench, 20, 9)
    assert after(bench, 49) is State.ONLINE
    assert after(bench, 1) is State.OFFLINE


def test_a_devices_own_timeout_goes_before_the_rule_of_its_kind(bench: HubBench) -> None:
    bench.rules(station=DeviceRule(listed=True, timeout_s=HOUR))
    bench.join()
    heard_every(bench, 2, 20)
    assert after(bench, HOUR - 1) is State.ONLINE
    assert after(bench, 1) is State.OFFLINE


def test_after_a_restart_a_device_that_is_long_gone_is_offline_once_it_was_listened_for(
    clock: Clock,
) -> None:
    bench = restarted(clock, Rules(), replace(REMEMBERED, last_seen=clock.wall() - 3 * DAY))
    assert after(bench, 194) is State.UNKNOWN
    assert after(bench, 1) is State.OFFLINE
    assert state(bench)[1] == "not heard for 3 d"


def test_a_clock_that_was_not_set_at_the_start_makes_nobody_offline(clock: Clock) -> None:
    bench = restarted(clock, Rules(), replace(REMEMBERED, last_seen=clock.wall() + DAY))
    assert after(bench, 190) is State.UNKNOWN
    bench.say({TEMPERATURE: 20.0})
    assert after(bench, 190) is State.ONLINE


def test_what_was_learned_and_when_a_device_was_seen_outlive_the_daemon(
    tmp_path: FilePath, clock: Clock
) -> None:
    def hub(database: StateDatabase) -> Hub:
        registry = HubBench(clock).hub.registry
        rules = Rules({STATION: DeviceRule(listed=True)})
        hub = Hub(registry, rules, database, wall=clock.wall, monotonic=clock.monotonic)
        hub.restore(database.load())
        return hub

    database = StateDatabase(tmp_path)
    first = hub(database)
    for _ in range(20):
        clock.advance(20)
        first.seen("ble", Sighting(STATION))
    learned = first.attendance.take_learned(last=True)
    assert learned
    database.remember(GATEWAY, LEARNED, learned)
    database.save_seen(first.attendance.take_seen(last=True))
    last_seen = clock.wall()
    database.close()

    database = StateDatabase(tmp_path)
    second = hub(database)
    known = second.store.device(STATION)
    assert known
    assert known.last_seen == last_seen
    clock.advance(51)
    second.tick()
    known = second.store.device(STATION)
    assert known
    assert known.availability.state is State.OFFLINE
    assert known.availability.reason == "not heard for 51 s, usually every 20 s"
    database.close()


@pytest.mark.parametrize("damaged", [
    b"{", b"[]", b'{"ble:x": 3}', b'{"ble:x": ["a", 1]}', b"\xff",
    b'{"ble:x": [' + b"9" * 400 + b", 1]}", b"[" * 50_000,
])  # fmt: skip
def test_what_was_learned_may_be_damaged(clock: Clock, damaged: bytes) -> None:
    bench = HubBench(clock)
    bench.memory.data["gateway", "intervals"] = damaged
    bench.hub.restore([REMEMBERED])
    assert bench.north.device("d1")


def test_seen_devices_go_to_disk_once_a_minute_though_they_say_nothing_new(
    bench: HubBench,
) -> None:
    bench.join()
    assert bench.hub.attendance.take_seen() == []
    bench.clock.advance(60)
    seen = bench.hub.attendance.take_seen()
    assert [d.id for d in seen] == [STATION]
    bench.clock.advance(60)
    assert bench.hub.attendance.take_seen() == []
    bench.hub.attendance.keep_seen(seen)  # the disk was full
    bench.clock.advance(60)
    assert bench.hub.attendance.take_seen() == seen


def test_what_was_learned_goes_to_disk_now_and_then_and_again_where_it_could_not(
    bench: HubBench,
) -> None:
    bench.join()
    heard_every(bench, 20, 20)
    bench.hub.tick()
    attendance = bench.hub.attendance
    assert attendance.take_learned() is None
    bench.clock.advance(600)
    bench.hub.tick()
    assert not bench.memory.data  # the disk is not waited for where devices are answered
    learned = attendance.take_learned()
    assert learned
    bench.clock.advance(600)
    assert attendance.take_learned() is None
    attendance.keep_learned()  # the disk was full
    assert attendance.take_learned() == learned


def test_devices_that_go_with_their_adapter_are_offline_and_one_line(
    bench: HubBench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.join(STATION)
    bench.join(METER)
    bench.south.online(METER, "connected")
    for device in (STATION, METER):
        bench.say({TEMPERATURE: 20.0}, device)
    caplog.clear()
    caplog.set_level("INFO")
    for _ in range(2):
        bench.south.stopped(STOPPED)
    known = [bench.north.device_by_id(device) for device in (STATION, METER)]
    assert {d and (d.availability.state, d.availability.reason) for d in known} == {
        (State.OFFLINE, STOPPED)
    }
    assert caplog.messages == [f"2 devices of ble are offline: {STOPPED}"]


def test_a_device_that_was_offline_before_its_adapter_stopped_keeps_its_own_reason(
    bench: HubBench,
) -> None:
    bench.join(STATION)
    bench.join(METER)
    bench.say({TEMPERATURE: 20.0})
    bench.south.lost(METER, "connecting failed")
    bench.told()
    for _ in range(2):
        bench.south.stopped(STOPPED)
    meter = bench.north.device_by_id(METER)
    assert meter
    assert meter.availability.reason == "connecting failed"
    assert bench.told() == [DeviceChanged(STATION)]


def test_a_jump_of_the_wall_clock_changes_no_state(bench: HubBench) -> None:
    bench.join()
    bench.say({TEMPERATURE: 20.0})
    for jump in (-10 * DAY, 20 * DAY):
        bench.clock.jump(jump)
        assert after(bench, 10) is State.ONLINE
    bench.south.report([Reading(STATION, TEMPERATURE, 21.0, bench.clock.wall() - DAY)])
    resource = bench.north.resource(STATION, TEMPERATURE)
    assert resource
    assert resource.value == 21.0


def test_the_file_says_what_silence_means() -> None:
    rules = parse(f"""
        [availability]
        sleepy = "3d"
        [[device]]
        id = "{STATION}"
        timeout = "2h"
    """).rules
    assert rules.patience == Patience(powered_s=10, sleepy_s=3 * DAY, beacon_s=195)
    assert rules.of(STATION).timeout_s == 2 * HOUR

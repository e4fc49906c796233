"""From reading to change: admission, prefixes, instances, values, availability, report rule."""

from dataclasses import replace

import pytest

from gateway.errors import InvalidValue, NotFound, StateError
from gateway.events import Change, DeviceChanged, Reading, Removed, Resource, Sighting, State
from gateway.model import GATEWAY, DeviceId, Path
from gateway.policy import DeviceRule, ReportRule, Rules
from gateway.slots import SouthSlot
from tests.fakes import METER, REMEMBERED, STATION, Clock, HubBench, restarted, small_registry

TEMPERATURE = Path(3303, 0, 5700)


def value(bench: HubBench, path: Path, device: DeviceId = STATION) -> object:
    resource = bench.north.resource(device, path)
    return resource.value if resource else None


def test_a_device_that_is_not_listed_is_not_bridged_and_the_operator_sees_why(
    bench: HubBench,
) -> None:
    assert not bench.south.seen(Sighting(STATION, "Weather\nStation", -70))
    bench.say({TEMPERATURE: 20.0})
    stranger = bench.hub.admission.strangers[STATION]
    assert (stranger.name, stranger.rssi_dbm) == ("Weather?Station", -70)
    assert "not listed" in stranger.reason
    assert value(bench, TEMPERATURE) is None


def test_a_device_joins_while_the_window_is_open_and_stays_when_it_has_closed(
    bench: HubBench,
) -> None:
    bench.hub.permit(60)
    assert bench.south.seen(Sighting(STATION))
    bench.clock.advance(61)
    assert bench.south.seen(Sighting(STATION))
    assert not bench.south.seen(Sighting(METER))


def test_the_join_window_is_never_open_for_more_than_an_hour(bench: HubBench) -> None:
    bench.hub.permit(1e9)
    bench.clock.advance(3601)
    assert not bench.south.seen(Sighting(STATION))


def test_a_value_keeps_the_time_of_its_measurement(bench: HubBench) -> None:
    bench.join()
    bench.south.report([Reading(STATION, TEMPERATURE, 21, 1_699_999_000.5)])
    assert bench.north.resource(STATION, TEMPERATURE) == Resource(
        TEMPERATURE, 21.0, 1_699_999_000.5
    )


def test_a_reading_that_no_definition_allows_is_dropped_counted_and_told_once(
    bench: HubBench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.join()
    for _ in range(2):
        bench.say({TEMPERATURE: "warm", Path(3303, 0, 1): 1, Path(9999, 0, 1): 1})
    assert not bench.north.resources(STATION)
    assert bench.hub.counters["readings_invalid"] == 2
    assert bench.hub.counters["readings_undefined"] == 4
    told = f"{STATION}: /3303/0/5700 is dropped: Sensor Value must be a float"
    assert caplog.messages.count(told) == 1


def test_not_a_number_never_replaces_a_value(bench: HubBench) -> None:
    bench.join()
    bench.say({TEMPERATURE: 20.0})
    bench.say({TEMPERATURE: float("nan")})
    assert value(bench, TEMPERATURE) == 20.0


def test_clients_are_told_a_change_once_and_an_equal_value_not_at_all(bench: HubBench) -> None:
    bench.join()
    bench.say({TEMPERATURE: 20.0})
    assert Change(STATION, TEMPERATURE) in bench.told()
    bench.say({TEMPERATURE: 20.0})
    assert not bench.told()
    bench.say({TEMPERATURE: 20.5})
    assert bench.told() == [Change(STATION, TEMPERATURE)]


def test_the_deadband_is_held_against_the_value_told_last_so_slow_drift_is_told(
    bench: HubBench,
) -> None:
    bench.rules(ReportRule(deadband=0.5))
    bench.join()
    bench.say({TEMPERATURE: 20.0})
    bench.told()
    told_at = []
    for step in range(1, 11):
        bench.say({TEMPERATURE: 20.0 + step / 10})
        told_at += [step] if bench.told() else []
    assert told_at == [6]
    assert value(bench, TEMPERATURE) == 21.0


def test_a_change_within_the_minimum_interval_is_told_when_it_ends(bench: HubBench) -> None:
    bench.rules(ReportRule(min_interval_s=10))
    bench.join()
    for temperature in (20.0, 21.0, 22.0):
        bench.say({TEMPERATURE: temperature})
    assert bench.told().count(Change(STATION, TEMPERATURE)) == 1
    bench.clock.advance(9)
    bench.hub.tick()
    assert not bench.told()
    bench.clock.advance(1)
    bench.hub.tick()
    assert bench.told() == [Change(STATION, TEMPERATURE)]
    bench.hub.tick()
    assert not bench.told()


def test_a_held_change_that_went_back_is_told_as_somebody_may_have_read_it_between(
    bench: HubBench,
) -> None:
    bench.rules(ReportRule(min_interval_s=10))
    bench.join()
    for temperature in (20.0, 21.0, 20.0):
        bench.say({TEMPERATURE: temperature})
    bench.told()
    bench.clock.advance(11)
    bench.hub.tick()
    assert bench.told() == [Change(STATION, TEMPERATURE)]


def test_an_unchanged_value_is_told_again_after_the_maximum_interval(bench: HubBench) -> None:
    bench.rules(ReportRule(max_interval_s=60))
    bench.join()
    bench.say({TEMPERATURE: 20.0})
    bench.told()
    bench.clock.advance(60)
    bench.say({TEMPERATURE: 20.0})
    assert bench.told() == [Change(STATION, TEMPERATURE)]


def test_availability_is_told_and_values_stay_when_a_device_is_lost(bench: HubBench) -> None:
    bench.join()
    bench.say({TEMPERATURE: 20.0})
    bench.told()
    bench.south.lost(STATION, "hung up")
    assert bench.told() == [DeviceChanged(STATION)]
    device = bench.north.device_by_id(STATION)
    assert device
    assert (device.availability.state, device.availability.reason) == (State.OFFLINE, "hung up")
    assert value(bench, TEMPERATURE) == 20.0
    bench.say({TEMPERATURE: 20.0})
    assert bench.told() == [DeviceChanged(STATION)]
    assert bench.north.max_age_s(STATION, TEMPERATURE) == 60.0


def test_a_value_of_a_device_that_is_away_is_never_called_fresh(bench: HubBench) -> None:
    bench.join()
    bench.say({TEMPERATURE: 20.0})
    bench.south.lost(STATION, "out of reach", asleep=True)
    assert bench.north.max_age_s(STATION, TEMPERATURE) == 0


def test_what_a_device_no_longer_has_is_withdrawn_and_told(bench: HubBench) -> None:
    bench.join(prefix="weather")
    bench.say({TEMPERATURE: 20.0, Path(3303, 1, 5700): 5.0})
    bench.told()
    bench.south.withdraw(STATION, Path(3303, 1))
    assert bench.told() == [Removed(STATION, "weather", Path(3303, 1))]
    assert [r.path for r in bench.north.resources(STATION)] == [TEMPERATURE]


def test_a_forgotten_device_is_told_gone_and_may_join_again(bench: HubBench) -> None:
    bench.join(prefix="weather")
    bench.say({TEMPERATURE: 20.0})
    bench.told()
    bench.hub.forget(STATION)
    assert bench.told() == [Removed(STATION, "weather")]
    assert STATION not in bench.memory.devices
    bench.join()
    assert not bench.north.resources(STATION)


def test_resources_below_a_path_come_in_path_order(bench: HubBench) -> None:
    bench.join()
    bench.say({Path(3312, 0, 5850): True, Path(3303, 10, 5700): 1.0, Path(3303, 2, 5700): 2.0})
    under = bench.north.resources(STATION, Path(3303))
    assert [r.path for r in under] == [Path(3303, 2, 5700), Path(3303, 10, 5700)]


def test_the_gateway_shows_each_device_in_its_object_25(bench: HubBench) -> None:
    bench.join(prefix="weather")
    bench.say({TEMPERATURE: 20.0})
    shown = {str(r.path): r.value for r in bench.north.resources(GATEWAY, Path(25))}
    assert shown == {
        "/25/0/0": "urn:dev:mac:0024befffe804ff1",
        "/25/0/1": "weather",
        "/25/0/3": "</3303>;ver=1.1,</3303/0>",
        "/25/0/26241": "online",
        "/25/0/26242": "connected",
        "/25/0/26243": int(bench.clock.wall()),
    }
    bench.hub.forget(STATION)
    assert not bench.north.resources(GATEWAY, Path(25))


def test_after_a_restart_values_are_there_with_their_time_and_marked_restored(clock: Clock) -> None:
    bench = restarted(clock, Rules(), REMEMBERED)
    assert bench.north.resource(STATION, TEMPERATURE) == Resource(TEMPERATURE, 20.5, 6.0, True)
    assert bench.north.max_age_s(STATION, TEMPERATURE) == 0
    assert bench.south.instance(STATION, 3303, "id7", 0) == 3
    device = bench.north.device("d1")
    assert device
    assert (device.name, device.availability.state) == ("old name", State.UNKNOWN)
    bench.say({TEMPERATURE: 20.5})
    resource = bench.north.resource(STATION, TEMPERATURE)
    assert resource
    assert not resource.restored


def test_a_device_found_by_another_adapter_is_not_among_this_ones_devices(
    bench: HubBench,
) -> None:
    bench.join()
    assert [d.id for d in bench.south.devices()] == [STATION]
    assert not SouthSlot("lowpan", bench.hub).devices()


def test_strangers_are_bounded_and_the_latest_are_kept(clock: Clock) -> None:
    bench = HubBench(clock, small_registry())
    for number in range(1_100):
        bench.south.seen(Sighting(DeviceId(f"lowpan:{number:016x}")))
    assert len(bench.hub.admission.strangers) == 1_000
    assert next(reversed(bench.hub.admission.strangers)) == "lowpan:000000000000044b"


def test_a_device_that_cannot_be_bridged_is_listed_with_its_reason(bench: HubBench) -> None:
    bench.south.seen(Sighting(STATION, "Lamp", -50))
    bench.south.refused(STATION, "it has no BIPSO characteristic")
    assert bench.hub.admission.strangers[STATION].reason == "it has no BIPSO characteristic"
    assert bench.hub.admission.strangers[STATION].name == "Lamp"


def test_a_resource_is_single_or_multiple_as_it_is_defined(
    bench: HubBench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.join()
    bench.say({Path(3303, 0, 5700, 0): 1.0, Path(3, 0, 11): 0, Path(3, 0, 11, 1): 0})
    bench.say({Path(3, 0, 11): 0})
    assert [r.path for r in bench.north.resources(STATION)] == [Path(3, 0, 11, 1)]
    assert bench.hub.counters["readings_misplaced"] == 3
    assert caplog.text.count("/3/0/11 is dropped: it is defined with resource instances") == 1


def test_a_device_that_makes_up_resources_fills_neither_memory_nor_log(
    bench: HubBench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.join()
    bench.say({Path(3303, number, 5700): 1.0 for number in range(1_001)})
    bench.say({Path(9, 0, number): 1 for number in range(1_500)})
    assert len(bench.north.resources(STATION)) == 1_000
    assert bench.hub.counters["readings_too_many"] == 1
    assert bench.hub.counters["readings_undefined"] == 1_500
    assert len([r for r in caplog.records if r.levelname == "WARNING"]) == 100


@pytest.mark.parametrize("at", [float("nan"), float("inf")])
def test_a_reading_without_a_real_time_is_dropped(bench: HubBench, at: float) -> None:
    bench.join()
    bench.south.report([Reading(STATION, TEMPERATURE, 21.0, at)])
    assert value(bench, TEMPERATURE) is None


def test_one_report_may_hold_several_devices_and_strangers(bench: HubBench) -> None:
    bench.join(STATION, "one")
    bench.join(METER, "two")
    stranger = DeviceId("ble:00-24-be-80-4f-ff")
    bench.south.report([Reading(d, TEMPERATURE, 1.0, 5.0) for d in (METER, stranger, STATION)])
    states = [d.availability.state for d in bench.north.devices()]
    assert states == [State.ONLINE] * 3
    assert value(bench, TEMPERATURE, METER) == value(bench, TEMPERATURE) == 1.0
    assert bench.hub.counters["readings_of_strangers"] == 1


def test_what_a_device_no_longer_has_also_goes_from_the_gateways_list(bench: HubBench) -> None:
    bench.join()
    bench.say({TEMPERATURE: 20.0, Path(3312, 0, 5850): True})
    bench.south.withdraw(STATION, Path(3312))
    assert value(bench, Path(25, 0, 3), GATEWAY) == "</3303>;ver=1.1,</3303/0>"


def test_servers_are_told_that_the_gateway_itself_has_more_resources(bench: HubBench) -> None:
    bench.north.outbox.take_all()
    bench.join()
    assert DeviceChanged(GATEWAY) in bench.north.outbox.take_all()


def test_a_state_lasts_since_it_began_though_its_reason_changes(bench: HubBench) -> None:
    bench.join()
    bench.south.lost(STATION, "hung up")
    since = bench.clock.wall()
    bench.clock.advance(60)
    bench.south.lost(STATION, "out of reach")
    device = bench.north.device_by_id(STATION)
    assert device
    assert (device.availability.reason, device.availability.since) == ("out of reach", since)


def test_a_device_is_seen_also_when_it_has_nothing_new_to_say(bench: HubBench) -> None:
    bench.join()
    for seen in (
        lambda: bench.south.seen(Sighting(STATION)),
        lambda: bench.south.online(STATION, "connected"),
        lambda: bench.south.online(STATION, "connected"),
    ):
        bench.clock.advance(60)
        seen()
        device = bench.north.device_by_id(STATION)
        assert device
        assert device.last_seen == bench.clock.wall()


def test_the_gateway_itself_cannot_be_forgotten(bench: HubBench) -> None:
    with pytest.raises(NotFound):
        bench.hub.forget(GATEWAY)
    assert bench.north.device("")


def test_a_restored_value_that_nothing_defines_any_more_is_not_shown(clock: Clock) -> None:
    old = Resource(Path(3303, 0, 5700), "was text", 1.0), Resource(Path(9, 0, 1), 1, 1.0)
    bench = restarted(clock, Rules(), replace(REMEMBERED, resources=old))
    assert not bench.north.resources(STATION)


def test_the_gateway_shows_all_of_many_devices(bench: HubBench) -> None:
    bench.hub.permit(60)
    for number in range(400):
        bench.south.seen(Sighting(DeviceId(f"lowpan:{number:016x}")))
    assert len(bench.north.resources(GATEWAY, Path(25))) == 2_400


def test_a_name_that_cannot_be_kept_is_not_given(bench: HubBench) -> None:
    bench.join()
    bench.memory.full = True
    with pytest.raises(StateError):
        bench.hub.rename(STATION, "Loft")
    known = bench.north.device_by_id(STATION)
    assert known
    assert known.name == "a name"


def test_what_one_device_is_called_is_given_to_no_other(bench: HubBench) -> None:
    bench.join()
    bench.join(METER, prefix="meter")
    bench.rules(
        station=DeviceRule(listed=True),
        meter=DeviceRule(listed=True, prefix="meter"),
    )
    listed = {DeviceId("ble:00-00-00-00-00-09"): DeviceRule(listed=True, prefix="p9", name="Nine")}
    bench.hub.rules = replace(bench.hub.rules, devices={**bench.hub.rules.devices, **listed})
    bench.hub.rename(METER, "Loft")
    for taken in ("Loft", "meter", "Nine", "p9"):
        with pytest.raises(InvalidValue, match=f"is called {taken} already"):
            bench.hub.rename(STATION, taken)
    for free in ("d1", "Cellar", "", "Cellar"):
        bench.hub.rename(STATION, free)


def test_devices_of_one_model_keep_the_name_that_they_have_of_themselves(bench: HubBench) -> None:
    bench.join()
    bench.join(METER)
    bench.hub.rename(STATION, "a name")
    bench.hub.rename(METER, "Loft")
    with pytest.raises(InvalidValue):
        bench.hub.rename(METER, "a name")
    bench.hub.rename(METER, "")
    bench.south.seen(Sighting(METER, "a name"))
    known = bench.north.device_by_id(METER)
    assert known
    assert known.name == "a name"


def test_a_listed_device_is_not_shown_under_a_prefix_that_another_one_has(bench: HubBench) -> None:
    bench.join(prefix="attic")
    listed = {DeviceId(f"ble:00-00-00-00-00-0{n}"): p for n, p in enumerate(("attic", "loft"))}
    rules = {id: DeviceRule(listed=True, prefix=prefix) for id, prefix in listed.items()}
    bench.hub.rules = replace(bench.hub.rules, devices={**bench.hub.rules.devices, **rules})
    assert [device.prefix for device in bench.hub.overview().absent] == ["", "loft"]

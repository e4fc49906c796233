"""Prefixes and instance numbers: assigned once, kept for ever, and no other device's ever."""

from dataclasses import replace

import pytest

from gateway.devices.identities import Remembered
from gateway.errors import NotFound, StateError
from gateway.events import Resource, Sighting
from gateway.model import DeviceId, Path
from gateway.policy import DeviceRule, Rules
from tests.fakes import METER, REMEMBERED, STATION, Clock, HubBench, restarted

TEMPERATURE = Path(3303, 0, 5700)
OTHERS = DeviceId("ble:00-24-be-80-4f-f3")
OTHER = Remembered(METER, "d2", "", "ble", True, None, {}, [])


def test_prefixes_are_the_configured_ones_else_assigned_in_order(bench: HubBench) -> None:
    bench.rules(meter=DeviceRule(listed=True, prefix="d1"))
    bench.hub.permit(60)
    bench.join(STATION)
    bench.join(METER)
    assert [d.prefix for d in bench.north.devices()] == ["", "d2", "d1"]
    assert bench.memory.devices[STATION].prefix == "d2"


def test_an_instance_number_is_the_preferred_one_or_the_next_free_and_never_moves(
    bench: HubBench,
) -> None:
    bench.join()
    assert bench.south.instance(STATION, 3301, "id1", 1) == 1
    assert bench.south.instance(STATION, 3301, "id0", 0) == 0
    assert bench.south.instance(STATION, 3301, "id1#2", 1) == 2
    assert bench.south.instance(STATION, 3301, "id1", 0) == 1
    assert bench.memory.instances[STATION, 3301, "id1#2"] == 2


def test_a_number_is_never_given_to_another_device_and_who_comes_back_has_its_own(
    bench: HubBench,
) -> None:
    bench.join(STATION)
    bench.hub.forget(STATION)
    bench.join(METER)
    bench.join(STATION)
    assert [(d.id, d.prefix) for d in bench.north.devices()[1:]] == [(METER, "d2"), (STATION, "d1")]


def test_a_number_that_the_configuration_gave_is_given_to_no_other_either(bench: HubBench) -> None:
    bench.join(METER, prefix="d1")
    bench.hub.forget(METER)
    bench.rules()
    bench.join(STATION)
    bench.hub.forget(STATION)
    bench.rules(meter=DeviceRule(listed=True, prefix="d2"))  # but the operator may
    bench.join(METER)
    bench.join(STATION)
    bench.hub.forget(STATION)
    bench.rules()
    bench.join(OTHERS)
    prefixes = [(d.id, d.prefix) for d in bench.north.devices()[1:]]
    assert prefixes == [(METER, "d2"), (OTHERS, "d4")]


def test_a_prefix_changed_in_the_configuration_is_taken_at_the_next_start(clock: Clock) -> None:
    rules = Rules({STATION: DeviceRule(True, "roof")})
    bench = restarted(clock, rules, REMEMBERED)
    assert bench.north.device("roof")
    assert bench.memory.devices[STATION].prefix == "roof"


def test_a_prefix_that_another_device_has_is_not_taken_from_it(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    rules = Rules({STATION: DeviceRule(True, "d2")})
    other = Remembered(METER, "d2", "", "ble", True, None, {}, [])
    bench = restarted(clock, rules, REMEMBERED, other)
    assert bench.north.device_by_id(STATION) == bench.north.device("d1")
    assert "keeps prefix d1" in caplog.text


def test_a_device_that_is_listed_no_more_is_not_bridged_but_keeps_what_it_had(
    clock: Clock,
) -> None:
    bench = restarted(clock, Rules(), replace(REMEMBERED, joined=False))
    assert not bench.south.seen(Sighting(STATION))
    assert bench.north.device("d1") is None
    bench.hub.permit(60)
    bench.join(METER)
    bench.join(STATION)
    assert [d.prefix for d in bench.north.devices()] == ["", "d2", "d1"]
    assert bench.north.resource(STATION, TEMPERATURE) == Resource(TEMPERATURE, 20.5, 6.0, True)
    assert bench.south.instance(STATION, 3303, "id7", 0) == 3


def test_last_values_that_no_definition_allows_are_left_out_and_told_in_one_line(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    unfit = [Resource(Path(3303, n, 5700), "warm", 6.0) for n in range(1, 100)]
    old = replace(REMEMBERED, resources=[*REMEMBERED.resources, *unfit])
    bench = restarted(clock, Rules(), old)
    assert [r.path for r in bench.north.resources(STATION)] == [TEMPERATURE]
    told = [r.getMessage() for r in caplog.records if r.levelname == "WARNING"]
    assert [line.split(",")[0] for line in told] == ["99 last values are left out"]


def test_one_device_moves_into_the_prefix_that_another_leaves(clock: Clock) -> None:
    rules = Rules({STATION: DeviceRule(True, "d2"), METER: DeviceRule(True, "roof")})
    bench = restarted(clock, rules, REMEMBERED, OTHER)
    assert [(d.id, d.prefix) for d in bench.north.devices()[1:]] == [
        (STATION, "d2"),
        (METER, "roof"),
    ]
    assert {d.id: d.prefix for d in bench.memory.devices.values()} == {STATION: "d2", METER: "roof"}


def test_on_a_full_disk_a_prefix_stays_and_the_gateway_starts(
    clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    bench = HubBench(clock)
    bench.memory.full = True
    bench.hub.rules = Rules({STATION: DeviceRule(True, "roof")})
    bench.hub.restore([REMEMBERED])
    assert bench.north.device("d1")
    assert "keeps prefix d1 for now: state.db: database or disk is full" in caplog.text


def test_on_a_full_disk_nobody_joins_and_the_log_says_so_once(
    bench: HubBench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.hub.permit(60)
    bench.memory.full = True
    for _ in range(100):
        assert not bench.south.seen(Sighting(STATION))
    assert caplog.text.count("cannot join") == 1
    bench.memory.full = False
    assert bench.south.seen(Sighting(STATION))


def test_on_a_full_disk_a_device_is_not_half_forgotten(bench: HubBench) -> None:
    bench.join()
    bench.memory.full = True
    with pytest.raises(StateError):
        bench.hub.forget(STATION)
    assert bench.north.device_by_id(STATION)


def test_a_device_that_is_listed_no_more_can_be_forgotten_which_frees_its_prefix(
    clock: Clock,
) -> None:
    rules = Rules({METER: DeviceRule(True, "d1")})
    bench = restarted(clock, rules, replace(REMEMBERED, joined=False))
    bench.hub.forget(STATION)
    assert bench.south.seen(Sighting(METER))
    assert bench.north.device("d1") == bench.north.device_by_id(METER)
    with pytest.raises(NotFound):
        bench.hub.forget(STATION)


def test_a_name_that_was_heard_late_is_kept(bench: HubBench) -> None:
    bench.hub.permit(60)
    bench.south.seen(Sighting(STATION))
    bench.south.seen(Sighting(STATION, "Weather\tStation"))
    assert bench.memory.devices[STATION].name == "Weather?Station"

"""Who may join: lists, patterns, blocks, the join window; and why somebody may not."""

import pytest

from gateway.configuration.config import parse
from gateway.devices import admission
from gateway.events import Removed, Resource, Sighting
from gateway.model import DeviceId, Path
from tests.daemon import CORE, SIM, Daemon
from tests.fakes import METER, REMEMBERED, STATION, Clock, HubBench, restarted

TEMPERATURE = Path(3303, 0, 5700)
ENVIRONMENT = "0000181a-0000-1000-8000-00805f9b34fb"


def configure(bench: HubBench, text: str) -> None:
    bench.hub.reconfigure(parse(text).rules)


def why(bench: HubBench, device: DeviceId = STATION) -> str:
    return bench.hub.admission.strangers[device].reason


@pytest.mark.parametrize(
    "pattern",
    [
        'id = "ble:00:24:BE:*"',
        'id = "ble:00-24-be-80-4f-f1"',
        'id = "ble:*"',
        'name = "weather*"',
        'service = "181A"',
        f'service = "{ENVIRONMENT}"',
        'adapter = "ble"',
        'id = "ble:00-24*"\nname = "*station"\nservice = "0x181a"\nadapter = "ble"',
    ],
)
def test_a_device_that_a_pattern_fits_joins_by_itself_and_stays(
    bench: HubBench, pattern: str
) -> None:
    configure(bench, f"[[admit]]\n{pattern}")
    assert bench.south.seen(Sighting(STATION, "Weather Station", -50, (ENVIRONMENT,)))
    configure(bench, "")
    assert bench.south.seen(Sighting(STATION))


@pytest.mark.parametrize(
    "pattern",
    [
        'id = "ble:00-25-be-*"',
        'id = "lowpan:*"',
        'name = "weather"',
        'service = "181b"',
        'adapter = "sim"',
        'id = "ble:*"\nname = "Lamp"',
    ],
)
def test_all_keys_of_a_pattern_must_fit(bench: HubBench, pattern: str) -> None:
    configure(bench, f"[[admit]]\n{pattern}")
    assert not bench.south.seen(Sighting(STATION, "Weather Station", -50, (ENVIRONMENT,)))
    assert why(bench) == "not listed, no [[admit]] fits, and the join window is closed"


def test_name_and_services_may_come_in_different_advertisements(bench: HubBench) -> None:
    configure(bench, '[[admit]]\nname = "Weather*"\nservice = "181a"')
    assert not bench.south.seen(Sighting(STATION, "Weather Station"))
    assert bench.south.seen(Sighting(STATION, "", -50, (ENVIRONMENT,)))


def test_a_block_wins_over_pattern_and_join_window_and_is_named(bench: HubBench) -> None:
    configure(bench, '[[admit]]\nid = "ble:*"\n[[block]]\nname = "*TV*"\nid = "ble:00-24-*"')
    bench.hub.permit(60)
    assert not bench.south.seen(Sighting(STATION, "Living room tv"))
    assert why(bench) == "[[block]] keeps it out: id = 'ble:00-24-*', name = '*TV*'"
    assert bench.south.seen(Sighting(METER, "Meter"))


def test_a_listed_device_is_never_blocked(bench: HubBench) -> None:
    configure(bench, f'[[block]]\nid = "ble:*"\n[[device]]\nid = "{STATION}"')
    assert bench.south.seen(Sighting(STATION))
    assert not bench.south.seen(Sighting(METER))


def test_a_device_that_has_joined_goes_when_it_is_blocked_and_comes_back_at_its_old_place(
    bench: HubBench,
) -> None:
    bench.hub.permit(60)
    bench.south.seen(Sighting(STATION, "Weather Station"))
    bench.south.seen(Sighting(METER))
    bench.say({TEMPERATURE: 20.5}, METER)
    bench.hub.permit(0)
    bench.told()
    (line,) = bench.hub.reconfigure(parse(f'[[block]]\nid = "{METER}"').rules)
    assert line == f"{METER} (/d2) is blocked, so not bridged"
    assert bench.told() == [Removed(METER, "d2")]
    configure(bench, '[[block]]\nname = "weather*"')
    assert not bench.south.seen(Sighting(STATION, "Weather Station"))
    assert bench.told() == [Removed(STATION, "d1")]
    assert bench.south.seen(Sighting(METER))
    configure(bench, "")
    assert bench.south.seen(Sighting(STATION))
    assert [d.prefix for d in bench.north.devices()] == ["", "d2", "d1"]
    resource = bench.north.resource(METER, TEMPERATURE)
    assert resource
    assert (resource.value, resource.restored) == (20.5, True)


def test_devices_that_are_not_bridged_any_more_count_too_when_there_are_too_many(
    bench: HubBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admission, "MAX_DEVICES", 2)
    third = DeviceId("ble:00-24-be-80-4f-f3")
    configure(bench, '[[admit]]\nid = "ble:*"\n[[block]]\nname = "gone"')
    assert bench.south.seen(Sighting(STATION))
    assert not bench.south.seen(Sighting(STATION, "gone"))
    assert bench.south.seen(Sighting(METER))
    assert not bench.south.seen(Sighting(third))
    assert why(bench, third).startswith("the gateway has 2 devices already, 1 of them not bridged")
    configure(bench, '[[admit]]\nid = "ble:*"')
    assert bench.south.seen(Sighting(STATION))
    bench.hub.forget(METER)
    assert bench.south.seen(Sighting(third))


def test_a_block_counts_from_the_start(clock: Clock) -> None:
    bench = restarted(clock, parse('[[block]]\nid = "ble:*"').rules, REMEMBERED)
    assert not bench.north.device("d1")
    configure(bench, "")
    assert bench.south.seen(Sighting(STATION))
    restored = bench.north.resources(STATION)
    assert restored == [Resource(TEMPERATURE, 20.5, 6.0, True)]


def test_a_restart_closes_the_join_window_and_the_operator_sees_who_waits(daemon: Daemon) -> None:
    daemon.command("permit", "1h")
    assert "devices may join for 3" in daemon.command("devices").stdout
    daemon.until(lambda: daemon.value("d1/3303/0/5700"))
    assert "is forgotten" in daemon.command("forget", "d1").stdout
    daemon.end()
    daemon.configure(CORE + '[[block]]\nname = "virtual 0002"\n' + SIM)
    daemon.start()

    def stranger() -> str:
        answer = daemon.ask({"do": "devices"})
        assert answer["join_window_s"] == 0
        return next((s["reason"] for s in answer["strangers"]), "")

    assert daemon.until(stranger) == "[[block]] keeps it out: name = 'virtual 0002'"
    daemon.configure(CORE + '[[admit]]\nid = "sim:*"\n' + SIM)
    daemon.command("reload")
    assert daemon.until(lambda: daemon.value("d1/3303/0/5700"))

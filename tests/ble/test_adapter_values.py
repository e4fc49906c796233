"""What a user sees of BLE devices: their values, where they land, and how they change."""

from collections import Counter

import pytest

from adapters.ble import adapter
from adapters.ble.uuids import long_uuid
from adapters.sim import modules
from adapters.sim.modules import POWER_METER_RELAY, WEATHER_STATION, sensor
from adapters.sim.peripherals import Module, Spot
from gateway.events import State
from gateway.model import Path
from tests.ble.rig import RELAY, STATION, THING, module, rig

FULL_TEMPERATURE = bytes.fromhex("001f00004cc10343656c0000a4c10000fa41000020c20000fa42")


async def test_a_weather_station_shows_its_recorded_values() -> None:
    async with rig(WEATHER_STATION) as r:
        await r.all_connected()
        values = r.port.of(STATION)
        assert values["/3303/0/5700"] == 25.994865
        assert values["/3303/0/5701"] == "C"
        assert values["/3304/0/5700"] == 41.225952
        assert values["/3315/0/5700"] == 1009.0
        assert values["/3324/0/5700"] == 45.782364
        assert values["/3325/0/5701"] == "pcs/0.01cf"
        assert values["/3200/0/5500"] is False
        assert values["/3202/0/5751"] == "Voltage mV"


async def test_two_illuminance_sensors_are_two_instances_by_their_id_byte() -> None:
    async with rig(WEATHER_STATION) as r:
        await r.all_connected()
        values = r.port.of(STATION)
        assert (values["/3301/0/5700"], values["/3301/0/5701"]) == (127.0, "lux")
        assert (values["/3301/1/5700"], values["/3301/1/5701"]) == (0.0, "UV Index")
        await r.station.notify(
            modules.ILLUMINANCE, sensor(7.0, "UV Index", id=1), number=modules.UV
        )
        await r.port.until_value(STATION, "/3301/1/5700", 7.0)
        assert r.port.of(STATION)["/3301/0/5700"] == 127.0


async def test_the_same_id_in_two_characteristics_makes_two_instances() -> None:
    thing = module(Spot(0xCC07, sensor(1.0, "C")), Spot(0xCC07, sensor(2.0, "C")))
    async with rig(thing) as r:
        await r.all_connected()
        assert r.port.of(THING)["/3303/0/5700"] == 1.0
        assert r.port.of(THING)["/3303/1/5700"] == 2.0


async def test_device_information_lands_in_object_3() -> None:
    async with rig(WEATHER_STATION) as r:
        await r.all_connected()
        values = r.port.of(STATION)
        assert {p: v for p, v in values.items() if p.startswith("/3/")} == {
            "/3/0/0": "sivann",
            "/3/0/1": "WeatherStation",
            "/3/0/2": "2016-05-17-01",
            "/3/0/3": "1.0.0",
            "/3/0/4": None,
            "/3/0/11/0": 0,
            "/3/0/16": "U",
            "/3/0/18": "A1",
            "/3/0/19": "1.0.0",
        }


async def test_the_signal_strength_lands_in_object_4_and_jitter_is_no_news() -> None:
    async with rig(WEATHER_STATION) as r:
        await r.all_connected()
        rssi_dbm = r.port.of(STATION)["/4/0/2"]
        assert isinstance(rssi_dbm, int)
        assert abs(rssi_dbm - WEATHER_STATION.rssi_dbm) <= 3
        assert len(r.port.told(STATION, "/4/0/2")) == 1


async def test_battery_and_sig_sensors_need_no_bipso() -> None:
    tag = Module(
        "Thing",
        "D0:5F:B8:22:3B:0A",
        {0x180F: (Spot(0x2A19, b"\x57"),), 0x181A: (Spot(0x2A6E, b"\x59\x08"),)},
    )
    async with rig(tag) as r:
        await r.all_connected()
        assert r.port.of(THING)["/3/0/9"] == 87
        assert r.port.of(THING)["/3303/0/5700"] == 21.37
        assert r.port.of(THING)["/3303/0/5701"] == "Cel"
        await r.thing.notify(0x2A19, b"\x56")
        await r.port.until_value(THING, "/3/0/9", 86)


async def test_a_notification_changes_only_its_own_fields() -> None:
    async with rig(WEATHER_STATION) as r:
        await r.all_connected()
        await r.station.notify(modules.TEMPERATURE, bytes.fromhex("00000000a041"))
        await r.port.until_value(STATION, "/3303/0/5700", 20.0)
        assert r.port.of(STATION)["/3303/0/5701"] == "C"
        assert [reading.path for reading in r.port.reports[-1]] == [Path(3303, 0, 5700)]


async def test_a_notification_is_told_once() -> None:
    async with rig(WEATHER_STATION) as r:
        await r.all_connected()
        for value in (1.0, 2.0, 3.0):
            await r.station.notify(modules.TEMPERATURE, sensor(value, "C"))
        await r.port.until_value(STATION, "/3303/0/5700", 3.0)
        assert r.port.told(STATION, "/3303/0/5700")[-3:] == [1.0, 2.0, 3.0]


async def test_a_notification_cut_at_20_bytes_is_healed_by_a_long_read() -> None:
    async with rig(module(Spot(0xCC07, FULL_TEMPERATURE))) as r:
        await r.all_connected()
        assert r.port.of(THING)["/3303/0/5604"] == 125.0
        warmer = bytearray(FULL_TEMPERATURE)
        warmer[2:6] = bytes.fromhex("0000a041")
        warmer[22:26] = bytes.fromhex("0000c842")
        await r.thing.notify(0xCC07, bytes(warmer))
        await r.port.until_value(THING, "/3303/0/5700", 20.0)
        assert r.port.of(THING)["/3303/0/5604"] == 100.0
        assert r.port.counters["ble_notifications_cut"] == 1


async def test_one_characteristic_may_carry_several_instances() -> None:
    async with rig(module(Spot(0xCC07, sensor(1.0, "C")))) as r:
        await r.all_connected()
        await r.thing.notify(0xCC07, sensor(5.0, "C", id=4))
        await r.port.until_value(THING, "/3303/4/5700", 5.0)
        assert r.port.of(THING)["/3303/0/5700"] == 1.0


async def test_a_number_that_is_none_is_dropped_and_counted() -> None:
    async with rig(WEATHER_STATION) as r:
        await r.all_connected()
        await r.station.notify(modules.TEMPERATURE, bytes.fromhex("00000000c07f"))
        await r.port.until(lambda: r.port.counters["ble_values_not_finite"] == 1)
        assert r.port.of(STATION)["/3303/0/5700"] == 25.994865


async def test_a_value_that_does_not_decode_leaves_the_others_alone() -> None:
    async with rig(module(Spot(0xCC07, b"\x00"), Spot(0xCC08, sensor(40.0, "%RH")))) as r:
        await r.all_connected()
        assert r.port.counters["ble_frames_undecodable"] >= 1
        assert r.port.of(THING)["/3304/0/5700"] == 40.0


async def test_an_undefined_flag_and_surplus_bytes_do_no_harm() -> None:
    """As a relay module with firmware of 2016 sent its presence."""
    async with rig(module(Spot(0xCC06, bytes.fromhex("00400003504952")))) as r:
        await r.all_connected()
        assert r.port.of(THING)["/3302/0/5500"] is False


async def test_every_advertisement_is_a_sighting_but_not_too_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(adapter, "_SEEN_EVERY_S", 3600.0)
    async with rig(WEATHER_STATION, POWER_METER_RELAY, admitted=()) as r:
        await r.port.until(lambda: {s.device for s in r.port.sightings} == {STATION, RELAY})
        await r.bench.bluez.heard(WEATHER_STATION.address, 20)
        assert Counter(s.device for s in r.port.sightings) == {STATION: 1, RELAY: 1}
        assert {s.name for s in r.port.sightings} == {"WeatherStation", "PowerMeterRelay"}
        services = {s.device: s.services for s in r.port.sightings}
        assert services[STATION] == tuple(map(long_uuid, WEATHER_STATION.services))


async def test_a_device_that_is_not_admitted_is_never_connected() -> None:
    async with rig(WEATHER_STATION, POWER_METER_RELAY, admitted=[WEATHER_STATION]) as r:
        await r.all_connected()
        await r.port.until(lambda: any(s.device == RELAY for s in r.port.sightings))
        assert not any(
            member == "Connect" and path.endswith("3B_02") for member, path in r.bench.bluez.calls
        )
        assert r.port.of(RELAY) == {}


async def test_a_device_joins_when_it_is_admitted_later_and_leaves_when_forgotten() -> None:
    async with rig(WEATHER_STATION, admitted=()) as r:
        await r.port.until(lambda: r.port.sightings)
        r.port.admitted.add(STATION)
        await r.all_connected()
        r.port.admitted.clear()
        await r.station.disconnected()


async def test_a_device_without_anything_to_bridge_is_refused_with_the_reason() -> None:
    phone = Module("Thing", "D0:5F:B8:22:3B:0A", {0x180A: (Spot(0x2A29, b"Acme", "read"),)})
    async with rig(phone) as r:
        await r.port.until(lambda: THING in r.port.refusals)
        assert "no BIPSO characteristic" in r.port.refusals[THING]
        await r.thing.disconnected()


async def test_a_device_whose_discovery_was_cut_off_is_discovered_again() -> None:
    async with rig(WEATHER_STATION, admitted=()) as r:
        await r.port.until(lambda: r.port.sightings)
        r.bench.bluez.cut_discovery(WEATHER_STATION.address, services=2)
        r.port.admitted.add(STATION)
        await r.port.until(lambda: STATION in r.port.refusals)
        await r.all_connected()


async def test_a_device_whose_values_are_all_undecodable_is_refused() -> None:
    async with rig(module(Spot(0xCC07, b"\x00", "read"))) as r:
        await r.port.until(lambda: THING in r.port.refusals)
        assert "understood" in r.port.refusals[THING]


async def test_a_connected_device_is_online() -> None:
    async with rig(WEATHER_STATION) as r:
        await r.all_connected()
        assert r.port.states[STATION] == (State.ONLINE, "connected over hci0")
        assert r.port.statuses == ["scanning on hci0"]

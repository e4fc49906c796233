"""What a user gets of a vendor's own characteristics, by a definition in the operator's folder."""

from pathlib import Path as FilePath

import pytest

from adapters.ble import link
from adapters.ble.settings import BleSection
from adapters.sim.modules import WEATHER_STATION
from adapters.sim.peripherals import Spot
from gateway.errors import NotAllowed
from gateway.events import Outcome, State, Write
from gateway.model import Path
from tests.ble.rig import STATION, THING, module, rig

SHIPPED = FilePath(__file__).parents[2] / "config" / "devices"
CLIMATE, LAMP = 0xFFF1, 0x6E400003B5A3F393E0A9E50E24DCCA9E
DEFINITION = """
name = "Vendor's thing"
manufacturer = "Vendor"
model = "T-1"
[match]
characteristics = ["0xfff1", "6e400003-b5a3-f393-e0a9-e50e24dcca9e"]
name = "Thi*"
[[resource]]
characteristic = "0xfff1"
format = "i16"
scale = 0.1
object = 3303
resource = 5700
[[resource]]
characteristic = "0xfff1"
format = "u8"
at = 2
object = 3
resource = 9
[[resource]]
characteristic = "6e400003-b5a3-f393-e0a9-e50e24dcca9e"
format = "u16"
at = 1
scale = 0.1
object = 3343
resource = 5548
writable = true
"""
THE_THING = module(
    Spot(CLIMATE, bytes.fromhex("d70040")),
    Spot(LAMP, bytes.fromhex("aaf401bb"), "read write"),
)
OF_EVERY_DEVICE = {"/4/0/2", *map(str, link.OF_EVERY_DEVICE)}
TEMPERATURE, LEVEL = Path(3303, 0, 5700), Path(3343, 0, 5548)


def config(folder: FilePath) -> BleSection:
    return BleSection(definitions=folder)


async def test_a_device_of_defined_characteristics_is_read_told_and_written(
    tmp_path: FilePath,
) -> None:
    (tmp_path / "thing.toml").write_text(DEFINITION)
    async with rig(THE_THING, config=config(tmp_path)) as r:
        await r.all_connected()
        values = r.port.of(THING)
        assert {p: v for p, v in values.items() if p not in OF_EVERY_DEVICE} == {
            "/3303/0/5700": 21.5,
            "/3/0/9": 64,
            "/3343/0/5548": 50.0,
            "/3/0/0": "Vendor",
            "/3/0/1": "T-1",
        }
        await r.thing.notify(CLIMATE, bytes.fromhex("9cff3f"))
        await r.port.until_value(THING, "/3303/0/5700", -10.0)
        assert r.port.of(THING)["/3/0/9"] == 63
        outcome = await r.ble.execute(Write(THING, {LEVEL: 75.0}, "test"))
        assert outcome == Outcome(confirmed=True)
        assert r.thing.writes(LAMP) == [bytes.fromhex("aaee02bb")]
        assert r.port.of(THING)["/3343/0/5548"] == 75.0
        with pytest.raises(NotAllowed):
            await r.ble.execute(Write(THING, {TEMPERATURE: 1.0}, "test"))


async def test_a_definition_that_is_put_there_changed_or_removed_counts_at_once(
    tmp_path: FilePath,
) -> None:
    file = tmp_path / "thing.toml"
    async with rig(THE_THING, config=config(tmp_path)) as r:
        await r.port.until(lambda: THING in r.port.refusals)
        assert "fff1, 6e400003-b5a3-f393-e0a9-e50e24dcca9e" in r.port.refusals[THING]
        file.write_text(DEFINITION)
        await r.port.until_value(THING, "/3303/0/5700", 21.5)
        await r.port.until_state(THING, State.ONLINE)
        file.write_text(DEFINITION.replace("object = 3303", "object = 3320"))
        await r.port.until_value(THING, "/3320/0/5700", 21.5)
        await r.port.until_state(THING, State.ONLINE)
        assert (THING, TEMPERATURE) not in r.port.values
        told = [reason for device, _, reason in r.port.history if device == THING]
        assert "its device definition has changed: it is connected anew" in told
        r.port.refusals.clear()
        file.unlink()
        await r.port.until(lambda: THING in r.port.refusals)
        assert set(r.port.of(THING)) <= OF_EVERY_DEVICE


async def test_the_shipped_definition_sets_how_often_a_weather_station_measures() -> None:
    async with rig(WEATHER_STATION, config=config(SHIPPED)) as r:
        await r.all_connected()
        values = r.port.of(STATION)
        assert (values["/3306/0/5850"], values["/3340/0/5521"]) == (True, 1.0)
        assert (values["/3303/0/5701"], values["/3/0/0"]) == ("C", "sivann")
        write = Write(STATION, {Path(3340, 0, 5521): 2.5}, "test")
        assert await r.ble.execute(write) == Outcome(confirmed=True)
        assert r.station.writes(0xBB82) == [b"\xfa"]

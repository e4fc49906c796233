"""What a user gets for writing to and executing on BLE devices."""

import asyncio

import pytest

from adapters.ble.settings import BleSection
from adapters.sim import modules
from adapters.sim.modules import POWER_METER_RELAY, REMOTE_CONTROL, WEATHER_STATION, sensor
from adapters.sim.peripherals import Spot
from gateway.errors import (
    Asleep,
    DeviceRefused,
    InvalidValue,
    NotAllowed,
    NotFound,
    TimedOut,
    Unreachable,
)
from gateway.events import Execute, Outcome, State, Write
from gateway.model import DeviceId, Path, Value
from tests.ble.rig import RELAY, REMOTE, STATION, THING, module, rig
from tests.deadlines import DEADLINE_S

ON_OFF = Path(3312, 0, 5850)


def write(device: DeviceId, path: Path, value: Value) -> Write:
    return Write(device, {path: value}, "test")


async def test_switching_the_relay_writes_exactly_its_three_bytes() -> None:
    async with rig(POWER_METER_RELAY) as r:
        await r.all_connected()
        outcome = await r.ble.execute(write(RELAY, ON_OFF, True))
        assert outcome == Outcome(confirmed=True)
        assert r.relay.writes(modules.POWER_CONTROL) == [bytes.fromhex("000001")]
        assert r.port.told(RELAY, "/3312/0/5850") == [False, True]


async def test_only_what_the_device_shows_changes_the_value() -> None:
    async with rig(POWER_METER_RELAY) as r:
        await r.all_connected()
        r.relay.ignore_writes(modules.POWER_CONTROL)
        outcome = await r.ble.execute(write(RELAY, ON_OFF, True))
        assert outcome == Outcome(confirmed=False)
        assert r.relay.writes(modules.POWER_CONTROL) == [bytes.fromhex("000001")]
        assert r.port.of(RELAY)["/3312/0/5850"] is False


async def test_a_write_sends_the_whole_last_value_without_executables() -> None:
    """Dimmer changes; colour stays; the set of optional fields makes the flags."""
    light = Spot(0xCC0D, bytes.fromhex("0203014b0723666664306130"), "read write notify")
    async with rig(module(light)) as r:
        await r.all_connected()
        await r.ble.execute(write(THING, Path(3311, 2, 5851), 10))
        assert r.thing.writes(0xCC0D) == [bytes.fromhex("0203010a0723666664306130")]
        assert r.port.of(THING)["/3311/2/5851"] == 10


async def test_a_float_is_confirmed_as_the_device_can_hold_it() -> None:
    point = Spot(0xCC0B, bytes.fromhex("000000000000"), "read write")
    async with rig(module(point)) as r:
        await r.all_connected()
        outcome = await r.ble.execute(write(THING, Path(3308, 0, 5900), 20.1))
        assert outcome.confirmed
        assert r.port.of(THING)["/3308/0/5900"] == pytest.approx(20.1, rel=1e-6)


async def test_executing_sends_the_argument_behind_the_flag() -> None:
    resettable = Spot(0xCC07, bytes.fromhex("00210000c841014300"), "read write notify")
    async with rig(module(resettable)) as r:
        await r.all_connected()
        assert r.port.of(THING)["/3303/0/5605"] is None
        outcome = await r.ble.execute(Execute(THING, Path(3303, 0, 5605), "test", "1"))
        assert outcome == Outcome()
        assert r.thing.writes(0xCC07) == [bytes.fromhex("00210000c84101430131")]


async def test_a_reboot_connects_the_device_anew() -> None:
    async with rig(POWER_METER_RELAY) as r:
        await r.all_connected()
        told = r.port.history
        assert r.port.of(RELAY)["/3/0/4"] is None
        assert await r.ble.execute(Execute(RELAY, Path(3, 0, 4), "test")) == Outcome()
        await r.port.until(lambda: (RELAY, State.OFFLINE, "connected anew, as test asks") in told)
        await r.port.until_state(RELAY, State.ONLINE)


async def test_a_write_that_the_device_refuses_says_so() -> None:
    async with rig(POWER_METER_RELAY) as r:
        await r.all_connected()
        r.relay.refuse(modules.POWER_CONTROL, 0x80)
        with pytest.raises(DeviceRefused, match="0x80"):
            await r.ble.execute(write(RELAY, ON_OFF, True))
        assert r.port.of(RELAY)["/3312/0/5850"] is False


async def test_a_bond_that_is_missing_is_named_with_the_remedy() -> None:
    async with rig(POWER_METER_RELAY) as r:
        await r.all_connected()
        r.relay.refuse(modules.POWER_CONTROL, 0x05)
        with pytest.raises(DeviceRefused, match="bluetoothctl"):
            await r.ble.execute(write(RELAY, ON_OFF, True))


@pytest.mark.parametrize(
    ("path", "value", "error"),
    [
        (Path(3303, 0, 5700), 1.0, NotAllowed),
        (Path(3, 0, 0), "me", NotAllowed),
        (Path(3312, 0, 5850), True, NotFound),
        (Path(3308, 0, 5900), 1e39, InvalidValue),
        (Path(3308, 0, 5851), 5, InvalidValue),
    ],
)
async def test_what_cannot_be_written_is_told_apart(
    path: Path, value: Value, error: type[Exception]
) -> None:
    point = Spot(0xCC0B, bytes.fromhex("000000000000"), "read write")
    async with rig(module(Spot(0xCC07, sensor(1.0, "C")), point)) as r:
        await r.all_connected()
        with pytest.raises(error):
            await r.ble.execute(write(THING, path, value))
        assert r.thing.writes(0xCC0B) == []


async def test_a_device_that_never_answers_a_write_ends_the_command() -> None:
    config = BleSection(operation_timeout="300ms")
    async with rig(POWER_METER_RELAY, config=config) as r:
        await r.all_connected()
        r.bench.bluez.hang("WriteValue")
        with pytest.raises(TimedOut):
            await r.ble.execute(write(RELAY, ON_OFF, True))
        await r.ble.execute(write(RELAY, ON_OFF, True))


async def test_a_device_that_hangs_up_during_a_command_ends_it_at_once() -> None:
    async with rig(POWER_METER_RELAY) as r:
        await r.all_connected()
        r.bench.bluez.hang("WriteValue")
        command = asyncio.create_task(r.ble.execute(write(RELAY, ON_OFF, True)))
        await r.bench.bluez.called("WriteValue")
        await r.relay.hang_up()
        with pytest.raises(Unreachable, match="hung up"):
            async with asyncio.timeout(DEADLINE_S / 2):
                await command


async def test_a_command_waits_for_a_device_that_comes_back() -> None:
    async with rig(POWER_METER_RELAY) as r:
        await r.all_connected()
        await r.relay.hang_up()
        await r.port.until_state(RELAY, State.OFFLINE)
        outcome = await r.ble.execute(write(RELAY, ON_OFF, True))
        assert outcome.confirmed


async def test_a_command_to_a_device_out_of_reach_says_why() -> None:
    async with rig(WEATHER_STATION) as r:
        await r.all_connected()
        await r.station.hush()
        await r.station.hang_up()
        await r.port.until_state(STATION, State.OFFLINE)
        with pytest.raises(Unreachable, match="out of reach"):
            await r.ble.execute(write(STATION, Path(3303, 0, 5700), 1.0))


async def test_a_remote_control_is_asleep_until_a_key_is_pressed() -> None:
    async with rig(REMOTE_CONTROL, config=BleSection(sleepy=(REMOTE,))) as r:
        remote = r.peripheral("RemoteControl")
        await r.port.until(lambda: r.port.statuses)
        with pytest.raises(Asleep) as asleep:
            await r.ble.execute(write(REMOTE, Path(3348, 0, 5547), 1))
        assert asleep.value.retry_after_s > 0
        await remote.wake()
        await r.all_connected()
        await remote.notify(modules.MULTISTATE_SELECTOR, bytes.fromhex("0001100652656d6f7465"))
        await r.port.until_value(REMOTE, "/3348/0/5547", 16)
        await remote.hang_up()
        await r.port.until_state(REMOTE, State.ASLEEP)
        assert r.port.of(REMOTE)["/3348/0/5750"] == "Remote"


async def test_an_unknown_device_is_not_found() -> None:
    async with rig(WEATHER_STATION) as r:
        await r.all_connected()
        with pytest.raises(NotFound):
            await r.ble.execute(write(RELAY, ON_OFF, True))

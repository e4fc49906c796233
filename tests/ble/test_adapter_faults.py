"""What a user sees when devices, links, adapters and BlueZ fail, and that all comes back."""

import asyncio
import gc
import logging

import pytest
from bleak.backends.bluezdbus import manager
from dbus_fast import Variant

from adapters.ble import link
from adapters.ble.adapter import Ble
from adapters.ble.settings import BleSection
from adapters.sim import modules
from adapters.sim.bench import ble_bench
from adapters.sim.modules import POWER_METER_RELAY, WEATHER_STATION, sensor
from gateway.configuration.checks import Severity
from gateway.errors import AdapterError, Unreachable
from gateway.events import State, Write
from gateway.model import Path
from gateway.objects.registry import Registry
from tests.ble.port import RecordingPort
from tests.ble.rig import RELAY, STATION, Rig, adapter_on, rig
from tests.deadlines import DEADLINE_S

HASTY = BleSection(connect_timeout="500ms", operation_timeout="500ms")


async def _values_flow_once(r: Rig) -> None:
    """Every notification arrives, and once."""
    for value in (11.0, 12.0, 13.0):
        await r.station.notify(modules.TEMPERATURE, sensor(value, "C"))
    await r.port.until_value(STATION, "/3303/0/5700", 13.0)
    assert r.port.told(STATION, "/3303/0/5700")[-3:] == [11.0, 12.0, 13.0]


async def test_a_device_that_hangs_up_and_returns_is_told_and_not_doubled() -> None:
    async with rig(WEATHER_STATION) as r:
        await r.all_connected()
        await r.station.hang_up()
        assert "hung up" in await r.port.until_state(STATION, State.OFFLINE)
        await r.all_connected()
        assert r.port.states[STATION][0] is State.ONLINE
        await _values_flow_once(r)


async def test_a_link_lost_while_the_device_is_read_is_tried_again() -> None:
    async with rig(WEATHER_STATION) as r:
        await r.bench.bluez.called("ReadValue", 2)
        await r.station.hang_up()
        await r.all_connected()
        await _values_flow_once(r)


async def test_a_link_lost_during_discovery_is_tried_again() -> None:
    async with rig(WEATHER_STATION, config=HASTY) as r:
        await r.station.connected()
        await r.station.hang_up()
        await r.all_connected()
        await _values_flow_once(r)


async def test_an_adapter_switched_off_is_named_with_the_remedy_and_recovers() -> None:
    async with rig(WEATHER_STATION) as r:
        await r.all_connected()
        r.bench.bluez.power(on=False)
        await r.port.until(lambda: "bluetoothctl power on" in r.port.statuses[-1])
        await r.port.until(lambda: "switched off" in r.port.states[STATION][1])
        with pytest.raises(Unreachable, match="switched off"):
            await r.ble.execute(Write(STATION, {Path(3303, 0, 5700): 1.0}, "test"))
        r.bench.bluez.power(on=True)
        await r.all_connected()
        await _values_flow_once(r)


async def test_an_adapter_switched_off_for_a_moment_is_scanned_with_again() -> None:
    async with rig(WEATHER_STATION) as r:
        await r.all_connected()
        r.bench.bluez.power(on=False)
        r.bench.bluez.power(on=True)
        await r.port.until_state(STATION, State.OFFLINE)
        await r.all_connected()
        await _values_flow_once(r)


async def test_a_killed_bluetoothd_is_noticed_and_its_return_too() -> None:
    async with rig(WEATHER_STATION) as r:
        await r.all_connected()
        await r.bench.bluez.vanish()
        await r.port.until(lambda: "systemctl start bluetooth" in r.port.statuses[-1])
        assert "not running" in await r.port.until_state(STATION, State.OFFLINE)
        await r.bench.bluez.come_back()
        await r.all_connected()
        await _values_flow_once(r)


async def test_without_bluez_the_adapter_waits_and_says_so() -> None:
    async with ble_bench([WEATHER_STATION], interval_ms=20) as bench:
        await bench.bluez.vanish()
        async with adapter_on(bench, [WEATHER_STATION]) as r:
            await r.port.until(lambda: r.port.statuses)
            assert "BlueZ is not running" in r.port.statuses[-1]
            await bench.bluez.come_back()
            await r.all_connected()


async def test_an_adapter_that_is_not_there_is_named_with_what_is() -> None:
    async with rig(WEATHER_STATION, config=BleSection(adapter="hci7")) as r:
        await r.port.until(lambda: r.port.statuses)
        assert (
            r.port.statuses[-1] == "no Bluetooth adapter hci7; there is: hci0; change [ble] adapter"
        )


async def test_without_a_system_bus_the_adapter_fails_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", "unix:path=/nonexistent/bus")
    with pytest.raises(AdapterError, match="install and start dbus"):
        await Ble(BleSection(), RecordingPort()).run()


async def test_a_bus_that_goes_away_ends_the_adapter(caplog: pytest.LogCaptureFixture) -> None:
    for logger in ("adapters.ble", "bleak"):
        caplog.set_level(logging.ERROR, logger)  # no record keeps errors alive
    await _lose_the_bus()
    # dbus-fast forgets the failed write of a call on a dead bus, and asyncio complains when that
    # is collected: here, and not at some moment of another test.
    manager._global_instances.pop(asyncio.get_running_loop())
    gc.collect()


async def _lose_the_bus() -> None:
    async with ble_bench([WEATHER_STATION], interval_ms=20) as bench:
        port = RecordingPort(STATION)
        life = asyncio.create_task(Ble(BleSection(), port).run())
        await port.until_value(STATION, "/3303/0/5701", "C")
        bench.bus.kill()
        with pytest.raises(ExceptionGroup) as ended:
            async with asyncio.timeout(DEADLINE_S):
                await life
        assert ended.group_contains(AdapterError, match="bus went away")


async def test_a_connect_that_never_answers_does_not_stop_other_devices() -> None:
    async with ble_bench([POWER_METER_RELAY, WEATHER_STATION], interval_ms=20) as bench:
        bench.bluez.hang("Connect", address=POWER_METER_RELAY.address)
        async with adapter_on(bench, [POWER_METER_RELAY, WEATHER_STATION], HASTY) as r:
            await r.port.until_value(STATION, "/3303/0/5701", "C")
            await r.all_connected()
            assert "no answer" in str(r.port.history)


async def test_a_connect_stuck_in_progress_has_bluez_forget_the_device() -> None:
    async with ble_bench([WEATHER_STATION], interval_ms=20) as bench:
        bench.bluez.fail("Connect", "InProgress", "Operation already in progress")
        async with adapter_on(bench, [WEATHER_STATION], HASTY) as r:
            await r.all_connected()
            assert "RemoveDevice" in [member for member, _ in bench.bluez.calls]


async def test_a_scan_that_fell_silent_is_started_anew() -> None:
    config = BleSection(silence_timeout="100ms")
    async with ble_bench([WEATHER_STATION], interval_ms=20) as bench:
        await bench.peripherals["WeatherStation"].hush()
        async with adapter_on(bench, [WEATHER_STATION], config) as r:
            await bench.bluez.called("StartDiscovery", 3)
            await r.station.wake()
            await r.all_connected()


async def test_a_radio_that_stays_deaf_ends_the_adapter_with_a_reason_that_names_it() -> None:
    config = BleSection(silence_timeout="50ms")
    async with ble_bench([WEATHER_STATION], interval_ms=20) as bench:
        await bench.peripherals["WeatherStation"].hush()
        async with adapter_on(bench, [WEATHER_STATION], config) as r:
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.wait({r.life})
            assert r.port.counters["ble_radio_silences"] == 1
            assert "scanning on hci0, but nothing was heard for 0.1 s" in r.port.statuses
            reason = r.life.exception()
            while isinstance(reason, BaseExceptionGroup):
                reason = reason.exceptions[0]
            assert isinstance(reason, AdapterError)
            assert "hci0 has heard nothing for 0.15 s" in str(reason)


async def test_a_connected_device_shows_that_the_radio_is_not_deaf() -> None:
    config = BleSection(silence_timeout="300ms")
    async with rig(WEATHER_STATION, config=config) as r:
        await r.all_connected()
        await r.bench.bluez.called("StartDiscovery", 6)
        assert not r.life.done()


async def test_a_scan_that_bluez_refuses_is_shown_and_tried_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("adapters.ble.scanner._AGAIN_S", 0.05)
    async with ble_bench([WEATHER_STATION], interval_ms=20) as bench:
        bench.bluez.fail("StartDiscovery", "Failed", "Not Authorized")
        async with adapter_on(bench, [WEATHER_STATION]) as r:
            await r.all_connected()
            assert "scanning on hci0: Not Authorized" in r.port.statuses


async def test_a_device_left_connected_by_a_crash_is_taken_over() -> None:
    async with ble_bench([WEATHER_STATION], interval_ms=20) as bench:
        await bench.bluez.connect(WEATHER_STATION.address)
        async with adapter_on(bench, [WEATHER_STATION]) as r:
            await r.all_connected()
            assert "Connect" not in [member for member, _ in bench.bluez.calls]
            await _values_flow_once(r)


async def test_stopping_leaves_nothing_connected() -> None:
    async with rig(WEATHER_STATION, POWER_METER_RELAY) as r:
        await r.all_connected()
        assert len(r.bench.bluez.connected()) == 2
        await r.stop()
        assert r.bench.bluez.connected() == set()


async def test_stopping_while_connecting_ends_at_once() -> None:
    async with ble_bench([WEATHER_STATION], interval_ms=20) as bench:
        bench.bluez.hang("Connect")
        async with adapter_on(bench, [WEATHER_STATION]) as r:
            await bench.bluez.called("Connect")
            await r.stop()
            assert bench.bluez.connected() == set()


async def test_a_bluez_that_answers_nothing_does_not_keep_the_adapter_from_stopping(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link, "_DISCONNECT_S", 0.2)
    async with rig(POWER_METER_RELAY) as r:
        await r.all_connected()
        r.bench.bluez.hang("Disconnect")
        await r.stop()
        assert r.port.of(RELAY)["/3312/0/5850"] is False
        await r.relay.hang_up()


async def test_stopping_while_the_radio_goes_is_not_forgotten(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(link, "_DISCONNECT_S", 0.2)
    async with rig(WEATHER_STATION) as r:
        await r.all_connected()
        r.bench.bluez.hang("Disconnect")
        bluez = r.bench.bluez
        bluez.tree.change(bluez.path, "org.bluez.Adapter1", Powered=Variant("b", value=False))
        await bluez.called("Disconnect")
        await r.stop()
        await r.station.hang_up()


async def test_check_tells_what_to_do_where_no_adapter_is_one_for_low_energy() -> None:
    async with ble_bench([WEATHER_STATION]) as bench:
        bluez = bench.bluez
        bluez.tree.change(bluez.path, "org.bluez.Adapter1", Roles=Variant("as", ["peripheral"]))
        (found,) = await Ble.check(BleSection(), Registry.builtin())
        assert found.text.startswith("hci0 cannot do Bluetooth Low Energy: plug in one that can")


async def test_check_finds_bluez_and_names_an_adapter_that_is_switched_off() -> None:
    async with ble_bench([WEATHER_STATION]) as bench:
        (found,) = await Ble.check(BleSection(), Registry.builtin())
        assert found.text == "BlueZ runs, and hci0 is switched on"
        bench.bluez.power(on=False)
        (found,) = await Ble.check(BleSection(), Registry.builtin())
        assert found.severity is Severity.ERROR
        assert "bluetoothctl power on" in found.text

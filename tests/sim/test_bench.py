"""The demo's bench: three devices that live, and a clear word when something is missing."""

import asyncio
import sys

import pytest

from adapters.ble.adapter import Ble
from adapters.ble.settings import BleSection
from adapters.sim import peripherals, replay
from adapters.sim.bench import ble_bench, demo_bench
from adapters.sim.modules import WEATHER_STATION
from gateway.errors import AdapterError
from gateway.events import State, Write
from gateway.model import Path
from tests.ble.port import RecordingPort
from tests.ble.rig import RELAY, REMOTE, STATION


async def test_the_demo_devices_are_alive(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replay, "_TICK_S", 0.02)
    monkeypatch.setattr(replay, "_PRESS_EVERY_S", 0.5)
    monkeypatch.setattr(peripherals, "_STAYS_AWAKE_S", 0.2)
    async with demo_bench():
        port = RecordingPort(STATION, RELAY, REMOTE)
        ble = Ble(BleSection(sleepy=(REMOTE,)), port)
        life = asyncio.create_task(ble.run())
        await port.until(lambda: len(set(port.told(STATION, "/3303/0/5700"))) > 2)
        await port.until_value(RELAY, "/3328/0/5701", "W")
        await ble.execute(Write(RELAY, {Path(3312, 0, 5850): True}, "test"))
        await port.until(lambda: (port.of(RELAY)["/3328/0/5700"] or 0) > 40)  # type: ignore[operator]
        await port.until(lambda: (REMOTE, Path(3348, 0, 5547)) in port.values)
        await port.until_state(REMOTE, State.ASLEEP)
        life.cancel()
        await asyncio.wait({life})


async def test_a_missing_dbus_daemon_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    with pytest.raises(AdapterError, match="apt-get install dbus"):
        async with ble_bench([WEATHER_STATION]):
            pass


async def test_a_missing_bumble_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name.startswith("bumble") or name in {"adapters.sim.bluez", "adapters.sim.peripherals"}:
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "bumble", None)
    with pytest.raises(AdapterError, match="pip install border-gateway"):
        async with ble_bench([WEATHER_STATION]):
            pass

"""The real adapter with bleak's own BlueZ backend, before virtual devices."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, replace

from adapters.ble.adapter import Ble
from adapters.ble.settings import BleSection
from adapters.sim.bench import Bench, ble_bench
from adapters.sim.modules import POWER_METER_RELAY, REMOTE_CONTROL, WEATHER_STATION
from adapters.sim.peripherals import Module, Peripheral, Spot
from gateway.events import State
from gateway.model import DeviceId, parse_device_id
from tests.ble.port import RecordingPort
from tests.deadlines import DEADLINE_S


def identity(module: Module) -> DeviceId:
    """The module's device identity."""
    return parse_device_id(f"ble:{module.address}")


STATION, RELAY, REMOTE = map(identity, (WEATHER_STATION, POWER_METER_RELAY, REMOTE_CONTROL))


def module(*spots: Spot, **changes: object) -> Module:
    """A device of one service with the given characteristics."""
    made = Module("Thing", "D0:5F:B8:22:3B:0A", {0xBB80: spots})
    return replace(made, **changes)  # type: ignore[arg-type]


THING = identity(module())


@dataclass(frozen=True, slots=True)
class Rig:
    """The bench, the adapter on it, its port, and the task that is its life."""

    bench: Bench
    ble: Ble
    port: RecordingPort
    life: asyncio.Task[None]

    def peripheral(self, name: str) -> Peripheral:
        return self.bench.peripherals[name]

    @property
    def station(self) -> Peripheral:
        return self.peripheral("WeatherStation")

    @property
    def relay(self) -> Peripheral:
        return self.peripheral("PowerMeterRelay")

    @property
    def thing(self) -> Peripheral:
        return self.peripheral("Thing")

    async def stop(self) -> None:
        """Cancels the adapter and waits for its end."""
        self.life.cancel()
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.wait({self.life})
        if not self.life.cancelled():
            self.life.result()

    async def all_connected(self) -> None:
        """Waits until every admitted device is connected and read."""
        connected = (State.ONLINE, "connected over hci0")
        await self.port.until(
            lambda: all(self.port.states.get(d) == connected for d in self.port.admitted)
        )


@contextlib.asynccontextmanager
async def adapter_on(
    bench: Bench, admitted: Sequence[Module], config: BleSection | None = None
) -> AsyncIterator[Rig]:
    """The adapter on a bench; nothing may be left connected by it."""
    port = RecordingPort(*map(identity, admitted))
    ble = Ble(config or BleSection(), port)
    rig = Rig(bench, ble, port, asyncio.create_task(ble.run()))
    try:
        yield rig
    finally:
        if not rig.life.done():
            await rig.stop()
        async with asyncio.timeout(DEADLINE_S):
            while bench.bluez.connected():  # a link that a peripheral ended is not gone at once
                await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def rig(
    *modules: Module, admitted: Sequence[Module] | None = None, config: BleSection | None = None
) -> AsyncIterator[Rig]:
    """A bench of these devices, and the adapter with all of them admitted unless said."""
    async with ble_bench(modules, interval_ms=20) as bench:
        who = modules if admitted is None else admitted
        async with adapter_on(bench, who, config) as made:
            yield made

"""The adapter and the core together: what clients are told of a device that comes and goes."""

import asyncio

from adapters.ble.adapter import Ble
from adapters.ble.settings import BleSection
from adapters.sim.bench import ble_bench
from adapters.sim.modules import WEATHER_STATION
from gateway.events import State
from gateway.objects.registry import Registry
from gateway.policy import DeviceRule, Patience, Rules
from tests.ble.rig import STATION
from tests.deadlines import DEADLINE_S
from tests.fakes import Clock, HubBench


async def test_a_device_that_hangs_up_for_a_moment_was_never_offline(clock: Clock) -> None:
    gateway = HubBench(clock, Registry.builtin())
    gateway.hub.rules = Rules({STATION: DeviceRule(listed=True)}, patience=Patience(powered_s=10))
    told: list[tuple[State, str]] = []

    async def until(state: State, reason: str) -> None:
        """Waits until that is told, and keeps what was told before."""
        async with asyncio.timeout(DEADLINE_S):
            while not told or told[-1][0] is not state or reason not in told[-1][1]:
                await asyncio.sleep(0.002)
                if device := gateway.north.device_by_id(STATION):
                    now = device.availability.state, device.availability.reason
                    told.extend([now] if told[-1:] != [now] else [])

    async with ble_bench([WEATHER_STATION], interval_ms=20) as bench:
        life = asyncio.create_task(Ble(BleSection(), gateway.south).run())
        try:
            await until(State.ONLINE, "connected over")
            told.clear()
            await bench.peripherals["WeatherStation"].hang_up()
            await until(State.ONLINE, "looked for: it hung up")
            await until(State.ONLINE, "connected over")
            assert {state for state, _ in told} == {State.ONLINE}
            await bench.peripherals["WeatherStation"].hush()
            await bench.peripherals["WeatherStation"].hang_up()
            await until(State.ONLINE, "looked for: it hung up")
            clock.advance(10)
            gateway.hub.tick()
            await until(State.OFFLINE, "hung up")
        finally:
            life.cancel()
            await asyncio.wait([life])

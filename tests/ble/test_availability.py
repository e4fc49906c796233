"""The adapter and the core together: what clients are told of a device that comes and goes."""

import asyncio

from adapters.ble.adapter import Ble
from adapters.ble.settings import BleSection
from adapters.sim.bench import ble_bench
from adapters.sim.modules import POWER_METER_RELAY, WEATHER_STATION
from gateway.events import State
from gateway.model import DeviceId
from gateway.objects.registry import Registry
from gateway.policy import DeviceRule, Patience, Rules
from tests.ble.rig import RELAY, STATION
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


async def test_why_a_device_is_offline_stays_true_when_the_radio_comes_back(clock: Clock) -> None:
    gateway = HubBench(clock, Registry.builtin())
    gateway.hub.rules = Rules(
        {d: DeviceRule(listed=True) for d in (STATION, RELAY)}, patience=Patience(powered_s=10)
    )

    async def until(device: DeviceId, state: State) -> str:
        """Waits for a state, and gives its reason."""
        async with asyncio.timeout(DEADLINE_S):
            while True:
                known = gateway.north.device_by_id(device)
                if known and known.availability.state is state:
                    return known.availability.reason
                await asyncio.sleep(0.002)

    async with ble_bench([WEATHER_STATION, POWER_METER_RELAY], interval_ms=20) as bench:
        life = asyncio.create_task(Ble(BleSection(), gateway.south).run())
        try:
            for device in (STATION, RELAY):
                await until(device, State.ONLINE)
            gateway.hub.attendance.away(STATION, "not heard for 3 min")
            bench.bluez.power(on=False)
            went_down = "not reached since the radio went down: Bluetooth adapter hci0 is switched"
            async with asyncio.timeout(DEADLINE_S):
                while went_down not in await until(RELAY, State.ONLINE):
                    await asyncio.sleep(0.002)
            clock.advance(10)
            gateway.hub.tick()
            assert went_down in await until(RELAY, State.OFFLINE)
            assert went_down not in await until(STATION, State.OFFLINE)
        finally:
            life.cancel()
            await asyncio.wait([life])

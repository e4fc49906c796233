"""What the virtual devices go through in a demo: weather, a switched load, a remote control's keys.

Decides which values come when; how they travel is the peripherals'.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import math

from bumble.core import BaseBumbleError

from adapters.sim import modules
from adapters.sim.modules import sensor
from adapters.sim.peripherals import Peripheral

_AGAIN_S = 0.2
_TICK_S = 1.5
_FIRST_PRESS_S = 2.0
_PRESS_EVERY_S = 20.0
_LOAD_W = 42.0
_MAINS_V = 230.0
_KEYS = (1, 2, 4, 8, 16)


async def live(station: Peripheral, relay: Peripheral, remote: Peripheral) -> None:
    """Runs all three until cancelled."""
    works = _weather(station), _power_meter(relay), _remote_control(remote)
    lives = {asyncio.create_task(work) for work in works}
    try:
        done, _ = await asyncio.wait(lives, return_when=asyncio.FIRST_EXCEPTION)
        for life in done:
            life.result()
    finally:
        await _end(lives)


async def _end(lives: set[asyncio.Task[None]]) -> None:
    """Ends them, also one that goes on: bumble's wait_for may lose a cancellation (Python 3.11)."""
    while lives:
        for life in lives:
            life.cancel()
        _, lives = await asyncio.wait(lives, timeout=_AGAIN_S)


async def _weather(station: Peripheral) -> None:
    """Temperature, and one other sensor after the other, on waves around the recorded values."""
    waves = itertools.cycle(
        (
            (modules.HUMIDITY, 41.2259521484375, 3.0, "%RH", 0, 0),
            (modules.LOUDNESS, 45.78236389160156, 6.0, "dB-SPL", 0, 0),
            (modules.ILLUMINANCE, 127.0, 60.0, "lux", 0, modules.LUX),
            (modules.BAROMETER, 1009.0, 2.0, "hPa", 0, 0),
            (modules.ILLUMINANCE, 1.0, 1.0, "UV Index", 1, modules.UV),
            (modules.CONCENTRATION, 2.0, 2.0, "pcs/0.01cf", 0, 0),
        )
    )
    for tick, (uuid, middle, swing, units, id, number) in enumerate(waves, 1):
        await asyncio.sleep(_TICK_S)
        celsius = round(25.99486541748047 + 1.5 * math.sin(tick / 11), 2)
        await station.notify(modules.TEMPERATURE, sensor(celsius, "C"))
        value = round(middle + swing * math.sin(tick / 11), 2)
        await station.notify(uuid, sensor(value, units, id), number)


async def _power_meter(relay: Peripheral) -> None:
    """A lamp that draws power while the relay is on; now and then somebody walks by."""
    for tick in itertools.count(1):
        await asyncio.sleep(_TICK_S)
        on = relay.value(modules.POWER_CONTROL)[2] != 0
        watts = _LOAD_W + math.sin(tick) if on else 0.0
        await relay.notify(modules.POWER, sensor(round(watts, 2), "W"))
        await relay.notify(modules.CURRENT, sensor(round(watts / _MAINS_V, 4), "A"))
        busy = tick // 10 % 3 == 0
        await relay.notify(modules.PRESENCE, b"\x00\x04" + bytes([busy]) + b"\x03PIR")


async def _remote_control(remote: Peripheral) -> None:
    """Somebody presses one key after the other; in between it sleeps."""
    for number, key in enumerate(itertools.cycle(_KEYS)):
        await asyncio.sleep(_PRESS_EVERY_S if number else _FIRST_PRESS_S)
        value = bytes([0, 1, key]) + b"\x06Remote"
        with contextlib.suppress(TimeoutError, BaseBumbleError):  # nobody connected
            await remote.press(modules.MULTISTATE_SELECTOR, value)

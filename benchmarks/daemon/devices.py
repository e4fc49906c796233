"""A southbound adapter with hundreds of devices that change all the time, and that often fails.

The devices outlive the adapter, as real ones do: what changed while it was away, it reports when it
is back. At the agreed time all rest, and what they hold then is written down.
"""

from __future__ import annotations

import asyncio
import json
import random
import time
from pathlib import Path as FilePath
from typing import ClassVar, Never

from gateway.errors import AdapterError, Unreachable
from gateway.events import Command, Outcome, Reading, Sighting
from gateway.model import DeviceId, Path, Value
from gateway.ports import Duration, Section, SouthPort

TICK_S = 0.05
MISSED = 10
"""Devices that change while the adapter is away."""

OBJECTS = {3303: "Cel", 3304: "%RH"}


class ChangingSection(Section):
    """Devices that change and an adapter that fails, until a time."""

    first: int
    """Number of the first device."""
    devices: int
    """How many there are."""
    changes: float
    """How many values change in a second."""
    life: Duration
    """How long the adapter lives on average."""
    until: float
    """Unix seconds from which on all rests."""
    truth: FilePath
    """Where the values at rest are written, as JSON: device number, path, value."""


class World:
    """The devices of one adapter: two sensors each, with value, unit and extremes."""

    def __init__(self, first: int, devices: int) -> None:
        self._random = random.Random(first)
        self.values: dict[int, dict[Path, Value]] = {
            number: {
                Path(object_id, 0, resource): value
                for object_id, unit in OBJECTS.items()
                for resource, value in ((5601, 20.0), (5602, 20.0), (5700, 20.0), (5701, unit))
            }
            for number in range(first, first + devices)
        }

    def change(self) -> tuple[int, dict[Path, Value]]:
        """One sensor of one device measures something else: its number, and what is new."""
        number = self._random.choice(list(self.values))
        held, object_id = self.values[number], self._random.choice(list(OBJECTS))
        value = round(self._random.uniform(0, 100), 2)
        low, high, now = (Path(object_id, 0, resource) for resource in (5601, 5602, 5700))
        new: dict[Path, Value] = {now: value}
        new |= {low: value} if value < float(str(held[low])) else {}
        new |= {high: value} if value > float(str(held[high])) else {}
        held |= new
        return number, new


WORLDS: dict[int, World] = {}
"""They outlive the adapters in this process."""


class Changing:
    """See the module; which way it fails is up to chance."""

    Config: ClassVar[type[Section]] = ChangingSection

    def __init__(self, config: ChangingSection, port: SouthPort) -> None:
        self._config = config
        self._port = port

    async def run(self) -> None:
        config = self._config
        known = WORLDS.get(config.first)
        world = known or WORLDS.setdefault(config.first, World(config.first, config.devices))
        dies_at = time.monotonic() + random.expovariate(1 / config.life)
        for number in world.values:
            self._port.seen(Sighting(device_id(number), f"Soaked {number}", rssi_dbm=-60))
        if known and time.time() < config.until:
            for _ in range(MISSED):
                world.change()
        for number, values in world.values.items():
            self._report(number, values)
            await asyncio.sleep(0)
        owed = 0.0
        while time.time() < config.until:
            await asyncio.sleep(TICK_S)
            owed += config.changes * TICK_S
            while owed >= 1:
                self._report(*world.change())
                owed -= 1
            if time.monotonic() > dies_at:
                fail()
        held = {n: {str(p): v for p, v in values.items()} for n, values in world.values.items()}
        await asyncio.to_thread(config.truth.write_text, json.dumps(held), "utf-8")
        self._port.status("all devices rest")
        await asyncio.Event().wait()

    async def execute(self, command: Command) -> Outcome:
        raise Unreachable(f"{command.device} takes no commands")

    def _report(self, number: int, values: dict[Path, Value]) -> None:
        at = time.time()
        device = device_id(number)
        self._port.report([Reading(device, path, value, at) for path, value in values.items()])


def device_id(number: int) -> DeviceId:
    return DeviceId(f"sim:{number:016x}")


def fail() -> Never:
    """As adapters fail: with a reason, by a bug, by a stray cancellation, as a group."""
    match random.randrange(4):
        case 0:
            raise AdapterError("the radio is gone")
        case 1:
            raise KeyError("a bug")
        case 2:
            raise asyncio.CancelledError
        case _:
            raise ExceptionGroup("two tasks", [AdapterError("gone"), ValueError("a bug")])

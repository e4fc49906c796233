"""The BLE bench: a system bus, a BlueZ and virtual devices of our own, up for as long as wanted.

Import this without bumble installed: what is missing is said when the bench is entered.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from adapters.sim.dbus import private_bus
from gateway.errors import AdapterError

if TYPE_CHECKING:
    from adapters.sim.bluez import Bluez
    from adapters.sim.peripherals import Module, Peripheral


@dataclass(frozen=True, slots=True)
class Bench:
    """What is up: the bus, the BlueZ on it, and the peripherals by name."""

    bus: asyncio.subprocess.Process
    bluez: Bluez
    peripherals: Mapping[str, Peripheral]


@contextlib.asynccontextmanager
async def ble_bench(
    modules: Sequence[Module], *, interval_ms: float | None = None
) -> AsyncIterator[Bench]:
    """Virtual devices in reach of this process's bleak; they do only what they are told.

    AdapterError if dbus-daemon or bumble is missing.
    """
    try:
        from adapters.sim.bluez import Bluez
        from adapters.sim.peripherals import ADVERTISING_INTERVAL_MS, Peripheral, SteadyLink
    except ModuleNotFoundError as error:
        raise AdapterError(
            f"virtual Bluetooth needs {error.name}: pip install border-gateway[demo]"
        ) from error
    async with private_bus() as bus, contextlib.AsyncExitStack() as stack:
        link = SteadyLink()
        by_address = {module.address: Peripheral(module, link) for module in modules}
        for peripheral in by_address.values():
            await peripheral.start(interval_ms or ADVERTISING_INTERVAL_MS)
            stack.push_async_callback(peripheral.stop)
        bluez = await stack.enter_async_context(
            Bluez(link, lambda address: by_address[address].rssi_dbm())
        )
        yield Bench(bus, bluez, {p.module.name: p for p in by_address.values()})


@contextlib.asynccontextmanager
async def demo_bench() -> AsyncIterator[Bench]:
    """The demo's three devices, alive: weather station, power meter with relay, remote control.

    AdapterError if dbus-daemon or bumble is missing.
    """
    try:
        from adapters.sim import modules, replay
    except ModuleNotFoundError as error:
        raise AdapterError(
            f"virtual Bluetooth needs {error.name}: pip install border-gateway[demo]"
        ) from error
    kinds = (modules.WEATHER_STATION, modules.POWER_METER_RELAY, modules.REMOTE_CONTROL)
    async with ble_bench(kinds) as bench:
        lives = asyncio.ensure_future(
            replay.live(*(bench.peripherals[module.name] for module in kinds))
        )
        try:
            yield bench
        finally:
            lives.cancel()
            await asyncio.wait({lives})

"""Installs, pulls plugs and cuts the power; prints how long it took until all was well again."""

import asyncio
import json
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from adapters.sim.modules import POWER_CONTROL
from adapters.sim.port import free_port
from tests.system.guest import image
from tests.system.guest.qemu import STICK_NAME, CommandFailed, Guest
from tests.system.guest.watch import Watchers, watching
from tests.system.guest.world import LISTED, Device, World, world

CONFIG = f"""
[coap]
listen = ["0.0.0.0:5683"]
[ble]
[lowpan]
radio = "spinel+hdlc:///dev/serial/by-id/{STICK_NAME}"
"""

DEVICE = """
[[device]]
id = "{}"
prefix = "{}"
writable = true
"""

RECOVERS_S = 300.0
LASTS_S = 600.0
"""Without KVM too; an idle machine takes seven minutes then."""
MOVES_S = 4.0
"""How long values change, so that each fault comes amid changes."""

SWITCH = "3312/0/5850"


class Trial:
    """The guest, its world, and the clients that look at it from outside."""

    def __init__(self, guest: Guest, around: World, watchers: Watchers) -> None:
        self.guest = guest
        self.world = around
        self.watchers = watchers

    async def step(self, name: str, does: Callable[[], Awaitable[object]]) -> None:
        """Does something amid changes; then all must be back, and nothing lost."""
        self.world.moving.set()
        await asyncio.sleep(MOVES_S)
        begun = time.monotonic()
        await does()
        done = time.monotonic()
        self.world.moving.clear()
        await self.until(self.all_is_well)
        told = sum(watcher.notifications for watcher in self.watchers.each)
        _row(name, f"{done - begun:.1f}", f"{time.monotonic() - done:.1f}", f"{told} told")

    async def all_is_well(self) -> list[str]:
        """What is not; every client must have the newest value of every device."""
        faults = []
        for watcher in self.watchers.each:
            device, read = watcher.device, await watcher.get()
            for way, seen in ("read", read), ("observed", watcher.last):
                if seen is None or seen.value != device.value:
                    faults.append(f"{device.prefix} measured {device.value}, {way} is {seen}")
        return faults or await self.not_online()

    async def not_online(self) -> list[str]:
        """The devices that the gateway does not show as online, with their prefix."""
        shown = {(d["prefix"], d["id"], d["state"]) for d in (await self.gateway())["devices"]}
        wanted = {(prefix, id, "online") for id, prefix in LISTED}
        return [f"{device} is not there" for device in sorted(wanted - shown)]

    async def gateway(self) -> Any:
        """What `border-gateway devices` shows."""
        return json.loads(await self.guest.shell("border-gateway devices --json"))

    async def until(self, check: Callable[[], Awaitable[list[str]]]) -> None:
        """Waits until a check has no fault."""
        deadline = time.monotonic() + RECOVERS_S
        while faults := await check():
            if time.monotonic() > deadline:
                raise AssertionError("; ".join(faults))
            await asyncio.sleep(0.5)

    async def until_lost(self, *devices: Device) -> None:
        """Waits until the gateway shows that these are away."""
        ids = {device.id for device in devices}

        async def check() -> list[str]:
            shown = (await self.gateway())["devices"]
            return [d["id"] for d in shown if d["id"] in ids and d["state"] == "online"]

        await self.until(check)

    # --- what is done to the box ----------------------------------------------------------------

    async def boot(self) -> None:
        await self.guest.start()
        port = await self.world.bluetooth.new_controller()
        await self.guest.shell(
            f"systemd-run --quiet --unit=controller python3 /opt/relay.py {port}"
        )

    async def switch(self) -> None:
        await self.guest.shell(f"border-gateway set meter/{SWITCH} 1")
        assert self.world.bluetooth.modules[1].writes(POWER_CONTROL)

    async def restart_bluetoothd(self) -> None:
        await self.guest.shell("systemctl restart bluetooth")

    async def kill_bluetoothd(self) -> None:
        await self.guest.shell("systemctl kill --signal=KILL bluetooth")

    async def switch_adapter_off_and_on(self) -> None:
        await self.guest.shell("bluetoothctl power off")
        await self.until_lost(*self.world.devices[:2])
        await self.guest.shell("bluetoothctl power on")

    async def unplug_and_plug_the_stick(self) -> None:
        await self.guest.unplug_stick()
        await self.until_lost(*self.world.devices[2:])
        self.world.stick.reset()
        await self.guest.plug_stick()

    async def kill_the_gateway(self) -> None:
        await self.guest.shell("systemctl kill --signal=KILL border-gateway")
        self.watchers.start_over()

    async def cut_the_power(self) -> None:
        await self.guest.cut_power()
        await self.world.bluetooth.take_controller_away()
        self.world.stick.reset()
        await self.boot()
        self.watchers.start_over()
        kept = await self.guest.shell("ls /var/lib/border-gateway")
        assert "damaged" not in kept, kept


def _row(name: str, *columns: str) -> None:
    print(f"{name:<34}" + "".join(f"{column:>12}" for column in columns), flush=True)


@asynccontextmanager
async def _trial(made: image.Image, folder: Path) -> AsyncIterator[Trial]:
    """A guest that has booted, and all around it; tells the guest's journal after a failure."""
    port = free_port()
    async with world() as around, watching(around.devices, port) as watchers:
        guest = Guest(made, folder, around.stick.path, port)
        trial = Trial(guest, around, watchers)
        try:
            await trial.boot()
            yield trial
        except* (AssertionError, CommandFailed):
            units = "--unit border-gateway --unit bluetooth"
            print(await guest.shell(f"journalctl --boot {units} --lines 60 --no-pager"))
            raise
        finally:
            await guest.cut_power()


async def _run(package: Path, folder: Path) -> None:
    _row("step", "seconds", "until well")
    begun = time.monotonic()
    config = CONFIG + "".join(DEVICE.format(*listed) for listed in LISTED)
    made = image.build(folder, package, config)
    _row("the disk is made", f"{time.monotonic() - begun:.1f}")
    begun = time.monotonic()
    async with asyncio.timeout(LASTS_S), _trial(made, folder) as trial:
        _row("the guest has booted", f"{time.monotonic() - begun:.1f}")
        await trial.step("all devices are there", lambda: asyncio.sleep(0))
        await trial.step("a relay is switched over BLE", trial.switch)
        await trial.step("bluetoothd restarted", trial.restart_bluetoothd)
        await trial.step("bluetoothd killed", trial.kill_bluetoothd)
        await trial.step("adapter off and on", trial.switch_adapter_off_and_on)
        await trial.step("stick unplugged and plugged in", trial.unplug_and_plug_the_stick)
        await trial.step("the gateway killed", trial.kill_the_gateway)
        await trial.step("the power cut", trial.cut_the_power)


def _first(failure: BaseException) -> BaseException:
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return failure


def main() -> None:
    (package,) = Path(sys.argv[1]).resolve().glob("border-gateway_*.deb")
    begun = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="guest-") as folder:
        try:
            asyncio.run(_run(package, Path(folder)))
        except* (AssertionError, CommandFailed) as failure:
            sys.exit(f"not well: {_first(failure)}")
    _row("all of it", f"{time.monotonic() - begun:.1f}")


main()

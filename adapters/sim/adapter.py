"""A southbound adapter whose devices exist only here: thermometers with a switch.

It decides what the devices measure; it knows no radio.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Annotated, ClassVar, Protocol, assert_never

from pydantic import Field

from adapters.sim.recorded import RecordedDevice
from gateway.diagnostics import bundle
from gateway.errors import NotAllowed, Unreachable
from gateway.events import Command, Create, Delete, Execute, Outcome, Reading, Sighting, Write
from gateway.model import DeviceId, Path, Value
from gateway.ports import Duration, Section, SouthPort

TEMPERATURE, UNITS = Path(3303, 0, 5700), Path(3303, 0, 5701)
LOWEST, HIGHEST, RESET = Path(3303, 0, 5601), Path(3303, 0, 5602), Path(3303, 0, 5605)
SWITCH = Path(3312, 0, 5850)
REBOOT, RSSI = Path(3, 0, 4), Path(4, 0, 2)

ABOUT: Mapping[Path, Value | None] = {
    Path(3, 0, 0): "Border Gateway",
    Path(3, 0, 1): "virtual thermometer",
    REBOOT: None,
    Path(3, 0, 11, 0): 0,
    Path(3, 0, 16): "U",
    Path(4, 0, 0): 23,  # an 802.15.4 network
    Path(4, 0, 1, 0): 23,
    Path(4, 0, 4, 0): "::1",
}
"""What never changes of a device."""

DAY_S = 600.0
"""A virtual day: ten minutes from warm to cold and back, so that a watcher sees it move."""


AT_ONCE = 20
"""Devices that report in one go: some milliseconds, in which others wait."""


class SimSection(Section):
    """Virtual devices, to try the gateway without a radio. They must be listed or admitted."""

    devices: Annotated[int, Field(ge=1, le=10_000)] = 1
    """How many there are: sim:0000000000000001, sim:0000000000000002, ..."""
    interval: Duration = 1.0
    """How often each of them measures."""
    replay: FilePath | None = Field(None, examples=["/root/report.zip"])
    """Instead of these, the devices of a bug report (border-gateway diagnostics), as they were."""


class _Device(Protocol):
    """A virtual device."""

    id: DeviceId
    name: str

    def report(self, port: SouthPort) -> None:
        """Says what there is to say now."""

    def obey(self, command: Command) -> None:
        """Carries out a command that the hub has checked."""


class _Thermometer:
    """One device: a temperature that follows the virtual day, its extremes, a switch."""

    def __init__(self, number: int) -> None:
        self.id = DeviceId(f"sim:{number:016x}")
        self.name = f"Virtual {number:04x}"
        self.switch = False
        self._number = number
        self._extremes: tuple[float, float] | None = None

    def measure(self, at: float) -> dict[Path, Value | None]:
        """All resources at a time in Unix seconds; temperatures in whole hundredths."""
        phase = 2 * math.pi * (at / DAY_S + self._number / 10)
        value = round(20 + 5 * math.sin(phase), 2)
        low, high = self._extremes or (value, value)
        self._extremes = min(low, value), max(high, value)
        return {
            TEMPERATURE: value,
            UNITS: "Cel",
            LOWEST: self._extremes[0],
            HIGHEST: self._extremes[1],
            RESET: None,
            SWITCH: self.switch,
            RSSI: -60 - self._number % 30,
            **ABOUT,
        }

    def report(self, port: SouthPort) -> None:
        at = time.time()
        port.report([Reading(self.id, p, v, at) for p, v in self.measure(at).items()])

    def obey(self, command: Command) -> None:
        match command:
            case Write():
                self.switch = bool(command.values.get(SWITCH, self.switch))
            case Execute(path=path):
                self._extremes = None
                self.switch = self.switch and path != REBOOT
            case Create() | Delete():
                raise NotAllowed("a virtual thermometer has the objects that it has")
            case _:
                assert_never(command)


class Sim:
    """Virtual devices that report at a fixed interval and obey at once."""

    Config: ClassVar[type[Section]] = SimSection

    def __init__(self, config: SimSection, port: SouthPort) -> None:
        self._config = config
        self._port = port
        self._devices: Mapping[DeviceId, _Device] = {}

    async def run(self) -> None:
        """Reports until cancelled; AdapterError if there is nothing to replay."""
        self._devices = {device.id: device for device in await self._made()}
        number = len(self._devices)
        self._port.status(f"running with {number} virtual device{'' if number == 1 else 's'}")
        while True:
            for number, device in enumerate(self._devices.values()):
                if number % AT_ONCE == 0:
                    await asyncio.sleep(0)  # others have their turn
                if self._port.seen(Sighting(device.id, device.name)):
                    device.report(self._port)
            await asyncio.sleep(self._config.interval)

    async def execute(self, command: Command) -> Outcome:
        """Obeys, and reports the new state at once."""
        device = self._devices.get(command.device)
        if device is None:
            raise Unreachable(f"[sim] has only {len(self._devices)} devices now")
        device.obey(command)
        device.report(self._port)
        return Outcome(confirmed=True)

    async def _made(self) -> Sequence[_Device]:
        if file := self._config.replay:
            recorded = await asyncio.to_thread(bundle.devices, file, self._port.registry)
            return [RecordedDevice(each) for each in recorded]
        return [_Thermometer(number) for number in range(1, self._config.devices + 1)]

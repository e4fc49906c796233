"""The BLE adapter: one radio session after the other, and in each a scanner and a link a device.

Decides what runs when BlueZ and its adapter come and go; a device's life is in `link.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import OrderedDict
from typing import ClassVar, assert_never

from bleak import BleakAdapter
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData

from adapters.ble import definitions
from adapters.ble.bluez import BluezWatch, Radio
from adapters.ble.check import check
from adapters.ble.deadlines import LIBRARY_ERRORS, within
from adapters.ble.link import Band, Link
from adapters.ble.scanner import scan
from adapters.ble.settings import BleSection
from gateway.errors import GatewayError, NotAllowed, NotFound, Unreachable
from gateway.events import Command, Create, Delete, Execute, Outcome, Sighting, State, Write
from gateway.model import DeviceId, parse_device_id
from gateway.ports import Section, SouthPort

logger = logging.getLogger(__name__)

_SEEN_EVERY_S = 1.0
"""One sighting of a device is passed on this often; some advertise ten times a second."""

_SEEN_LIMIT = 2000
"""Devices whose last sighting is remembered: a crowd's phones, with ever new addresses."""

_LOOK_EVERY_S = 5.0
"""How often admissions (a connected device does not advertise) and definitions are compared."""

_BLUEZ_POLL_S = 30.0
"""A look at BlueZ even without a signal from it."""

_LEFTOVERS_S = 5.0
_NOT_MEASURED_DBM = -127


class _RadioLost(GatewayError):
    """The radio session cannot go on as it was."""


class Ble:
    """Bridges BLE devices; degrades with a status text while there is no radio."""

    Config: ClassVar[type[Section]] = BleSection
    check = staticmethod(check)

    def __init__(self, config: BleSection, port: SouthPort) -> None:
        self._config = config
        self._port = port
        self._definitions = definitions.folder(config.definitions, port.registry)
        self._links: dict[DeviceId, Link] = {}
        self._tasks: dict[DeviceId, asyncio.Task[None]] = {}
        self._session: asyncio.TaskGroup | None = None
        self._band: Band | None = None
        self._problem = "Bluetooth is not up yet"
        self._seen: OrderedDict[DeviceId, float] = OrderedDict()

    async def run(self) -> None:
        """Lives until cancelled, and leaves no device connected; AdapterError without D-Bus."""
        self._definitions.refresh()
        async with BluezWatch(self._config.adapter) as bluez, asyncio.TaskGroup() as tasks:
            tasks.create_task(bluez.lost())
            while True:
                bluez.changed.clear()
                radio = await bluez.radio()
                if radio.problem:
                    self._problem = radio.problem
                    self._port.status(radio.problem, well=False)
                    await _changed(bluez)
                else:
                    await self._use(radio, bluez)
                    _heed_cancellation()

    async def execute(self, command: Command) -> Outcome:
        """Carries out a command on a device, connecting if need be; raises a CommandError."""
        if self._session is None:
            raise Unreachable(self._problem)
        link = self._links.get(command.device)
        if link is None:
            raise NotFound(f"{command.device} is not admitted")
        connection = await link.reach()
        match command:
            case Write():
                return await connection.write(command)
            case Execute():
                return await connection.execute(command)
            case Create() | Delete():
                raise NotAllowed("a BLE device has the objects that its characteristics make")
            case _:
                assert_never(command)

    async def _use(self, radio: Radio, bluez: BluezWatch) -> None:
        """One radio session; returns when BlueZ was restarted or its adapter went."""
        self._band = Band(radio.adapter, bluez, self._definitions)
        try:
            async with asyncio.TaskGroup() as session:
                self._session = session
                try:
                    self._compare_admissions()
                    await self._adopt_leftovers(radio.adapter)
                    session.create_task(self._keep_comparing())
                    session.create_task(self._scan(radio.adapter))
                    await self._until_changed(radio, bluez)
                finally:
                    self._session = None  # no link starts while the others end
        except* _RadioLost as lost:
            self._problem = str(lost.exceptions[0])
            for device in self._port.devices():
                if device.availability.state is not State.OFFLINE:  # else it has its own reason
                    reason = f"not reached since the radio went down: {self._problem}"
                    self._port.lost(device.id, reason)
        finally:
            self._links.clear()
            self._tasks.clear()

    async def _until_changed(self, radio: Radio, bluez: BluezWatch) -> None:
        while True:
            await _changed(bluez)
            bluez.changed.clear()
            now = await bluez.radio()
            if now.problem:
                raise _RadioLost(now.problem)
            if now != radio:
                raise _RadioLost("BlueZ or its adapter was restarted")

    async def _scan(self, adapter: str) -> None:
        await scan(
            adapter,
            self._heard,
            self._config.silence_timeout,
            self._port,
            lambda: any(link.is_connected for link in self._links.values()),
        )

    async def _adopt_leftovers(self, adapter: str) -> None:
        """A device that was left connected by a crash does not advertise: take it over."""
        try:
            bleak = await within(_LEFTOVERS_S, BleakAdapter.get(bluez={"adapter": adapter}))
            connected = await within(_LEFTOVERS_S, bleak.get_connected_devices())
        except (TimeoutError, *LIBRARY_ERRORS) as error:
            logger.debug("%s: which devices are connected is unknown: %r", adapter, error)
            return
        for ble_device in connected:
            if link := self._links.get(_identity(ble_device)):
                link.sighted(ble_device, None)

    def _heard(self, ble_device: BLEDevice, advertisement: AdvertisementData) -> None:
        device = _identity(ble_device)
        rssi_dbm = advertisement.rssi if advertisement.rssi != _NOT_MEASURED_DBM else None
        if self._is_due(device):
            name = advertisement.local_name or ble_device.name or ""
            services = tuple(uuid.lower() for uuid in advertisement.service_uuids)
            admitted = self._port.seen(Sighting(device, name, rssi_dbm, services))
            if admitted:
                self._admit(device)
            else:
                self._dismiss(device)
        if link := self._links.get(device):
            link.sighted(ble_device, rssi_dbm)

    def _is_due(self, device: DeviceId) -> bool:
        """Whether the device's sighting is to be passed on now."""
        now = time.monotonic()
        if now - self._seen.get(device, -_SEEN_EVERY_S) < _SEEN_EVERY_S:
            return False
        self._seen[device] = now
        self._seen.move_to_end(device)
        if len(self._seen) > _SEEN_LIMIT:
            self._seen.popitem(last=False)
        return True

    async def _keep_comparing(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            self._compare_admissions()
            if self._definitions.refresh():
                for link in self._links.values():
                    link.redefined()

    def _compare_admissions(self) -> None:
        admitted = {device.id for device in self._port.devices()}
        for device in self._links.keys() - admitted:
            self._dismiss(device)
        for device in admitted:
            self._admit(device)

    def _admit(self, device: DeviceId) -> None:
        if device not in self._links and self._session is not None and self._band is not None:
            link = self._links[device] = Link(device, self._band, self._config, self._port)
            self._tasks[device] = self._session.create_task(link.run(), name=f"link {device}")

    def _dismiss(self, device: DeviceId) -> None:
        if self._links.pop(device, None) is not None:
            self._tasks.pop(device).cancel()


def _heed_cancellation() -> None:
    """Before Python 3.13 a TaskGroup forgets a cancellation that comes while it is ending."""
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def _changed(bluez: BluezWatch) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_BLUEZ_POLL_S):
            await bluez.changed.wait()


def _identity(ble_device: BLEDevice) -> DeviceId:
    return parse_device_id(f"ble:{ble_device.address}")

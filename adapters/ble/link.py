"""The life of one admitted device: waits until it is heard, connects, attends, hangs up, again.

Decides when to connect and what to tell when it fails; what is read is the connection's.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from bleak import BleakClient
from bleak.backends.device import BLEDevice

from adapters.ble.bluez import BluezWatch
from adapters.ble.connection import REBOOT, Connection, NothingToBridge
from adapters.ble.deadlines import (
    CLEANS_UP_S,
    LIBRARY_ERRORS,
    forgotten,
    in_progress,
    translating,
    within,
)
from adapters.ble.definitions import Definition
from adapters.ble.settings import BleSection
from gateway.errors import Asleep, CommandError, Unreachable
from gateway.events import Reading
from gateway.model import DeviceId, Path, Value
from gateway.objects.definitions import DefinitionFolder
from gateway.ports import SouthPort

logger = logging.getLogger(__name__)

_FRESH_S = 10.0
"""BlueZ forgets a device about 30 s after it was heard, and its BLEDevice is void then."""

_DISCONNECT_S = 3.0
"""bluetoothd takes 2.1 to 2.8 s (seen with 5.66)."""

_BACK_OFF_S, _BACK_OFF_LIMIT_S = 2.0, 120.0
_DOUBLINGS = 10  # more only overflow
_REFUSED_RETRY_S = 600.0
"""A device that has nothing to bridge is asked again this rarely in the end. At first it is asked
soon: bluetoothd 5.66 has been seen to take a part of the services for all of them."""

BLUETOOTH = 22
"""Of the object Connectivity Monitoring (LwM2M Core, appendix E.5)."""

OF_EVERY_DEVICE: Mapping[Path, Value | None] = {
    REBOOT: None,
    Path(3, 0, 11, 0): 0,
    Path(3, 0, 16): "U",
    Path(4, 0, 0): BLUETOOTH,
    Path(4, 0, 1, 0): BLUETOOTH,
    Path(4, 0, 4, 0): "",
}
"""What LwM2M wants of objects 3 and 4: a Reboot connects anew, and there is no IP address."""

_RSSI = Path(4, 0, 2)
_RSSI_STEP_DB = 6
_RSSI_EVERY_S = 30.0
"""Still devices jitter by about 3 dB a packet; that is no news."""

_REACH_S = 8.0
"""How long a command waits for a device that is not connected; clients give up after 10 s."""

_ASLEEP_RETRY_S = 60.0


@dataclass(slots=True)
class Band:
    """What all links of one radio session share."""

    adapter: str
    bluez: BluezWatch
    definitions: DefinitionFolder[Definition]
    connecting: asyncio.Lock = field(default_factory=asyncio.Lock)


class Link:
    """One device's link; `run` lives until cancelled and leaves nothing connected."""

    def __init__(self, device: DeviceId, band: Band, config: BleSection, port: SouthPort) -> None:
        self.device = device
        self._band = band
        self._config = config
        self._port = port
        self._latest: tuple[BLEDevice, float] | None = None
        self._sighted = asyncio.Event()
        self._hurry = asyncio.Event()
        self._connection: Connection | None = None  # once it is up
        self._made: Connection | None = None
        self._by_definition: frozenset[Path] = frozenset()
        self._up = asyncio.Event()
        self._rssi_dbm: int | None = None
        self._rssi_told: tuple[int, float] | None = None
        self._failures = 0
        self._reason = "not connected yet"

    @property
    def is_connected(self) -> bool:
        """Whether there is a connection, though it may not have been read yet."""
        return self._made is not None

    def sighted(self, ble_device: BLEDevice, rssi_dbm: int | None) -> None:
        """The device was heard just now, or is connected from before."""
        if rssi_dbm is not None:
            self._rssi_dbm = rssi_dbm
        if self._connection is not None:
            self._tell_rssi()
        else:
            self._latest = ble_device, time.monotonic()
            self._sighted.set()

    def redefined(self) -> None:
        """The device definitions have changed: connects anew where that changes the device."""
        if self._made is not None:
            self._made.redefined()
        else:
            self._hurry.set()

    async def reach(self) -> Connection:
        """The connection, waited for a while if need be; Unreachable or Asleep."""
        try:
            async with asyncio.timeout(_REACH_S):
                while self._connection is None:
                    self._hurry.set()
                    await self._up.wait()
                return self._connection
        except TimeoutError:
            if self.device in self._config.sleepy:
                raise Asleep(f"{self.device} sleeps", _ASLEEP_RETRY_S) from None
            raise Unreachable(f"{self.device}: {self._reason}") from None

    async def run(self) -> None:
        """Connects whenever the device is heard; back-off after failures."""
        while True:
            ble_device = await self._sighting()
            try:
                await self._connect_and_attend(ble_device)
            except NothingToBridge as refusal:
                self._reason = str(refusal)
                self._port.refused(self.device, self._reason)
                await self._pause(self._back_off_s(_REFUSED_RETRY_S))
            except CommandError as error:
                if forgotten(error):
                    continue
                self._lost(str(error))
                if in_progress(error):
                    await self._have_forgotten(ble_device)
                if self._failures:
                    await self._pause(self._back_off_s(_BACK_OFF_LIMIT_S))

    async def _sighting(self) -> BLEDevice:
        """A device object that BlueZ still knows; it is given out once."""
        while True:
            await self._sighted.wait()
            self._sighted.clear()
            latest, self._latest = self._latest, None
            if latest is not None and time.monotonic() - latest[1] < _FRESH_S:
                return latest[0]

    async def _connect_and_attend(self, ble_device: BLEDevice) -> None:
        """One connection from beginning to end; raises why it ended."""
        self._failures += 1  # until it is up
        gone = asyncio.Event()

        def disconnected(_: BleakClient) -> None:
            gone.set()
            self._down()

        client = BleakClient(
            ble_device,
            disconnected_callback=disconnected,
            timeout=self._config.connect_timeout,
            bluez={"adapter": self._band.adapter},
        )
        opened = False
        try:
            async with self._band.connecting:  # a controller makes one connection at a time
                with translating("connecting"):
                    await within(self._config.connect_timeout + CLEANS_UP_S, client.connect())
            opened = True
            connection = self._made = Connection(
                self.device,
                client,
                gone,
                self._port,
                self._config.operation_timeout,
                folder=self._band.definitions,
                name=ble_device.name or "",
            )
            self._withdraw_all_but(connection.by_definition)
            await connection.open()
            self._came_up(connection)
            await connection.attend()
        finally:
            self._down()
            # Also after the device hung up: only this ends the old session, which would
            # otherwise deliver every notification twice after the next connection.
            # (A connect that fails cleans up by itself.)
            if opened or client.is_connected:
                await self._hang_up(client)

    def _came_up(self, connection: Connection) -> None:
        self._failures = 0
        self._connection = connection
        self._up.set()
        self._port.online(self.device, f"connected over {self._band.adapter}")
        connection.report(
            {p: v for p, v in OF_EVERY_DEVICE.items() if p not in connection.by_definition}
        )
        self._rssi_told = None
        self._tell_rssi()

    def _withdraw_all_but(self, by_definition: frozenset[Path]) -> None:
        """Ends what only a definition that no longer counts had said."""
        for path in sorted(self._by_definition - by_definition):
            self._port.withdraw(self.device, path)
        self._by_definition = by_definition

    def _down(self) -> None:
        self._connection = self._made = None
        self._up.clear()
        # What was heard until now is of no use: BlueZ's own changes look like sightings too.
        self._latest = None
        self._sighted.clear()

    async def _hang_up(self, client: BleakClient) -> None:
        try:
            await within(_DISCONNECT_S, client.disconnect())
        except (TimeoutError, *LIBRARY_ERRORS) as error:
            logger.debug("%s: disconnecting: %r", self.device, error)

    async def _have_forgotten(self, ble_device: BLEDevice) -> None:
        """Ends an InProgress on Connect that can persist until BlueZ forgets the device."""
        try:
            await self._band.bluez.remove_device(self._band.adapter, ble_device.details["path"])
        except (TimeoutError, *LIBRARY_ERRORS) as error:
            logger.debug("%s: removing it from BlueZ: %r", self.device, error)

    async def _pause(self, seconds: float) -> None:
        """Waits, unless a command wants the device now."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._hurry.wait()
        self._hurry.clear()

    def _back_off_s(self, limit_s: float) -> float:
        delay_s = min(_BACK_OFF_S * 2.0 ** min(self._failures - 1, _DOUBLINGS), limit_s)
        return delay_s * random.uniform(0.5, 1.5)  # noqa: S311 - spreads attempts, no secret

    def _lost(self, reason: str) -> None:
        self._reason = reason
        self._port.lost(self.device, reason, asleep=self.device in self._config.sleepy)

    def _tell_rssi(self) -> None:
        now, rssi_dbm = time.monotonic(), self._rssi_dbm
        if rssi_dbm is None:
            return
        if self._rssi_told is not None:
            told, at = self._rssi_told
            if now - at < _RSSI_EVERY_S or abs(rssi_dbm - told) < _RSSI_STEP_DB:
                return
        self._rssi_told = rssi_dbm, now
        self._port.report([Reading(self.device, _RSSI, rssi_dbm, time.time())])

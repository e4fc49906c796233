"""One connected device, from discovery to hang-up: reads, subscribes, reports, writes.

Knows nothing of finding and connecting; what the bytes mean is the profile's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from bleak import BleakClient
from bleak.backends.characteristic import BleakGATTCharacteristic

from adapters.ble import bipso
from adapters.ble.deadlines import translating, unless, within
from adapters.ble.definitions import Definition, choose
from adapters.ble.profile import Order, Profile, Taken
from adapters.ble.uuids import short_uuid
from gateway.errors import (
    CommandError,
    DecodeError,
    DeviceRefused,
    GatewayError,
    NotAllowed,
    Unreachable,
)
from gateway.events import Execute, Outcome, Reading, Write
from gateway.model import DeviceId, Path, Value, printable
from gateway.objects.definitions import DefinitionFolder
from gateway.ports import SouthPort

logger = logging.getLogger(__name__)

T = TypeVar("T")

REBOOT = Path(3, 0, 4)
"""No BLE profile has such a thing: the device is connected anew instead."""

_UNREADABLE_PAUSE_S = 5.0
"""Before the next re-reading, when one brought nothing that decodes."""

_SHOWN_UUIDS = 400
"""Characters of a log line for a device's characteristics."""


class NothingToBridge(GatewayError):
    """The device has nothing that this gateway understands."""


class Connection:
    """A connected client, until `gone` is set; `operation_s` is each operation's deadline.

    `name` is what the device calls itself, for the definition that fits it.
    """

    def __init__(
        self,
        device: DeviceId,
        client: BleakClient,
        gone: asyncio.Event,
        port: SouthPort,
        operation_s: float,
        *,
        folder: DefinitionFolder[Definition],
        name: str,
    ) -> None:
        self._device = device
        self._client = client
        self._gone = gone
        self._port = port
        self._operation_s = operation_s
        # By handle and object, never by UUID: a device repeats UUIDs.
        self._characteristics = client.services.characteristics
        self._name = name
        self._folder = folder
        self._definition = self._fitting()
        self._ended = ""
        self._profile = Profile(
            [(handle, c.uuid) for handle, c in self._characteristics.items()],
            lambda object_id, key, wanted: port.instance(device, object_id, key, wanted),
            self._definition,
        )
        self._one_at_a_time = asyncio.Lock()  # as ATT is; BlueZ answers InProgress otherwise
        self._cut: dict[int, None] = {}  # what to read again, in order; at most every handle
        self._to_do = asyncio.Event()
        self._unreadable: dict[int, bytes] = {}

    async def open(self) -> None:
        """Subscribes to and reads everything known; NothingToBridge, or CommandError."""
        if not self._profile.measures:
            raise NothingToBridge(
                "connected, but it has no BIPSO characteristic (0xCC00 to 0xCC32), no Bluetooth "
                "SIG sensor that this gateway knows, and no device definition fits its "
                f"characteristics: {self._shown_uuids() or 'none'}"
            )
        if self._definition:
            logger.info("%s is a %s", self._device, self._definition.name)
        understood = False
        for handle in self._profile.handles:
            properties = self._characteristics[handle].properties
            if {"notify", "indicate"} & set(properties):
                # Before the read, so that no change falls in between.
                understood |= await self._tolerating(self._subscribe(handle))
            if "read" in properties:
                understood |= await self._tolerating(self._read(handle))
        if not understood:
            raise NothingToBridge("connected, but none of its values can be read or understood")
        self.report(self._profile.described)

    async def attend(self) -> None:
        """Reads again what notifications brought only in part; ends as Unreachable."""
        while True:
            await unless(self._gone, self._to_do.wait())
            if self._ended:
                raise Unreachable(self._ended)
            handle = next(iter(self._cut))
            del self._cut[handle]
            if not self._cut:
                self._to_do.clear()
            if not await self._tolerating(self._read(handle)):
                await unless(self._gone, asyncio.sleep(_UNREADABLE_PAUSE_S))

    def redefined(self) -> None:
        """The folder has changed: ends `attend` if the device is something else now."""
        if self._fitting() != self._definition:
            self._end("its device definition has changed: it is connected anew")

    @property
    def by_definition(self) -> frozenset[Path]:
        """The resources that are there because of a device definition."""
        return self._profile.by_definition

    async def write(self, command: Write) -> Outcome:
        """Writes, and reads back; raises a CommandError."""
        orders = self._profile.write(command.values)
        for order in orders:
            self._check_writable(order.handle)
        confirmed = [await self._carry_out(order) for order in orders]
        return Outcome(confirmed=all(confirmed))

    async def execute(self, command: Execute) -> Outcome:
        """Runs an executable resource; raises a CommandError."""
        if command.path == REBOOT and REBOOT not in self.by_definition:
            self._end(f"connected anew, as {command.origin} asks")
            return Outcome()
        order = self._profile.execute(command.path, command.arguments)
        self._check_writable(order.handle)
        await self._carry_out(order)
        return Outcome()

    def report(self, values: Mapping[Path, Value | None]) -> None:
        """Tells the gateway what the device has said just now."""
        now = time.time()
        readings = [Reading(self._device, path, value, now) for path, value in values.items()]
        if readings:
            self._port.report(readings)

    def _end(self, reason: str) -> None:
        self._ended = reason
        self._to_do.set()

    def _fitting(self) -> Definition | None:
        uuids = {c.uuid for c in self._characteristics.values()}
        return choose(self._folder.definitions, uuids, self._name)

    def _shown_uuids(self) -> str:
        uuids = (short_uuid(c.uuid) for _, c in sorted(self._characteristics.items()))
        return printable(", ".join(uuids), _SHOWN_UUIDS)

    def _check_writable(self, handle: int) -> None:
        if not {"write", "write-without-response"} & set(self._characteristics[handle].properties):
            raise NotAllowed("the device's characteristic cannot be written")

    async def _carry_out(self, order: Order) -> bool:
        """Whether the device shows what was written."""
        characteristic = self._characteristics[order.handle]
        response = "write" in characteristic.properties
        await self._operation(
            f"writing {short_uuid(characteristic.uuid)}",
            lambda: self._client.write_gatt_char(characteristic, order.data, response=response),
        )
        if "read" not in characteristic.properties:
            return False
        try:
            await self._read(order.handle)
        except (CommandError, DecodeError) as error:
            # The write itself was acknowledged, so the command did not fail.
            logger.debug("%s was written but not read back: %s", self._device, error)
            return False
        shown = self._profile.shown
        return bool(order.expected) and all(shown(p) == v for p, v in order.expected.items())

    async def _subscribe(self, handle: int) -> bool:
        characteristic = self._characteristics[handle]

        def notified(_: BleakGATTCharacteristic, data: bytearray) -> None:
            self._notified(handle, bytes(data))

        await self._operation(
            f"subscribing to {short_uuid(characteristic.uuid)}",
            lambda: self._client.start_notify(characteristic, notified),
        )
        return True

    async def _read(self, handle: int) -> bool:
        characteristic = self._characteristics[handle]
        self._profile.begin_read(handle)
        data = await self._operation(
            f"reading {short_uuid(characteristic.uuid)}",
            lambda: self._client.read_gatt_char(characteristic),
        )
        try:
            self._told(self._profile.read(handle, bytes(data)))
        except DecodeError as error:
            self._undecodable(handle, bytes(data), error)
            return False
        self._unreadable.pop(handle, None)
        return True

    def _notified(self, handle: int, data: bytes) -> None:
        try:
            self._told(self._profile.notified(handle, data))
        except bipso.Truncated as error:
            if data == self._unreadable.get(handle):
                return  # the read that has just shown the same
            self._port.count("ble_notifications_cut")
            if "read" in self._characteristics[handle].properties:
                self._cut[handle] = None
                self._to_do.set()
            else:
                self._told(self._profile.leading(handle, data, error))
        except DecodeError as error:
            self._undecodable(handle, data, error)

    def _told(self, taken: Taken) -> None:
        if taken.dropped:
            self._port.count("ble_values_not_finite", taken.dropped)
        self.report(taken.values)

    def _undecodable(self, handle: int, data: bytes, error: DecodeError) -> None:
        self._port.count("ble_frames_undecodable")
        uuid = short_uuid(self._characteristics[handle].uuid)
        if handle not in self._unreadable:
            logger.warning("%s: characteristic %s is ignored: %s", self._device, uuid, error)
        logger.debug("%s: %s holds %s: %s", self._device, uuid, data.hex(), error)
        self._unreadable[handle] = data

    async def _operation(self, doing: str, call: Callable[[], Coroutine[Any, Any, T]]) -> T:
        async with self._one_at_a_time:
            with translating(doing):
                return await unless(self._gone, within(self._operation_s, call()))

    async def _tolerating(self, step: Coroutine[Any, Any, bool]) -> bool:
        """Whether a step succeeded; a single characteristic's refusal does not end it all."""
        try:
            return await step
        except DeviceRefused as error:
            logger.debug("%s: %s", self._device, error)
            return False

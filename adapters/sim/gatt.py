"""One connected device as BlueZ exports it: its services, characteristics, descriptors on the bus.

Knows nothing of scanning or connecting. Order and content of signals follow bluetoothd 5.66.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Any

from bumble.core import UUID, ProtocolError
from bumble.device import Connection, Peer
from bumble.gatt import Characteristic
from bumble.gatt_client import AttributeProxy, CharacteristicProxy, ServiceProxy
from dbus_fast import Message, Variant
from dbus_fast.errors import DBusError

from adapters.sim.dbus import ObjectTree, Reply

DEVICE = "org.bluez.Device1"
SERVICE = "org.bluez.GattService1"
CHARACTERISTIC = "org.bluez.GattCharacteristic1"
DESCRIPTOR = "org.bluez.GattDescriptor1"

_GENERIC_ACCESS = UUID.from_16_bits(0x1800)
# What BlueZ asks for at most (doc/main.conf, ExchangeMTU).
_MTU = 517
_FLAGS = {
    Characteristic.Properties.READ: "read",
    Characteristic.Properties.WRITE_WITHOUT_RESPONSE: "write-without-response",
    Characteristic.Properties.WRITE: "write",
    Characteristic.Properties.NOTIFY: "notify",
    Characteristic.Properties.INDICATE: "indicate",
}
# create_gatt_dbus_error in BlueZ's src/gatt-client.c; all others are Failed with the code.
_ATT_ERRORS = {
    0x02: ("NotPermitted", "Read not permitted"),
    0x03: ("NotPermitted", "Write not permitted"),
    0x06: ("NotSupported", "Not supported"),
    0x07: ("InvalidArguments", "Invalid offset"),
    0x08: ("NotAuthorized", "Not authorized"),
    0x0D: ("InvalidArguments", "Invalid Length"),
}


def bluez_error(name: str, text: str) -> DBusError:
    """An error as BlueZ sends it."""
    return DBusError(f"org.bluez.Error.{name}", text)


class Subscriptions(defaultdict[str, set[str]]):
    """Which clients of the bus want the notifications of which characteristic (by path).

    They outlive a connection: bluetoothd arms them again when the device returns.
    """

    def __init__(self) -> None:
        super().__init__(set)

    def forget_client(self, client: str) -> None:
        """The client left the bus."""
        for clients in self.values():
            clients.discard(client)


class RemoteDevice:
    """A device's GATT database, read over a live connection and exported below `path`."""

    def __init__(
        self, path: str, connection: Connection, tree: ObjectTree, subscriptions: Subscriptions
    ) -> None:
        self.path = path
        self.connection = connection
        self._tree = tree
        self._subscriptions = subscriptions
        self._peer = Peer(connection)
        self._attributes: dict[str, AttributeProxy[Any]] = {}

    async def discover(self, limit: int | None = None) -> None:
        """Reads the database, exports it unless known from before, and announces it.

        Only so many services of it, where a limit is given.
        """
        try:
            mtu = await self._peer.request_mtu(_MTU)
            await self._peer.discover_services()
            for service in self._peer.services[:limit]:
                await self._export_service(service, mtu)
        except (ProtocolError, TimeoutError, asyncio.CancelledError):
            if _stopping():
                raise
            return  # the link went; its disconnection tells the clients
        uuids = [long_uuid(service.uuid) for service in self._peer.services]
        self._tree.change(
            self.path,
            DEVICE,
            UUIDs=Variant("as", uuids),
            ServicesResolved=Variant("b", value=True),
        )

    async def call(self, message: Message) -> Reply:
        """Carries out a method of a characteristic or descriptor; raises DBusError."""
        path = message.path or ""
        if path not in self._attributes:
            raise bluez_error("Failed", "Not connected")
        try:
            match message.member:
                case "ReadValue":
                    return await self._read(path)
                case "WriteValue":
                    data, options = message.body
                    kind = options.get("type", Variant("s", "request")).value
                    await self._attributes[path].write_value(
                        bytes(data), with_response=kind != "command"
                    )
                case "StartNotify":
                    await self._start_notify(path, message.sender or "")
                case "StopNotify":
                    await self._stop_notify(path, message.sender or "")
                case _:
                    raise DBusError("org.freedesktop.DBus.Error.UnknownMethod", str(message.member))
        except ProtocolError as error:
            code = error.error_code or 0
            text = f"Operation failed with ATT error: 0x{code:02x}"
            raise bluez_error(*_ATT_ERRORS.get(code, ("Failed", text))) from error
        except asyncio.CancelledError:
            if _stopping():
                raise
            raise bluez_error("Failed", "Not connected") from None
        return None

    async def _export_service(self, service: ServiceProxy, mtu: int) -> None:
        characteristics = await service.discover_characteristics()
        if service.uuid == _GENERIC_ACCESS:
            return  # bluetoothd keeps it to itself
        path = f"{self.path}/service{service.handle:04x}"
        known = path in self._tree.objects
        if not known:
            properties = {
                "UUID": Variant("s", long_uuid(service.uuid)),
                "Device": Variant("o", self.path),
                "Primary": Variant("b", value=True),
                "Includes": Variant("ao", []),
            }
            self._tree.add(path, SERVICE, properties)
        for characteristic in characteristics:
            await self._export_characteristic(path, characteristic, mtu, known=known)

    async def _export_characteristic(
        self, service: str, characteristic: CharacteristicProxy[Any], mtu: int, *, known: bool
    ) -> None:
        path = f"{service}/char{characteristic.handle - 1:04x}"
        self._attributes[path] = characteristic
        if not known:
            flags = [name for bit, name in _FLAGS.items() if characteristic.properties & bit]
            properties = {
                "UUID": Variant("s", long_uuid(characteristic.uuid)),
                "Service": Variant("o", service),
                "Value": Variant("ay", b""),
                "Flags": Variant("as", flags),
                "MTU": Variant("q", mtu),
            }
            if _notifies(characteristic):
                properties["Notifying"] = Variant("b", value=False)
                properties["NotifyAcquired"] = Variant("b", value=False)
            self._tree.add(path, CHARACTERISTIC, properties)
        for descriptor in await characteristic.discover_descriptors():
            descriptor_path = f"{path}/desc{descriptor.handle:04x}"
            self._attributes[descriptor_path] = descriptor
            if not known:
                properties = {
                    "UUID": Variant("s", long_uuid(descriptor.type)),
                    "Characteristic": Variant("o", path),
                    "Value": Variant("ay", b""),
                }
                self._tree.add(descriptor_path, DESCRIPTOR, properties)
        if self._subscriptions[path]:
            await self._arm(path, characteristic)

    async def _read(self, path: str) -> Reply:
        value = bytes(await self._attributes[path].read_value())
        interface = next(iter(self._tree.objects[path]))
        self._tree.change(path, interface, Value=Variant("ay", value))
        return "ay", [value]

    async def _start_notify(self, path: str, client: str) -> None:
        characteristic = self._attributes[path]
        if not isinstance(characteristic, CharacteristicProxy) or not _notifies(characteristic):
            raise bluez_error("NotSupported", "Operation is not supported")
        clients = self._subscriptions[path]
        if client in clients:
            raise bluez_error("InProgress", "Already notifying")
        clients.add(client)
        if len(clients) == 1:
            await self._arm(path, characteristic)
        self._tree.change(path, CHARACTERISTIC, Notifying=Variant("b", value=True))

    async def _stop_notify(self, path: str, client: str) -> None:
        clients = self._subscriptions[path]
        if client not in clients:
            raise bluez_error("Failed", "No notify session started")
        clients.discard(client)
        characteristic = self._attributes[path]
        if not clients and isinstance(characteristic, CharacteristicProxy):
            await characteristic.unsubscribe()
            self._tree.change(path, CHARACTERISTIC, Notifying=Variant("b", value=False))

    async def _arm(self, path: str, characteristic: CharacteristicProxy[Any]) -> None:
        def notified(value: bytes) -> None:
            for _ in self._subscriptions[path]:  # one signal for each client: seen in 5.66
                self._tree.change(path, CHARACTERISTIC, Value=Variant("ay", bytes(value)))

        await characteristic.subscribe(notified)


def _stopping() -> bool:
    """Whether we are cancelled ourselves; bumble cancels what waits on a link that went."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _notifies(characteristic: CharacteristicProxy[Any]) -> bool:
    wanted = Characteristic.Properties.NOTIFY | Characteristic.Properties.INDICATE
    return bool(characteristic.properties & wanted)


def long_uuid(uuid: UUID) -> str:
    """A UUID as BlueZ spells it: 128 bits, lower case."""
    if len(uuid.uuid_bytes) == 2:
        return f"{int.from_bytes(uuid.uuid_bytes, 'little'):08x}-0000-1000-8000-00805f9b34fb"
    return str(uuid.to_hex_str("-")).lower()

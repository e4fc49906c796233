"""Virtual BLE peripherals on bumble, built from a declarative description.

Knows how a device advertises, answers and hangs up; what its bytes mean is in `modules.py`.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from bumble.att import ATT_Error, ErrorCode
from bumble.controller import Controller
from bumble.core import UUID, AdvertisingData, PhysicalTransport
from bumble.device import Connection, Device, DeviceConfiguration
from bumble.gatt import Characteristic, CharacteristicValue, Service
from bumble.hci import Address
from bumble.link import LocalLink

ADVERTISING_INTERVAL_MS = 100.0
"""As sivann's modules do; a test asks for less."""

_ATT_MTU = 23
_JITTER_DB = 3
_SHORT_UUIDS = 0xFFFF
_SOME_SERVICES = AdvertisingData.Type.INCOMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS
_ADVERTISEMENT = 31
"""Octets of a legacy advertisement."""

_WAITS_S = 30.0
_HANG_UP_S = 3.0
_STAYS_AWAKE_S = 2.0
_PROPERTIES = {
    "read": Characteristic.Properties.READ,
    "write": Characteristic.Properties.WRITE,
    "write-without-response": Characteristic.Properties.WRITE_WITHOUT_RESPONSE,
    "notify": Characteristic.Properties.NOTIFY,
    "indicate": Characteristic.Properties.INDICATE,
}


@dataclass(frozen=True, slots=True)
class Spot:
    """A characteristic: its UUID (16 or 128 bits), first value, and space-separated properties."""

    uuid: int
    value: bytes
    properties: str = "read notify"


@dataclass(frozen=True, slots=True)
class Module:
    """A kind of device: its services by UUID, in the order of their handles.

    A module that `sleeps` advertises only when woken, and not again after a connection.
    """

    name: str
    address: str
    services: Mapping[int, tuple[Spot, ...]]
    rssi_dbm: int = -60
    mtu: int = _ATT_MTU
    sleeps: bool = False


@dataclass(slots=True)
class _Value:
    """A characteristic as it is now, and how it misbehaves."""

    value: bytes
    attribute: Characteristic[bytes] | None = None
    writes: list[bytes] = field(default_factory=list)
    refuses: ErrorCode | None = None
    deaf: bool = False


class SteadyLink(LocalLink):
    """A link on which packets keep the address of their connection.

    bumble 0.0.236 labels them with the sender's current random address, which scanning changes.
    """

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def send_acl_data(
        self,
        sender_controller: Controller,
        destination_address: Address,
        transport: PhysicalTransport,
        data: bytes,
    ) -> None:
        connection = sender_controller.le_connections.get(destination_address)
        receiver = self.find_le_controller(destination_address)
        if connection and receiver:
            asyncio.get_running_loop().call_soon(
                receiver.on_link_acl_data, connection.self_address, transport, data
            )


class Peripheral:
    """One virtual device. Its characteristics are named by UUID and, if repeated, number."""

    def __init__(self, module: Module, link: LocalLink) -> None:
        self.module = module
        self._alone = asyncio.Event()
        self._accompanied = asyncio.Event()
        self._alone.set()
        self._values: dict[tuple[int, int], _Value] = {}
        self._connection: Connection | None = None
        self._subscribed = asyncio.Event()
        controller = Controller(f"peripheral {module.name}", link=link)
        self._device = Device.from_config_with_hci(
            DeviceConfiguration(name=module.name, address=Address(module.address)),
            controller,
            controller,
        )
        self._device.gatt_server.max_mtu = module.mtu
        self._device.add_services(
            [
                Service(UUID.from_16_bits(uuid), [self._characteristic(spot) for spot in spots])
                for uuid, spots in module.services.items()
            ]
        )
        room = _ADVERTISEMENT - 3 - (2 + len(module.name.encode())) - 2
        shown = list(module.services)[: max(0, room // 2)]
        # The real ones put the name into the scan response, which bumble's link does not carry.
        self._device.advertising_data = bytes(
            AdvertisingData(
                [
                    (AdvertisingData.Type.FLAGS, b"\x06"),
                    (AdvertisingData.Type.COMPLETE_LOCAL_NAME, module.name.encode()),
                    (_SOME_SERVICES, b"".join(u.to_bytes(2, "little") for u in shown)),
                ]
            )
        )
        self._device.on(Device.EVENT_CONNECTION, self._came)

    async def start(self, interval_ms: float = ADVERTISING_INTERVAL_MS) -> None:
        """Powers on; advertises unless it sleeps."""
        self._interval_ms = interval_ms
        await self._device.power_on()
        if not self.module.sleeps:
            await self.wake()

    async def stop(self) -> None:
        """Hangs up and powers off."""
        await self._device.stop_advertising()
        await self.hang_up()
        await self._device.power_off()

    async def wake(self) -> None:
        """Advertises."""
        await self._device.start_advertising(
            auto_restart=not self.module.sleeps,
            advertising_interval_min=self._interval_ms,
            advertising_interval_max=self._interval_ms,
        )

    async def hush(self) -> None:
        """Stops advertising, as if out of range."""
        await self._device.stop_advertising()

    async def hang_up(self) -> None:
        """Ends the connection, if there is one."""
        if self._connection is not None:
            async with asyncio.timeout(_HANG_UP_S):
                await self._connection.disconnect()
                await self._alone.wait()

    async def connected(self) -> None:
        """Waits for a connection."""
        async with asyncio.timeout(_WAITS_S):
            await self._accompanied.wait()

    async def disconnected(self) -> None:
        """Waits until there is no connection."""
        async with asyncio.timeout(_WAITS_S):
            await self._alone.wait()

    async def press(self, uuid: int, value: bytes) -> None:
        """What a sleeping remote control does: wake, be connected, notify, hang up."""
        self._subscribed.clear()
        await self.wake()
        async with asyncio.timeout(_WAITS_S):
            await self._subscribed.wait()
        await self.notify(uuid, value)
        await asyncio.sleep(_STAYS_AWAKE_S)
        await self.hang_up()

    async def notify(self, uuid: int, value: bytes, number: int = 0) -> None:
        """Takes a new value and tells who subscribed (cut to the MTU, as the air does)."""
        spot = self._values[uuid, number]
        spot.value = value
        if spot.attribute is not None:
            await self._device.notify_subscribers(spot.attribute, value)

    def set(self, uuid: int, value: bytes, number: int = 0) -> None:
        """Takes a new value and tells nobody."""
        self._values[uuid, number].value = value

    def value(self, uuid: int, number: int = 0) -> bytes:
        """What a read gives now."""
        return self._values[uuid, number].value

    def writes(self, uuid: int, number: int = 0) -> list[bytes]:
        """Every value written so far."""
        return self._values[uuid, number].writes

    def refuse(self, uuid: int, code: int | None, number: int = 0) -> None:
        """Reads and writes are answered with this ATT error; None ends it."""
        self._values[uuid, number].refuses = None if code is None else ErrorCode(code)

    def ignore_writes(self, uuid: int, number: int = 0) -> None:
        """Writes are acknowledged and change nothing."""
        self._values[uuid, number].deaf = True

    def rssi_dbm(self) -> int:
        """How strong the device is received: a little different each time, as in the air."""
        return self.module.rssi_dbm + random.randint(-_JITTER_DB, _JITTER_DB)  # noqa: S311 - noise

    def _characteristic(self, spot: Spot) -> Characteristic[bytes]:
        number = sum(uuid == spot.uuid for uuid, _ in self._values)
        value = self._values[spot.uuid, number] = _Value(spot.value)

        def read(_connection: Connection) -> bytes:
            if value.refuses is not None:
                raise ATT_Error(value.refuses)
            return value.value

        def write(_connection: Connection, data: bytes) -> None:
            if value.refuses is not None:
                raise ATT_Error(value.refuses)
            value.writes.append(bytes(data))
            if not value.deaf:
                value.value = bytes(data)

        properties = Characteristic.Properties(0)
        for name in spot.properties.split():
            properties |= _PROPERTIES[name]
        attribute = value.attribute = Characteristic(
            _uuid(spot.uuid),
            properties,
            Characteristic.Permissions.READABLE | Characteristic.Permissions.WRITEABLE,
            CharacteristicValue(read=read, write=write),
        )
        attribute.on(Characteristic.EVENT_SUBSCRIPTION, self._subscription)
        return attribute

    def _subscription(self, _connection: Connection, notify: bool, indicate: bool) -> None:
        if notify or indicate:
            self._subscribed.set()

    def _came(self, connection: Connection) -> None:
        self._connection = connection
        self._alone.clear()
        self._accompanied.set()
        connection.on(Connection.EVENT_DISCONNECTION, self._went)

    def _went(self, _reason: int) -> None:
        self._connection = None
        self._accompanied.clear()
        self._alone.set()


def _uuid(number: int) -> UUID:
    return UUID.from_16_bits(number) if number <= _SHORT_UUIDS else UUID(str(uuid.UUID(int=number)))

"""A stand-in for bluetoothd on the system bus, so that bleak's own BlueZ backend needs no radio.

Behind it is a bumble central: advertising, ATT and GATT are really exchanged with the virtual
peripherals on the same link. Faults are planned with `fail`, `hang`, `power`, `vanish`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self

from bumble.controller import Controller
from bumble.core import AdvertisingData, BaseBumbleError
from bumble.device import Advertisement, Connection, Device, DeviceConfiguration
from bumble.hci import Address
from bumble.link import LocalLink
from dbus_fast import Message, Variant
from dbus_fast.errors import DBusError

from adapters.sim.dbus import PROPERTIES, ObjectTree, Reply
from adapters.sim.gatt import DEVICE, RemoteDevice, Subscriptions, bluez_error, long_uuid

ADAPTER = "org.bluez.Adapter1"

_SOME_SERVICES = AdvertisingData.Type.INCOMPLETE_LIST_OF_16_BIT_SERVICE_CLASS_UUIDS
_CALLS_KEPT = 1000
_OWN_ADDRESS = "C0:01:02:03:04:05"
# bluetoothd gives up a connection attempt after about this long (kernel: 20 s for LE).
_CONNECT_S = 20.0
_HANG_UP_S = 1.0
_WAITS_S = 30.0


@dataclass(slots=True)
class _Fault:
    """What one method answers instead of doing its work; no error at all: it never answers."""

    member: str
    error: DBusError | None
    address: str | None
    times: int


@dataclass(slots=True)
class _Waiter:
    """Somebody waits for calls of a method, or advertisements of an address."""

    what: str
    times: int
    over: asyncio.Event = field(default_factory=asyncio.Event)

    def counts(self, what: str) -> bool:
        """Notes one; whether it was the last one waited for."""
        self.times -= what == self.what
        if self.times <= 0:
            self.over.set()
        return self.over.is_set()


@dataclass(slots=True)
class _Connecting:
    """A Connect that waits for the device's next advertisement."""

    heard: asyncio.Event = field(default_factory=asyncio.Event)
    given_up: bool = False


class Bluez:
    """One adapter and what is in its reach; an asynchronous context manager.

    `rssi_dbm` tells how strong the device of an address is received (bumble knows no distance).
    """

    def __init__(
        self, link: LocalLink, rssi_dbm: Callable[[str], int] = lambda _: -50, name: str = "hci0"
    ) -> None:
        self.path = f"/org/bluez/{name}"
        self.calls: deque[tuple[str, str]] = deque(maxlen=_CALLS_KEPT)
        self.tree = ObjectTree("org.bluez", self._answer)
        self._rssi_dbm = rssi_dbm
        controller = Controller(name, link=link)
        self._central = Device.from_config_with_hci(
            DeviceConfiguration(name=name, address=Address(_OWN_ADDRESS)), controller, controller
        )
        self._central.on(Device.EVENT_ADVERTISEMENT, self._advertised)
        self._connected: dict[str, RemoteDevice] = {}
        self._connecting: dict[str, _Connecting] = {}
        self._connect_lock = asyncio.Lock()  # a controller makes one connection at a time
        self._subscriptions = Subscriptions()
        self._scanners: dict[str, bool] = {}  # client: whether it wants every advertisement
        self._filters: dict[str, bool] = {}
        self._faults: list[_Fault] = []
        self._cuts: dict[str, int] = {}
        self._waiters: list[_Waiter] = []

    async def __aenter__(self) -> Self:
        await self._central.power_on()
        await self._central.start_scanning(filter_duplicates=False)
        await self.come_back()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.vanish()
        await self._hang_up_all()
        await self._central.stop_scanning()
        await self._central.power_off()

    # What can go wrong

    def fail(
        self, member: str, name: str, text: str, *, address: str | None = None, times: int = 1
    ) -> None:
        """The next calls of a method (of one device) are answered with org.bluez.Error.`name`."""
        self._faults.append(_Fault(member, bluez_error(name, text), address, times))

    def hang(self, member: str, *, address: str | None = None, times: int = 1) -> None:
        """The next calls of a method (of one device) are never answered."""
        self._faults.append(_Fault(member, None, address, times))

    def cut_discovery(self, address: str, services: int) -> None:
        """The next discovery of a device ends after so many services, which are called resolved.

        Seen with bluetoothd 5.66 in a virtual machine.
        """
        self._cuts[self._path_of(address)] = services

    def power(self, *, on: bool) -> None:
        """What `bluetoothctl power off` and rfkill do: links drop, discovery stops."""
        self.tree.change(self.path, ADAPTER, Powered=Variant("b", on))
        if not on:
            self._scanners.clear()
            self.tree.change(self.path, ADAPTER, Discovering=Variant("b", value=False))
            self.tree.spawn(self._hang_up_all())

    async def vanish(self) -> None:
        """The daemon is killed: no signal, no answer; the kernel keeps the links for now."""
        await self.tree.vanish()
        self._scanners.clear()
        self._subscriptions.clear()

    async def come_back(self) -> None:
        """A new daemon starts: it resets the controller and knows no device."""
        await self._hang_up_all()
        properties = {
            "Address": Variant("s", _OWN_ADDRESS),
            "AddressType": Variant("s", "public"),
            "Name": Variant("s", "bench"),
            "Alias": Variant("s", "bench"),
            "Powered": Variant("b", value=True),
            "Discovering": Variant("b", value=False),
            "Roles": Variant("as", ["central", "peripheral"]),
        }
        await self.tree.publish(self._client_left)
        self.tree.add(self.path, ADAPTER, properties)

    async def connect(self, address: str) -> None:
        """Connects as for a client that is gone by now: the device is a leftover."""
        path = self._path_of(address)
        await self._connect(path)
        await self._connected[path].discover()

    async def called(self, member: str, times: int = 1) -> None:
        """Waits for so many more calls of a method."""
        await self._count(member, times)

    async def heard(self, address: str, times: int = 1) -> None:
        """Waits for so many more advertisements of a device."""
        await self._count(address, times)

    async def _count(self, what: str, times: int) -> None:
        waiter = _Waiter(what, times)
        self._waiters.append(waiter)
        async with asyncio.timeout(_WAITS_S):
            await waiter.over.wait()

    def _happened(self, what: str) -> None:
        self._waiters = [waiter for waiter in self._waiters if not waiter.counts(what)]

    def connected(self) -> set[str]:
        """The addresses of the devices that are connected now."""
        return {_address_in(path) for path in self._connected}

    # The radio

    def _advertised(self, advertisement: Advertisement) -> None:
        address = advertisement.address.to_string(False)
        path = self._path_of(address)
        self._happened(address)
        if connecting := self._connecting.get(path):
            connecting.heard.set()
        if path in self._connected or not (self._scanners or path in self._connecting):
            return
        rssi = Variant("n", self._rssi_dbm(address))
        if path not in self.tree.objects:
            self.tree.add(path, DEVICE, self._device(address, advertisement, rssi))
        elif "RSSI" not in self.tree.objects[path][DEVICE] or any(self._scanners.values()):
            self.tree.change(path, DEVICE, RSSI=rssi)

    def _device(
        self, address: str, advertisement: Advertisement, rssi: Variant
    ) -> dict[str, Variant]:
        name = advertisement.data.get(AdvertisingData.Type.COMPLETE_LOCAL_NAME)
        advertised = advertisement.data.get(_SOME_SERVICES)
        services = advertised if isinstance(advertised, list) else []
        properties = {
            "Address": Variant("s", address),
            "AddressType": Variant("s", "random"),
            "Alias": Variant("s", name or address.replace(":", "-")),
            "Paired": Variant("b", value=False),
            "Trusted": Variant("b", value=False),
            "RSSI": rssi,
            "Connected": Variant("b", value=False),
            "ServicesResolved": Variant("b", value=False),
            "UUIDs": Variant("as", [long_uuid(uuid) for uuid in services]),
            "Adapter": Variant("o", self.path),
        }
        if name:
            properties["Name"] = Variant("s", name)
        return properties

    async def _hang_up_all(self) -> None:
        for remote in list(self._connected.values()):
            with contextlib.suppress(BaseBumbleError, TimeoutError):
                async with asyncio.timeout(_HANG_UP_S):
                    await remote.connection.disconnect()

    def _path_of(self, address: str) -> str:
        return f"{self.path}/dev_{address.replace(':', '_')}"

    # The methods

    def _client_left(self, client: str) -> None:
        self._subscriptions.forget_client(client)
        self._scanners.pop(client, None)

    async def _answer(self, message: Message) -> Reply:
        path, member = message.path or "", message.member or ""
        self.calls.append((member, path))
        self._happened(member)
        await self._faulty(member, path)
        device = path[: len(self.path) + 22]  # <adapter>/dev_XX_XX_XX_XX_XX_XX
        if path != device:
            if remote := self._connected.get(device):
                return await remote.call(message)
            raise bluez_error("Failed", "Not connected")
        match member:
            case "Connect":
                await self._connect(path)
                self.tree.spawn(self._connected[path].discover(self._cuts.pop(path, None)))
            case "Disconnect":
                await self._disconnect(path)
            case "Set" if message.interface == PROPERTIES and message.body[1] == "Powered":
                self.power(on=message.body[2].value)
            case "SetDiscoveryFilter":
                duplicates = message.body[0].get("DuplicateData", Variant("b", value=False))
                self._filters[message.sender or ""] = duplicates.value
            case "StartDiscovery":
                self._start_discovery(message.sender or "")
            case "StopDiscovery":
                self._stop_discovery(message.sender or "")
            case "RemoveDevice":
                await self._remove_device(message.body[0])
            case _:
                raise DBusError("org.freedesktop.DBus.Error.UnknownMethod", member)
        return None

    async def _faulty(self, member: str, path: str) -> None:
        for fault in self._faults:
            if fault.member == member and (
                fault.address is None or path.startswith(self._path_of(fault.address))
            ):
                fault.times -= 1
                if fault.times <= 0:
                    self._faults.remove(fault)
                if fault.error is not None:
                    raise fault.error
                await asyncio.Event().wait()

    def _start_discovery(self, client: str) -> None:
        if not self.tree.objects[self.path][ADAPTER]["Powered"].value:
            raise bluez_error("NotReady", "Resource Not Ready")
        if client in self._scanners:
            raise bluez_error("InProgress", "Operation already in progress")
        if not self._scanners:
            self.tree.change(self.path, ADAPTER, Discovering=Variant("b", value=True))
        self._scanners[client] = self._filters.get(client, False)

    def _stop_discovery(self, client: str) -> None:
        if client not in self._scanners:
            raise bluez_error("Failed", "No discovery started")
        del self._scanners[client]
        if not self._scanners:
            for path, interfaces in self.tree.objects.items():
                if "RSSI" in interfaces.get(DEVICE, {}):
                    self.tree.change(path, DEVICE, ["RSSI"])
            self.tree.change(self.path, ADAPTER, Discovering=Variant("b", value=False))

    async def _remove_device(self, path: str) -> None:
        if path not in self.tree.objects:
            raise bluez_error("DoesNotExist", "Does Not Exist")
        if remote := self._connected.get(path):
            await remote.connection.disconnect()
        self.tree.remove(path)

    async def _connect(self, path: str) -> None:
        if path in self._connected:
            return
        if not self.tree.objects[self.path][ADAPTER]["Powered"].value:
            raise bluez_error("NotReady", "Resource Not Ready")
        if path in self._connecting:
            raise bluez_error("InProgress", "Operation already in progress")
        connecting = self._connecting[path] = _Connecting()
        try:
            # bumble cannot take back a pending connection, so it is asked only when sure.
            async with asyncio.timeout(_CONNECT_S):
                await connecting.heard.wait()
                async with self._connect_lock:
                    if connecting.given_up:
                        raise bluez_error("Failed", "le-connection-abort-by-local")
                    connection = await self._central.connect(Address(_address_in(path)))
        except (BaseBumbleError, TimeoutError):
            raise bluez_error("Failed", "le-connection-abort-by-local") from None
        finally:
            del self._connecting[path]
        self._established(path, connection)

    def _established(self, path: str, connection: Connection) -> None:
        remote = RemoteDevice(path, connection, self.tree, self._subscriptions)
        self._connected[path] = remote

        def gone(_reason: int) -> None:
            self._connected.pop(path, None)
            false = Variant("b", value=False)
            self.tree.change(path, DEVICE, ServicesResolved=false, Connected=false)

        connection.on(Connection.EVENT_DISCONNECTION, gone)
        self.tree.change(path, DEVICE, Connected=Variant("b", value=True))

    async def _disconnect(self, path: str) -> None:
        if connecting := self._connecting.get(path):
            connecting.given_up = True
            connecting.heard.set()
        if remote := self._connected.get(path):
            await remote.connection.disconnect()


def _address_in(path: str) -> str:
    return path.rpartition("/dev_")[2].replace("_", ":")

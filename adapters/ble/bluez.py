"""Watches org.bluez itself: whether it runs, which adapter is there and switched on.

bleak tells of neither a killed bluetoothd nor an adapter that comes back.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from dbus_fast import BusType, Message, MessageType
from dbus_fast.aio import MessageBus

from adapters.ble.deadlines import LIBRARY_ERRORS, within
from gateway.errors import AdapterError, reason

_BLUEZ = "org.bluez"
_ADAPTER = "org.bluez.Adapter1"
_ROOT = "/org/bluez"
_CALL_S = 5.0

_MATCHES = (
    f"type='signal',member='NameOwnerChanged',arg0='{_BLUEZ}'",
    f"type='signal',member='PropertiesChanged',path_namespace='{_ROOT}',arg0='{_ADAPTER}'",
    f"type='signal',member='InterfacesAdded',arg0path='{_ROOT}/'",
    f"type='signal',member='InterfacesRemoved',arg0path='{_ROOT}/'",
)


@dataclass(frozen=True, slots=True)
class Radio:
    """The adapter that can be used now; or the problem and its remedy.

    `owner` is another one after each start of bluetoothd; `outages` counts when an adapter was
    switched off, so that a moment without power is not overlooked: it ends every scan.
    """

    adapter: str = ""
    owner: str = ""
    outages: int = 0
    problem: str = ""


class BluezWatch:
    """A connection of its own to the system bus; an asynchronous context manager.

    `wanted` names the adapter, else the first usable one is taken. AdapterError without a bus.
    """

    def __init__(self, wanted: str | None) -> None:
        self.changed = asyncio.Event()
        self._wanted = wanted
        self._outages = 0

    async def __aenter__(self) -> Self:
        self._bus = MessageBus(bus_type=BusType.SYSTEM)
        try:
            await within(_CALL_S, self._bus.connect())
            self._bus.add_message_handler(self._received)
            for match in _MATCHES:
                await self._call("org.freedesktop.DBus", "AddMatch", "s", [match])
        except (TimeoutError, *LIBRARY_ERRORS) as error:
            self._bus.disconnect()
            raise AdapterError(
                f"no D-Bus system bus ({reason(error)}): install and start dbus "
                "(apt-get install dbus); in a container, docs/container.md tells how"
            ) from error
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bus.disconnect()

    async def lost(self) -> None:
        """Waits for the bus itself to go; raises AdapterError then."""
        try:
            await self._bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        except LIBRARY_ERRORS as error:
            raise AdapterError(f"the D-Bus system bus went away: {reason(error)}") from error
        raise AdapterError("the D-Bus system bus went away")

    async def radio(self) -> Radio:
        """How things are now."""
        try:
            return await self._look()
        except (TimeoutError, *LIBRARY_ERRORS):
            return Radio(problem="BlueZ does not answer: systemctl restart bluetooth")

    async def remove_device(self, adapter: str, path: str) -> None:
        """Has BlueZ forget a device that it is stuck with, as well as it can."""
        await self._call(
            _BLUEZ,
            "RemoveDevice",
            "o",
            [path],
            path=f"{_ROOT}/{adapter}",
            interface=_ADAPTER,
        )

    async def _look(self) -> Radio:
        reply = await self._call("org.freedesktop.DBus", "GetNameOwner", "s", [_BLUEZ])
        if reply.message_type is MessageType.ERROR:
            return Radio(
                problem="BlueZ is not running: apt-get install bluez; systemctl start bluetooth"
            )
        owner = reply.body[0]
        reply = await self._call(
            _BLUEZ, "GetManagedObjects", path="/", interface="org.freedesktop.DBus.ObjectManager"
        )
        if reply.message_type is MessageType.ERROR:
            return Radio(
                problem=f"BlueZ cannot be used ({reply.error_name}): systemctl restart bluetooth"
            )
        adapters = {
            path.rpartition("/")[2]: interfaces[_ADAPTER]
            for path, interfaces in sorted(reply.body[0].items())
            if _ADAPTER in interfaces
        }
        return self._choose(owner, adapters)

    def _choose(self, owner: str, adapters: dict[str, dict[str, Any]]) -> Radio:
        if self._wanted is not None:
            if self._wanted not in adapters:
                there = ", ".join(adapters) or "none"
                return Radio(
                    problem=f"no Bluetooth adapter {self._wanted}; there is: {there}; change "
                    "[ble] adapter"
                )
            adapters = {self._wanted: adapters[self._wanted]}
        if not adapters:
            return Radio(problem="no Bluetooth adapter: plug one in (seen with bluetoothctl list)")
        central = {n: p for n, p in adapters.items() if "central" in _value(p, "Roles", ())}
        if not central:
            return Radio(
                problem=f"{', '.join(adapters)} cannot do Bluetooth Low Energy: plug in one that "
                "can (bluetoothctl show: Roles: central), and name it with [ble] adapter"
            )
        for name, properties in central.items():
            if _value(properties, "Powered", False):
                return Radio(name, owner, self._outages)
        return Radio(
            problem=f"Bluetooth adapter {next(iter(central))} is switched off: "
            "bluetoothctl power on (if that is refused: rfkill unblock bluetooth)"
        )

    async def _call(
        self,
        destination: str,
        member: str,
        signature: str = "",
        body: list[Any] | None = None,
        *,
        path: str = "/org/freedesktop/DBus",
        interface: str = "org.freedesktop.DBus",
    ) -> Message:
        call = Message(
            destination=destination,
            path=path,
            interface=interface,
            member=member,
            signature=signature,
            body=body or [],
        )
        return await within(_CALL_S, self._bus.call(call))

    def _received(self, message: Message) -> None:
        if message.message_type is not MessageType.SIGNAL:
            return
        if message.member in {"InterfacesAdded", "InterfacesRemoved"}:
            if _ADAPTER in message.body[1]:
                self.changed.set()
        elif message.member == "NameOwnerChanged":
            if message.body[0] == _BLUEZ:
                self.changed.set()
        elif message.member == "PropertiesChanged" and "Powered" in message.body[1]:
            self._outages += not message.body[1]["Powered"].value
            self.changed.set()


def _value(properties: dict[str, Any], name: str, missing: object) -> Any:
    return properties[name].value if name in properties else missing

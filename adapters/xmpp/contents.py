"""What each item holds at this moment: read from the port when it is sent, so never stale."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import replace

from adapters.xmpp import payload
from adapters.xmpp.nodes import DIRECTORY, Nodes
from adapters.xmpp.payload import META, STATUS, Pack
from adapters.xmpp.queue import Key
from gateway.events import Device
from gateway.formats.senml import Record
from gateway.model import GATEWAY, DeviceId, Path, urn
from gateway.objects.restless import RESTLESS
from gateway.ports import NorthPort


class Contents:
    """The items of a gateway's nodes; `gateway` is its name, `items` are those that devices have.

    `omitted` is called with device and name of each record that an item could not take.
    """

    def __init__(
        self,
        port: NorthPort,
        nodes: Nodes,
        gateway: str,
        items: Callable[[DeviceId], Collection[str]],
        omitted: Callable[[DeviceId, str], None],
    ) -> None:
        self._port = port
        self._nodes = nodes
        self._gateway = gateway
        self._items = items
        self._omitted = omitted
        self.address = ""
        """Who keeps the directory: the address in the present session."""

    def title(self, device: Device) -> str:
        """What the device's node is called, for people."""
        return f"Gateway {self._gateway}" if device.id == GATEWAY else device.name or device.prefix

    def pack(self, key: Key) -> Pack | None:
        """What the item holds; None if it should not be there."""
        now, in_directory = self._now(), key.device == DIRECTORY
        if key == (DIRECTORY, GATEWAY):
            return self._entry(online=True, now=now)
        device = self._port.device_by_id(DeviceId(key.item) if in_directory else key.device)
        if key.item == STATUS:
            if device and device.id == GATEWAY:
                device = replace(device, last_seen=now)
            rssi = self._port.resource(key.device, payload.RADIO_RSSI)
            return payload.status(self._name(key.device), device, rssi.value if rssi else None, now)
        if device is None:
            return None
        if in_directory:
            resources = self._port.resources(device.id)
            return payload.directory_entry(device, self._nodes.device(device.id), resources, now)
        if key.item == META:
            resources = self._port.resources(device.id)
            return payload.meta(self._name(device.id), device, resources, now)
        return self._values(key) if key.item in self._items(device.id) else None

    def _values(self, key: Key) -> Pack | None:
        scope = payload.item_scope(key.item)
        resources = self._port.resources(key.device, scope.upto(2) if scope else None)
        name = self._name(key.device)
        pack = payload.values(name, key.item, resources, self._port.registry)
        for name in pack.omitted if pack else ():
            self._omitted(key.device, name)
        return pack

    def _entry(self, *, online: bool, now: float | None) -> Pack:
        node, devices = self._nodes.device(GATEWAY), len(self._port.devices()) - 1
        return payload.gateway_entry(
            self._gateway, node, self.address, devices, online=online, now=now
        )

    def farewell(self, key: Key) -> Pack:
        """What an item of the directory's gateway, or a `status`, says when the gateway stops."""
        now = self._now()
        device = self._port.device_by_id(key.device)
        if device is None:
            return self._entry(online=False, now=now)
        if device.id == GATEWAY:
            device = replace(device, last_seen=now)
        return payload.stopped(self._name(key.device), device, now)

    def said(self, key: Key, records: Sequence[Record]) -> str | None:
        """What records of an item say that seldom changes; None if it is to be sent each time.

        Of the gateway's own values that is all but what never rests, such as its clock.
        """
        if key.device == DIRECTORY:
            return None if key.item == GATEWAY else payload.said(records)
        if key.item == META:
            return payload.said(records)
        if key.device != GATEWAY or key.item == STATUS:
            return None
        told = ((Path.parse(r.name.partition("/")[2]), r.value) for r in records)
        return repr([(path, value) for path, value in told if path not in RESTLESS])

    def _name(self, device: DeviceId) -> str:
        """What the names of a device's records begin with."""
        return self._gateway if device == GATEWAY else urn(device)

    def _now(self) -> float | None:
        """The time, if it is known."""
        return time.time() if self._port.clock_is_set else None

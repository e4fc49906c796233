"""Which items there are, and which of them an event touches: those wait in the queue then."""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

from adapters.xmpp import payload
from adapters.xmpp.delivery import Delivery
from adapters.xmpp.nodes import DIRECTORY
from adapters.xmpp.payload import META, STATUS, Layout
from adapters.xmpp.queue import Key, KeyQueue
from gateway.events import Change, Device, DeviceChanged, Event, Removed
from gateway.model import GATEWAY, DeviceId, Path
from gateway.ports import NorthPort

NODE = ""
"""The key of a removed device's node itself."""


class Items:
    """The items of all devices, in a layout. `woken` is called when something is to be sent."""

    def __init__(
        self,
        port: NorthPort,
        layout: Layout,
        queue: KeyQueue,
        delivery: Delivery,
        woken: Callable[[], None],
    ) -> None:
        self._port = port
        self._layout = layout
        self._queue = queue
        self._delivery = delivery
        self._woken = woken
        self._cramped: set[DeviceId] = set()
        self.of: dict[DeviceId, set[str]] = {}
        """What each device's node has, besides META and STATUS."""
        self.listed: set[DeviceId] = set()
        """The devices that the directory has."""

    def absorb(self, event: Event) -> None:
        """Notes which items an event touches."""
        device = self._port.device_by_id(event.device)
        match event:
            case Removed(path=None):
                self._remove(event.device)
            case Change() | DeviceChanged() | Removed() if device is None:
                pass  # its removal is still to come
            case Change():
                if event.entry:
                    item = payload.item_id(event.path, self._layout_of(device.id))
                    self._delivery.told(event.entry, Key(device.id, item))
                if device.id in self.of:
                    self._touch(device.id, event.path)
                else:
                    self.announce(device)
            case DeviceChanged():
                self._describe(device)
            case Removed():
                for item in sorted(self.of.get(device.id, ())):
                    if event.path and payload.concerns(item, event.path):
                        self.put(Key(device.id, item))
                self._describe(device)
            case _:
                assert_never(event)

    def announce_all(self) -> None:
        """Puts everything, whatever the server has."""
        self.listed.clear()
        for device in self._port.devices():
            self.announce(device)

    def announce(self, device: Device) -> None:
        """Everything of a device, `status` last: when it says online, all is there."""
        items = payload.item_ids(self._port.resources(device.id), self._layout_of(device.id))
        bridged = [item for item in items if payload.is_bridged(item)]
        items = [item for item in items if item not in bridged]
        if device.id in self._cramped:
            bridged = []
        self.of[device.id] = {*items, *bridged, *self.of.get(device.id, ())}
        keys = [Key(device.id, item) for item in (META, *items)]
        self._queue.put_in_order(keys, Key(device.id, STATUS))
        for item in bridged:
            self.put(Key(device.id, item))
        self.put(Key(DIRECTORY, device.id))
        self._count_anew()

    def cramp(self, device: Device) -> bool:
        """Puts all values of a device into one item from now on; False if they are already."""
        if device.id in self._cramped:
            return False
        self._cramped.add(device.id)
        for item in self.of.pop(device.id, ()):
            self.put(Key(device.id, item))
        self.announce(device)
        return True

    def put(self, key: Key) -> None:
        """What is in the directory already is not urgent there, nor what only repeats it."""
        is_listed = key.device == DIRECTORY and key.item in self.listed
        repeats = key.device == GATEWAY and payload.is_bridged(key.item)
        self._queue.put(key, at_leisure=is_listed or repeats)
        self._woken()

    def _layout_of(self, device: DeviceId) -> Layout:
        return "state" if device in self._cramped else self._layout

    def _touch(self, device: DeviceId, path: Path) -> None:
        item = payload.item_id(path, self._layout_of(device))
        if payload.is_bridged(item) and device in self._cramped:
            return
        self.of[device].add(item)
        self.put(Key(device, item))
        if path.resource == payload.UNITS:  # the unit may stand in the instance's other items
            for other in sorted(self.of[device]):
                if payload.concerns(other, path.upto(2)):
                    self.put(Key(device, other))

    def _count_anew(self) -> None:
        """The gateway's own item in the directory says how many devices there are."""
        self._queue.put(Key(DIRECTORY, GATEWAY), at_leisure=True)

    def _describe(self, device: Device) -> None:
        if device.id not in self.of:
            self.announce(device)
            return
        self.put(Key(device.id, META))
        if device.id != GATEWAY:  # its availability is always the same, and told by REFRESH_S
            self.put(Key(device.id, STATUS))
            self.put(Key(DIRECTORY, device.id))

    def _remove(self, device: DeviceId) -> None:
        self.of.pop(device, None)
        self._cramped.discard(device)
        self._queue.forget(device)
        self._delivery.forget(device)
        self._queue.put_in_order([Key(device, STATUS)], Key(device, NODE))
        self.put(Key(DIRECTORY, device))
        self._count_anew()

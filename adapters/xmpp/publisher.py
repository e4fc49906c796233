"""Mirrors the devices into pubsub nodes: which items an event touches, and what they then hold.

The values are read when an item is sent, so that none is ever stale.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import NoReturn, assert_never

from adapters.xmpp import directory, payload
from adapters.xmpp.config import XmppSection
from adapters.xmpp.delivery import Delivery, Place
from adapters.xmpp.errors import NoAnswer, StanzaError
from adapters.xmpp.nodes import Nodes
from adapters.xmpp.pace import Pace
from adapters.xmpp.payload import META, STATUS, Layout, Pack
from adapters.xmpp.pubsub import FORBIDDEN, Pubsub, forbidden
from adapters.xmpp.queue import Key, KeyQueue
from adapters.xmpp.upkeep import delete, look_after, tidy
from gateway.errors import AdapterError
from gateway.events import Change, Device, DeviceChanged, Entry, Event, Removed, State
from gateway.model import GATEWAY, DeviceId, Path, eui64
from gateway.ports import NorthPort

log = logging.getLogger(__name__)

FORBIDDEN_PAUSE_S = 300.0
"""Rights are given by a person, who needs minutes."""

REFRESH_S = 300.0
"""The gateway's own item is published anew this often; one older than twice that is dead."""

FAREWELL_S = 1.5
"""What a stopping gateway takes to say so; systems give a service few seconds to end."""

HISTORY = "history"
"""The name of the place up to which the server has all changes."""

_NODE = ""
"""The key of a removed device's node itself."""


class Publisher:
    """The mirror of all devices. It outlives sessions; `run` serves one of them.

    `moved` is set whenever something was sent, or is to be sent.
    """

    def __init__(self, config: XmppSection, port: NorthPort) -> None:
        self._port = port
        self._gateway = config.gateway
        self.nodes = Nodes(f"{config.root}/{config.gateway}")
        self.delivery = Delivery(Place(port.place(HISTORY)))
        self.sent_items = 0
        self.moved = asyncio.Event()
        self._queue = KeyQueue(config.window)
        self._items: dict[DeviceId, set[str]] = {}
        self._layout = config.layout
        self._prune = config.prune
        self._cramped: set[DeviceId] = set()
        self._refused: set[tuple[DeviceId, str]] = set()
        self._told: dict[Key, str] = {}
        self._listed: set[DeviceId] = set()
        self._recalled = False
        self._address = ""
        self._wake = asyncio.Event()
        self._blocked = False
        self._lost_at = 0.0
        self._pace = Pace()
        self.republish()

    @property
    def waiting(self) -> int:
        """Items that the server does not have yet in their newest form."""
        return len(self._queue)

    @property
    def idle(self) -> bool:
        """Whether nothing can be sent at the moment."""
        return self._queue.idle

    def absorb(self, event: Event) -> None:
        """Notes which items an event touches."""
        if event.device == GATEWAY:
            return
        device = self._port.device_by_id(event.device)
        match event:
            case Removed(path=None):
                self._remove(event.device)
            case Change() | DeviceChanged() | Removed() if device is None:
                pass  # its removal is still to come
            case Change():
                if event.entry:
                    item = payload.item_id(event.path, self._layout_of(device.id))
                    self.delivery.told(event.entry, Key(device.id, item))
                if device.id in self._items:
                    self._touch(device.id, event.path)
                else:
                    self._announce(device)
            case DeviceChanged():
                self._describe(device)
            case Removed():
                for item in sorted(self._items.get(device.id, ())):
                    if event.path and payload.concerns(item, event.path):
                        self._put(Key(device.id, item))
                self._describe(device)
            case _:
                assert_never(event)

    def republish(self) -> None:
        """Publishes everything again, whatever the server has."""
        self._told.clear()
        self._listed.clear()
        for device in self._devices():
            self._announce(device)
        self._put(Key(GATEWAY, GATEWAY))

    async def ensure_directory(self, pubsub: Pubsub) -> None:
        """Makes the directory's node exist."""
        room = await pubsub.ensure(self.nodes.directory, f"Devices of {self._gateway}")
        if room <= len(self._items):
            reason = f"the server keeps only {room} items, {len(self._items) + 1} are needed"
            self._once(GATEWAY, "directory", f"{reason} (Prosody: pubsub_max_items)")

    async def run(self, pubsub: Pubsub) -> None:
        """Sends what waits and what comes, until the session is lost."""
        self._address = pubsub.address
        self._port.status(connected(pubsub))
        self.delivery.lost(self._lost_at)
        self._told.clear()
        try:
            if not self._recalled:
                await self._recall(pubsub)
                self._recalled = True
            async with asyncio.TaskGroup() as group:
                group.create_task(tidy(pubsub, self.nodes, self._items, prune=self._prune))
                group.create_task(self._refresh())
                waits_for = self._queue.waits_for
                group.create_task(
                    look_after(pubsub, self.nodes, self._items, waits_for, self._restore)
                )
                await self._dispatch(pubsub, group)
        finally:
            self._lost_at = time.monotonic()
            self._queue.session_lost(self._lost_at)

    async def farewell(self, pubsub: Pubsub) -> None:
        """Says that the gateway stops, and that its devices are unknown; within FAREWELL_S."""
        now = self._now()
        self._port.reached(HISTORY, self.delivery.place.number)
        entry = self._entry(online=False, now=now)
        try:
            async with asyncio.timeout(FAREWELL_S):
                await pubsub.publish(self.nodes.directory, GATEWAY, entry)
                for device in self._devices():
                    pack = payload.stopped(device, now)
                    await pubsub.publish(self.nodes.device(device.id), STATUS, pack)
        except (TimeoutError, AdapterError) as error:
            log.info("not all subscribers were told that the gateway stops: %s", error)

    async def _recall(self, pubsub: Pubsub) -> None:
        """Takes over what the directory says from an earlier life: that need not be sent again.

        A device that was not heard yet in this life is there as it was in that one.
        """
        listed = await directory.read(pubsub, self.nodes.directory)
        for device in list(self._devices()):
            await asyncio.sleep(0)  # a thousand devices are a quarter of a second
            key, resources = Key(GATEWAY, device.id), self._port.resources(device.id)
            node, item = self.nodes.device(device.id), listed.get(eui64(device.id))
            if item is None or not (said := directory.same(item, device, node, resources)):
                continue
            self._told[key] = said
            self._listed.add(device.id)
            self._queue.discard(key)
            if device.availability.state is not State.UNKNOWN:
                self._put(key)

    # --- which items ---------------------------------------------------------------------------

    def _devices(self) -> Iterable[Device]:
        return (d for d in self._port.devices() if d.id != GATEWAY)

    def _put(self, key: Key) -> None:
        """A device that can be found in the directory is not that urgent there any more."""
        is_listed = key.device == GATEWAY and key.item in self._listed
        self._queue.put(key, at_leisure=is_listed)
        self._wake.set()
        self.moved.set()

    def _layout_of(self, device: DeviceId) -> Layout:
        return "state" if device in self._cramped else self._layout

    def _touch(self, device: DeviceId, path: Path) -> None:
        item = payload.item_id(path, self._layout_of(device))
        self._items[device].add(item)
        self._put(Key(device, item))
        if path.resource == payload.UNITS:  # the unit may stand in the instance's other items
            for other in sorted(self._items[device]):
                if payload.concerns(other, path.upto(2)):
                    self._put(Key(device, other))

    def _announce(self, device: Device) -> None:
        """Everything of a device, `status` last: when it says online, all is there."""
        items = payload.item_ids(self._port.resources(device.id), self._layout_of(device.id))
        self._items[device.id] = {*items, *self._items.get(device.id, ())}
        keys = [Key(device.id, item) for item in (META, *items)]
        self._queue.put_in_order(keys, Key(device.id, STATUS))
        self._put(Key(GATEWAY, device.id))

    def _describe(self, device: Device) -> None:
        if device.id not in self._items:
            self._announce(device)
            return
        for key in (Key(device.id, META), Key(device.id, STATUS), Key(GATEWAY, device.id)):
            self._put(key)

    def _remove(self, device: DeviceId) -> None:
        self._items.pop(device, None)
        self._queue.forget(device)
        self.delivery.forget(device)
        self._queue.put_in_order([Key(device, STATUS)], Key(device, _NODE))
        self._put(Key(GATEWAY, device))

    # --- sending --------------------------------------------------------------------------------

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            self._put(Key(GATEWAY, GATEWAY))

    async def _dispatch(self, pubsub: Pubsub, group: asyncio.TaskGroup) -> NoReturn:
        """Begins to send what the window allows. One task wakes for what comes, not a whole pool:
        the items that may go now go in one turn of the loop, and so in one piece."""
        while True:
            while key := self._queue.take(time.monotonic()):
                group.create_task(self._deliver(pubsub, key))
            await self._something_to_do()

    async def _deliver(self, pubsub: Pubsub, key: Key) -> None:
        began = time.monotonic()
        try:
            await self._send(pubsub, key)
        except NoAnswer as error:
            log.warning("%s %s: %s; it is sent again", *key, error)
            self._failed(key)
        except StanzaError as error:
            self._refusal(pubsub, key, error)
        else:
            self._sent(pubsub, key, time.monotonic() - began)
        self._wake.set()
        self.moved.set()

    def _sent(self, pubsub: Pubsub, key: Key, took_s: float) -> None:
        self._pace.note(pubsub, took_s)
        self.sent_items += 1
        self._queue.sent(key, time.monotonic())
        self.delivery.sent(key, time.monotonic())
        self._port.reached(HISTORY, self.delivery.place.settled)
        self._port.count("xmpp_items_published")
        if self._blocked:
            self._blocked = False
            self._port.status(connected(pubsub))

    async def _something_to_do(self) -> None:
        self._wake.clear()
        due = self._queue.next_at()
        try:
            async with asyncio.timeout(None if due is None else max(0, due - time.monotonic())):
                await self._wake.wait()
        except TimeoutError:
            pass

    async def _send(self, pubsub: Pubsub, key: Key) -> None:
        """Makes the server's item what it should be now."""
        in_directory = key.device == GATEWAY
        device = self._port.device_by_id(DeviceId(key.item) if in_directory else key.device)
        node = self.nodes.directory if in_directory else self.nodes.device(key.device)
        if in_directory:
            await self.ensure_directory(pubsub)
            if device is not None and key.item != GATEWAY:  # who finds it there may subscribe
                await pubsub.ensure(self.nodes.device(device.id), device.name or device.prefix)
        elif device is not None:
            room = await pubsub.ensure(node, device.name or device.prefix)
            if room < len(self._items.get(device.id, ())) + 2:
                self._cramp(device, room)
        elif key.item == _NODE:
            await delete(pubsub, node)
            self._told.pop(Key(key.device, META), None)
            return
        if key.item == _NODE:  # it is back
            return
        item_id = key.item if not in_directory or key.item == GATEWAY else eui64(DeviceId(key.item))
        pack = self._pack(key)
        if pack:
            self.delivery.sending(key, self._shows)
            said = _said(key, pack)
            if said is None or self._told.get(key) != said:
                await pubsub.publish(node, item_id, pack)
            if said is not None:
                self._told[key] = said
            if in_directory and key.item != GATEWAY:
                self._listed.add(DeviceId(key.item))
        else:
            self.delivery.dropped(key)
            self._items.get(key.device, set()).discard(key.item)
            await pubsub.retract(node, item_id)
            self._told.pop(key, None)
            if in_directory:
                self._listed.discard(DeviceId(key.item))

    def _shows(self, entry: Entry) -> bool:
        """Whether a pack that is made now shows a change, and not a newer reading."""
        resource = self._port.resource(entry.device, entry.path)
        return resource is not None and (
            (resource.value, round(resource.at, 3)) == (entry.value, entry.at)
        )

    def _cramp(self, device: Device, room: int) -> None:
        """The server keeps fewer items than the device has: all its values go into one."""
        if device.id not in self._cramped:
            log.error(
                "%s: the server keeps only %d items, too few for this device; its values are now "
                'in one item, "state" (Prosody: raise pubsub_max_items)', device.id, room,
            )  # fmt: skip
            self._cramped.add(device.id)
            self._items.pop(device.id, None)
            self._announce(device)

    def _now(self) -> float | None:
        """The time, if it is known."""
        return time.time() if self._port.clock_is_set else None

    def _pack(self, key: Key) -> Pack | None:
        """What the item holds at this moment; None if it should not be there."""
        now, in_directory = self._now(), key.device == GATEWAY
        if key == (GATEWAY, GATEWAY):
            return self._entry(online=True, now=now)
        device = self._port.device_by_id(DeviceId(key.item) if in_directory else key.device)
        if key.item == STATUS:
            rssi = self._port.resource(key.device, payload.RADIO_RSSI)
            return payload.status(key.device, device, rssi.value if rssi else None, now)
        if device is None:
            return None
        if in_directory:
            resources = self._port.resources(device.id)
            return payload.directory_entry(device, self.nodes.device(device.id), resources, now)
        if key.item == META:
            return payload.meta(device, self._port.resources(device.id), now)
        if key.item not in self._items.get(device.id, ()):
            return None  # the device's values are in other items now
        scope = payload.item_scope(key.item)
        resources = self._port.resources(device.id, scope.upto(2) if scope else None)
        pack = payload.values(device.id, key.item, resources, self._port.registry)
        for name in pack.omitted if pack else ():
            self._once(device.id, name, "it cannot be written in SenML, or is too long")
        return pack

    def _entry(self, *, online: bool, now: float | None) -> Pack:
        devices = len(self._items)
        return payload.gateway_entry(self._gateway, self._address, devices, online=online, now=now)

    # --- what goes wrong -----------------------------------------------------------------------

    def _refusal(self, pubsub: Pubsub, key: Key, error: StanzaError) -> None:
        known = key.device == GATEWAY or self._port.device_by_id(key.device) is not None
        if error.condition == "item-not-found":
            self._missing(pubsub, key, known=known)
        elif error.condition in FORBIDDEN:
            self._blocked = True
            self._port.status(forbidden(pubsub, error), well=False)
            self._failed(key, FORBIDDEN_PAUSE_S)
        elif error.type == "modify":
            self._once(*key, f"the server refuses it for good: {error}")
            self._dropped(key)
        else:
            log.warning("%s %s: the server refuses it for now: %s", *key, error)
            self._failed(key)

    def _missing(self, pubsub: Pubsub, key: Key, *, known: bool) -> None:
        """Somebody deleted the node: it is made again, and everything is published into it."""
        if not known:
            self._dropped(key)
            return
        if pubsub.forget(self.nodes.of(key.device)):
            self._restore(key.device)
        self._failed(key)

    def _failed(self, key: Key, pause_s: float | None = None) -> None:
        self.delivery.unsent(key)
        self._queue.failed(key, time.monotonic(), pause_s)

    def _dropped(self, key: Key) -> None:
        self.delivery.dropped(key)
        self._queue.dropped(key)

    def _restore(self, owner: DeviceId) -> None:
        node = self.nodes.of(owner)
        log.warning("node %s was deleted or changed on the server; it is put right", node)
        self._told.clear()
        if owner == GATEWAY:
            self._listed.clear()
            self._put(Key(GATEWAY, GATEWAY))
            for listed in self._items:
                self._put(Key(GATEWAY, listed))
        elif device := self._port.device_by_id(owner):
            self._announce(device)

    def _once(self, device: DeviceId, item: str, reason: str) -> None:
        """Logs and counts a fault that comes back with each new value, once an item."""
        self._port.count("xmpp_items_refused")
        if (device, item) not in self._refused:
            self._refused.add((device, item))
            log.error("%s %s is not published: %s", device, item, reason)


def _said(key: Key, pack: Pack) -> str | None:
    """What a description says, which seldom changes; None for anything else."""
    described = key.item == META if key.device != GATEWAY else key.item != GATEWAY
    return payload.said(pack) if described else None


def connected(pubsub: Pubsub) -> str:
    """The adapter's status while all is well."""
    return f"connected as {pubsub.account}, publishing on {pubsub.service}"

"""Mirrors the devices into pubsub nodes: sends their items, and deals with what a server says.

The values are read when an item is sent, so that none is ever stale.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import NoReturn

from adapters.xmpp import payload, recall
from adapters.xmpp.config import XmppSection
from adapters.xmpp.contents import Contents
from adapters.xmpp.delivery import Delivery, Place
from adapters.xmpp.errors import NoAnswer, StanzaError
from adapters.xmpp.items import NODE, Items
from adapters.xmpp.nodes import DIRECTORY, Nodes, listed_as
from adapters.xmpp.pace import Pace
from adapters.xmpp.payload import META, STATUS
from adapters.xmpp.pubsub import FORBIDDEN, Pubsub, forbidden
from adapters.xmpp.queue import Key, KeyQueue
from adapters.xmpp.upkeep import delete, look_after, tidy
from gateway.errors import AdapterError
from gateway.events import Device, Entry, Event, Removed, State
from gateway.model import GATEWAY, DeviceId
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
        items = Items(port, config.layout, self._queue, self.delivery, self._woken)
        self._items = items
        self._contents = Contents(
            port, self.nodes, config.gateway, lambda device: items.of.get(device, ()), self._omit
        )
        self._prune = config.prune
        self._refused: set[tuple[DeviceId, str]] = set()
        self._told: dict[Key, str] = {}
        self._recalled = False
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
        self._items.absorb(event)
        if isinstance(event, Removed) and event.path is None:
            self._refused = {fault for fault in self._refused if fault[0] != event.device}

    def republish(self) -> None:
        """Publishes everything again, whatever the server has."""
        self._told.clear()
        self._items.announce_all()

    async def ensure_directory(self, pubsub: Pubsub) -> None:
        """Makes the directory's node exist."""
        room = await pubsub.ensure(self.nodes.directory, f"Devices of {self._gateway}")
        if room < len(self._items.of):
            reason = f"the server keeps only {room} items, {len(self._items.of)} are needed"
            self._once(DIRECTORY, "", f"{reason} (Prosody: pubsub_max_items)")

    async def run(self, pubsub: Pubsub) -> None:
        """Sends what waits and what comes, until the session is lost."""
        self._contents.address = pubsub.address
        self._port.status(connected(pubsub))
        self.delivery.lost(self._lost_at)
        self._told.clear()
        try:
            if not self._recalled:
                await self._recall(pubsub)
                self._recalled = True
            async with asyncio.TaskGroup() as group:
                group.create_task(tidy(pubsub, self.nodes, self._items.of, prune=self._prune))
                group.create_task(self._refresh())
                waits_for = self._queue.waits_for
                group.create_task(
                    look_after(pubsub, self.nodes, self._items.of, waits_for, self._restore)
                )
                await self._dispatch(pubsub, group)
        finally:
            self._lost_at = time.monotonic()
            self._queue.session_lost(self._lost_at)

    async def farewell(self, pubsub: Pubsub) -> None:
        """Says that the gateway stops, and that its devices are unknown; within FAREWELL_S."""
        self._port.reached(HISTORY, self.delivery.place.number)
        keys = [Key(device.id, STATUS) for device in self._port.devices()]
        try:
            async with asyncio.timeout(FAREWELL_S):
                for key in (Key(DIRECTORY, GATEWAY), *keys):
                    pack = self._contents.farewell(key)
                    await pubsub.publish(self.nodes.of(key.device), key.item, pack)
        except (TimeoutError, AdapterError) as error:
            log.info("not all subscribers were told that the gateway stops: %s", error)

    async def _recall(self, pubsub: Pubsub) -> None:
        """Takes over what the long nodes say from an earlier life: that need not be sent again.

        A device that was not heard yet in this life is in the directory as it was in that one.
        """
        listed = await recall.read(pubsub, self.nodes.directory)
        for device in [d for d in self._port.devices() if d.id != GATEWAY]:
            await asyncio.sleep(0)  # a thousand devices are a quarter of a second
            key, resources = Key(DIRECTORY, device.id), self._port.resources(device.id)
            node, item = self.nodes.device(device.id), listed.get(listed_as(device.id))
            if item is None or not (said := recall.same(item, device, node, resources)):
                continue
            self._told[key] = said
            self._items.listed.add(device.id)
            self._queue.discard(key)
            if device.availability.state is not State.UNKNOWN:
                self._items.put(key)
        own = await recall.read(pubsub, self.nodes.device(GATEWAY))
        for name in filter(payload.is_bridged, own.keys() & self._items.of[GATEWAY]):
            await asyncio.sleep(0)
            key = Key(GATEWAY, name)
            said, pack = self._contents.said(key, own[name]), self._contents.pack(key)
            if pack and said and said == self._contents.said(key, pack.records):
                self._told[key] = said
                self._queue.discard(key)

    # --- sending --------------------------------------------------------------------------------

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            self._items.put(Key(DIRECTORY, GATEWAY))
            for item in (STATUS, *sorted(self._items.of[GATEWAY])):
                if not payload.is_bridged(item):
                    self._told.pop(Key(GATEWAY, item), None)
                    self._items.put(Key(GATEWAY, item))

    async def _dispatch(self, pubsub: Pubsub, group: asyncio.TaskGroup) -> NoReturn:
        """Begins to send what the window allows. One task wakes for what comes, not a whole pool:
        the items that may go now go in one turn of the loop, and so in one piece."""
        while True:
            while key := self._queue.take(time.monotonic()):
                group.create_task(self._deliver(pubsub, key))
            await self._something_to_do()

    async def _deliver(self, pubsub: Pubsub, key: Key | None) -> None:
        """Sends an item, and with its answer the next: the server has nothing to do meanwhile."""
        while key:
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
            self._woken()
            key = self._queue.take(time.monotonic())

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

    def _woken(self) -> None:
        self._wake.set()
        self.moved.set()

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
        in_directory = key.device == DIRECTORY
        device = self._port.device_by_id(DeviceId(key.item) if in_directory else key.device)
        node = self.nodes.of(key.device)
        if in_directory:
            await self.ensure_directory(pubsub)
            if device is not None:  # who finds it there may subscribe
                await pubsub.ensure(self.nodes.device(device.id), self._contents.title(device))
        elif device is not None:
            room = await pubsub.ensure(node, self._contents.title(device))
            if room < len(self._items.of.get(device.id, ())) + 2:
                self._cramp(device, room)
        elif key.item == NODE:
            await delete(pubsub, node)
            self._told.pop(Key(key.device, META), None)
            return
        if key.item == NODE:  # it is back
            return
        item_id = listed_as(DeviceId(key.item)) if in_directory else key.item
        pack = self._contents.pack(key)
        if pack:
            self.delivery.sending(key, self._shows)
            said = self._contents.said(key, pack.records)
            if said is None or self._told.get(key) != said:
                await pubsub.publish(node, item_id, pack)
            if said is not None:
                self._told[key] = said
            if in_directory and key.item != GATEWAY:  # whose item must not become old
                self._items.listed.add(DeviceId(key.item))
        else:
            self.delivery.dropped(key)
            self._items.of.get(key.device, set()).discard(key.item)
            await pubsub.retract(node, item_id)
            self._told.pop(key, None)
            if in_directory:
                self._items.listed.discard(DeviceId(key.item))

    def _shows(self, entry: Entry) -> bool:
        """Whether a pack that is made now shows a change, and not a newer reading."""
        resource = self._port.resource(entry.device, entry.path)
        return resource is not None and (
            (resource.value, round(resource.at, 3)) == (entry.value, entry.at)
        )

    def _cramp(self, device: Device, room: int) -> None:
        """The server keeps fewer items than the device has: all its values go into one."""
        if self._items.cramp(device):
            log.error(
                "%s: the server keeps only %d items, too few for this device; its values are now "
                'in one item, "state" (Prosody: raise pubsub_max_items)', device.id, room,
            )  # fmt: skip

    # --- what goes wrong -----------------------------------------------------------------------

    def _refusal(self, pubsub: Pubsub, key: Key, error: StanzaError) -> None:
        known = key.device == DIRECTORY or self._port.device_by_id(key.device) is not None
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
        if owner == DIRECTORY:
            self._items.listed.clear()
            for listed in self._items.of:
                self._items.put(Key(DIRECTORY, listed))
        elif device := self._port.device_by_id(owner):
            self._items.announce(device)

    def _omit(self, device: DeviceId, name: str) -> None:
        self._once(device, name, "it cannot be written in SenML, or is too long")

    def _once(self, device: DeviceId, item: str, reason: str) -> None:
        """Logs and counts a fault that comes back with each new value, once an item."""
        self._port.count("xmpp_items_refused")
        if (device, item) not in self._refused:
            self._refused.add((device, item))
            log.error("%s %s is not published: %s", device, item, reason)


def connected(pubsub: Pubsub) -> str:
    """The adapter's status while all is well."""
    return f"connected as {pubsub.account}, publishing on {pubsub.service}"

"""Mirrors the devices into pubsub nodes: which items an event touches, and what they then hold.

The values are read when an item is sent, so that none is ever stale.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterable
from typing import assert_never

from adapters.xmpp import payload
from adapters.xmpp.config import XmppSection
from adapters.xmpp.errors import NoAnswer, SessionLost, StanzaError
from adapters.xmpp.payload import META, STATUS, Layout, Pack
from adapters.xmpp.pubsub import FORBIDDEN, Pubsub
from adapters.xmpp.queue import Key, KeyQueue
from gateway.errors import AdapterError
from gateway.events import Change, Device, DeviceChanged, Event, Removed
from gateway.model import GATEWAY, DeviceId, Path, eui64, printable
from gateway.ports import NorthPort

log = logging.getLogger(__name__)

FORBIDDEN_PAUSE_S = 300.0
"""Rights are given by a person, who needs minutes."""

REFRESH_S = 300.0
"""The gateway's own item is published anew this often; one older than twice that is dead."""

LOOK_ROUND_S = 300.0
LOOK_EVERY_S = 1.0
"""Each node is looked at once a round, at most one a second: that is nothing to a server."""

FAREWELL_S = 1.5
"""What a stopping gateway takes to say so; systems give a service few seconds to end."""

SLOW_S = 1.0
MEAN_OF = 50
"""When so many items on average take longer, the server holds us back, and the operator is told."""

_SLOW = (
    "%s takes more than a second for each item; if many change, lift the server's rate limit for "
    'this account (Prosody: unlimited_jids = { "%s" }; ejabberd: an exception in c2s_shaper)'
)

_NODE = ""
"""The key of a removed device's node itself."""


class Publisher:
    """The mirror of all devices. It outlives sessions; `run` serves one of them."""

    def __init__(self, config: XmppSection, port: NorthPort) -> None:
        self._port = port
        self._window = config.window
        self._gateway = config.gateway
        self.directory = f"{config.root}/{config.gateway}"
        self._queue = KeyQueue(config.window)
        self._items: dict[DeviceId, set[str]] = {}
        self._layout = config.layout
        self._prune = config.prune
        self._cramped: set[DeviceId] = set()
        self._refused: set[tuple[DeviceId, str]] = set()
        self._told: dict[Key, str] = {}
        self._wake = asyncio.Event()
        self._blocked = False
        self._mean_s = 0.0
        self._hinted = False
        for device in self._devices():
            self._announce(device)
        self._put(Key(GATEWAY, GATEWAY))

    def node(self, device: DeviceId) -> str:
        """The node of a device."""
        return f"{self.directory}/{eui64(device)}"

    @property
    def waiting(self) -> int:
        """Items that the server does not have yet in their newest form."""
        return len(self._queue)

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
                if device.id in self._items:
                    self._touch(device.id, event.path)
                else:
                    self._announce(device)
            case DeviceChanged():
                self._describe(device)
            case Removed():
                for item in sorted(self._items.get(device.id, ())):
                    if event.path and _concerns(item, event.path):
                        self._put(Key(device.id, item))
                self._describe(device)
            case _:
                assert_never(event)

    async def ensure_directory(self, pubsub: Pubsub) -> None:
        """Makes the directory's node exist."""
        room = await pubsub.ensure(self.directory, f"Devices of {self._gateway}")
        if room <= len(self._items):
            reason = f"the server keeps only {room} items, {len(self._items) + 1} are needed"
            self._once(GATEWAY, "directory", f"{reason} (Prosody: pubsub_max_items)")

    async def run(self, pubsub: Pubsub) -> None:
        """Sends what waits and what comes, until the session is lost."""
        self._port.status(_connected(pubsub))
        self._queue.session_lost(time.monotonic())
        self._told.clear()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._tidy(pubsub))
            group.create_task(self._refresh())
            group.create_task(self._look_after(pubsub))
            for _ in range(self._window):
                group.create_task(self._work(pubsub))

    async def farewell(self, pubsub: Pubsub) -> None:
        """Says that the gateway stops, and that its devices are unknown; within FAREWELL_S."""
        now = self._now()
        entry = payload.gateway_entry(self._gateway, len(self._items), online=False, now=now)
        try:
            async with asyncio.timeout(FAREWELL_S):
                await pubsub.publish(self.directory, GATEWAY, entry.xml)
                for device in self._devices():
                    pack = payload.stopped(device, now)
                    await pubsub.publish(self.node(device.id), STATUS, pack.xml)
        except (TimeoutError, AdapterError) as error:
            log.info("not all subscribers were told that the gateway stops: %s", error)

    # --- which items ---------------------------------------------------------------------------

    def _devices(self) -> Iterable[Device]:
        return (d for d in self._port.devices() if d.id != GATEWAY)

    def _put(self, key: Key) -> None:
        self._queue.put(key)
        self._wake.set()

    def _layout_of(self, device: DeviceId) -> Layout:
        return "state" if device in self._cramped else self._layout

    def _touch(self, device: DeviceId, path: Path) -> None:
        item = payload.item_id(path, self._layout_of(device))
        self._items[device].add(item)
        self._put(Key(device, item))
        if path.resource == payload.UNITS:  # the unit may stand in the instance's other items
            for other in sorted(self._items[device]):
                if _concerns(other, path.upto(2)):
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
        self._queue.put_in_order([Key(device, STATUS)], Key(device, _NODE))
        self._put(Key(GATEWAY, device))

    # --- sending --------------------------------------------------------------------------------

    async def _tidy(self, pubsub: Pubsub) -> None:
        """Deletes what earlier lives published and what is known no more, if that is allowed."""
        try:
            listed = set(await pubsub.item_ids(self.directory))
            stale = listed - {eui64(device) for device in self._items} - {GATEWAY}
            if stale and not self._prune:
                log.info("%d nodes of unknown devices stay; [xmpp] prune deletes them", len(stale))
            for device_id in sorted(stale) if self._prune else ():
                log.info("%s is not known any more: its node is deleted", printable(device_id))
                await pubsub.delete(f"{self.directory}/{device_id}")
                await pubsub.retract(self.directory, device_id)
            for device, items in list(self._items.items()) if self._prune else ():
                node = self.node(device)
                for item in set(await pubsub.item_ids(node)) - items - {META, STATUS}:
                    await pubsub.retract(node, item)
        except (StanzaError, NoAnswer) as error:
            log.debug("old nodes cannot be looked for: %s", error)

    async def _refresh(self) -> None:
        while True:
            await asyncio.sleep(REFRESH_S)
            self._put(Key(GATEWAY, GATEWAY))

    async def _look_after(self, pubsub: Pubsub) -> None:
        """Finds nodes that somebody deleted or changed, one after the other."""
        while True:
            for device in (GATEWAY, *self._items):
                await asyncio.sleep(max(LOOK_EVERY_S, LOOK_ROUND_S / (1 + len(self._items))))
                node = self.directory if device == GATEWAY else self.node(device)
                try:
                    if not await pubsub.is_intact(node):
                        self._restore(node, device)
                except (StanzaError, NoAnswer) as error:
                    log.debug("node %s cannot be looked at: %s", node, error)

    async def _work(self, pubsub: Pubsub) -> None:
        while True:
            key = self._queue.take(time.monotonic())
            if key is None:
                await self._something_to_do()
                continue
            began = time.monotonic()
            try:
                await self._send(pubsub, key)
            except (SessionLost, asyncio.CancelledError):
                self._queue.unsent(key)
                raise
            except NoAnswer as error:
                log.warning("%s %s: %s; it is sent again", *key, error)
                self._queue.failed(key, time.monotonic())
            except StanzaError as error:
                self._refusal(pubsub, key, error)
            else:
                self._sent(pubsub, key, time.monotonic() - began)
            self._wake.set()

    def _sent(self, pubsub: Pubsub, key: Key, took_s: float) -> None:
        self._mean_s += (took_s - self._mean_s) / MEAN_OF
        if self._mean_s > SLOW_S and not self._hinted:
            self._hinted = True
            log.warning(_SLOW, pubsub.service, pubsub.account)
        self._queue.sent(key, time.monotonic())
        self._port.count("xmpp_items_published")
        if self._blocked:
            self._blocked = False
            self._port.status(_connected(pubsub))

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
        node = self.directory if in_directory else self.node(key.device)
        if in_directory:
            await self.ensure_directory(pubsub)
        elif device is not None:
            room = await pubsub.ensure(node, device.name or device.prefix)
            if room < len(self._items.get(device.id, ())) + 2:
                self._cramp(device, room)
        elif key.item == _NODE:
            await pubsub.delete(node)
            self._told.pop(Key(key.device, META), None)
            return
        if key.item == _NODE:  # it is back
            return
        item_id = key.item if not in_directory or key.item == GATEWAY else eui64(DeviceId(key.item))
        if pack := self._pack(key):
            said = _said(key, pack)
            if said is None or self._told.get(key) != said:
                await pubsub.publish(node, item_id, pack.xml)
            if said is not None:
                self._told[key] = said
        else:
            self._items.get(key.device, set()).discard(key.item)
            await pubsub.retract(node, item_id)
            self._told.pop(key, None)

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
            return payload.gateway_entry(self._gateway, len(self._items), online=True, now=now)
        device = self._port.device_by_id(DeviceId(key.item) if in_directory else key.device)
        if key.item == STATUS:
            rssi = self._port.resource(key.device, payload.RADIO_RSSI)
            return payload.status(key.device, device, rssi.value if rssi else None, now)
        if device is None:
            return None
        if in_directory:
            resources = self._port.resources(device.id)
            return payload.directory_entry(device, self.node(device.id), resources, now)
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

    # --- what goes wrong -----------------------------------------------------------------------

    def _refusal(self, pubsub: Pubsub, key: Key, error: StanzaError) -> None:
        now = time.monotonic()
        known = key.device == GATEWAY or self._port.device_by_id(key.device) is not None
        if error.condition == "item-not-found":
            self._missing(pubsub, key, known=known)
        elif error.condition in FORBIDDEN:
            self._blocked = True
            self._port.status(forbidden(pubsub, error), well=False)
            self._queue.failed(key, now, FORBIDDEN_PAUSE_S)
        elif error.type == "modify":
            self._once(*key, f"the server refuses it for good: {error}")
            self._queue.dropped(key)
        else:
            log.warning("%s %s: the server refuses it for now: %s", *key, error)
            self._queue.failed(key, now)

    def _missing(self, pubsub: Pubsub, key: Key, *, known: bool) -> None:
        """Somebody deleted the node: it is made again, and everything is published into it."""
        if not known:
            self._queue.dropped(key)
            return
        node = self.directory if key.device == GATEWAY else self.node(key.device)
        if pubsub.forget(node):
            self._restore(node, key.device)
        self._queue.failed(key, time.monotonic())

    def _restore(self, node: str, owner: DeviceId) -> None:
        log.warning("node %s was deleted or changed on the server; it is put right", node)
        self._told.clear()
        if owner == GATEWAY:
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


def _connected(pubsub: Pubsub) -> str:
    return f"connected as {pubsub.account}, publishing on {pubsub.service}"


def _concerns(item: str, path: Path) -> bool:
    """Whether an item holds something at, below or above a path."""
    scope = payload.item_scope(item)
    return scope is None or scope.covers(path) or path.covers(scope)


def forbidden(pubsub: Pubsub, error: StanzaError) -> str:
    """What an operator can do about a server that lets us not create or write nodes."""
    service, account = pubsub.service, pubsub.account
    return (
        f"{service} does not let {account} create or write nodes ({error.condition}); Prosody: "
        f'put admins = {{ "{account}" }} under Component "{service}" "pubsub"'
    )

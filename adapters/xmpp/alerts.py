"""Events such as button presses: each change an item of its own, in order, through every outage."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from functools import lru_cache

from adapters.xmpp import payload
from adapters.xmpp.delivery import Place
from adapters.xmpp.nodes import Nodes
from adapters.xmpp.pubsub import ALERTS, Pubsub
from adapters.xmpp.replay import insist, told_since
from gateway.events import Change, Entry, Event
from gateway.patterns import PathPattern
from gateway.ports import NorthPort

ALERTS_PLACE = "alerts"
"""The name of the place up to which the server has all events."""

LOOK_EVERY_S = 60.0
"""How far the place may stay behind where there are no events, so that a start reads little."""


class Alerts:
    """The events of all devices. It outlives sessions; `run` serves one of them."""

    def __init__(self, patterns: Iterable[str], nodes: Nodes, port: NorthPort) -> None:
        self._patterns = tuple(map(PathPattern.parse, patterns))
        # Every change is asked for it, and the paths are few.
        self._is_event = lru_cache(4_096)(lambda path: any(p.covers(path) for p in self._patterns))
        self._where = (nodes.alerts, f"Events of {nodes.directory}", ALERTS)
        self._port = port
        self._place = Place(port.place(ALERTS_PLACE))
        self._happened = asyncio.Event()

    def absorb(self, event: Event) -> None:
        """Notes that there is an event to tell."""
        if not isinstance(event, Change) or event.entry is None:
            return
        if event.entry.number == self._place.number + 1 and not self._means(event.entry):
            self._reached(event.entry.number)
        else:
            self._happened.set()

    async def run(self, pubsub: Pubsub) -> None:
        """Tells what happened and what happens, until the session is lost."""
        if not self._patterns:
            return
        self._place.lost(time.monotonic())
        while True:
            self._happened.clear()
            entries, upto = await told_since(self._port, self._place.number)
            for entry in filter(self._means, entries):
                await self._tell(pubsub, entry)
            if upto > self._place.number:
                self._reached(upto)
                continue
            await self._wait()

    def _means(self, entry: Entry) -> bool:
        return entry.changed and self._is_event(entry.path)

    async def _tell(self, pubsub: Pubsub, entry: Entry) -> None:
        port = self._port
        packs = payload.history(entry.device, [entry], port.resource, port.registry)
        for _, pack in packs:
            # The time is in the id, since a kill may have the number given anew.
            item = f"{entry.number}-{entry.at * 1000:.0f}"
            await insist(self._port, pubsub, self._where, item, pack)
            self._port.count("xmpp_alerts_published")
        self._reached(entry.number)

    def _reached(self, number: int) -> None:
        self._place.reach(number, time.monotonic())
        self._port.reached(ALERTS_PLACE, self._place.settled)

    async def _wait(self) -> None:
        try:
            async with asyncio.timeout(LOOK_EVERY_S):
                await self._happened.wait()
        except TimeoutError:
            pass

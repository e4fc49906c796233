"""What did not go as live values follows from the journal, oldest first, and in nobody's way.

`insist` is also how other items are published that must not be lost.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from adapters.xmpp import payload
from adapters.xmpp.errors import NoAnswer, SessionLost, StanzaError
from adapters.xmpp.payload import Pack
from adapters.xmpp.publisher import FORBIDDEN_PAUSE_S, HISTORY, Publisher, connected
from adapters.xmpp.pubsub import FORBIDDEN, Kind, Pubsub, forbidden
from adapters.xmpp.pubsub import HISTORY as HISTORY_NODE
from gateway.errors import StateError
from gateway.events import Entry
from gateway.model import DeviceId
from gateway.ports import NorthPort

log = logging.getLogger(__name__)

LIVE_SHARE = 20
"""While live values wait, so many of them go before the next pack of the past."""

WINDOW = 4_000
"""Changes that are read before they are sorted into packs, 1 MB; after a kill they come again."""

LONGEST_REST_S = 5.0
"""A rest after each pack as long as it took: half of the line at most is for the past."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
"""Pauses of an item that is refused for now, doubled at each failure in a row."""

UNREADABLE_PAUSE_S = 10.0
"""How long a journal that cannot be read is left alone."""


class Replay:
    """Serves one session: reads on from the publisher's place whenever it has fallen behind."""

    def __init__(self, port: NorthPort, publisher: Publisher, pubsub: Pubsub) -> None:
        self._port = port
        self._publisher = publisher
        self._delivery = publisher.delivery
        self._pubsub = pubsub
        self._turn_at = publisher.sent_items + publisher.waiting  # what waits goes first

    async def run(self) -> None:
        """Until the session is lost."""
        # Others of the session tell so. A traceback from here would keep a window of changes.
        with contextlib.suppress(SessionLost):
            while True:
                while not self._delivery.behind:
                    await self._something_moved()
                await self._replay_window()

    async def _replay_window(self) -> None:
        place = self._delivery.place
        entries, upto = await self._read_on(place.number)
        self._delivery.replay(upto)
        for device, changes in _by_device(entries).items():
            await self._tell(device, changes)
        self._delivery.replayed(upto, time.monotonic())
        self._port.reached(HISTORY, place.settled)

    async def _read_on(self, number: int) -> tuple[Sequence[Entry], int]:
        """The next changes, so many that the packs of each device become full."""
        found: list[Entry] = []
        upto = number
        while len(found) < WINDOW:
            entries, reached = await told_since(self._port, upto)
            found += entries
            if reached == upto:
                break
            upto = reached
        return found, upto

    async def _tell(self, device: DeviceId, changes: Sequence[Entry]) -> None:
        node = self._publisher.nodes.history(device)
        for number, pack in payload.history(
            device, changes, self._port.resource, self._port.registry
        ):
            await self._turn()
            if (known := self._port.device_by_id(device)) is None:  # forgotten meanwhile
                return
            began = time.monotonic()
            title = f"{known.name or known.prefix}: what came late"
            place, late = (node, title, HISTORY_NODE), replace(pack, past=True)
            await insist(self._port, self._pubsub, place, str(number), late)
            await asyncio.sleep(min(time.monotonic() - began, LONGEST_REST_S))
        self._port.count("xmpp_changes_replayed", len(changes))

    async def _turn(self) -> None:
        """Waits until no live value waits, or enough of them have gone."""
        while not self._publisher.idle and self._publisher.sent_items < self._turn_at:
            await self._something_moved()
        self._turn_at = self._publisher.sent_items + LIVE_SHARE

    async def _something_moved(self) -> None:
        self._publisher.moved.clear()
        await self._publisher.moved.wait()


async def told_since(port: NorthPort, number: int) -> tuple[Sequence[Entry], int]:
    """As the port's, but waits for a journal that cannot be read."""
    while True:
        try:
            return await port.told_since(number)
        except StateError as error:
            log.error("the journal cannot be read, will try again: %s", error)
            await asyncio.sleep(UNREADABLE_PAUSE_S)


async def insist(
    port: NorthPort, pubsub: Pubsub, place: tuple[str, str, Kind], item: str, pack: Pack
) -> None:
    """Publishes an item on a node (with its title and kind), however long the server refuses it.

    What it refuses for good is logged, counted and left out.
    """
    node, pause_s, is_blocked = place[0], FIRST_PAUSE_S, False
    while True:
        try:
            await pubsub.ensure(*place)
            await pubsub.publish(node, item, pack)
        except NoAnswer as error:
            reason = str(error)
        except StanzaError as error:
            reason = str(error)
            if error.condition == "item-not-found":
                pubsub.forget(node)
            elif error.condition in FORBIDDEN:
                port.status(forbidden(pubsub, error), well=False)
                pause_s, is_blocked = FORBIDDEN_PAUSE_S, True
            elif error.type == "modify":
                port.count("xmpp_items_refused")
                log.error("%s %s is left out, the server refuses it: %s", node, item, error)
                return
        else:
            if is_blocked:
                port.status(connected(pubsub))
            return
        log.debug("%s %s is sent again in %.0f s: %s", node, item, pause_s, reason)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)


def _by_device(entries: Iterable[Entry]) -> Mapping[DeviceId, Sequence[Entry]]:
    found: dict[DeviceId, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.device, []).append(entry)
    return found

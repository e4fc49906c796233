"""Keeps a pubsub service tidy: deletes what earlier lives left there, finds broken nodes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Mapping
from typing import NoReturn

from adapters.xmpp.errors import NoAnswer, StanzaError
from adapters.xmpp.nodes import DIRECTORY, Nodes, history_of, listed_as
from adapters.xmpp.payload import META, STATUS
from adapters.xmpp.pubsub import Pubsub
from gateway.model import GATEWAY, DeviceId, printable

log = logging.getLogger(__name__)

LOOK_ROUND_S = 300.0
LOOK_EVERY_S = 1.0
"""Each node is looked at once a round, at most one a second: that is nothing to a server."""


async def tidy(
    pubsub: Pubsub, nodes: Nodes, items: Mapping[DeviceId, Collection[str]], *, prune: bool
) -> None:
    """Deletes nodes and items of what is known no more, if that is allowed.

    `items` are those that each device has now.
    """
    try:
        listed = set(await pubsub.item_ids(nodes.directory))
        stale = listed - {GATEWAY} - {listed_as(device) for device in items}
        if stale and not prune:
            log.info("%d nodes of unknown devices stay; [xmpp] prune deletes them", len(stale))
        for device_id in sorted(stale) if prune else ():
            log.info("%s is not known any more: its node is deleted", printable(device_id))
            await delete(pubsub, f"{nodes.directory}/{device_id}")
            await pubsub.retract(nodes.directory, device_id)
        for device, present in list(items.items()) if prune else ():
            node = nodes.device(device)
            for item in set(await pubsub.item_ids(node)) - {*present, META, STATUS}:
                await pubsub.retract(node, item)
    except (StanzaError, NoAnswer) as error:
        log.debug("old nodes cannot be looked for: %s", error)


async def look_after(
    pubsub: Pubsub,
    nodes: Nodes,
    items: Collection[DeviceId],
    waits_for: Callable[[DeviceId], bool],
    restore: Callable[[DeviceId], None],
) -> NoReturn:
    """Looks at one node after the other, and calls `restore` where one was deleted or changed.

    What still waits for a node may be what creates it.
    """
    while True:
        for device in (DIRECTORY, *items):
            await asyncio.sleep(max(LOOK_EVERY_S, LOOK_ROUND_S / (1 + len(items))))
            if waits_for(device) and not pubsub.knows(nodes.of(device)):
                continue
            try:
                if not await pubsub.is_intact(nodes.of(device)):
                    restore(device)
            except (StanzaError, NoAnswer) as error:
                log.debug("node %s cannot be looked at: %s", nodes.of(device), error)


async def delete(pubsub: Pubsub, node: str) -> None:
    """Deletes a device's node and its history."""
    await pubsub.delete(node)
    await pubsub.delete(history_of(node))

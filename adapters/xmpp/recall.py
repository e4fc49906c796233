"""What is on the server already, from an earlier life of the gateway."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from adapters.xmpp import payload
from adapters.xmpp.errors import NoAnswer, StanzaError
from adapters.xmpp.formats import records
from adapters.xmpp.pubsub import Pubsub
from gateway.errors import DecodeError
from gateway.events import Availability, Device, Resource, State
from gateway.formats.senml import Record
from gateway.model import Value

log = logging.getLogger(__name__)


async def read(pubsub: Pubsub, node: str) -> Mapping[str, Sequence[Record]]:
    """The records of a node's items, by id; without those that cannot be read."""
    try:
        items = await pubsub.items(node)
    except (StanzaError, NoAnswer) as error:
        log.debug("%s cannot be read: %s", node, error)
        return {}
    found: dict[str, Sequence[Record]] = {}
    for name, item in items.items():
        await asyncio.sleep(0)
        with contextlib.suppress(DecodeError):  # not in SenML
            found[name] = records(item)
    return found


def same(
    item: Sequence[Record], device: Device, node: str, resources: Sequence[Resource]
) -> str | None:
    """What a directory's item says (as `payload.said`), if that is what the device is now.

    Whether the device is online may be otherwise.
    """
    said = _by_label(item)
    state = State.ONLINE if said.get(payload.ONLINE) is True else State.OFFLINE
    as_said = replace(device, availability=Availability(state, "", 0.0))
    entry = payload.directory_entry(as_said, node, resources, None)
    return payload.said(entry.records) if _by_label(entry.records) == said else None


def _by_label(said: Iterable[Record]) -> Mapping[str, Value | None]:
    return {record.name.rpartition("/")[2]: record.value for record in said}

"""What the directory on the server says of devices already, from an earlier life of the gateway."""

from __future__ import annotations

import logging
import xml.etree.ElementTree as ET
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


async def read(pubsub: Pubsub, node: str) -> Mapping[str, ET.Element]:
    """The directory's items by id; none if they cannot be read."""
    try:
        return await pubsub.items(node)
    except (StanzaError, NoAnswer) as error:
        log.debug("%s cannot be read: %s", node, error)
        return {}


def same(item: ET.Element, device: Device, node: str, resources: Sequence[Resource]) -> str | None:
    """What an item says (as `payload.said`), if it describes the device as it is now.

    Whether the device is online may be otherwise. None also if the item is not in SenML.
    """
    try:
        said = _by_label(records(item))
    except DecodeError:
        return None
    state = State.ONLINE if said.get(payload.ONLINE) is True else State.OFFLINE
    as_said = replace(device, availability=Availability(state, "", 0.0))
    entry = payload.directory_entry(as_said, node, resources, None)
    return payload.said(entry) if _by_label(entry.records) == said else None


def _by_label(said: Iterable[Record]) -> Mapping[str, Value | None]:
    return {record.name.rpartition("/")[2]: record.value for record in said}

"""Whether a directory is ours: two gateways of one name would overwrite each other's nodes.

What tells is the directory's own item, which says who keeps it and when it last did.
"""

from __future__ import annotations

from adapters.xmpp.errors import StanzaError
from adapters.xmpp.formats import records
from adapters.xmpp.payload import ACCOUNT, GATEWAY_ITEM
from adapters.xmpp.pubsub import FORBIDDEN, Pubsub
from gateway.errors import DecodeError
from gateway.model import printable

DEAD_AFTER_S = 600.0
"""The item is published anew every five minutes; an older one is of a gateway that died."""

LONGEST_JID = 3_071
"""Octets of a full address (RFC 7622 3.1)."""


async def other_keeper(pubsub: Pubsub, directory: str, now: float) -> str | None:
    """Who else keeps this directory at present; None if nobody does."""
    try:
        item = await pubsub.item(directory, GATEWAY_ITEM)
        said = [] if item is None else records(item)
    except StanzaError as error:
        return "another account" if error.condition in FORBIDDEN else None
    except DecodeError:  # it is not in SenML
        return None
    values = {record.name.rpartition("/")[2]: record.value for record in said}
    keeper, seen = values.get(ACCOUNT), values.get("last_seen")
    if keeper in {None, pubsub.address} or values.get("online") is not True:
        return None
    if not isinstance(seen, int | float) or seen < now - DEAD_AFTER_S:
        return None
    return printable(str(keeper), LONGEST_JID)

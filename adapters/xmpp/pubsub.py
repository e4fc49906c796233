"""A pubsub service in one session: finds it, keeps its nodes as they should be, publishes.

It knows XEP-0060 and what servers make of it, and neither devices nor payloads.
"""

from __future__ import annotations

import asyncio
import logging
import xml.etree.ElementTree as ET
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal
from weakref import WeakValueDictionary

from adapters.xmpp import stanzas
from adapters.xmpp.errors import NoAnswer, StanzaError
from adapters.xmpp.formats import SENML_XML, Format
from adapters.xmpp.payload import Pack
from adapters.xmpp.session import Session

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Kind:
    """What a node is for. `max_items` are tried in this order; services cap the number at will.

    A `normal` notification is stored for subscribers who are offline, a `headline` is not.
    """

    max_items: tuple[str, ...]
    notification: Literal["headline", "normal"] = "headline"


STATE = Kind(("max", "256", "100", "10"))
"""Last values, one item each; `max` is new in XEP-0060 1.20."""

HISTORY = Kind(("100", "10"))
"""What came too late to be live; more items would make each publish slow (Prosody)."""

ALERTS = Kind(("100", "10"), "normal")
"""What must reach people, also those who are away."""

ENTITY_TIMEOUT_S = 5.0
"""What belongs to a server answers at once; a component that is stuck should not hold us up."""

MAX_ENTITIES = 32
"""Entities of a server that are asked whether they are the pubsub service."""

FORBIDDEN = frozenset({"forbidden", "not-allowed", "not-authorized", "registration-required"})

Access = Literal["whitelist", "open", "presence"]


@dataclass(frozen=True, slots=True)
class Service:
    """Where the nodes are: a service's JID, or None for the own account (PEP, XEP-0163)."""

    jid: str | None

    def __str__(self) -> str:
        return self.jid or "the own account (PEP)"


async def find_service(session: Session) -> Service | None:
    """The pubsub service of the account's server."""
    try:
        answer = await session.ask("get", session.domain, stanzas.disco_items())
    except (StanzaError, NoAnswer):
        return None
    for jid in [] if answer is None else stanzas.entities(answer)[:MAX_ENTITIES]:
        if jid != session.bare_jid and ("pubsub", "service") in await _identities(session, jid):
            return Service(jid)
    return None


async def find_pep(session: Session) -> Service | None:
    """The own account, if the server has PEP; a component has none."""
    if session.is_component:
        return None
    found = await _identities(session, session.bare_jid)
    return Service(None) if ("pubsub", "pep") in found else None


async def _identities(session: Session, jid: str) -> set[tuple[str, str]]:
    try:
        info = await session.ask("get", jid, stanzas.disco_info(), ENTITY_TIMEOUT_S)
    except (StanzaError, NoAnswer):
        return set()
    return set() if info is None else stanzas.identities(info)


@dataclass(frozen=True, slots=True)
class _Node:
    """A node as it was left: `room` is how many items it keeps.

    `config` is a hash of what the service says, which is 3 kB, and of a thousand nodes.
    """

    title: str
    room: int
    config: int


class Pubsub:
    """Nodes and items of one service. All calls raise SessionLost, NoAnswer or StanzaError.

    `members` may subscribe to nodes on a whitelist (bare JIDs).
    """

    def __init__(
        self,
        session: Session,
        service: Service,
        access: Access,
        members: frozenset[str],
        payload: Format = SENML_XML,
    ) -> None:
        self._session = session
        self._format = payload
        self.service = service
        own_account = service.jid is None
        self._access: Access = "presence" if own_account and access == "whitelist" else access
        self._members = members
        self._known: dict[str, _Node] = {}
        self._creating: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def close(self) -> None:
        """Forgets the nodes; tracebacks of a lost session keep this for minutes."""
        self._known.clear()

    @property
    def account(self) -> str:
        """Who we are for the service."""
        return self._session.bare_jid

    @property
    def address(self) -> str:
        """The full JID of this session, which no other gateway has."""
        return self._session.jid

    async def ensure(self, node: str, title: str, kind: Kind = STATE) -> int:
        """Makes the node exist with the right configuration; gives how many items it keeps."""
        if not self._is_known(node, title):
            async with self._creating.setdefault(node, asyncio.Lock()):
                if not self._is_known(node, title):
                    await self._create(node, title, kind)
                    repaired = await self._repair(node, title, kind)
                    if self._access == "whitelist":
                        await self._admit(node)
                    self._known[node] = repaired
        return self._known[node].room

    def _is_known(self, node: str, title: str) -> bool:
        return node in self._known and self._known[node].title == title

    async def is_intact(self, node: str) -> bool:
        """Whether a node is as it was left; if not, it is put right before the next publish.

        Without asking one does not hear of a deletion where services create nodes at a publish,
        open to everybody (ejabberd, PEP).
        """
        known = self._known.get(node)
        try:
            now = stanzas.form_values(await self._get(stanzas.get_config(node)))
        except StanzaError as error:
            if error.condition != "item-not-found":
                raise
            now = {}
        if known is not self._known.get(node):  # it was put right meanwhile
            return True
        intact = _hashed(now) == known.config if known else bool(now)
        if not intact:
            self.forget(node)
        return intact

    def knows(self, node: str) -> bool:
        """Whether a node was ensured in this session."""
        return node in self._known

    def forget(self, node: str) -> bool:
        """The node may be gone or changed: it is looked at before the next publish."""
        return self._known.pop(node, None) is not None

    async def publish(self, node: str, item_id: str, pack: Pack) -> None:
        """Publishes one item of a node that was ensured."""
        await self._set(stanzas.publish(node, item_id, self._format.encode(item_id, pack)))

    async def retract(self, node: str, item_id: str) -> None:
        """Removes an item, if it is there."""
        await self._set(stanzas.retract(node, item_id), missing_is_fine=True)

    async def delete(self, node: str) -> None:
        """Deletes a node, if it is there."""
        self.forget(node)
        await self._set(stanzas.delete(node), missing_is_fine=True)

    async def item(self, node: str, item_id: str) -> ET.Element | None:
        """The payload of one item, if it is there."""
        found = stanzas.items(await self._get(stanzas.get_items(node, item_id)))
        return next((item.payload for item in found if item.id == item_id), None)

    async def items(self, node: str) -> dict[str, ET.Element]:
        """The payloads of all items of a node, by id."""
        found = stanzas.items(await self._get(stanzas.get_items(node)))
        return {item.id: item.payload for item in found if item.payload is not None}

    async def item_ids(self, node: str) -> list[str]:
        """The ids of all items of a node."""
        return stanzas.item_names(await self._get(stanzas.disco_items(node)))

    async def _create(self, node: str, title: str, kind: Kind) -> None:
        for max_items in kind.max_items:
            try:
                await self._set(stanzas.create(node, self._config(title, kind, max_items)))
            except StanzaError as error:
                if error.condition == "conflict":  # it exists
                    return
                if not _too_many(error) or max_items == kind.max_items[-1]:
                    raise
            else:
                log.debug("%s: created node %s", self.service, node)
                return

    async def _repair(self, node: str, title: str, kind: Kind) -> _Node:
        """Sets what is configured otherwise; gives what the node then is."""
        form = await self._get(stanzas.get_config(node))
        wrong = self._wrong(stanzas.form_values(form), title, kind)
        for max_items in kind.max_items if wrong else ():
            changes = wrong | ({_MAX_ITEMS: max_items} if _MAX_ITEMS in wrong else {})
            try:
                await self._set(stanzas.configure(node, changes))
                break
            except StanzaError as error:
                if not _too_many(error) or _MAX_ITEMS not in wrong:
                    raise
        if wrong:
            form = await self._get(stanzas.get_config(node))
        actual = stanzas.form_values(form)
        for name in self._wrong(actual, title, kind).keys() - {_MAX_ITEMS}:
            log.warning("%s: node %s keeps %s = %s", self.service, node, name, actual.get(name))
        kept = actual.get(_MAX_ITEMS, _ANY)
        if kept == _ANY:
            kept = stanzas.form_maxima(form).get(_MAX_ITEMS, "")
        return _Node(title, int(kept) if kept.isdecimal() else _UNLIMITED, _hashed(actual))

    def _wrong(self, actual: Mapping[str, str], title: str, kind: Kind) -> dict[str, str]:
        wanted = self._config(title, kind, kind.max_items[0])
        kept = actual.get(_MAX_ITEMS, "")
        enough = kind.max_items[1] if wanted[_MAX_ITEMS] == _ANY else wanted[_MAX_ITEMS]
        if kept.isdecimal() and int(kept) >= int(enough):
            del wanted[_MAX_ITEMS]
        return {k: v for k, v in wanted.items() if k in actual and _plain(actual[k]) != v}

    async def _admit(self, node: str) -> None:
        """Puts the members on the node's whitelist, and takes off those who are none any more."""
        present = stanzas.affiliations(await self._get(stanzas.get_affiliations(node)))
        readers = {jid for jid, affiliation in present.items() if affiliation == "member"}
        changes = dict.fromkeys(readers - self._members, "none")
        changes |= dict.fromkeys(self._members - present.keys(), "member")
        if changes:
            await self._set(stanzas.set_affiliations(node, changes))

    def _config(self, title: str, kind: Kind, max_items: str) -> dict[str, str]:
        last_item = "on_sub" if self.service.jid else "on_sub_and_presence"
        return {
            "pubsub#title": title,
            "pubsub#type": self._format.namespace,
            "pubsub#persist_items": "1",
            _MAX_ITEMS: max_items,
            "pubsub#access_model": self._access,
            "pubsub#publish_model": "publishers",
            "pubsub#send_last_published_item": last_item,
            "pubsub#notification_type": kind.notification,
            "pubsub#deliver_payloads": "1",
            "pubsub#notify_retract": "1",
            "pubsub#notify_delete": "1",
        }

    async def _get(self, request: ET.Element) -> ET.Element | None:
        return await self._session.ask("get", self.service.jid, request)

    async def _set(self, request: ET.Element | str, *, missing_is_fine: bool = False) -> None:
        try:
            await self._session.ask("set", self.service.jid, request)
        except StanzaError as error:
            if not (missing_is_fine and error.condition == "item-not-found"):
                raise


def homeless(domain: str) -> str:
    """What an operator can do about a server that publishes nothing for anybody."""
    return (
        f"{domain} has neither a pubsub service nor PEP; Prosody: put "
        f'Component "pubsub.{domain}" "pubsub" into its configuration'
    )


def forbidden(pubsub: Pubsub, error: StanzaError) -> str:
    """What an operator can do about a server that lets us not create or write nodes."""
    service, account = pubsub.service, pubsub.account
    return (
        f"{service} does not let {account} create or write nodes ({error.condition}); Prosody: "
        f'put admins = {{ "{account}" }} under Component "{service}" "pubsub"; where '
        f"{service} does not exist, take service out of [xmpp]"
    )


_MAX_ITEMS = "pubsub#max_items"
_ANY = "max"
_UNLIMITED = 2**31


def _too_many(error: StanzaError) -> bool:
    """Whether this is how a service says that `max_items` is more than it allows."""
    return error.condition in {"bad-request", "not-acceptable", "resource-constraint", "conflict"}


def _hashed(config: Mapping[str, str]) -> int:
    return hash(frozenset(config.items()))


def _plain(value: str) -> str:
    return {"true": "1", "false": "0"}.get(value, value)

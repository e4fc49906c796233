"""Answers what others ask of us: who we are (XEP-0030), a ping, commands, and the nodes' data."""

from __future__ import annotations

import asyncio
import logging
import xml.etree.ElementTree as ET
from collections.abc import Awaitable, Callable, Mapping

from adapters.xmpp import stanzas
from adapters.xmpp.adhoc import COMMANDS, AdHoc
from adapters.xmpp.errors import StanzaError, refusal
from adapters.xmpp.iot.dialect import NAMESPACES
from adapters.xmpp.iot.things import Things
from adapters.xmpp.session import Session
from gateway.errors import CommandError
from gateway.model import printable

log = logging.getLogger(__name__)

MAX_AT_A_TIME = 16
"""Requests under way: more than there are people, each may take ten seconds of a radio."""

_CLIENT, _COMPONENT = ("client", "bot"), ("component", "generic")

FEATURES_FOR_ALL = (stanzas.DISCO_INFO, stanzas.DISCO_ITEMS, stanzas.PING)
FEATURES = (*FEATURES_FOR_ALL, stanzas.CAPS, COMMANDS, *NAMESPACES)
"""What we can do for those with a role; only they are shown it by our presence, too."""

Handler = Callable[[str, ET.Element], Awaitable[ET.Element | None]]
"""From the asker's JID and what is asked to the answer."""


class Requests:
    """Serves one session."""

    def __init__(self, session: Session, commands: AdHoc, things: Things) -> None:
        self._session = session
        is_component = session.is_component
        self.identity = (*(_COMPONENT if is_component else _CLIENT), "Border Gateway")
        self._commands = commands
        self._under_way = 0
        self._handlers: Mapping[str, Handler] = {
            f"{{{stanzas.DISCO_INFO}}}query": self._info,
            f"{{{stanzas.DISCO_ITEMS}}}query": self._items,
            f"{{{stanzas.PING}}}ping": self._pong,
            f"{{{COMMANDS}}}command": commands.handle,
            **things.handlers,
        }

    async def run(self) -> None:
        """Until cancelled."""
        inbox = self._session.requests(self._handlers.keys())
        async with asyncio.TaskGroup() as group:
            while True:
                request = await inbox.get()
                if self._under_way < MAX_AT_A_TIME:
                    self._under_way += 1
                    group.create_task(self._answer(request))
                else:
                    busy = StanzaError("resource-constraint", "wait", "too many requests")
                    self._session.send(stanzas.refuse(request, busy))

    async def _answer(self, request: ET.Element) -> None:
        asker = request.get("from", "")
        try:
            handler = self._handlers[request[0].tag]
            answer = stanzas.reply(request, await handler(asker, request[0]))
        except CommandError as error:
            log.debug("%s is refused: %s", printable(asker), error)
            answer = stanzas.refuse(request, refusal(error))
        except StanzaError as error:
            answer = stanzas.refuse(request, error)
        finally:
            self._under_way -= 1
        self._session.send(answer)

    async def _pong(self, asker: str, asked: ET.Element) -> None:
        return None

    async def _info(self, asker: str, asked: ET.Element) -> ET.Element:
        node = asked.get("node", "")
        commands = self._commands.listed(asker)
        if not node or node.startswith(f"{stanzas.CAPS_NODE}#"):
            return stanzas.info(node, self.identity, FEATURES if commands else FEATURES_FOR_ALL)
        if node == COMMANDS and commands:
            return stanzas.info(node, ("automation", "command-list", "Commands"), ())
        if node in commands:
            identity = ("automation", "command-node", commands[node])
            return stanzas.info(node, identity, (COMMANDS, stanzas.FORM))
        raise StanzaError("item-not-found", "cancel")

    async def _items(self, asker: str, asked: ET.Element) -> ET.Element:
        node = asked.get("node", "")
        commands = self._commands.listed(asker) if node == COMMANDS else {}
        return stanzas.node_list(node, self._session.jid, commands)

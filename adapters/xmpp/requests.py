"""Answers what others ask of us: who we are (XEP-0030), a ping, our ad-hoc commands."""

from __future__ import annotations

import asyncio
import logging
import xml.etree.ElementTree as ET
from collections.abc import Awaitable, Callable, Mapping

from adapters.xmpp import stanzas
from adapters.xmpp.adhoc import COMMANDS, AdHoc
from adapters.xmpp.errors import Forbidden, StanzaError
from adapters.xmpp.session import Session
from gateway.model import printable

log = logging.getLogger(__name__)

MAX_AT_A_TIME = 16
"""Requests under way: more than there are people, each may take ten seconds of a radio."""

Handler = Callable[[str, ET.Element], Awaitable[ET.Element | None]]
"""From the asker's JID and what is asked to the answer."""


class Requests:
    """Serves one session."""

    def __init__(self, session: Session, commands: AdHoc) -> None:
        self._session = session
        self._commands = commands
        self._under_way = 0
        self._handlers: Mapping[str, Handler] = {
            f"iq/{{{stanzas.DISCO_INFO}}}query": self._info,
            f"iq/{{{stanzas.DISCO_ITEMS}}}query": self._items,
            f"iq/{{{stanzas.PING}}}ping": self._pong,
            f"iq/{{{COMMANDS}}}command": commands.handle,
        }

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            for path, handler in self._handlers.items():
                group.create_task(self._serve(self._session.listen(path), handler, group))

    async def _serve(
        self, inbox: asyncio.Queue[ET.Element], handler: Handler, group: asyncio.TaskGroup
    ) -> None:
        while True:
            request = await inbox.get()
            if self._under_way < MAX_AT_A_TIME:
                self._under_way += 1
                group.create_task(self._answer(request, handler))
            else:
                self._session.send(stanzas.refuse(request, "resource-constraint", "wait"))

    async def _answer(self, request: ET.Element, handler: Handler) -> None:
        asker = request.get("from", "")
        try:
            answer = stanzas.reply(request, await handler(asker, request[0]))
        except Forbidden as error:
            log.debug("%s is refused: %s", printable(asker), error)
            answer = stanzas.refuse(request, "forbidden", "auth", str(error))
        except StanzaError as error:
            answer = stanzas.refuse(request, error.condition, error.type, error.text)
        finally:
            self._under_way -= 1
        self._session.send(answer)

    async def _pong(self, asker: str, asked: ET.Element) -> None:
        return None

    async def _info(self, asker: str, asked: ET.Element) -> ET.Element:
        node = asked.get("node", "")
        commands = self._commands.listed(asker)
        if not node:
            features = [stanzas.DISCO_INFO, stanzas.DISCO_ITEMS, stanzas.PING]
            features += [COMMANDS] if commands else []
            return stanzas.info("", ("client", "bot", "Border Gateway"), features)
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

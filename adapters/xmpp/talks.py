"""Who follows us in a session: chat messages, news of what is watched, who may see our presence."""

from __future__ import annotations

import asyncio
import logging
import time
import xml.etree.ElementTree as ET
from datetime import datetime

from adapters.xmpp import stanzas
from adapters.xmpp.chat import Chat
from adapters.xmpp.errors import NoAnswer, StanzaError
from adapters.xmpp.iot.things import Things
from adapters.xmpp.presence import Presence
from adapters.xmpp.session import Session
from gateway.model import printable

log = logging.getLogger(__name__)

NEWS_EVERY_S = 1.0
"""How often those who watch something are written to: what changes within is one message."""

PROBE_EVERY_S = 60.0
PROBE_TIMEOUT_S = 5.0
"""How often those who subscribed to events are asked whether they are still there."""

GONE = frozenset(
    {
        "gone",
        "item-not-found",
        "recipient-unavailable",
        "redirect",
        "remote-server-not-found",
        "remote-server-timeout",
        "service-unavailable",
    }
)
"""How servers say that somebody is not there (RFC 6120 8.3.3); other errors come from who is."""

MAX_AT_A_TIME = 16
"""Lines being answered; each may take ten seconds of a radio. More are not answered."""


class Talks:
    """Serves one session."""

    def __init__(self, session: Session, presence: Presence, chat: Chat, things: Things) -> None:
        self._session = session
        self._presence = presence
        self._chat = chat
        self._things = things
        self._under_way = 0

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._messages(group))
            group.create_task(self._presences())
            group.create_task(self._news())
            group.create_task(self._probe())

    async def _messages(self, group: asyncio.TaskGroup) -> None:
        inbox = self._session.listen("message")
        while True:
            message = await inbox.get()
            asker, kind = message.get("from", ""), message.get("type", "normal")
            body = message.findtext(f"{{{stanzas.CLIENT}}}body")
            if kind == "error":
                if stanzas.why_refused(message).condition in GONE:
                    self._gone(asker)
            elif body and kind in {"chat", "normal"} and self._under_way < MAX_AT_A_TIME:
                self._under_way += 1
                group.create_task(self._answer(asker, body, message))

    async def _answer(self, asker: str, body: str, message: ET.Element) -> None:
        try:
            delay_s = _delay_s(stanzas.sent_at(message), time.time())
            if answer := await self._chat.answer(asker, body, delay_s):
                self._session.send(stanzas.chat(asker, answer, message.get("to", "")))
            else:
                log.debug("%s writes to us, but has no role", printable(asker))
        finally:
            self._under_way -= 1

    async def _presences(self) -> None:
        inbox = self._session.listen("presence")
        while True:
            presence = await inbox.get()
            asker = presence.get("from", "")
            if presence.get("type") == "unavailable":
                self._gone(asker)
            else:
                self._presence.answer(asker, presence.get("type", ""))

    def _gone(self, asker: str) -> None:
        self._chat.gone(asker)
        self._things.gone(asker)

    async def _news(self) -> None:
        while True:
            await asyncio.sleep(NEWS_EVERY_S)
            for asker, text in self._chat.news().items():
                self._session.send(stanzas.chat(asker, text))
            for asker, content in self._things.news():
                self._session.send(stanzas.message(asker, content))
            async for asker, content in self._things.late_news():
                self._session.send(stanzas.message(asker, content))

    async def _probe(self) -> None:
        """Finds those who left unseen: what is sent to them would be stored, and never bounce."""
        while True:
            await asyncio.sleep(PROBE_EVERY_S)
            for follower in self._things.followers():
                try:
                    question = stanzas.disco_info()
                    await self._session.ask("get", follower, question, PROBE_TIMEOUT_S)
                except NoAnswer as error:  # the server would say so if it was gone
                    log.debug("%s: %s", printable(follower), error)
                except StanzaError as error:
                    if error.condition in GONE:
                        log.debug("%s is gone: %s", printable(follower), error)
                        self._gone(follower)


def _delay_s(stamp: str, now: float) -> float:
    """How long a message was stored; for ever if it does not say so understandably."""
    if not stamp:
        return 0.0
    try:
        return now - datetime.fromisoformat(stamp).timestamp()
    except (ValueError, OverflowError):
        return float("inf")

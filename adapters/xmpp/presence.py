"""Our presence: what it says of us (XEP-0115), and who gets to see it.

An account's server hands it on, and tells its end when the line is cut. A component has nobody who
would: it sends to each who asked, and those who may ask.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable

from adapters.xmpp import stanzas
from adapters.xmpp.access import Roles
from adapters.xmpp.session import Session
from gateway.model import printable

log = logging.getLogger(__name__)

UPDATE_EVERY_S = 30.0
"""Devices come and go, but people do not want a message each time."""

MAX_TOLD = 1_000
"""Who is told of a component: accounts, not devices."""


class Presence:
    """Serves one session. `status` gives a word about us, `about` who we are and can do."""

    def __init__(
        self,
        session: Session,
        roles: Roles,
        about: tuple[stanzas.Identity, Iterable[str]],
        status: Callable[[], str],
    ) -> None:
        self._session = session
        self._roles = roles
        self._status = status
        self._caps = stanzas.caps(*about)
        self._told = dict.fromkeys(sorted(roles.accounts)[:MAX_TOLD])

    async def run(self) -> None:
        """Says that we are there, and again when there is something else to say."""
        shown = ""
        while True:
            if (text := self._status()) != shown:
                shown = text
                for to in self._told if self._session.is_component else ("",):
                    self._show(to)
            await asyncio.sleep(UPDATE_EVERY_S)

    def answer(self, asker: str, kind: str) -> None:
        """Answers who asks for our presence, at all (`subscribe`) or now (`probe`), or no more.

        Where too many are told already, others are answered, but not told what changes.
        """
        bare = asker.partition("/")[0]
        if kind == "unsubscribe":
            self._told.pop(bare, None)
        if kind not in {"subscribe", "probe"}:
            return
        allowed = self._roles.role(bare) is not None
        if kind == "subscribe":
            answer = "subscribed" if allowed else "unsubscribed"
            log.debug("%s asks for our presence: %s", printable(bare), answer)
            self._session.send(stanzas.presence_to(bare, answer))
        if allowed and self._session.is_component:
            if len(self._told) < MAX_TOLD:
                self._told[bare] = None
            self._show(bare)

    def end(self) -> None:
        """Says that we go; an account's server does so by itself."""
        for to in self._told if self._session.is_component else ():
            self._session.send(stanzas.presence_to(to, "unavailable"))

    def _show(self, to: str) -> None:
        self._session.send(stanzas.presence(self._status(), self._caps, to))

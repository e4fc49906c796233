"""What goes out in one session, in its order, and which answer belongs to which request.

It knows stanzas as text that goes out and as elements that come in, and no library. Requests do
not go through slixmpp's stanza objects: each of those costs several times what an item does here.
"""

from __future__ import annotations

import asyncio
import secrets
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Literal, NamedTuple

from adapters.xmpp.errors import NoAnswer, SessionLost
from adapters.xmpp.stanzas import why_refused
from adapters.xmpp.xmltext import quoted

Kind = Literal["get", "set"]

_ANSWERS = frozenset({"result", "error"})


class _Request(NamedTuple):
    to: str
    answer: asyncio.Future[ET.Element]


class Exchange:
    """Requests that wait for their answers: as many as callers wait, none is kept beyond that.

    `write` puts text into the stream, `own` is our address; a request that is `signed` says so.
    """

    def __init__(
        self, write: Callable[[str], None], own: Callable[[], str], *, signed: bool = False
    ) -> None:
        self._write = write
        self._own = own
        self._signed = signed
        self._outgoing: list[str] = []
        self._requests: dict[str, _Request] = {}
        self._prefix = secrets.token_hex(8)  # nobody else can tell the ids
        self._asked = 0

    def send(self, text: str) -> None:
        """Sends text, together with all else of this turn of the loop: one TLS record, one call."""
        if not self._outgoing:
            asyncio.get_running_loop().call_soon(self.flush)
        self._outgoing.append(text)

    def flush(self) -> None:
        """Sends at once what was left for the end of the turn."""
        if outgoing := "".join(self._outgoing):
            self._outgoing.clear()
            self._write(outgoing)

    async def ask(
        self, kind: Kind, to: str | None, content: str, timeout_s: float
    ) -> ET.Element | None:
        """The content of the answer. NoAnswer, SessionLost, or StanzaError if it was refused.

        Without `to` the own account is asked.
        """
        self._asked += 1
        id, own = f"{self._prefix}-{self._asked}", self._own()
        addresses = f" to={quoted(to)}" if to else ""
        addresses += f" from={quoted(own)}" if self._signed else ""
        request = _Request(to or own, asyncio.get_running_loop().create_future())
        self._requests[id] = request
        self.send(f'<iq type="{kind}" id="{id}"{addresses}>{content}</iq>')
        try:
            async with asyncio.timeout(timeout_s):
                answer = await request.answer
        except TimeoutError:
            raise NoAnswer(f"{to or own} did not answer within {timeout_s:g} s") from None
        finally:
            del self._requests[id]
        if answer.get("type") == "error":
            raise why_refused(answer)
        return next(iter(answer), None)

    def take(self, iq: ET.Element) -> bool:
        """Gives an answer to who waits for it; False if it is none, or not from whom was asked."""
        request = self._requests.get(iq.get("id", ""))
        if request is None or not iq.tag.endswith("}iq") or iq.get("type") not in _ANSWERS:
            return False
        if iq.get("from", "") not in {"", *_names(request.to), *_names(self._own())}:
            return False
        if not request.answer.done():
            request.answer.set_result(iq)
        return True

    def lost(self, reason: str) -> None:
        """The session is gone: nobody is answered any more."""
        self._outgoing.clear()
        for request in self._requests.values():
            if not request.answer.done():
                request.answer.set_exception(SessionLost(reason))


def _names(jid: str) -> tuple[str, str, str]:
    """Who may answer for an address: it itself, its account, its server (RFC 6120 8.1.2.1)."""
    bare = jid.partition("/")[0]
    return jid, bare, bare.rpartition("@")[2]

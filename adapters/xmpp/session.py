"""One login at an XMPP server, from connect to disconnect: asks, answers, and says when it is lost.

Only it, `stream.py` and `scram.py` know slixmpp. It knows no pubsub and no device.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import ssl
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import Any, Literal, NoReturn

from slixmpp import JID, ClientXMPP, ComponentXMPP
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher.base import MatcherBase

from adapters.xmpp.errors import BadCredentials, CannotLogIn, NoAnswer, SessionLost, StanzaError
from adapters.xmpp.exchange import Exchange, Kind
from adapters.xmpp.stanzas import CLIENT, COMPONENT, MAX_TEXT, ping, renamed
from adapters.xmpp.stream import Account, stream
from adapters.xmpp.xmltext import text_of
from gateway.errors import AdapterError
from gateway.model import printable

log = logging.getLogger(__name__)
logging.getLogger("slixmpp").setLevel(logging.WARNING)  # below, it logs stanzas with their secrets

LOGIN_TIMEOUT_S = 30.0
"""DNS, TCP, TLS and SASL on a slow line; a server that needs longer is down."""

ANSWER_TIMEOUT_S = 15.0
"""Prosody's stock rate limit makes the last of 8 items of 32 kB wait 26 s; of usual ones, 0.3 s."""

PING_EVERY_S = 30.0
PING_TIMEOUT_S = 10.0
"""A line that went dead without a word is found within the sum of both."""

GOODBYE_S = 1.0
"""How long a server may take to close the stream before the connection is cut."""

INBOX = 10_000
"""Stanzas of a kind that wait for us: more than one read of the socket (256 KiB) can bring."""

MAX_STANZA = 200_000
"""Servers end the connection at about 256 KiB."""


class _Matcher(MatcherBase):
    """What slixmpp asks of each stanza; one for all requests, since every stanza pays for it."""

    def __init__(self, wanted: Callable[[ET.Element], bool]) -> None:
        super().__init__(None)
        self._wanted = wanted

    def match(self, xml: Any) -> bool:
        """Whether the handler is called."""
        return self._wanted(xml.xml)


class Session:
    """A session that is up, until `lost`. Nothing is ever queued for a later one."""

    def __init__(self, client: ClientXMPP | ComponentXMPP) -> None:
        self._client = client
        self.is_component = bool(client.is_component)
        self._exchange = Exchange(self._write, lambda: self.jid, signed=self.is_component)
        self._lost = asyncio.Event()
        self._reason = ""
        # Before slixmpp makes anything of them, and tries each of its handlers.
        client.add_filter("in", lambda s: None if self._exchange.take(s.xml) else s)
        client.add_event_handler("stream_error", self._note_stream_error)
        client.add_event_handler("disconnected", lambda why: self._lose(_text(why)))

    @property
    def is_lost(self) -> bool:
        """Whether nothing can be asked any more."""
        return self._lost.is_set()

    @property
    def jid(self) -> str:
        """The full JID that the server gave."""
        return str(self._client.boundjid)

    @property
    def bare_jid(self) -> str:
        """The account."""
        return str(self._client.boundjid.bare)

    @property
    def domain(self) -> str:
        """The account's server; that of a component is the domain above its own."""
        own = str(self._client.boundjid.domain)
        return own.partition(".")[2] or own if self.is_component else own

    async def ask(
        self,
        kind: Kind,
        to: str | None,
        content: ET.Element | str,
        timeout_s: float = ANSWER_TIMEOUT_S,
    ) -> ET.Element | None:
        """The content of the answer. SessionLost, NoAnswer, or StanzaError if it was refused."""
        if self._lost.is_set():
            raise SessionLost(self._reason)
        text = content if isinstance(content, str) else text_of(content)
        return await self._exchange.ask(kind, str(JID(to)) if to else None, text, timeout_s)

    def listen(self, kind: Literal["message", "presence"]) -> asyncio.Queue[ET.Element]:
        """The messages, or presences, that arrive."""
        return self._inbox(kind, lambda stanza: stanza.tag == self._tag(kind))

    def requests(self, names: Collection[str]) -> asyncio.Queue[ET.Element]:
        """The IQ requests that arrive whose content has one of these qualified names."""

        def ours(stanza: ET.Element) -> bool:
            return (
                stanza.tag == self._tag("iq")
                and stanza.get("type") in {"get", "set"}
                and len(stanza) > 0
                and stanza[0].tag in names
            )

        return self._inbox("requests", ours)

    def _taken(self, stanza: ET.Element) -> ET.Element:
        """A stanza that arrived, as one of an account would be; slixmpp's own is left alone."""
        return renamed(deepcopy(stanza), COMPONENT, CLIENT) if self.is_component else stanza

    def _tag(self, kind: str) -> str:
        return f"{{{COMPONENT if self.is_component else CLIENT}}}{kind}"

    def _inbox(self, name: str, wanted: Callable[[ET.Element], bool]) -> asyncio.Queue[ET.Element]:
        inbox: asyncio.Queue[ET.Element] = asyncio.Queue(INBOX)

        def receive(stanza: Any) -> None:
            try:
                inbox.put_nowait(self._taken(stanza.xml))
            except asyncio.QueueFull:
                self._lose(f"{INBOX} stanzas came faster than they could be handled")

        self._client.register_handler(Callback(f"ours: {name}", _Matcher(wanted), receive))
        return inbox

    def send(self, stanza: ET.Element) -> None:
        """Sends a message, a presence, or the answer to a request; lost if the session is.

        Of a component, it comes from the address that it names, else from the component's own.
        """
        if self.is_component:
            stanza.attrib.setdefault("from", self.jid)
        else:
            stanza.attrib.pop("from", None)
        text = text_of(stanza, CLIENT)  # so that it has the namespace of the stream, whichever
        if len(text.encode()) > MAX_STANZA:
            to = printable(stanza.get("to", ""))
            log.error("a stanza to %s is too long for a server, and dropped", to)
        elif not self._lost.is_set():
            self._exchange.send(text)

    def _write(self, text: str) -> None:
        if self._client.transport is not None:
            self._client.send_raw(text)

    async def watch(self) -> NoReturn:
        """Pings the server; raises SessionLost when the session is lost."""
        while True:
            try:
                async with asyncio.timeout(PING_EVERY_S):
                    await self._lost.wait()
            except TimeoutError:
                await self._ping()
            else:
                raise SessionLost(self._reason)

    async def _ping(self) -> None:
        try:
            await self.ask("get", self.domain, ping(), PING_TIMEOUT_S)
        except StanzaError:
            pass  # an answer, too
        except NoAnswer:
            self._lose(f"no answer to a ping within {PING_TIMEOUT_S:g} s")

    async def open(self, host: str | None, port: int | None) -> None:
        """Logs in; CannotLogIn or BadCredentials."""
        client, up = self._client, asyncio.get_running_loop().create_future()
        failures: list[str] = []

        def fail(error: CannotLogIn) -> None:
            if not up.done():
                up.set_exception(error)

        def succeed(_: object) -> None:
            if not up.done():
                up.set_result(None)

        def lose(_: object) -> None:
            refused = self.is_component and "not-authorized" in self._reason
            name = client.boundjid.bare
            text = f"the server refuses the component {name} or its secret"
            fail(BadCredentials(text) if refused else CannotLogIn(self._reason))

        def refuse(failure: Any) -> None:
            mechanisms = client.plugin["feature_mechanisms"]
            mechanisms.attempted_mechs |= mechanisms.mech_list  # one try a login, no walking down
            fail(_refusal(failure["condition"], failure["text"], client.boundjid.bare))

        client.add_event_handler("connection_failed", lambda why: failures.append(_text(why)))
        client.add_event_handler("session_start", succeed)
        client.add_event_handler("failed_auth", refuse)
        client.add_event_handler("no_auth", lambda _: fail(CannotLogIn(_NO_MECHANISM)))
        client.add_event_handler("disconnected", lose)
        try:
            async with asyncio.timeout(LOGIN_TIMEOUT_S):
                if await client.connect(host, port) is not None:
                    where = f"{host}:{port}" if host else client.boundjid.domain
                    raise CannotLogIn(f"cannot connect to {where}: {'; '.join(failures)}")
                await up
        except TimeoutError:
            raise CannotLogIn(f"no session within {LOGIN_TIMEOUT_S:g} s") from None
        finally:
            if not up.cancel():
                up.exception()  # taken note of, whatever else was wrong

    async def close(self) -> None:
        """Ends the stream, and everything that slixmpp left running."""
        client = self._client
        client.cancel_connection_attempt()
        self._exchange.flush()
        if client.sessionstarted and not self._lost.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2 * GOODBYE_S):
                    await client.disconnect(GOODBYE_S)
        self._lose("closed")
        for name in list(client.scheduled_events):
            client.cancel_schedule(name)
        if filters := client._run_out_filters:  # nothing public ends this task
            filters.cancel()
            await asyncio.wait({filters}, timeout=GOODBYE_S)

    def _note_stream_error(self, error: Any) -> None:
        said = printable(f"{error['condition']} {error['text']}".strip(), MAX_TEXT)
        self._lose(f"the server closed the stream: {said}")

    def _lose(self, reason: str) -> None:
        if not self._lost.is_set():
            self._reason = reason
            self._lost.set()
            self._exchange.lost(reason)
        # COMPAT Python 3.11.2 (Debian 12): client.abort() closes first, and TLS that is closed
        # twice cannot be aborted any more.
        if self._client.transport is not None:
            self._client.transport.abort()


_NO_MECHANISM = (
    "the server offers no login that keeps the password secret (TLS and SCRAM are needed)"
)


@asynccontextmanager
async def login(account: Account) -> AsyncIterator[Session]:
    """A session over verified TLS, for the body of `async with`; CannotLogIn if there is none.

    When the session is lost, the body is cancelled and SessionLost raised.
    """
    session = Session(stream(account))
    try:
        await session.open(account.host, account.port)
        async with asyncio.TaskGroup() as group:
            watching = group.create_task(session.watch())
            yield session
            watching.cancel()
    except ExceptionGroup as errors:
        known, unknown = errors.split(AdapterError)
        raise _first(unknown or known or errors) from None
    finally:
        await session.close()


def _first(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error


def _text(why: object) -> str:
    """What to tell the operator of the end of a connection."""
    match why:
        case ssl.SSLCertVerificationError():
            return f"the server's certificate is not trusted: {why.verify_message}"
        case ssl.SSLError(reason=str(said)):
            return f"TLS failed: {said.lower().replace('_', ' ')}"
        case OSError(errno=int(number)) if number in errno.errorcode:
            return os.strerror(number)  # asyncio's own text has Python's address in it
        case _:
            return str(why or "the server closed the connection")


def _refusal(condition: str, text: str, account: str) -> CannotLogIn:
    if condition == "temporary-auth-failure":
        said = printable(text or condition, MAX_TEXT)
        return CannotLogIn(f"the server cannot check passwords at present: {said}")
    return BadCredentials(f"the server refuses account {account} or its password ({condition})")

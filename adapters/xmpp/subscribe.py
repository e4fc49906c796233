"""Follows what a gateway publishes and prints each change: `border-gateway subscribe`.

A client like any other: it knows nothing of the gateway but its nodes.
"""

from __future__ import annotations

import asyncio
import base64
import json
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from pathlib import Path as FilePath
from typing import NoReturn

import click
from slixmpp import JID, InvalidJID

from adapters.xmpp import stanzas
from adapters.xmpp.errors import BadCredentials, CannotLogIn, NoAnswer, SessionLost, StanzaError
from adapters.xmpp.merge import Update, View
from adapters.xmpp.pubsub import find_service
from adapters.xmpp.session import Session, login
from adapters.xmpp.stanzas import Deleted, NodeEvent, Published
from adapters.xmpp.stream import Account
from gateway.configuration.secret import read_secret
from gateway.errors import AdapterError, GatewayError
from gateway.formats.senml import Record
from gateway.model import ObjLink, printable

RETRY_S = 2.0
"""How long a node that cannot be subscribed to is left alone: it may be about to be created."""

GOODBYE_S = 2.0

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0
STEADY_AFTER_S = 60.0
"""A session that lasted this long was good; the next pause is the first again."""

_VALUE_LENGTH = 200


class Enough(Exception):
    """The one who is shown the updates wants no more."""


class Subscriber:
    """Follows nodes, and those that a directory names, over any number of sessions.

    `show` is given each update, and may raise Enough; `tell` what a person should know.
    """

    def __init__(
        self,
        account: Account,
        *,
        service: str | None,
        nodes: Iterable[str],
        directory: str | None,
        show: Callable[[Update], None],
        tell: Callable[[str], None],
    ) -> None:
        self._account = account
        self._service = service
        self._directory = directory
        self._show = show
        self._tell = tell
        self._view = View()
        self._wanted = {*nodes, *([directory] if directory else [])}
        self._subscribed: set[str] = set()

    async def run(self) -> None:
        """Lives until `show` raises Enough; BadCredentials end it, too."""
        pause_s = FIRST_PAUSE_S
        while True:
            began = time.monotonic()
            try:
                async with login(self._account) as session:
                    await self._follow(session, self._service or await _find(session))
            except BadCredentials:
                raise
            except (CannotLogIn, SessionLost, NoAnswer) as error:
                if time.monotonic() - began > STEADY_AFTER_S:
                    pause_s = FIRST_PAUSE_S
                self._tell(f"{error}; tries again in {pause_s:.0f} s")
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _follow(self, session: Session, service: str) -> NoReturn:
        inbox = session.listen("message")
        session.send(stanzas.presence(""))
        if "@" in service:  # PEP: its nodes are for those who may see the account's presence
            session.send(stanzas.presence_to(service, "subscribe"))
        self._subscribed.clear()
        try:
            await self._events(session, service, inbox)
        finally:
            await self._unsubscribe(session, service)

    async def _events(
        self, session: Session, service: str, inbox: asyncio.Queue[ET.Element]
    ) -> NoReturn:
        while True:
            for node in sorted(self._wanted - self._subscribed):
                await self._subscribe(session, service, node)
            try:
                async with asyncio.timeout(RETRY_S if self._wanted - self._subscribed else None):
                    message = await inbox.get()
            except TimeoutError:
                continue
            if message.get("from") == service:
                for event in stanzas.node_events(message):
                    self._apply(event)

    async def _subscribe(self, session: Session, service: str, node: str) -> None:
        """First subscribe, then get: what changes in between comes twice, but is not missed."""
        try:
            await session.ask("set", service, stanzas.subscribe(node, session.bare_jid))
            answer = await session.ask("get", service, stanzas.get_items(node))
        except StanzaError as error:
            self._tell(f"{node}: {error}; tries again in {RETRY_S:.0f} s")
            return
        self._subscribed.add(node)
        self._apply(Published(node, tuple(stanzas.items(answer))))

    async def _unsubscribe(self, session: Session, service: str) -> None:
        """Leaves nothing behind that would be delivered to the account's other clients."""
        try:
            async with asyncio.timeout(GOODBYE_S):
                for node in self._subscribed:
                    await session.ask("set", service, stanzas.unsubscribe(node, session.bare_jid))
        except (TimeoutError, AdapterError):
            pass

    def _apply(self, event: NodeEvent) -> None:
        for update in self._view.apply(event, time.time()):
            node = update.record.value
            if update.node == self._directory and update.record.name.endswith("/node"):
                (self._wanted.discard if update.gone else self._wanted.add)(str(node))
            self._show(update)
        if isinstance(event, Deleted):
            self._subscribed.discard(event.node)


async def _find(session: Session) -> str:
    service = await find_service(session)
    if service is None or service.jid is None:
        raise AdapterError(f"{session.domain} has no pubsub service; name one with --service")
    return service.jid


def line(update: Update) -> str:
    """An update for people: time, name, value and unit."""
    record = update.record
    if update.gone:
        return f"{'':24} {record.name} is gone"
    stamp = "" if record.time is None else _stamp(record.time)
    plain = _plain(record)
    text = str(plain).lower() if isinstance(plain, bool) else str(plain)
    value = printable(text, _VALUE_LENGTH)
    return f"{stamp:24} {record.name} {value} {record.unit or ''}".rstrip()


def _stamp(at: float) -> str:
    try:
        moment = datetime.fromtimestamp(at, UTC)
    except (OverflowError, ValueError, OSError):  # a publisher may say any number
        return str(at)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def json_line(update: Update) -> str:
    """An update for programs: `value` is null where the name is gone; opaque is base64."""
    record = update.record
    fields = {
        "node": update.node,
        "item": update.item,
        "name": record.name,
        "value": None if update.gone else _plain(record),
        "unit": record.unit,
        "time": record.time,
    }
    return json.dumps(fields, ensure_ascii=False)


def _plain(record: Record) -> bool | int | float | str | None:
    match record.value:
        case bytes():
            return base64.b64encode(record.value).decode()
        case ObjLink():
            return str(record.value)
        case _:
            return record.value


def _account(_: click.Context, __: click.Parameter, jid: str) -> str:
    try:
        if JID(jid).user:
            return jid
    except InvalidJID:
        pass
    raise click.BadParameter(f"{jid!r} is no account, such as you@example.org")


@click.command("subscribe")
@click.option("--jid", required=True, callback=_account, help="The account to log in with.")
@click.option(
    "--password-file",
    required=True,
    type=click.Path(path_type=FilePath),
    help="A file that holds its password.",
)
@click.option("--service", help="The pubsub service; without it the server's own is found.")
@click.option("--gateway", default="gateway", show_default=True, help="Follow all its devices.")
@click.option("--root", default="iot", show_default=True, help="First part of the gateway's nodes.")
@click.option("--host", help="The server's address, if it is not the one that DNS gives.")
@click.option("--port", type=int, default=5222, show_default=True, help="Goes with --host.")
@click.option(
    "--ca-file", type=click.Path(path_type=FilePath), help="An authority to trust in addition."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.option("--count", type=click.IntRange(min=1), help="End after so many lines.")
@click.argument("nodes", nargs=-1)
def command(
    *,
    jid: str,
    password_file: FilePath,
    service: str | None,
    gateway: str,
    root: str,
    host: str | None,
    port: int,
    ca_file: FilePath | None,
    as_json: bool,
    count: int | None,
    nodes: tuple[str, ...],
) -> None:
    """Print what a gateway publishes over XMPP, one line a change, until Ctrl-C.

    Follows the NODES named, else all devices in the gateway's directory.
    """
    shown = 0

    def show(update: Update) -> None:
        nonlocal shown
        click.echo(json_line(update) if as_json else line(update))
        shown += 1
        if shown == count:
            raise Enough

    def tell(text: str) -> None:
        click.echo(text, err=True)

    try:
        password = read_secret(password_file, "password")
        account = Account(jid, password, host, port if host else None, ca_file=ca_file)
        directory = None if nodes else f"{root}/{gateway}"
        subscriber = Subscriber(
            account, service=service, nodes=nodes, directory=directory, show=show, tell=tell
        )
        asyncio.run(subscriber.run())
    except (Enough, KeyboardInterrupt):
        pass
    except GatewayError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    command()

"""The XMPP adapter: keeps a session up and, while it is, the mirror of the devices in it."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Iterator
from typing import assert_never

from adapters.xmpp.access import Roles
from adapters.xmpp.adhoc import AdHoc
from adapters.xmpp.administration import Administration
from adapters.xmpp.alerts import Alerts
from adapters.xmpp.chat import Chat
from adapters.xmpp.check import check
from adapters.xmpp.claim import other_keeper
from adapters.xmpp.config import XmppSection
from adapters.xmpp.control import Control
from adapters.xmpp.errors import BadCredentials, NoAnswer, StanzaError
from adapters.xmpp.formats import SENML_XML, Format, SenmlJson
from adapters.xmpp.iot.publication import Publication
from adapters.xmpp.iot.things import Things
from adapters.xmpp.presence import Presence
from adapters.xmpp.publisher import Publisher
from adapters.xmpp.pubsub import (
    FORBIDDEN,
    Pubsub,
    Service,
    find_pep,
    find_service,
    forbidden,
    homeless,
)
from adapters.xmpp.replay import Replay
from adapters.xmpp.requests import FEATURES, Requests
from adapters.xmpp.session import Session, login
from adapters.xmpp.talks import Talks
from gateway.errors import AdapterError
from gateway.events import State
from gateway.model import GATEWAY
from gateway.ports import NorthPort

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 60.0

STEADY_AFTER_S = 60.0
"""A session that lived this long was well: the next one is tried for soon."""

REFUSED_PAUSES_S = (15.0, 60.0, 300.0)
"""After a refused password; more logins would lock the account, and only a person helps."""


class Xmpp:
    """Publishes devices on an XMPP pubsub service."""

    Config = XmppSection
    check = staticmethod(check)

    def __init__(self, config: XmppSection, port: NorthPort) -> None:
        self._config = config
        self._port = port
        self._publisher = Publisher(config, port)
        self._alerts = Alerts(config.alerts, self._publisher.nodes, port)
        self._roles = Roles(config.roles)
        control = Control(port, self._roles, time.monotonic)
        administration = Administration(control, self._publisher.republish)
        self._commands = AdHoc(control, administration, time.monotonic)
        self._chat = Chat(control, time.monotonic)
        self._things = Things(control, time.time, time.monotonic)
        if self._roles.domains and config.access == "whitelist":
            log.warning(
                "a pubsub whitelist holds accounts, no domains: %s may use commands, but to "
                "subscribe an account must be listed under [xmpp.roles] itself",
                ", ".join(f"@{domain}" for domain in sorted(self._roles.domains)),
            )

    async def run(self) -> None:
        """Lives until cancelled; a server that is away is waited for."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._feed())
            group.create_task(self._keep_connected())

    async def _feed(self) -> None:
        """Takes what the hub tells, in a session and without one."""
        while True:
            event = await self._port.outbox.take()
            self._publisher.absorb(event)
            self._alerts.absorb(event)
            self._chat.absorb(event)
            self._things.absorb(event)

    async def _keep_connected(self) -> None:
        loop = asyncio.get_running_loop()
        pauses, refused = _pauses(), iter(REFUSED_PAUSES_S)
        while True:
            started = loop.time()
            try:
                await self._session()
            except BadCredentials as error:
                pause_s = next(refused, REFUSED_PAUSES_S[-1])
                reason = str(error)
            except AdapterError as error:
                if loop.time() - started > STEADY_AFTER_S:
                    pauses, refused = _pauses(), iter(REFUSED_PAUSES_S)
                pause_s = next(pauses)
                reason = str(error)
            waiting = self._publisher.waiting
            self._port.status(
                f"not connected: {reason}; {waiting} items wait; tries again in {pause_s:.0f} s",
                well=False,
            )
            await asyncio.sleep(pause_s)

    async def _session(self) -> None:
        """One session; ends by an AdapterError."""
        async with login(self._config.account()) as session:
            pubsub = await self._pubsub(session)
            await self._claim(pubsub)
            self._things.reset()
            requests = Requests(session, self._commands, self._things)
            about = requests.identity, FEATURES
            presence = Presence(session, self._roles, about, self._summary)
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(presence.run())
                    group.create_task(Talks(session, presence, self._chat, self._things).run())
                    group.create_task(requests.run())
                    group.create_task(self._publisher.run(pubsub))
                    group.create_task(Replay(self._port, self._publisher, pubsub).run())
                    group.create_task(self._alerts.run(pubsub))
            except asyncio.CancelledError:
                if not session.is_lost:
                    await self._publisher.farewell(pubsub)
                    presence.end()
                raise
            finally:
                pubsub.close()

    def _summary(self) -> str:
        devices = [device for device in self._port.devices() if device.id != GATEWAY]
        offline = sum(device.availability.state is State.OFFLINE for device in devices)
        return f"{len(devices)} devices, {offline} offline"

    async def _pubsub(self, session: Session) -> Pubsub:
        """The configured service, else the server's own if we may write there, else PEP."""
        if self._config.service == session.bare_jid:
            return self._on(session, Service(None))
        if self._config.service:
            return self._on(session, Service(self._config.service))
        own = await find_pep(session)
        if service := await find_service(session):
            pubsub = self._on(session, service)
            if own is None or await self._may_create(pubsub):
                return pubsub
        if own is None:
            raise AdapterError(homeless(session.domain))
        return self._on(session, own)

    async def _claim(self, pubsub: Pubsub) -> None:
        """Makes sure that our nodes are no other gateway's; AdapterError."""
        directory = self._publisher.nodes.directory
        if keeper := await other_keeper(pubsub, directory, time.time()):
            raise AdapterError(
                f"{keeper} publishes on {directory} already; give this gateway another name "
                "(gateway under [xmpp]), or wait ten minutes if that one is gone"
            )

    def _on(self, session: Session, service: Service) -> Pubsub:
        members = self._roles.accounts
        return Pubsub(session, service, self._config.access, members, self._format())

    def _format(self) -> Format:
        match self._config.payload:
            case "senml":
                return SENML_XML
            case "json":
                return SenmlJson()
            case "nf-sd":
                return Publication(self._port, self._config.nf_root, self._config.gateway)
            case _:
                assert_never(self._config.payload)

    async def _may_create(self, pubsub: Pubsub) -> bool:
        try:
            await self._claim(pubsub)
            await self._publisher.ensure_directory(pubsub)
        except StanzaError as error:
            if error.condition not in FORBIDDEN:
                raise
            log.warning("%s; using the own account (PEP) instead", forbidden(pubsub, error))
            return False
        except NoAnswer:
            return False
        return True


def _pauses() -> Iterator[float]:
    """Doubling, each shortened or lengthened by chance, so that gateways do not come in step."""
    pause_s = FIRST_PAUSE_S
    while True:
        yield pause_s * random.uniform(0.5, 1.5)  # noqa: S311  (no secret)
        pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

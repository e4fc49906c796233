"""What the XMPP adapter will lack: a login, a pubsub service, the right to create nodes.

It logs in beside a running gateway (with another resource, and without presence), and takes away
the node that it creates.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path as FilePath

from adapters.xmpp import stanzas
from adapters.xmpp.config import CREDENTIAL, XmppSection
from adapters.xmpp.errors import StanzaError
from adapters.xmpp.pubsub import FORBIDDEN, Pubsub, Service, find_pep, find_service, forbidden
from adapters.xmpp.session import Session, login
from gateway.configuration.checks import Finding, Severity, secret_file
from gateway.objects.registry import Registry

SECTION = "xmpp"

CREDENTIALS = FilePath("/etc/credstore")
"""Where the unit file's LoadCredential finds the password; root only may look."""


async def check(section: XmppSection, _: Registry) -> Sequence[Finding]:
    """Whether the gateway can log in and publish; AdapterError where it cannot even try."""
    findings: list[Finding] = []
    if section.password_file is None and "CREDENTIALS_DIRECTORY" not in os.environ:
        file = CREDENTIALS / CREDENTIAL
        if os.geteuid() != 0:
            text = "the login is not tried, only root may read the password: use sudo"
            return [Finding(Severity.WARNING, SECTION, text)]
        if not file.exists():
            text = f"no password: put it into {file}, or set password_file under [xmpp]"
            return [Finding(Severity.ERROR, SECTION, text)]
        section = section.model_copy(update={"password_file": file})
    elif section.password_file:
        findings += secret_file(SECTION, section.password_file)
    account = section.account()
    if account.component:
        text = f"the login of component {account.jid} is not tried: it would end a running one's"
        return [*findings, Finding(Severity.WARNING, SECTION, text)]
    beside = f"{account.jid.partition('/')[0]}/check-{secrets.token_hex(4)}"
    async with login(replace(account, jid=beside)) as session:
        findings.append(
            Finding(Severity.OK, SECTION, f"{session.bare_jid} is logged in over verified TLS")
        )
        findings += await _rights(section, session)
    return findings


async def _rights(section: XmppSection, session: Session) -> Sequence[Finding]:
    own = Service(None)
    if section.service == session.bare_jid:
        return [await _right(section, session, own)]
    if section.service:
        return [await _right(section, session, Service(section.service))]
    found, pep = await find_service(session), await find_pep(session)
    if found is None and pep is None:
        text = f"{session.domain} has neither a pubsub service nor PEP: have it switched on"
        return [Finding(Severity.ERROR, SECTION, text)]
    if found is None:
        return [await _right(section, session, own)]
    finding = await _right(section, session, found)
    if pep is None or finding.severity is Severity.OK:
        return [finding]
    return [replace(finding, severity=Severity.WARNING), await _right(section, session, own)]


async def _right(section: XmppSection, session: Session, service: Service) -> Finding:
    """Creates a node that nobody has, and deletes it, and before that one that was left behind."""
    node = f"{section.root}/{section.gateway}/check"
    with contextlib.suppress(StanzaError):
        await session.ask("set", service.jid, stanzas.delete(node))
    try:
        await session.ask("set", service.jid, stanzas.create(node, {}))
        await session.ask("set", service.jid, stanzas.delete(node))
    except StanzaError as error:
        if error.condition in FORBIDDEN:
            pubsub = Pubsub(session, service, section.access, frozenset())
            return Finding(Severity.ERROR, SECTION, forbidden(pubsub, error))
        return Finding(Severity.ERROR, SECTION, f"{service} cannot be used: {error}")
    return Finding(Severity.OK, SECTION, f"nodes may be created on {service}")

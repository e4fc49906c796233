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
from adapters.xmpp.errors import BadCredentials, CannotLogIn, NoAnswer, SessionLost, StanzaError
from adapters.xmpp.pubsub import (
    FORBIDDEN,
    Pubsub,
    Service,
    find_pep,
    find_service,
    forbidden,
    homeless,
)
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
        text = (
            f"the login of component {account.jid} is not tried, as it would end a running one's: "
            "start the daemon, and see what becomes of it: border-gateway devices"
        )
        return [*findings, Finding(Severity.WARNING, SECTION, text)]
    beside = f"{account.jid.partition('/')[0]}/check-{secrets.token_hex(4)}"
    try:
        async with login(replace(account, jid=beside)) as session:
            text = f"{session.bare_jid} is logged in over verified TLS"
            findings.append(Finding(Severity.OK, SECTION, text))
            findings += await _rights(section, session)
    except BadCredentials as error:
        text = f"{error}: correct {section.password_file}, or make the account"
        text += f"; Prosody: prosodyctl adduser {beside.partition('/')[0]}"
        findings.append(Finding(Severity.ERROR, SECTION, text))
    except (CannotLogIn, NoAnswer, SessionLost) as error:
        text = f"{error}; [xmpp] host and port say where the server is, ca_file says whom to trust"
        findings.append(Finding(Severity.ERROR, SECTION, f"{text}; its log may say more"))
    return findings


async def _rights(section: XmppSection, session: Session) -> Sequence[Finding]:
    own = Service(None)
    if section.service == session.bare_jid:
        return [await _right(section, session, own)]
    if section.service:
        return [await _right(section, session, Service(section.service))]
    found, pep = await find_service(session), await find_pep(session)
    if found is None and pep is None:
        return [Finding(Severity.ERROR, SECTION, homeless(session.domain))]
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
        text = f"{service} cannot be used ({error}): name another one with [xmpp] service"
        return Finding(Severity.ERROR, SECTION, text)
    return Finding(Severity.OK, SECTION, f"nodes may be created on {service}")

"""The `[xmpp]` section: what the operator can say, and where the password is."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator
from slixmpp import JID, InvalidJID

from adapters.xmpp.access import Role
from adapters.xmpp.payload import Layout
from adapters.xmpp.stream import Account
from gateway.configuration.secret import credential, read_secret
from gateway.errors import AdapterError
from gateway.patterns import PathPattern
from gateway.ports import Section

CREDENTIAL = "xmpp-password"
"""The name of the systemd credential that holds the password."""

CLIENT_PORT = 5222
COMPONENT_PORT = 5347
_LOOPBACK = "127.0.0.1"

_SEGMENT = re.compile(r"[a-z0-9-]{1,20}")


def _address(text: str) -> str:
    return str(_jid(text))


def _jid(text: str) -> JID:
    try:
        return JID(text)
    except InvalidJID as error:
        raise ValueError("expected an XMPP address") from error


def _segment(text: str) -> str:
    # Servers turn other characters of a node's name into file names that are too long.
    if not _SEGMENT.fullmatch(text):
        raise ValueError("expected 1 to 20 of a-z, 0-9 and -")
    return text


def _roles(roles: Mapping[str, Role]) -> Mapping[str, Role]:
    """The table with its names as servers stamp them."""
    stamped: dict[str, Role] = {}
    for name, role in roles.items():
        jid, is_domain = _jid(name.removeprefix("@")), name.startswith("@")
        if jid.resource or bool(jid.user) == is_domain:
            raise ValueError(f"{name!r} is neither an account (a@example.org) nor an @example.org")
        stamped[f"@{jid}" if is_domain else str(jid)] = role
    return stamped


def _pattern(text: str) -> str:
    return str(PathPattern.parse(text))


Segment = Annotated[str, AfterValidator(_segment)]


class XmppSection(Section):
    """Publishes the devices on an XMPP server and takes commands from there."""

    jid: Annotated[str, AfterValidator(_address)] = Field(examples=["gateway@example.org"])
    """The account of this gateway, of its own."""
    password_file: FilePath | None = Field(None, examples=["/etc/border-gateway/xmpp-password"])
    """A file that holds the password; without it, the systemd credential xmpp-password does."""
    service: Annotated[str, AfterValidator(_address)] | None = Field(
        None, examples=["pubsub.example.org"]
    )
    """The pubsub service; without it the server's own is found, else the account itself is used."""
    root: Segment = "iot"
    """First part of all nodes: iot/gateway/0024befffe804ff1."""
    gateway: Segment = "gateway"
    """Second part of all nodes: this gateway, if several use one service."""
    host: str | None = Field(None, examples=["192.0.2.1"])
    """The server's address, if it is not the one that DNS gives for the account's domain."""
    port: Annotated[int, Field(ge=1, le=65535)] | None = Field(None, examples=[5222])
    """The port that goes with host: 5222 unless given, for a component 5347."""
    component: bool = False
    """Whether jid is that of a component (XEP-0114: iot.example.org), the password its secret."""
    direct_tls: bool = False
    """Whether TLS starts at once (port 5223) and not by STARTTLS. There is no way without TLS."""
    ca_file: FilePath | None = Field(None, examples=["/etc/border-gateway/ca.pem"])
    """An authority to trust besides those of the system, for a server with its own."""
    access: Literal["whitelist", "open"] = "whitelist"
    """Who may subscribe on the service: those with a role, or (open) everybody who reaches it."""
    layout: Layout = "device"
    """What an item is: an object instance (device), a resource, or the whole device (state)."""
    payload: Literal["senml", "json", "nf-sd"] = "senml"
    """What an item is written in: SenML in XML, in JSON, or the IoTGateway family's sensor data."""
    nf_root: Literal["urn:nf", "urn:nfi", "urn:ieee"] = "urn:nf"
    """The namespace root of payload nf-sd; requests are answered in the one that they use."""
    prune: bool = False
    """Whether nodes of devices that this gateway does not know (any more) are deleted."""
    window: Annotated[int, Field(ge=1, le=64)] = 8
    """Items on their way to the server at a time; more are faster, but delay commands."""
    alerts: tuple[Annotated[str, AfterValidator(_pattern)], ...] = (
        "3200/*/5500",
        "3200/*/5501",
        "3302/*/5500",
        "3342/*/5500",
        "3347/*/5500",
        "3347/*/5501",
        "3348/*/5547",
    )
    """Events, each change of which is an item of its own on node iot/gateway/alerts: digital inputs
    and their counters, presence, switches, buttons, selectors. [] publishes none."""
    roles: Annotated[Mapping[str, Role], AfterValidator(_roles)] = Field(
        {}, examples=[{"ann@example.org": "operator", "@example.org": "reader"}]
    )
    """What people and programs may do: reader, operator (writes, executes) or admin."""

    @model_validator(mode="after")
    def _fits(self) -> Self:
        jid = JID(self.jid)
        if not self.component and not jid.user:
            raise ValueError("jid: expected an account, such as gateway@example.org")
        if self.component and (jid.user or jid.resource):
            raise ValueError("jid: expected a component's domain, such as iot.example.org")
        if self.component and not _is_loopback(self.host or _LOOPBACK):
            raise ValueError(
                "host: a component's line is not encrypted, and ends on this machine "
                "(127.0.0.1); lead it through a tunnel if the server is elsewhere"
            )
        return self

    def account(self) -> Account:
        """How to log in; the password is read anew each time. AdapterError if there is none."""
        if self.component:
            host, port = self.host or _LOOPBACK, self.port or COMPONENT_PORT
            return Account(self.jid, self._password(), host, port, component=True)
        return Account(
            jid=self.jid if JID(self.jid).resource else f"{self.jid}/{self.gateway}",
            password=self._password(),
            host=self.host,
            port=self.port or CLIENT_PORT if self.host else None,
            direct_tls=self.direct_tls,
            ca_file=self.ca_file,
        )

    def _password(self) -> str:
        file = self.password_file or credential(CREDENTIAL)
        if file is None:
            raise AdapterError("no password: set password_file under [xmpp]")
        return read_secret(file, "password")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

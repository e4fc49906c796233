"""slixmpp's two kinds of stream, set up as this gateway wants them: an account, or a component."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path as FilePath

from slixmpp import ClientXMPP, ComponentXMPP

from adapters.xmpp import scram as _scram  # noqa: F401  (registers itself with slixmpp)
from gateway.errors import AdapterError, reason

_MECHANISMS = {
    f"SCRAM-{hash_}{binding}"
    for hash_ in ("SHA-1", "SHA-256", "SHA-512")
    for binding in ("", "-PLUS")
}


@dataclass(frozen=True, slots=True)
class Account:
    """How to log in. Without host and port the domain's SRV records say where.

    A component (XEP-0114) has a domain for its JID; host and port are where the server takes it.
    """

    jid: str
    password: str = field(repr=False)
    host: str | None = None
    port: int | None = None
    direct_tls: bool = False
    ca_file: FilePath | None = None
    component: bool = False


def stream(account: Account) -> ClientXMPP | ComponentXMPP:
    """A client that is not connected yet, and does nothing by itself."""
    made = _component(account) if account.component else _client(account)
    made.auto_authorize = None
    made.auto_subscribe = False
    return made


def _component(account: Account) -> ComponentXMPP:
    component = ComponentXMPP(  # type: ignore[no-untyped-call]
        account.jid, account.password, account.host, account.port
    )
    component.enable_direct_tls = False  # the protocol has none
    component.del_event_handler("presence_probe", component._handle_probe)  # it refuses everybody
    return component


def _client(account: Account) -> ClientXMPP:
    mechanisms = {"use_mechs": _MECHANISMS, "encrypted_plain": False}
    client = ClientXMPP(
        account.jid,
        account.password,
        plugin_config={"feature_mechanisms": mechanisms},
        ssl_context=_tls(account.ca_file),
    )
    client.enable_direct_tls = account.direct_tls
    client.enable_starttls = not account.direct_tls
    client.enable_plaintext = False
    client.max_redirects = -1  # see-other-host arrives before TLS: anybody could send it
    return client


def _tls(ca_file: FilePath | None) -> ssl.SSLContext:
    """That of the session before, unless a file of authorities has changed since.

    It holds the system's authorities, a megabyte, and slixmpp's cycles keep it after a session.
    """
    files = ssl.get_default_verify_paths().cafile, ca_file
    try:
        return _context(ca_file, tuple(FilePath(f).stat().st_mtime_ns for f in files if f))
    except ssl.SSLError as error:
        raise AdapterError(f"[xmpp] ca_file {ca_file} holds no certificates in PEM") from error
    except OSError as error:
        raise AdapterError(f"[xmpp] ca_file {ca_file} cannot be used: {reason(error)}") from error


@lru_cache(1)
def _context(ca_file: FilePath | None, _changed_ns: tuple[int, ...]) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if ca_file:
        context.load_verify_locations(ca_file)
    return context

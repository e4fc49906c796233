"""Where a server listens: an IP address and a port, also one that this machine has only later.

At boot the network may come after the servers. They are bound all the same (IP_FREEBIND, ip(7)),
and are reached as soon as the address is there.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import logging
import os
import re
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Annotated, Protocol, TypeVar, runtime_checkable

from pydantic import AfterValidator

from gateway.errors import AdapterError

log = logging.getLogger(__name__)

LOOK_S = 10.0
"""How often to look whether an address or an interface has come or gone."""

NO_SUCH_ADDRESS = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT, errno.ENODEV})
"""This machine lacks the address, its interface or IPv6: no reason to give up the others."""

_IP_FREEBIND = 15  # a Linux number that the socket module lacks

_LISTEN = re.compile(r"\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]:(\d{1,5})|([0-9.]+):(\d{1,5})")


def parse_listen(text: str) -> tuple[str, int]:
    """The address and port in `127.0.0.1:5683` or `[::1]:5683`; ValueError otherwise."""
    match = _LISTEN.fullmatch(text)
    if not match or int(match[2] or match[4]) > 0xFFFF:
        raise ValueError('expected an address and a port, such as "127.0.0.1:5683", "[::]:5683"')
    host = match[1] or match[3]
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{host} is not an IP address") from None
    return host, int(match[2] or match[4])


def _checked(text: str) -> str:
    parse_listen(text)
    return text


Listen = Annotated[str, AfterValidator(_checked)]
"""A key of the configuration that `parse_listen` understands."""


@dataclass(frozen=True, slots=True)
class Listener:
    """A place to listen that a section names: under which key, over "udp" or "tcp", and where."""

    key: str
    transport: str
    listen: str

    def excludes(self, other: Listener) -> bool:
        """Whether only one of the two can be had."""
        (host, port), (other_host, other_port) = map(parse_listen, (self.listen, other.listen))
        own, others = ipaddress.ip_address(host), ipaddress.ip_address(other_host)
        return (
            self.transport == other.transport
            and own.version == others.version
            and port == other_port != 0
            and (own == others or own.is_unspecified or others.is_unspecified)
        )


@runtime_checkable
class Listening(Protocol):
    """A section that says where to listen."""

    @property
    def listeners(self) -> Sequence[Listener]:
        """Every place, in the order of the section."""


def clashes(sections: Mapping[str, object]) -> Iterator[str]:
    """A sentence for each two places in the sections, by name, of which only one can be had."""
    named = [
        (name, listener)
        for name, section in sections.items()
        if isinstance(section, Listening)
        for listener in section.listeners
    ]
    for (name, first), (other, second) in combinations(named, 2):
        if first.excludes(second):
            yield (
                f"[{other}] {second.key} = {second.listen!r}: [{name}] {first.key} has "
                f"{first.listen}; take another port"
            )


class Closable(Protocol):
    """What holds an address until it is closed."""

    def close(self) -> None:
        """Gives the address back."""


_Opened = TypeVar("_Opened", bound=Closable)


def barred(listen: str, error: OSError, change: str) -> str:
    """Why nobody can listen there, and what to do: free the place, or `change` what names it."""
    reason = f"cannot listen on {listen}: {os.strerror(error.errno or 0)}"
    port = parse_listen(listen)[1]
    if error.errno == errno.EACCES:
        return f"{reason}: port {port} is for root, so {change} to one above 1023"
    return f"{reason}: stop who has it (ss -lnp sport = :{port}), or {change}"


def require_one(listen: Sequence[str]) -> None:
    """AdapterError if this machine has none of the addresses yet."""
    if not any(is_here(parse_listen(text)[0]) for text in listen):
        reason = os.strerror(errno.EADDRNOTAVAIL)
        raise AdapterError(f"cannot listen on {' or '.join(listen)}: {reason}")


def open_all(wanted: Sequence[tuple[str, Callable[[str, int], _Opened]]]) -> list[_Opened]:
    """What is opened on each address, there or not; AdapterError if one cannot be had."""
    opened: list[_Opened] = []
    for text, opening in wanted:
        try:
            opened.append(opening(*parse_listen(text)))
        except OSError as error:
            if error.errno != errno.EAFNOSUPPORT:
                for each in opened:
                    each.close()
                raise AdapterError(barred(text, error, "change the port")) from error
            log.warning("cannot listen on %s: %s", text, error.strerror)  # no IPv6 in this kernel
    return opened


def bind(bound: socket.socket, host: str, port: int) -> None:
    """Binds to an address, whether this machine has it now or later; OSError if it cannot."""
    if bound.family == socket.AF_INET6:
        bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    bound.setsockopt(socket.IPPROTO_IP, _IP_FREEBIND, 1)
    bound.bind(_resolved(host, port))


def listening(host: str, port: int) -> socket.socket:
    """A TCP socket that listens; OSError if the address cannot be had."""
    bound = socket.socket(_family(host), socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bind(bound, host, port)
        bound.listen()
    except OSError:
        bound.close()
        raise
    return bound


def is_here(host: str) -> bool:
    """Whether this machine has an IP address now."""
    try:
        with socket.socket(_family(host), socket.SOCK_DGRAM) as probe:
            probe.bind(_resolved(host, 0))
    except OSError as error:
        return error.errno not in NO_SUCH_ADDRESS
    return True


def places(hosts: Mapping[str, str]) -> tuple[str, bool]:
    """Where one can be reached now, and where later, in words; whether the network lacks nothing.

    `hosts` are the IP addresses by what a place is called. A loopback address that is missing is
    IPv6 switched off.
    """
    absent = [name for name, host in hosts.items() if not is_here(host)]
    text = " and ".join(name for name in hosts if name not in absent) or "nothing"
    if absent:
        text += f", and {' and '.join(absent)} once this machine has that address"
    return text, all(ipaddress.ip_address(hosts[name]).is_loopback for name in absent)


async def keep_looking(look: Callable[[], None]) -> None:
    """Looks again and again, until cancelled."""
    while True:
        await asyncio.sleep(LOOK_S)
        look()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def _resolved(host: str, port: int) -> tuple[object, ...]:
    """The address as sockets want it, with the number of its interface."""
    return socket.getaddrinfo(host, port, _family(host), flags=socket.AI_NUMERICHOST)[0][4]

"""Who has registered with us, by LwM2M or with the resource directory (RFC 9176). Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from ipaddress import IPv6Address
from urllib.parse import urlsplit

from gateway.errors import DecodeError
from gateway.formats.linkformat import Link

MAX_REGISTRATIONS = 512
"""As many as there may be routes into the mesh."""

MAX_ENDPOINT_OCTETS = 63
"""RFC 9176 5."""

LWM2M_LIFETIME_S = 86_400
RD_LIFETIME_S = 90_000
"""Where a registration names none (LwM2M Core 6.2.1, RFC 9176 5)."""
MAX_LIFETIME_S = 2**32 - 1

COAP_PORT = 5683

LWM2M_VERSIONS = ("1.0", "1.1", "1.2")


@dataclass(frozen=True, slots=True)
class Registration:
    """One endpoint. `lwm2m` is its version, empty for the resource directory.

    `key` is who it is: its link address, or whatever its address shows.
    """

    number: int
    key: bytes
    endpoint: str
    lwm2m: str
    links: tuple[Link, ...]
    lifetime_s: float
    until: float
    queue_mode: bool = False
    """The node sleeps, and listens for a while after each message of its own (LwM2M's Q)."""

    @property
    def location(self) -> tuple[str, str]:
        """The path of the registration."""
        return ("rd", str(self.number))


def query_parameters(query: Sequence[str]) -> Mapping[str, str]:
    """The parameters of a request; a flag has an empty value."""
    pairs = (parameter.partition("=") for parameter in query)
    return {name: value for name, _, value in pairs}


def requested_lifetime_s(parameters: Mapping[str, str], default_s: float) -> float:
    """The lifetime that is asked for; LwM2M's 0 is for ever. DecodeError otherwise."""
    text = parameters.get("lt")
    if text is None:
        return default_s
    if not (text.isascii() and text.isdecimal() and int(text) <= MAX_LIFETIME_S):
        raise DecodeError("lt is a number of seconds")
    return float(text) or math.inf


def base_port(parameters: Mapping[str, str], address: str, default: int) -> int:
    """The port at which a node wants to be asked: of its `base`, else that which it spoke from.

    DecodeError if the base is not the node's own address: nobody registers others here.
    """
    base = parameters.get("base")
    if base is None:
        return default
    try:
        parts = urlsplit(base)
        own = parts.scheme == "coap" and IPv6Address(parts.hostname or "") == IPv6Address(address)
        port = parts.port
    except ValueError:
        own, port = False, None
    if not own:
        raise DecodeError("base must be coap:// and the address that the request comes from")
    return COAP_PORT if port is None else port


class Registrations:
    """The registrations by number; a node has one of each kind, and the newest counts."""

    def __init__(self) -> None:
        self._by_number: dict[int, Registration] = {}
        self._next = 1

    def __iter__(self) -> Iterator[Registration]:
        return iter(self._by_number.values())

    def of(self, key: bytes) -> Registration | None:
        """What a node has registered last."""
        mine = [r for r in self._by_number.values() if r.key == key]
        return mine[-1] if mine else None

    def register(
        self, key: bytes, parameters: Mapping[str, str], links: Sequence[Link], now: float
    ) -> Registration:
        """Takes a registration, in the place of the same endpoint's earlier one.

        DecodeError if it cannot be taken; the text is for the node's developer.
        """
        endpoint, version = parameters.get("ep", ""), parameters.get("lwm2m", "")
        if len(endpoint.encode()) > MAX_ENDPOINT_OCTETS or not endpoint.isprintable():
            raise DecodeError(f"ep has at most {MAX_ENDPOINT_OCTETS} octets of text")
        default_s = LWM2M_LIFETIME_S if version else RD_LIFETIME_S
        lifetime_s = requested_lifetime_s(parameters, default_s)
        earlier = [r for r in self if (r.key, bool(r.lwm2m)) == (key, bool(version))]
        number = earlier[0].number if earlier else self._free_number()
        # Last in line: it is the newest.
        self._by_number.pop(number, None)
        taken = Registration(
            *(number, key, endpoint, version),
            *(tuple(links), lifetime_s, now + lifetime_s),
            # A flag of its own since LwM2M 1.1, a letter of the binding before.
            queue_mode=bool(version) and ("Q" in parameters or "Q" in parameters.get("b", "")),
        )
        self._by_number[number] = taken
        return taken

    def update(
        self,
        number: int,
        key: bytes,
        parameters: Mapping[str, str],
        links: Sequence[Link] | None,
        now: float,
    ) -> Registration | None:
        """Renews a registration of the same node; None if there is none, DecodeError as above."""
        known = self._by_number.get(number)
        if known is None or known.key != key or known.until <= now:
            return None
        lifetime_s = requested_lifetime_s(parameters, known.lifetime_s)
        renewed = replace(known, lifetime_s=lifetime_s, until=now + lifetime_s)
        if links is not None:
            renewed = replace(renewed, links=tuple(links))
        self._by_number[number] = renewed
        return renewed

    def remove(self, number: int, key: bytes) -> Registration | None:
        """Ends a registration of the same node."""
        known = self._by_number.get(number)
        if known is None or known.key != key:
            return None
        return self._by_number.pop(number)

    def expire(self, now: float) -> list[Registration]:
        """Ends those that were not renewed; returns them."""
        late = [r for r in self if r.until <= now]
        for registration in late:
            del self._by_number[registration.number]
        return late

    def _free_number(self) -> int:
        if len(self._by_number) >= MAX_REGISTRATIONS:
            del self._by_number[min(self, key=lambda r: r.until).number]
        number = self._next
        self._next += 1
        return number

"""The messages of neighbour discovery (RFC 4861, RFC 6775): octets to fields and back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from adapters.lowpan.drops import Drop, Dropped
from adapters.lowpan.ipv6 import icmpv6
from adapters.lowpan.ipv6.icmpv6 import Message

HOP_LIMIT = 255
"""Of every message: it has not been forwarded."""

SOURCE_LINK, TARGET_LINK, PREFIX, ADDRESS_REGISTRATION, CONTEXT, BORDER_ROUTER = 1, 2, 3, 33, 34, 35

ROUTER, SOLICITED, OVERRIDE = 0x80, 0x40, 0x20
"""Flags of an advertisement."""

_AUTONOMOUS = 0x40
_COMPRESSION = 0x10
_INFINITE_S = 0xFFFFFFFF
_REGISTRATION_UNIT_S = 60

ROUTER_LIFETIME_S = 1800
"""RFC 4861's default; a 6LoWPAN node solicits again before it ends."""
CONTEXT_LIFETIME_MIN = 60
"""Twice the router's: it is refreshed with it, and never runs out on a node that is alive."""
CUR_HOP_LIMIT = 64


@dataclass(frozen=True, slots=True)
class Registration:
    """An address registration option: how long, and for which node; lifetime 0 ends it."""

    status: int
    lifetime_s: int
    eui64: bytes
    octets: bytes
    """The whole option."""

    def answer(self, status: int) -> bytes:
        """The option of the answer."""
        return self.octets[:2] + bytes((status,)) + self.octets[3:]


@dataclass(frozen=True, slots=True)
class Solicitation:
    """A neighbour solicitation."""

    target: bytes
    has_link: bool
    registration: Registration | None


def parse_solicitation(message: Message) -> Solicitation:
    """The neighbour solicitation in a message; raises Dropped."""
    target = _target(message)
    has_link, registration = False, None
    for type, octets in options(message.body[20:]):
        if type == SOURCE_LINK:
            has_link = True
        elif type == ADDRESS_REGISTRATION:
            if len(octets) != 16:
                raise Dropped(Drop.ND_MALFORMED, "address registration option")
            lifetime_s = _REGISTRATION_UNIT_S * int.from_bytes(octets[6:8], "big")
            registration = Registration(octets[2], lifetime_s, octets[8:], octets)
    return Solicitation(target, has_link, registration)


def parse_advertisement(message: Message) -> bytes:
    """The target of a neighbour advertisement; raises Dropped."""
    target = _target(message)
    dict(options(message.body[20:]))
    return target


def check_router_solicitation(message: Message) -> bool:
    """Whether a router solicitation names the sender's link address; raises Dropped."""
    _check(message, 4)
    return SOURCE_LINK in dict(options(message.body[4:]))


def options(octets: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and all octets of each option; raises Dropped."""
    at = 0
    while at < len(octets):
        end = at + 8 * octets[at + 1] if at + 1 < len(octets) else at
        if end == at or end > len(octets):
            raise Dropped(Drop.ND_MALFORMED, "option length")
        yield octets[at], octets[at:end]
        at = end


def link_option(type: int, link: bytes) -> bytes:
    """A link-layer address option: 16 octets for an EUI-64, 8 for a short address."""
    octets = bytes((type, 2 if len(link) == 8 else 1)) + link
    return octets + bytes(-len(octets) % 8)


@dataclass(frozen=True, slots=True)
class RouterAdvertisement:
    """What our advertisements say: link address, /64 prefix as a context, border router."""

    link: bytes
    prefix: bytes
    context_id: int
    border_router: bytes
    border_version: int

    def message(self) -> Message:
        """The advertisement, short enough for two frames."""
        head = bytes((CUR_HOP_LIMIT, 0)) + ROUTER_LIFETIME_S.to_bytes(2, "big") + bytes(8)
        prefix = bytes((PREFIX, 4, 64, _AUTONOMOUS)) + _INFINITE_S.to_bytes(4, "big") * 2
        context = bytes((CONTEXT, 2, 64, _COMPRESSION | self.context_id, 0, 0))
        low, high = self.border_version & 0xFFFF, self.border_version >> 16
        border = bytes((BORDER_ROUTER, 3)) + low.to_bytes(2, "big") + high.to_bytes(2, "big")
        body = (
            *(head, link_option(SOURCE_LINK, self.link)),
            *(prefix, bytes(4), self.prefix, bytes(8)),
            *(context, CONTEXT_LIFETIME_MIN.to_bytes(2, "big"), self.prefix),
            *(border, bytes(2), self.border_router),
        )
        return Message(icmpv6.ROUTER_ADVERTISEMENT, 0, b"".join(body))


def advertisement(flags: int, target: bytes, option: bytes) -> Message:
    """A neighbour advertisement with one option."""
    body = bytes((flags, 0, 0, 0)) + target + option
    return Message(icmpv6.NEIGHBOUR_ADVERTISEMENT, 0, body)


def solicitation(target: bytes, link: bytes) -> Message:
    """A neighbour solicitation from the node with a link address."""
    body = bytes(4) + target + link_option(SOURCE_LINK, link)
    return Message(icmpv6.NEIGHBOUR_SOLICITATION, 0, body)


def _target(message: Message) -> bytes:
    _check(message, 20)
    target = message.body[4:20]
    if target[0] == 0xFF:
        raise Dropped(Drop.ND_MALFORMED, "the target is a group")
    return target


def _check(message: Message, octets: int) -> None:
    if message.code or len(message.body) < octets:
        raise Dropped(Drop.ND_MALFORMED, f"message {message.type}")

"""Options of hop-by-hop and destination headers (RFC 8200 4.2), and RPL's own (RFC 6553)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from adapters.lowpan.drops import Drop, Dropped

PAD1, PADN = 0, 1
RPL = frozenset({0x63, 0x23})
"""RFC 6553, and RFC 9008, whose form nodes outside of RPL may skip."""


@dataclass(frozen=True, slots=True)
class RplOption:
    """What a packet tells about its way through the DODAG."""

    downward: bool
    rank_error: bool
    forwarding_error: bool
    instance: int
    sender_rank: int


def options(body: bytes) -> Iterator[tuple[int, int, bytes]]:
    """Offset in the body, type and data of each option but padding; raises Dropped."""
    at = 0
    while at < len(body):
        if body[at] == PAD1:
            at += 1
            continue
        end = at + 2 + body[at + 1] if at + 1 < len(body) else len(body) + 1
        if end > len(body):
            raise Dropped(Drop.IPV6_MALFORMED, "option is longer than its header")
        if body[at] != PADN:
            yield at, body[at], body[at + 2 : end]
        at = end


def parse_rpl(data: bytes) -> RplOption:
    """The RPL option in an option's data; raises Dropped."""
    if len(data) < 4:
        raise Dropped(Drop.IPV6_MALFORMED, "RPL option")
    flags, instance = data[0], data[1]
    return RplOption(
        downward=bool(flags & 0x80),
        rank_error=bool(flags & 0x40),
        forwarding_error=bool(flags & 0x20),
        instance=instance,
        sender_rank=data[2] << 8 | data[3],
    )


def encode_rpl(option: RplOption) -> bytes:
    """The body of a hop-by-hop header with a RPL option alone."""
    flags = option.downward << 7 | option.rank_error << 6 | option.forwarding_error << 5
    return bytes((0x63, 4, flags, option.instance)) + option.sender_rank.to_bytes(2, "big")

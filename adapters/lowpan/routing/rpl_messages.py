"""The control messages of RPL (RFC 6550 6): octets to fields and back. The base object only."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from adapters.lowpan.drops import Drop, Dropped
from adapters.lowpan.ipv6.icmpv6 import RPL_CONTROL, Message

DIS, DIO, DAO, DAO_ACK = 0, 1, 2, 3
"""Codes; with 0x80 they are the secured variants, which no node in use sends."""

PAD1, CONFIGURATION, TARGET, TRANSIT, SOLICITED, PREFIX = 0, 4, 5, 6, 7, 8
"""Options."""

INFINITE_RANK = 0xFFFF
_GROUNDED = 0x80
_AUTONOMOUS = 0x40
_ACK_REQUESTED, _HAS_DODAG = 0x80, 0x40
_SAME_VERSION, _SAME_INSTANCE, _SAME_DODAG = 0x80, 0x40, 0x20
_DIO_OCTETS = 24


@dataclass(frozen=True, slots=True)
class DodagParameters:
    """What a DODAG's root decides for all; the units are those of the option."""

    mode: int
    doublings: int
    interval_min: int
    max_rank_increase: int
    min_hop_rank_increase: int
    objective: int
    lifetime: int
    lifetime_unit_s: int


@dataclass(frozen=True, slots=True)
class Information:
    """A DODAG information object (DIO), as far as a root looks at one."""

    instance: int
    version: int
    rank: int
    dodag_id: bytes
    dtsn: int = 0
    mode: int = 0


@dataclass(frozen=True, slots=True)
class SolicitedInformation:
    """What a solicitation asks for; None is whatever there is."""

    instance: int | None
    version: int | None
    dodag_id: bytes | None


@dataclass(frozen=True, slots=True)
class Destination:
    """A target that was advertised, and its parent if it was named; lifetime in units."""

    target: bytes
    prefix_bits: int
    parent: bytes | None
    lifetime: int


@dataclass(frozen=True, slots=True)
class Advertisement:
    """A destination advertisement object (DAO)."""

    instance: int
    sequence: int
    ack_requested: bool
    dodag_id: bytes | None
    destinations: tuple[Destination, ...]


def encode_information(
    information: Information, parameters: DodagParameters, prefix: bytes
) -> Message:
    """A grounded root's DIO, with configuration and the /64 prefix (8 octets) for addresses."""
    mode = _GROUNDED | information.mode << 3
    body = (
        *(bytes((information.instance, information.version)), _u16(information.rank)),
        *(bytes((mode, information.dtsn, 0, 0)), information.dodag_id),
        bytes((CONFIGURATION, 14, 0, parameters.doublings, parameters.interval_min, 0)),
        *(_u16(parameters.max_rank_increase), _u16(parameters.min_hop_rank_increase)),
        *(_u16(parameters.objective), bytes((0, parameters.lifetime))),
        _u16(parameters.lifetime_unit_s),
        *(bytes((PREFIX, 30, 64, _AUTONOMOUS)), b"\xff" * 8, bytes(4), prefix, bytes(8)),
    )
    return Message(RPL_CONTROL, DIO, b"".join(body))


def parse_information(body: bytes) -> Information:
    """The DIO in a message's body; raises Dropped."""
    if len(body) < _DIO_OCTETS:
        raise Dropped(Drop.RPL_MALFORMED, "DIO")
    for _ in _options(body, _DIO_OCTETS):
        pass
    return Information(
        instance=body[0],
        version=body[1],
        rank=body[2] << 8 | body[3],
        dodag_id=body[8:24],
        dtsn=body[5],
        mode=body[4] >> 3 & 7,
    )


def parse_solicitation(body: bytes) -> SolicitedInformation:
    """The DIS in a message's body; raises Dropped."""
    if len(body) < 2:
        raise Dropped(Drop.RPL_MALFORMED, "DIS")
    for type, data in _options(body, 2):
        if type == SOLICITED:
            if len(data) != 19:
                raise Dropped(Drop.RPL_MALFORMED, "solicited information")
            return SolicitedInformation(
                instance=data[0] if data[1] & _SAME_INSTANCE else None,
                version=data[18] if data[1] & _SAME_VERSION else None,
                dodag_id=data[2:18] if data[1] & _SAME_DODAG else None,
            )
    return SolicitedInformation(None, None, None)


def parse_advertisement(body: bytes) -> Advertisement:
    """The DAO in a message's body; raises Dropped."""
    if len(body) < 4:
        raise Dropped(Drop.RPL_MALFORMED, "DAO")
    dodag_id, at = None, 4
    if body[1] & _HAS_DODAG:
        dodag_id, at = body[4:20], 20
        if len(body) < at:
            raise Dropped(Drop.RPL_MALFORMED, "DAO without its DODAG")
    return Advertisement(
        instance=body[0],
        sequence=body[3],
        ack_requested=bool(body[1] & _ACK_REQUESTED),
        dodag_id=dodag_id,
        destinations=tuple(_destinations(body, at)),
    )


def encode_ack(instance: int, sequence: int, status: int) -> Message:
    """A DAO-ACK."""
    return Message(RPL_CONTROL, DAO_ACK, bytes((instance, 0, sequence, status)))


def _destinations(body: bytes, at: int) -> Iterator[Destination]:
    """Each target with the first transit that follows its group of targets."""
    group: list[tuple[bytes, int]] = []
    for type, data in _options(body, at):
        if type == TARGET:
            octets = (data[1] + 7) // 8 if len(data) > 1 else 17
            if octets > 16 or len(data) < 2 + octets:
                raise Dropped(Drop.RPL_MALFORMED, "target")
            group.append((data[2 : 2 + octets].ljust(16, b"\0"), data[1]))
        elif type == TRANSIT:
            if len(data) not in (4, 20):
                raise Dropped(Drop.RPL_MALFORMED, "transit information")
            parent = data[4:] or None
            for target, bits in group:
                yield Destination(target, bits, parent, data[3])
            group = []


def _options(body: bytes, at: int) -> Iterator[tuple[int, bytes]]:
    while at < len(body):
        if body[at] == PAD1:
            at += 1
            continue
        end = at + 2 + body[at + 1] if at + 1 < len(body) else len(body) + 1
        if end > len(body):
            raise Dropped(Drop.RPL_MALFORMED, "option length")
        yield body[at], body[at + 2 : end]
        at = end


def _u16(value: int) -> bytes:
    return value.to_bytes(2, "big")

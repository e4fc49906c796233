"""Header compression of IPv6 (RFC 6282 3): datagrams as octets on both sides.

Does not know frames; what the link layer contributes are the two interface identifiers.
"""

from __future__ import annotations

from dataclasses import dataclass

from adapters.lowpan.drops import Drop, Dropped
from adapters.lowpan.link import SHORT_IID
from adapters.lowpan.sixlowpan import nhc
from adapters.lowpan.sixlowpan.contexts import LINK_LOCAL, Context, Contexts
from gateway.errors import EncodeError

DISPATCH = 0x60
"""`011` in the three highest bits."""

HEADER = 40
"""Octets of the IPv6 header."""

_RESERVED = -1
_TF_OCTETS = (4, 3, 1, 0)
_HOP_LIMITS = (0, 1, 64, 255)
_SOURCE_OCTETS = (16, 8, 2, 0, 0, 8, 2, 0)
"""In-line octets by SAC and SAM."""
_DESTINATION_OCTETS = (
    *(16, 8, 2, 0),
    *(_RESERVED, 8, 2, 0),
    *(16, 6, 4, 1),
    *(6, _RESERVED, _RESERVED, _RESERVED),
)
"""In-line octets by M, DAC and DAM."""
_ADDRESS_OCTETS = (16, 8, 2, 0)
_UNSPECIFIED = bytes(16)


@dataclass(frozen=True, slots=True)
class Decompressed:
    """A datagram, or the part of it that a first fragment held.

    `contexts` has the bit of each context that was used; `udp_at` is where the UDP header
    starts whose checksum the sender left out, which is zero here.
    """

    datagram: bytes
    contexts: int = 0
    udp_at: int | None = None


def decompress(
    data: bytes, source: bytes, destination: bytes, contexts: Contexts, size: int | None = None
) -> Decompressed:
    """Restores a datagram from its IPHC form; raises Dropped.

    `source` and `destination` are the interface identifiers of the enclosing addresses, `size`
    the length of the whole datagram where `data` is its first fragment.
    """
    return _decompress(data, source, destination, contexts, size, depth=0)


def _decompress(
    data: bytes,
    source: bytes,
    destination: bytes,
    contexts: Contexts,
    size: int | None,
    *,
    depth: int,
) -> Decompressed:
    source_at, destination_at, end = _layout(data)
    first, second = data[0], data[1]
    cid, at = (data[2], 3) if second & 0x80 else (0, 2)
    traffic, at = _traffic(data, at, first >> 3 & 3)
    hop_limit = _HOP_LIMITS[first & 3] or data[source_at - 1]
    mode = second >> 4 & 7
    used, context = _context(contexts, cid >> 4) if mode > 4 else (0, LINK_LOCAL)
    source = _source(mode, data[source_at:destination_at], context, source)
    mode = second & 15
    bit, context = _context(contexts, cid & 15) if mode & 4 else (0, LINK_LOCAL)
    destination = _destination(mode, data[destination_at:end], context, destination)

    room = None if size is None else size - HEADER
    if first & 4:

        def inner(tunnelled: bytes, room: int | None) -> nhc.Expanded:
            ends = source[8:], destination[8:]
            return _tunnelled(_decompress(tunnelled, *ends, contexts, room, depth=depth + 1))

        rest = nhc.expand(data, end, room, inner, depth)
    else:
        rest = nhc.Expanded(data[at], data[end:])
    length = len(rest.octets) if room is None else room
    if length < len(rest.octets):
        raise Dropped(Drop.FRAGMENT_SIZE, "first fragment is longer than its datagram")
    header = traffic | length << 16 | rest.number << 8 | hop_limit
    datagram = header.to_bytes(8, "big") + source + destination + rest.octets
    udp_at = len(datagram) - rest.udp_behind if rest.udp_behind else None
    return Decompressed(datagram, used | bit | rest.contexts, udp_at)


def _layout(data: bytes) -> tuple[int, int, int]:
    """Where the octets of source and destination start and end; before them is the hop limit."""
    if len(data) < 2:
        raise Dropped(Drop.TRUNCATED, "IPHC")
    first, second = data[0], data[1]
    if first & 0xE0 != DISPATCH:
        raise Dropped(Drop.NHC, "a tunnel without IPHC")
    in_line = _TF_OCTETS[first >> 3 & 3] + (not first & 4) + (not first & 3)
    source_at = 2 + (second >> 7) + in_line
    destination_at = source_at + _SOURCE_OCTETS[second >> 4 & 7]
    end = destination_at + _DESTINATION_OCTETS[second & 15]
    if end < destination_at:
        raise Dropped(Drop.RESERVED, f"destination mode {second & 15}")
    if len(data) < end:
        raise Dropped(Drop.TRUNCATED, "IPHC")
    return source_at, destination_at, end


def _tunnelled(inner: Decompressed) -> nhc.Expanded:
    if inner.udp_at is not None:
        raise Dropped(Drop.UDP_CHECKSUM_ELIDED, "in a tunnel")
    return nhc.Expanded(nhc.IPV6, inner.datagram, contexts=inner.contexts)


def _traffic(data: bytes, at: int, tf: int) -> tuple[int, int]:
    """Version, traffic class and flow label in place; on the air ECN comes before DSCP."""
    if tf == 3:
        return 6 << 60, at
    octet = data[at]
    if tf == 2:
        return 6 << 60 | (octet << 2 & 0xFC | octet >> 6) << 52, at + 1
    end = at + _TF_OCTETS[tf]
    dscp = octet << 2 & 0xFC if tf == 0 else 0
    flow = int.from_bytes(data[end - 3 : end], "big") & 0xFFFFF
    return 6 << 60 | (dscp | octet >> 6) << 52 | flow << 32, end


def _context(contexts: Contexts, cid: int) -> tuple[int, Context]:
    context = contexts.get(cid)
    if context is None:
        raise Dropped(Drop.CONTEXT_UNKNOWN, f"context {cid}")
    return 1 << cid, context


def _source(mode: int, inline: bytes, context: Context, iid: bytes) -> bytes:
    if mode == 0:
        return inline
    return _UNSPECIFIED if mode == 4 else _unicast(mode & 3, inline, context, iid)


def _destination(mode: int, inline: bytes, context: Context, iid: bytes) -> bytes:
    match mode:
        case 0 | 8:
            return inline
        case 9:
            return b"\xff" + inline[:1] + bytes(9) + inline[1:]
        case 10:
            return b"\xff" + inline[:1] + bytes(11) + inline[1:]
        case 11:
            return b"\xff\x02" + bytes(13) + inline
        case 12:
            return _prefix_multicast(context, inline)
        case _:
            return _unicast(mode & 3, inline, context, iid)


def _unicast(mode: int, inline: bytes, context: Context, iid: bytes) -> bytes:
    if mode == 1:
        iid = inline
    elif mode == 2:
        iid = SHORT_IID + inline
    return context.address(iid)


def _prefix_multicast(context: Context, inline: bytes) -> bytes:
    """A multicast address that carries its network's prefix (RFC 3306, 3956)."""
    length = bytes((min(context.length, 64),))
    return b"\xff" + inline[:2] + length + context.prefix[:8] + inline[2:]


def compress(
    datagram: bytes, source: bytes, destination: bytes, contexts: Contexts
) -> tuple[bytes, int]:
    """The shortest IPHC form of the headers, and how many octets of the datagram it stands for.

    `contexts` are those that the receiver is known to hold.
    """
    if len(datagram) < HEADER or datagram[0] >> 4 != 6:
        raise EncodeError("not an IPv6 datagram")
    tf, traffic = _compress_traffic(int.from_bytes(datagram[:4], "big"))
    hop_limit = datagram[7]
    hlim = _HOP_LIMITS.index(hop_limit) if hop_limit in _HOP_LIMITS[1:] else 0
    source_mode, sci, source_octets = _compress_source(datagram[8:24], source, contexts)
    destination_mode, dci, destination_octets = _compress_destination(
        datagram[24:40], destination, contexts
    )
    chain = nhc.compress(datagram[6], datagram, HEADER)
    cid = sci << 4 | dci
    first = DISPATCH | tf << 3 | (4 if chain else 0) | hlim
    second = (0x80 if cid else 0) | source_mode << 4 | destination_mode
    parts = (
        bytes((first, second)),
        bytes((cid,)) if cid else b"",
        traffic,
        b"" if chain else datagram[6:7],
        b"" if hlim else datagram[7:8],
        source_octets,
        destination_octets,
        chain.octets if chain else b"",
    )
    return b"".join(parts), HEADER + (chain.covered if chain else 0)


def _compress_traffic(word: int) -> tuple[int, bytes]:
    traffic_class, flow = word >> 20 & 0xFF, word & 0xFFFFF
    octet = (traffic_class << 6 | traffic_class >> 2) & 0xFF
    if not flow:
        return (2, bytes((octet,))) if traffic_class else (3, b"")
    if traffic_class < 4:
        return 1, (octet << 16 | flow).to_bytes(3, "big")
    return 0, bytes((octet,)) + flow.to_bytes(3, "big")


def _compress_source(address: bytes, iid: bytes, contexts: Contexts) -> tuple[int, int, bytes]:
    if address == _UNSPECIFIED:
        return 4, 0, b""
    return _compress_unicast(address, iid, contexts)


def _compress_destination(address: bytes, iid: bytes, contexts: Contexts) -> tuple[int, int, bytes]:
    if address[0] != 0xFF:
        return _compress_unicast(address, iid, contexts)
    if address[1] == 2 and not any(address[2:15]):
        return 11, 0, address[15:]
    if not any(address[2:13]):
        return 10, 0, address[1:2] + address[13:]
    if not any(address[2:11]):
        return 9, 0, address[1:2] + address[11:]
    for cid, context in contexts.items():
        inline = address[1:3] + address[12:]
        if _prefix_multicast(context, inline) == address:
            return 12, cid, inline
    return 8, 0, address


def _compress_unicast(address: bytes, iid: bytes, contexts: Contexts) -> tuple[int, int, bytes]:
    """Mode (4 more with a context), context identifier, octets in line."""
    best = (0, 0, address)
    for flag, cid, context in ((0, 0, LINK_LOCAL), *((4, c, x) for c, x in contexts.items())):
        if context.address(iid) == address:
            mode = 3
        elif context.address(SHORT_IID + address[14:]) == address:
            mode = 2
        elif context.address(address[8:]) == address:
            mode = 1
        else:
            continue
        if mode > best[0] & 3:
            best = (flag | mode, cid, address[16 - _ADDRESS_OCTETS[mode] :])
    return best

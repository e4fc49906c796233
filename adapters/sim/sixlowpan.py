"""6LoWPAN as a small node does it: stateless header compression and fragments. Pure.

Written apart from the gateway's own codecs, so that each checks the other: it sends the simplest
forms that RFC 6282 and RFC 4944 allow, and reads all that a gateway may send without contexts.
"""

from __future__ import annotations

FRAME_OCTETS = 104
"""What 802.15.4 leaves between two long addresses without security."""

UDP = 17
HEADER = 40
_EXTENSIONS = {0: 0, 1: 43, 2: 44, 3: 60}
_MAX_PARTIAL = 4


def iid(eui64: bytes) -> bytes:
    """The interface identifier of an EUI-64."""
    return bytes((eui64[0] ^ 2,)) + eui64[1:]


def compress(datagram: bytes, source: bytes, destination: bytes) -> bytes:
    """The whole datagram behind an IPHC header; link addresses let link-local ones be left out."""
    next_header, hop_limit = datagram[6], datagram[7]
    own, to, rest = datagram[8:24], datagram[24:40], datagram[40:]
    udp = next_header == UDP
    hops = {1: 1, 64: 2, 255: 3}.get(hop_limit, 0)
    first = 0x60 | 0x18 | (0x04 if udp else 0) | hops
    second = (0x30 if own == b"\xfe\x80" + bytes(6) + iid(source) else 0) | _mode(to, destination)
    head = bytes((first, second))
    if not udp:
        head += bytes((next_header,))
    if not hops:
        head += bytes((hop_limit,))
    head += b"" if second & 0x30 else own
    head += {0x03: b"", 0x0B: to[15:], 0x08: to}.get(second & 0x0F, to)
    # Ports and checksum in full; the length is that of the frame.
    return head + (b"\xf0" + rest[:4] + rest[6:] if udp else rest)


def _mode(to: bytes, destination: bytes) -> int:
    if to[0] == 0xFF:
        return 0x0B if to[:15] == b"\xff\x02" + bytes(13) else 0x08
    return 0x03 if to == b"\xfe\x80" + bytes(6) + iid(destination) else 0


def frames(datagram: bytes, source: bytes, destination: bytes, tag: int) -> list[bytes]:
    """The payloads of the frames that carry a datagram; `tag` is used if there are several."""
    whole = compress(datagram, source, destination)
    if len(whole) <= FRAME_OCTETS:
        return [whole]
    # All of the first fragment's headers, then as many octets as a multiple of 8 allows.
    saved = len(datagram) - len(whole)
    first = (FRAME_OCTETS - 4 + saved) // 8 * 8
    size = len(datagram)
    label = bytes((size >> 8, size & 0xFF, tag >> 8, tag & 0xFF))
    parts = [bytes((0xC0 | label[0],)) + label[1:] + whole[: first - saved]]
    step = (FRAME_OCTETS - 5) // 8 * 8
    for at in range(first, size, step):
        head = bytes((0xE0 | label[0],)) + label[1:] + bytes((at // 8,))
        parts.append(head + datagram[at : at + step])
    return parts


class Reader:
    """Payloads of frames in, datagrams out; what is not understood is dropped."""

    def __init__(self) -> None:
        self._partial: dict[tuple[bytes, bytes], tuple[bytearray, set[int]]] = {}

    def feed(self, payload: bytes, source: bytes, destination: bytes) -> bytes | None:
        """The datagram that this payload completes."""
        kind = payload[0] & 0xF8
        if payload[0] >> 5 == 3:
            return expand(payload, source, destination, None)
        if kind not in (0xC0, 0xE0):
            return None
        size = (payload[0] & 7) << 8 | payload[1]
        if kind == 0xC0:
            offset, part = 0, expand(payload[4:], source, destination, size)
        else:
            offset, part = payload[4] * 8, payload[5:]
        key = source, payload[:1].translate(_SAME_KIND) + payload[1:4]
        if key not in self._partial:
            while len(self._partial) >= _MAX_PARTIAL:
                self._partial.pop(next(iter(self._partial)))
            self._partial[key] = bytearray(size), set()
        datagram, have = self._partial[key]
        datagram[offset : offset + len(part)] = part
        have.update(range(offset, offset + len(part)))
        if len(have) < size:
            return None
        del self._partial[key]
        return bytes(datagram)


_SAME_KIND = bytes(octet & 7 for octet in range(256))


def expand(payload: bytes, source: bytes, destination: bytes, size: int | None) -> bytes:
    """The datagram behind an IPHC header without contexts; the first `size` octets' part of it.

    ValueError for what only a context could tell.
    """
    first, second = payload[0], payload[1]
    if second & 0xC4:
        raise ValueError("a context that this node does not hold")
    at = 2 + (4, 3, 1, 0)[first >> 3 & 3]  # traffic class and flow label are ignored
    next_header = 0
    if not first & 0x04:
        next_header, at = payload[at], at + 1
    hop_limit = (0, 1, 64, 255)[first & 3]
    if not first & 3:
        hop_limit, at = payload[at], at + 1
    own, at = _address(payload, at, second >> 4 & 3, source)
    if second & 0x08:
        to, at = _group(payload, at, second & 3)
    else:
        to, at = _address(payload, at, second & 3, destination)
    body, rest = b"", payload[at:]
    if first & 0x04:
        next_header, body = _next_headers(rest, None if size is None else size - HEADER)
    else:
        body = rest
    length = len(body) if size is None else size - HEADER
    return b"".join(
        (b"\x60\0\0\0", length.to_bytes(2, "big"), bytes((next_header, hop_limit)), own, to, body)
    )


def _address(payload: bytes, at: int, mode: int, link: bytes) -> tuple[bytes, int]:
    size = (16, 8, 2, 0)[mode]
    inline, prefix = payload[at : at + size], b"\xfe\x80" + bytes(6)
    address = {
        0: inline,
        1: prefix + inline,
        2: prefix + b"\0\0\0\xff\xfe\0" + inline,
        3: prefix + iid(link),
    }[mode]
    return address, at + size


def _group(payload: bytes, at: int, mode: int) -> tuple[bytes, int]:
    size = (16, 6, 4, 1)[mode]
    octets = payload[at : at + size]
    if mode == 0:
        return octets, at + size
    head, tail = (b"\xff\x02", octets) if mode == 3 else (b"\xff" + octets[:1], octets[1:])
    return head + bytes(14 - len(tail)) + tail, at + size


def _next_headers(data: bytes, length: int | None) -> tuple[int, bytes]:
    """The number of the first compressed header, and it and all that follows uncompressed.

    `length` is what follows the IPv6 header, where the data is only a part of it.
    """
    head = data[0]
    if head & 0xF8 == 0xF0:
        return UDP, _udp(data, length)
    if head & 0xF0 != 0xE0 or head >> 1 & 7 not in _EXTENSIONS:
        raise ValueError("an unknown header")
    at = 1 + (not head & 1)
    content = data[at + 1 : at + 1 + data[at]]
    padding = -(len(content) + 2) % 8
    if padding:
        content += bytes((1, padding - 2)) + bytes(padding - 2) if padding > 1 else b"\0"
    rest = data[at + 1 + data[at] :]
    if head & 1:
        following, rest = _next_headers(rest, None if length is None else length - len(content) - 2)
    else:
        following = data[1]
    header = bytes((following, (len(content) + 2) // 8 - 1)) + content
    return _EXTENSIONS[head >> 1 & 7], header + rest


def _udp(data: bytes, length: int | None) -> bytes:
    match data[0] & 3:
        case 0:
            ports, at = data[1:5], 5
        case 1:
            ports, at = data[1:3] + b"\xf0" + data[3:4], 4
        case 2:
            ports, at = b"\xf0" + data[1:4], 4
        case _:
            ports, at = bytes((0xF0, 0xB0 | data[1] >> 4, 0xF0, 0xB0 | data[1] & 15)), 2
    if data[0] & 4:
        raise ValueError("a UDP checksum that was left out")
    checksum, content = data[at : at + 2], data[at + 2 :]
    size = 8 + len(content) if length is None else length
    return ports + size.to_bytes(2, "big") + checksum + content

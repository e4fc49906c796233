"""Fragmentation and reassembly of datagrams on a link (RFC 4944 5.3). Time is an argument."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from adapters.lowpan.drops import Drop, Dropped
from adapters.lowpan.sixlowpan.iphc import HEADER, Decompressed
from gateway.errors import EncodeError

FIRST, NEXT = 0xC0, 0xE0
"""Dispatch of the first and of the following fragments, in the five highest bits."""

FIRST_OCTETS, NEXT_OCTETS = 4, 5
"""Octets of their headers."""

MAX_SIZE = 2047
"""Datagram sizes are eleven bits."""

TAGS = 1 << 16

Key = tuple[bytes, bytes, int, int]
"""Link source, link destination, datagram size and tag name a datagram."""


@dataclass(frozen=True, slots=True)
class ReassemblyLimits:
    """What strangers may occupy: memory and time."""

    datagrams: int = 16
    """Real nodes send one at a time, so this serves 16 nodes at once."""
    per_source: int = 2
    """One, and the next one when the end of the first was lost."""
    size: int = 1280
    """The IPv6 minimum MTU; up to 2047 can be asked for."""
    octets: int = 64 * 1024
    """Of all buffers together."""
    timeout_s: float = 10.0
    """Nodes send the fragments of a datagram within a second and keep them 0.5 to 3 s."""


@dataclass(frozen=True, slots=True)
class Fragment:
    """One fragment: where its octets belong in the datagram that `key` names."""

    key: Key
    offset: int
    data: bytes


@dataclass(slots=True)
class _Buffer:
    octets: bytearray
    deadline: float
    parts: dict[int, int] = field(default_factory=dict)
    filled: int = 0
    """A bit for every 8 octets that are there."""
    first: Decompressed | None = None


class Reassembler:
    """Datagrams that have not arrived completely; the oldest come first."""

    def __init__(self, limits: ReassemblyLimits) -> None:
        self._limits = limits
        self._buffers: dict[Key, _Buffer] = {}
        self._octets = 0

    def __len__(self) -> int:
        return len(self._buffers)

    @property
    def octets(self) -> int:
        """What all the buffers hold together."""
        return self._octets

    def add(
        self, fragment: Fragment, now: float, first: Decompressed | None = None
    ) -> tuple[Decompressed | None, int]:
        """Takes a fragment (`first` is what the first one was decompressed to).

        Returns the datagram if it is complete now, and how many others had to make room. Raises
        Dropped; what overlaps with something else starts the datagram afresh (RFC 4944 5.3).
        """
        evicted = 0
        self._check(fragment)
        buffer = self._buffers.get(fragment.key)
        if buffer is None:
            evicted = self._make_room(fragment.key)
            buffer = self._open(fragment.key, now)
        end = fragment.offset + len(fragment.data)
        mask = (1 << (end + 7) // 8) - (1 << fragment.offset // 8)
        if buffer.filled & mask:
            if buffer.parts.get(fragment.offset) == len(fragment.data):
                return None, evicted
            self._close(fragment.key)
            self._put(self._open(fragment.key, now), fragment, mask, first)
            raise Dropped(Drop.FRAGMENT_OVERLAP)
        self._put(buffer, fragment, mask, first)
        whole = (1 << (len(buffer.octets) + 7) // 8) - 1
        if buffer.filled != whole or buffer.first is None:
            return None, evicted
        self._close(fragment.key)
        return replace(buffer.first, datagram=bytes(buffer.octets)), evicted

    def expire(self, now: float) -> int:
        """Gives up what has waited too long; returns how many."""
        late = [key for key, buffer in self._buffers.items() if buffer.deadline <= now]
        for key in late:
            self._close(key)
        return len(late)

    def next_deadline(self) -> float | None:
        """When `expire` has something to do."""
        return next((buffer.deadline for buffer in self._buffers.values()), None)

    def _check(self, fragment: Fragment) -> None:
        size = fragment.key[2]
        if not HEADER <= size <= min(self._limits.size, self._limits.octets):
            raise Dropped(Drop.FRAGMENT_SIZE, f"datagram of {size} octets")
        end = fragment.offset + len(fragment.data)
        if not fragment.data or end > size or (end % 8 and end != size):
            raise Dropped(Drop.FRAGMENT_MALFORMED, f"octets {fragment.offset} to {end} of {size}")

    def _make_room(self, key: Key) -> int:
        evicted = 0
        own = [other for other in self._buffers if other[0] == key[0]]
        if len(own) >= self._limits.per_source:
            self._close(own[0])
            evicted = 1
        while self._buffers and (
            len(self._buffers) >= self._limits.datagrams
            or self._octets + key[2] > self._limits.octets
        ):
            self._close(next(iter(self._buffers)))
            evicted += 1
        return evicted

    def _open(self, key: Key, now: float) -> _Buffer:
        buffer = self._buffers[key] = _Buffer(bytearray(key[2]), now + self._limits.timeout_s)
        self._octets += key[2]
        return buffer

    @staticmethod
    def _put(buffer: _Buffer, fragment: Fragment, mask: int, first: Decompressed | None) -> None:
        end = fragment.offset + len(fragment.data)
        buffer.octets[fragment.offset : end] = fragment.data
        buffer.parts[fragment.offset] = len(fragment.data)
        buffer.filled |= mask
        buffer.first = buffer.first or first

    def _close(self, key: Key) -> None:
        self._octets -= len(self._buffers.pop(key).octets)


def fragment(
    headers: bytes, covered: int, datagram: bytes, tag: int, max_payload: int
) -> Iterator[bytes]:
    """The frames of a datagram whose first `covered` octets travel as `headers`.

    One frame if it fits in `max_payload` octets; raises EncodeError if the headers do not.
    """
    size = len(datagram)
    if len(headers) + size - covered <= max_payload:
        yield headers + datagram[covered:]
        return
    if size > MAX_SIZE:
        raise EncodeError(f"a datagram of {size} octets cannot be fragmented")
    end = (covered + max_payload - FIRST_OCTETS - len(headers)) // 8 * 8
    if end < covered:
        raise EncodeError(f"compressed headers of {len(headers)} octets do not fit in a fragment")
    yield _header(FIRST, size, tag) + headers + datagram[covered:end]
    step = (max_payload - NEXT_OCTETS) // 8 * 8
    for offset in range(end, size, step):
        yield _header(NEXT, size, tag) + bytes((offset // 8,)) + datagram[offset : offset + step]


def _header(dispatch: int, size: int, tag: int) -> bytes:
    return (dispatch << 24 | size << 16 | tag).to_bytes(4, "big")

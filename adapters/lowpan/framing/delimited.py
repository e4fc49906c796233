"""Splits a byte stream at a delimiter. Whoever uses it says how one piece is unwrapped."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum


class Fault(Enum):
    """Why a piece of the stream is no packet."""

    TOO_LONG = "too long"
    TOO_SHORT = "too short"
    ESCAPE = "bad escape"
    CHECKSUM = "bad checksum"


@dataclass(frozen=True, slots=True)
class BadFrame:
    """A piece of the stream was dropped; `size` is how many octets of it were seen."""

    fault: Fault
    size: int


class Deframer:
    """Collects the pieces between delimiters; holds at most `limit` octets as received.

    What comes before the first delimiter is dropped: the port may have been opened in mid-frame.
    Empty pieces are ignored, so that one or two delimiters may stand between packets.
    """

    def __init__(
        self, delimiter: bytes, limit: int, unwrap: Callable[[bytes], bytes | BadFrame]
    ) -> None:
        self._delimiter = delimiter
        self._limit = limit
        self._unwrap = unwrap
        self._piece = bytearray()
        self._size = 0
        self._synchronised = False

    def feed(self, data: bytes) -> list[bytes | BadFrame]:
        """Takes what was read from the line; gives the packets and faults that it completed."""
        completed: list[bytes | BadFrame] = []
        *ended, rest = data.split(self._delimiter)
        for end in ended:
            self._append(end)
            if self._synchronised and self._size:
                completed.append(self._complete())
            self._synchronised = True
            self._piece.clear()
            self._size = 0
        self._append(rest)
        return completed

    def _append(self, data: bytes) -> None:
        self._size += len(data)
        if self._synchronised and self._size <= self._limit:
            self._piece += data

    def _complete(self) -> bytes | BadFrame:
        if self._size > self._limit:
            return BadFrame(Fault.TOO_LONG, self._size)
        return self._unwrap(bytes(self._piece))

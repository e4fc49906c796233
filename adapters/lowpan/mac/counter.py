"""Our own frame counter, which must never go back: numbers are reserved before they are used."""

from __future__ import annotations

from collections.abc import Callable

from adapters.lowpan.mac.security import LAST_COUNTER
from gateway.errors import EncodeError

BLOCK = 1000
"""Numbers a reservation: what a restart may lose, against a write to disk now and then."""


class FrameCounter:
    """Counts secured frames of one key.

    `start` is what was last given to `reserve`, 0 for a new key; `reserve` must store its number
    for good before it returns, and may raise: then no number is given out.
    """

    def __init__(self, start: int, reserve: Callable[[int], None], block: int = BLOCK) -> None:
        self._next = self._reserved = start
        self._reserve = reserve
        self._block = block

    def take(self) -> int:
        """The number of the next frame; EncodeError once the key is used up."""
        if self._next >= LAST_COUNTER:
            raise EncodeError("the link key has secured 2^32 frames: the network needs a new one")
        if self._next >= self._reserved:
            reserved = min(self._next + self._block, LAST_COUNTER)
            self._reserve(reserved)
            self._reserved = reserved
        self._next += 1
        return self._next - 1

"""Whether the wall clock can be believed, and by how much it moved. Pure."""

from __future__ import annotations

from collections.abc import Callable

JUMP_S = 10.0
"""What is told as a jump; what a time server corrects usually is less."""

DOUBTED_S = 86_400.0
"""How long nothing is deleted by a clock that jumped ahead: somebody has a day to mend it."""


class ClockWatch:
    """Knows whether the wall clock has been set since the machine started; it stays set then."""

    def __init__(
        self,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        asked: Callable[[], bool],
    ) -> None:
        self.wall = wall
        self.monotonic = monotonic
        self._asked = asked
        self.is_set = asked()
        self._base = self._believed_base = wall() - monotonic()
        self._jumped_at = monotonic()

    def believed(self) -> float:
        """Unix seconds, by which what is old is deleted: without a jump ahead that is not a day
        old, or that was before the clock was set.
        """
        return min(self.wall(), self._believed_base + self.monotonic())

    def look(self) -> float | None:
        """When the clock has been set since the last look: by how many seconds it has moved."""
        if self.is_set or not self._asked():
            return None
        self.is_set = True
        moved_s = self._moved_s()
        self._believed_base = self._base = self._base + moved_s
        return moved_s

    def jump(self) -> float | None:
        """When a clock that was set has jumped since the last look: by how many seconds."""
        moved_s = self._moved_s()
        if self.is_set and abs(moved_s) >= JUMP_S:
            self._base += moved_s
            self._jumped_at = self.monotonic()
            return moved_s
        if self.monotonic() - self._jumped_at >= DOUBTED_S:
            self._believed_base = self._base
        return None

    def _moved_s(self) -> float:
        return self.wall() - self.monotonic() - self._base

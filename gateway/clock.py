"""Whether the wall clock can be believed, and by how much it moved when it was set. Pure."""

from __future__ import annotations

from collections.abc import Callable


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
        self._started_at = wall() - monotonic()
        self.is_set = asked()

    def now(self) -> float:
        """Unix seconds; until the clock is set, as if nobody had moved it."""
        return self.wall() if self.is_set else self._started_at + self.monotonic()

    def look(self) -> float | None:
        """When the clock has been set since the last look: by how many seconds it has moved."""
        if self.is_set or not self._asked():
            return None
        self.is_set = True
        return self.wall() - self.monotonic() - self._started_at

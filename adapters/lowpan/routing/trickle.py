"""The trickle timer (RFC 6206) without suppression: when to repeat what everyone should know."""

from collections.abc import Callable


class Trickle:
    """Fires once an interval; intervals double from `shortest_s`, `doublings` times.

    `random` gives numbers from 0 to 1; `next_at` is when it fires.
    """

    def __init__(
        self, shortest_s: float, doublings: int, random: Callable[[], float], now: float
    ) -> None:
        self._shortest_s = shortest_s
        self._longest_s = shortest_s * 2**doublings
        self._random = random
        self._begin(shortest_s, now)

    def _begin(self, interval_s: float, now: float) -> None:
        self._interval_s = interval_s
        self._end = now + interval_s
        self.next_at = now + interval_s * (1 + self._random()) / 2

    def fired(self, now: float) -> None:
        """Goes on to the next interval; those that were slept through are left out."""
        self._begin(min(2 * self._interval_s, self._longest_s), max(self._end, now))

    def reset(self, now: float) -> None:
        """Something is inconsistent: the shortest interval begins, if it is not that already."""
        if self._interval_s > self._shortest_s:
            self._begin(self._shortest_s, now)

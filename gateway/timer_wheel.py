"""Many coarse deadlines at once, each in constant time; knows no clock and nothing of its keys."""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Generic, TypeVar

TICK_S = 0.1
"""How late a deadline may be noticed."""

SLOTS = 1_024
"""Ticks in one turn: a deadline further away than these 100 s is looked at once a turn."""

K = TypeVar("K", bound=Hashable)


class TimerWheel(Generic[K]):
    """One deadline for each key; as large as the number of keys that have one."""

    def __init__(self, now: float, tick_s: float = TICK_S, slots: int = SLOTS) -> None:
        self._tick_s = tick_s
        self._slots: list[dict[K, None]] = [{} for _ in range(slots)]
        self._ticks: dict[K, int] = {}
        self._passed = math.floor(now / tick_s)

    def __len__(self) -> int:
        return len(self._ticks)

    def set(self, key: K, deadline: float) -> None:
        """Gives the key its deadline, in place of one that it had."""
        self.cancel(key)
        tick = max(math.ceil(deadline / self._tick_s), self._passed + 1)
        self._ticks[key] = tick
        self._slots[tick % len(self._slots)][key] = None

    def cancel(self, key: K) -> None:
        """Takes the key's deadline back, if it has one."""
        if (tick := self._ticks.pop(key, None)) is not None:
            del self._slots[tick % len(self._slots)][key]

    def expired(self, now: float) -> list[K]:
        """The keys whose deadlines have passed, earliest tick first; they have none any more."""
        last = math.floor(now / self._tick_s)
        keys: list[K] = []
        for tick in range(self._passed + 1, min(last, self._passed + len(self._slots)) + 1):
            slot = self._slots[tick % len(self._slots)]
            keys += [key for key in slot if self._ticks[key] <= last]
        self._passed = max(last, self._passed)
        keys.sort(key=self._ticks.__getitem__)
        for key in keys:
            self.cancel(key)
        return keys

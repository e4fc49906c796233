"""Which changes the server has as live values, each by itself, and which the journal must bring.

Pure; `now` is monotonic seconds. What is not surely there counts as missing: to tell something
twice is harmless, since it carries its time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from adapters.xmpp.queue import RECENT_S, Key
from gateway.events import Entry
from gateway.model import DeviceId, Path


class Place:
    """A number in the journal up to which the server has everything.

    `settled` allows for a server that forgets what it acknowledged just before it died.
    """

    def __init__(self, number: int) -> None:
        self.number = number
        self.settled = number
        self._recent: deque[tuple[float, int]] = deque()

    def reach(self, number: int, now: float) -> None:
        """The server has acknowledged all up to a number."""
        self.number = number
        self._recent.append((now, number))
        self._settle(now)

    def lost(self, now: float) -> None:
        """The session is gone, and perhaps what was acknowledged last."""
        self._settle(now)
        self._recent.clear()
        self.number = self.settled

    def _settle(self, now: float) -> None:
        while self._recent and self._recent[0][0] <= now - RECENT_S:
            self.settled = self._recent.popleft()[1]


class Delivery:
    """Follows each change from the hub to the server's acknowledgement.

    It ceases to when some change was not delivered by itself, since a newer one came before it
    could be sent, or the session was lost. Then the journal is read from the place on; from where
    that ends changes are followed again, already while it is sent.
    """

    def __init__(self, place: Place) -> None:
        self.place = place
        self._follows = False
        self._replays = False
        self._last = place.number
        self._open: dict[int, Key] = {}
        self._waiting: dict[Key, dict[Path, Entry]] = {}
        self._in_flight: dict[Key, dict[Path, Entry]] = {}

    @property
    def behind(self) -> bool:
        """Whether the server lacks something that only the journal has."""
        return self._replays or not self._follows

    def told(self, entry: Entry, key: Key) -> None:
        """A change was told that will be sent with `key`."""
        if not self._follows or entry.number <= self._last:
            return
        waiting = self._waiting.setdefault(key, {})
        if entry.number > self._last + 1 or entry.path in waiting:
            self._fall_behind()
            return
        self._last = entry.number
        self._open[entry.number] = key
        waiting[entry.path] = entry

    def sending(self, key: Key, shows: Callable[[Entry], bool]) -> None:
        """What `key` stands for is being sent now; `shows` says whether a change is in it."""
        waiting = self._waiting.pop(key, {})
        if all(map(shows, waiting.values())):
            self._in_flight[key] = waiting
        else:
            self._fall_behind()

    def sent(self, key: Key, now: float) -> None:
        """The server has acknowledged what was sent for `key`."""
        for entry in self._in_flight.pop(key, {}).values():
            del self._open[entry.number]
        self._reach(now)

    def unsent(self, key: Key) -> None:
        """What was sent for `key` did not arrive; it will be sent again as it is then."""
        again = self._in_flight.pop(key, {})
        waiting = self._waiting.setdefault(key, {})
        if again.keys() & waiting.keys():
            self._fall_behind()
        else:
            waiting.update(again)

    def dropped(self, key: Key) -> None:
        """Nothing will be sent for `key`."""
        if self._waiting.pop(key, {}) or self._in_flight.pop(key, {}):
            self._fall_behind()

    def forget(self, device: DeviceId) -> None:
        """A device is gone, and its changes with it."""
        for keys in (self._waiting, self._in_flight):
            for key in [key for key in keys if key.device == device]:
                del keys[key]
        self._open = {n: key for n, key in self._open.items() if key.device != device}

    def lost(self, now: float) -> None:
        """The session is gone."""
        acknowledged = self.place.number
        self.place.lost(now)
        for key in list(self._in_flight):
            self.unsent(key)
        if self.place.number < acknowledged or self._replays:
            self._fall_behind()
        self._replays = False

    def replay(self, number: int) -> None:
        """The journal's entries up to a number are sent; what is told after them is followed."""
        self._replays, self._follows = True, True
        self._last = number

    def replayed(self, number: int, now: float) -> None:
        """The journal's entries up to that number have been sent and acknowledged."""
        self._replays = False
        self.place.reach(number, now)
        self._reach(now)

    def _reach(self, now: float) -> None:
        if not self.behind:
            self.place.reach(next(iter(self._open), self._last + 1) - 1, now)

    def _fall_behind(self) -> None:
        self._follows = False
        self._open.clear()
        self._waiting.clear()
        self._in_flight.clear()

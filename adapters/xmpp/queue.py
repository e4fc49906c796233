"""Which item is sent next, so that none is ever stale: it holds keys, and never a value.

What a key stands for is read by the caller when it sends. Pure; `now` is monotonic seconds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from adapters.xmpp.nodes import DIRECTORY
from gateway.model import DeviceId

LEISURE_SHARE = 0.2
"""Of the time, for what is put for leisure while anything else waits: a server that keeps a node in
one file writes all of the directory anew for an update, 0.25 s with a thousand devices."""

RECENT_S = 5.0
"""A server that dies may lose what it acknowledged last: ejabberd the last half second."""

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
"""Pauses of a node that cannot be written, doubled at each failure in a row."""


class Key(NamedTuple):
    """An item: the device whose node it is in, or DIRECTORY, and its id there.

    In the directory that is a device's identity.
    """

    device: DeviceId
    item: str


@dataclass(slots=True)
class _Parked:
    until: float
    keys: dict[Key, bool] = field(default_factory=dict)
    """Each with whether it is for leisure."""


@dataclass(slots=True)
class _Barrier:
    last: Key
    first: set[Key] = field(default_factory=set)


class KeyQueue:
    """The keys to be sent, oldest first, at most `window` of them in flight at a time.

    Those of the directory come one at a time, beside the others. So does what is put for leisure,
    which has its share of the time while anything else waits. Memory is bounded by the number of
    items, however long a server is away.
    """

    def __init__(self, window: int) -> None:
        self._window = window
        self._dirty: OrderedDict[Key, None] = OrderedDict()
        self._directory: OrderedDict[Key, None] = OrderedDict()
        self._leisurely: OrderedDict[Key, None] = OrderedDict()
        self._slow: Key | None = None
        self._slow_since = 0.0
        self._at_leisure = False
        self._leisure_at = 0.0
        self._in_flight: dict[Key, None] = {}
        self._recent: OrderedDict[Key, float] = OrderedDict()
        self._parked: dict[DeviceId, _Parked] = {}
        self._failures: dict[DeviceId, int] = {}
        self._barriers: dict[DeviceId, _Barrier] = {}

    def __len__(self) -> int:
        """How many keys are waiting or in flight."""
        parked = sum(len(p.keys) for p in self._parked.values())
        lines = len(self._dirty) + len(self._directory) + len(self._leisurely)
        return lines + len(self._in_flight) + parked + len(self._barriers)

    @property
    def idle(self) -> bool:
        """Whether no item of a device can be taken, and nothing is in flight."""
        return not self._dirty and not self._in_flight

    def waits_for(self, device: DeviceId) -> bool:
        """Whether something is still to be sent to a device's node."""
        if device in self._parked or device in self._barriers:
            return True
        lines = (self._dirty, self._directory, self._leisurely, self._in_flight)
        return any(key.device == device for line in lines for key in line)

    def put(self, key: Key, *, at_leisure: bool = False) -> None:
        """What `key` stands for has changed. A key that waits already keeps its place."""
        barrier = self._barriers.get(key.device)
        if barrier is None or barrier.last != key:
            self._enter(key, at_leisure=at_leisure)

    def _enter(self, key: Key, *, at_leisure: bool) -> OrderedDict[Key, None]:
        """The line in which the key waits from now on, or did already."""
        line = self._directory if key.device == DIRECTORY else self._dirty
        if at_leisure and key not in line:
            line = self._leisurely
        else:
            self._leisurely.pop(key, None)
        line.setdefault(key)
        return line

    def discard(self, key: Key) -> None:
        """What `key` stands for is there already, as it should be."""
        for line in (self._dirty, self._directory, self._leisurely):
            line.pop(key, None)

    def put_in_order(self, first: Iterable[Key], last: Key) -> None:
        """Puts keys of one device, and `last` only when each of the others has been sent."""
        keys = [key for key in first if key != last]
        self._barriers.pop(last.device, None)
        for key in keys or [last]:
            self.put(key)
        if keys:
            self._line(last).pop(last, None)
            self._barriers[last.device] = _Barrier(last, set(keys))

    def forget(self, device: DeviceId) -> None:
        """Drops what waits for a device's node; what is in flight ends by itself."""
        for line in (self._dirty, self._leisurely):
            for key in [k for k in line if k.device == device]:
                del line[key]
        for key in [k for k in self._recent if k.device == device]:
            del self._recent[key]
        self._barriers.pop(device, None)
        self._parked.pop(device, None)
        self._failures.pop(device, None)

    def take(self, now: float) -> Key | None:
        """The next key to send, now in flight; None if there is none or the window is full."""
        self._unpark(now)
        while len(self._in_flight) < self._window:
            key = self._next(now)
            if key is None:
                return None
            line = self._line(key)
            at_leisure = line is self._leisurely
            del line[key]
            if parked := self._parked.get(key.device):
                parked.keys[key] = at_leisure and parked.keys.get(key, True)
                continue
            self._in_flight[key] = None
            if at_leisure or key.device == DIRECTORY:
                self._slow, self._slow_since, self._at_leisure = key, now, at_leisure
            return key
        return None

    def _next(self, now: float) -> Key | None:
        key = next((k for k in self._dirty if k not in self._in_flight), None)
        if self._slow is not None:
            return key
        if self._directory:
            return next(iter(self._directory))
        if key is None or now >= self._leisure_at:
            waiting = [k for k in self._leisurely if k not in self._in_flight]
            return next((k for k in waiting if k.device == DIRECTORY), next(iter(waiting), key))
        return key

    def _line(self, key: Key) -> OrderedDict[Key, None]:
        """Where a key waits."""
        if key in self._leisurely:
            return self._leisurely
        return self._directory if key.device == DIRECTORY else self._dirty

    def sent(self, key: Key, now: float) -> None:
        """The server acknowledged what was sent for `key`."""
        self._failures.pop(key.device, None)
        if key == self._slow:
            self._leisure_at = now + (now - self._slow_since) * (1 / LEISURE_SHARE - 1)
        self._recent[key] = now
        self._recent.move_to_end(key)
        self._forget_recent(now)
        self._settle(key)

    def dropped(self, key: Key) -> None:
        """`key` cannot be sent, now or later, and need not be until it changes."""
        self._settle(key)

    def _unsent(self, key: Key) -> None:
        at_leisure = key == self._slow and self._at_leisure
        self._landed(key)
        self._enter(key, at_leisure=at_leisure).move_to_end(key, last=False)

    def failed(self, key: Key, now: float, pause_s: float | None = None) -> None:
        """`key` could not be sent: its node is left alone for a while, longer each time."""
        failures = self._failures.get(key.device, 0)
        self._failures[key.device] = failures + 1
        if pause_s is None:
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(failures, 10))
        parked = self._parked.setdefault(key.device, _Parked(now))
        parked.until = max(parked.until, now + pause_s)
        self._unsent(key)

    def session_lost(self, now: float) -> None:
        """What was in flight comes first in the next session, and once more what was acknowledged
        just before this one ended."""
        for key in reversed(list(self._in_flight)):
            self._unsent(key)
        self._forget_recent(now)
        for key in self._recent:
            self.put(key)
        self._recent.clear()
        self._parked_to_dirty(list(self._parked))

    def next_at(self) -> float | None:
        """When a node that is left alone is due again."""
        return min((parked.until for parked in self._parked.values()), default=None)

    def _landed(self, key: Key) -> None:
        self._in_flight.pop(key, None)
        if key == self._slow:
            self._slow = None

    def _settle(self, key: Key) -> None:
        self._landed(key)
        if barrier := self._barriers.get(key.device):
            barrier.first.discard(key)
            if not barrier.first:
                del self._barriers[key.device]
                self.put(barrier.last)

    def _unpark(self, now: float) -> None:
        self._parked_to_dirty([d for d, parked in self._parked.items() if parked.until <= now])

    def _parked_to_dirty(self, devices: Iterable[DeviceId]) -> None:
        for device in devices:
            for key, at_leisure in self._parked.pop(device).keys.items():
                self.put(key, at_leisure=at_leisure)

    def _forget_recent(self, now: float) -> None:
        while self._recent and next(iter(self._recent.values())) < now - RECENT_S:
            self._recent.popitem(last=False)

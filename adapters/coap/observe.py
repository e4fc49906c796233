"""Who observes what, and what each observer is still owed (RFC 7641); pure, time is an argument.

Each observer has at most one confirmable notification under way. What changes meanwhile is not
queued: when the acknowledgement comes, the newest value goes out. Message IDs count up for each
endpoint on its own, in the lower half; the upper half is for everything else that is sent there.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace
from sys import intern

from adapters.coap.conditions import Conditions
from adapters.coap.datagram import Type, head
from adapters.coap.messages import Format, Peer, Request
from adapters.coap.observer import LOWER_HALF, Endpoint, Observed, Observer
from gateway.model import DeviceId, Path
from gateway.timer_wheel import TimerWheel

ACK_TIMEOUT_S = 2.0
"""First wait for an acknowledgement; doubled each time (RFC 7252 4.8)."""

MAX_RETRANSMIT = 4
"""Repetitions before an observer counts as gone (RFC 7252 4.8)."""

CONFIRM_NON_S = 600.0
"""An observer that takes non-confirmable notifications is asked this often if it is still there."""

CONFIRM_QUIET_S = 86_400.0
"""Nobody stays an observer for a day without acknowledging anything (RFC 7641 4.5)."""


class Observers:
    """The observations through one socket; at most `limit`, at most `limit_per_peer` of one peer.

    Where there are too many, one gives way whose client may be made up: it never acknowledged.

    `number` is the Observe number that was given last; it rises over all observations.
    """

    def __init__(self, limit: int, limit_per_peer: int, number: int) -> None:
        self._limit = limit
        self._limit_per_peer = limit_per_peer
        self._number = number
        self._endpoints: dict[Peer, Endpoint] = {}
        self._by_mid: dict[tuple[Peer, int], Observer] = {}
        self._by_path: dict[DeviceId, dict[Path | None, dict[Observer, None]]] = {}
        self._timers: TimerWheel[Observer] = TimerWheel(0.0)
        self._unproven: dict[Observer, None] = {}
        self._weight = 0

    def __len__(self) -> int:
        return sum(len(endpoint.observers) for endpoint in self._endpoints.values())

    def next_number(self) -> int:
        """The Observe number for the next representation (24 bits, RFC 7641 4.4)."""
        self._number = (self._number + 1) & 0xFFFFFF
        return self._number

    # --- who ---

    def register(
        self,
        peer: Peer,
        token: bytes,
        request: Request,
        form: Format | None,
        targets: Sequence[Observed],
        *,
        confirmable: bool,
        now: float,
        conditions: Conditions | None = None,
        credit: float = math.inf,
    ) -> Observer | None:
        """Adds an observation, in place of one with the same token; None if there is no room."""
        endpoint = self._endpoints.get(peer)  # its message IDs go on
        if endpoint is None:
            endpoint = Endpoint((intern(peer[0]), *peer[1:]))  # a host's name is kept once
        self.cancel(peer, token)
        request, targets = self._shared(_without_client(request), targets)
        observer = Observer(
            endpoint, token, request, form, targets, confirmable, now, conditions, credit
        )
        weight = observer.weight
        if endpoint.weight + weight > self._limit_per_peer:
            return None
        while self._weight + weight > self._limit:
            if not self._unproven:
                return None
            self.forget(next(iter(self._unproven)))
        self._endpoints[endpoint.peer] = endpoint
        endpoint.observers[token] = observer
        endpoint.weight += weight
        self._weight += weight
        for device, path in targets:
            self._by_path.setdefault(device, {}).setdefault(path, {})[observer] = None
        if credit < math.inf:
            self._unproven[observer] = None
        self.schedule(observer)
        return observer

    def _shared(
        self, request: Request, targets: Sequence[Observed]
    ) -> tuple[Request, Sequence[Observed]]:
        """What the last who asked there has, if it asked the same: half a kilobyte saved."""
        device, path = targets[0]
        there = self._by_path.get(device, {}).get(path, {})
        neighbour = next(reversed(there), None)
        if neighbour and neighbour.request == request and neighbour.targets == targets:
            return neighbour.request, neighbour.targets
        return request, targets

    def cancel(self, peer: Peer, token: bytes) -> None:
        """Forgets one observation, if it is there."""
        endpoint = self._endpoints.get(peer)
        if endpoint and token in endpoint.observers:
            self.forget(endpoint.observers[token])

    def unreachable(self, peer: Peer) -> None:
        """Forgets all observations of an endpoint that does not exist any more."""
        if endpoint := self._endpoints.get(peer):
            for observer in list(endpoint.observers.values()):
                self.forget(observer)

    def has(self, peer: Peer) -> bool:
        """Whether an endpoint observes anything."""
        return peer in self._endpoints

    def forget(self, observer: Observer) -> None:
        """Ends an observation."""
        self.retire(observer)
        self._unproven.pop(observer, None)
        endpoint = observer.endpoint
        self._release_mid(observer)
        observer.awaiting = False
        if endpoint.observers.get(observer.token) is observer:
            del endpoint.observers[observer.token]
            endpoint.weight -= observer.weight
            self._weight -= observer.weight
            if not endpoint.observers:
                self._endpoints.pop(endpoint.peer, None)

    def retire(self, observer: Observer) -> None:
        """Tells it of no more changes; what is under way to it still counts."""
        if observer.registered:
            observer.registered = False
            self._timers.cancel(observer)
            for device, path in observer.targets:
                paths = self._by_path[device]
                del paths[path][observer]
                if not paths[path]:
                    del paths[path]
                if not paths:
                    del self._by_path[device]

    def at(self, device: DeviceId, path: Path) -> Iterator[Observer]:
        """Who observes the path or something that it lies in."""
        if paths := self._by_path.get(device):
            yield from paths.get(None, ())
            for depth in range(1, len(path) + 1):
                yield from paths.get(path.upto(depth), ())

    def around(self, device: DeviceId, path: Path | None) -> Iterator[Observer]:
        """Who observes the path, what it lies in, or what lies in it; None is the whole device."""
        for observed, observers in self._by_path.get(device, {}).items():
            if path is None or observed is None or observed.covers(path) or path.covers(observed):
                yield from observers

    # --- when they are told ---

    def schedule(self, observer: Observer) -> None:
        """Takes note of when its conditions are to be looked at again."""
        self._timers.cancel(observer)
        if observer.conditions and observer.registered:
            deadline = observer.conditions.next_deadline()
            if math.isfinite(deadline):
                self._timers.set(observer, deadline)

    def due(self, now: float) -> list[Observer]:
        """Whose conditions are to be looked at now; they are not scheduled any more."""
        return self._timers.expired(now)

    # --- what they are told ---

    def note_change(self, observer: Observer) -> bool:
        """Takes note that something changed; whether to tell it now, else it follows the ACK."""
        if observer.awaiting:
            observer.stale = True
        return observer.registered and not observer.awaiting

    def issue(self, observer: Observer, code: int, tail: bytes, now: float) -> bytes:
        """Gives the next notification, and awaits its ACK; `tail` is everything after the token."""
        endpoint = observer.endpoint
        self._release_mid(observer)
        mid = self._next_mid(endpoint)
        confirmable = (
            observer.confirmable
            or not observer.registered
            or observer.credit < math.inf
            or now - observer.confirmed_at >= CONFIRM_NON_S
        )
        kind = Type.CON if confirmable else Type.NON
        if confirmable and not observer.awaiting:
            observer.tries = 0
            observer.deadline = now + _timeout_s(mid, 0)
        observer.mid, observer.awaiting, observer.stale = mid, confirmable, False
        octets = head(kind, code, mid, observer.token) + tail
        observer.datagram = octets if confirmable else b""
        self._by_mid[endpoint.peer, mid] = observer
        return octets

    def _release_mid(self, observer: Observer) -> None:
        key = observer.endpoint.peer, observer.mid
        if self._by_mid.get(key) is observer:  # else it was given again
            del self._by_mid[key]

    def _next_mid(self, endpoint: Endpoint) -> int:
        """A message ID that no notification has whose ACK is still to come."""
        while True:  # max_observers_per_client leaves some
            endpoint.mid = (endpoint.mid + 1) & LOWER_HALF
            holder = self._by_mid.get((endpoint.peer, endpoint.mid))
            if holder is None or not holder.awaiting:
                return endpoint.mid

    def sent(self, peer: Peer, mid: int) -> bool:
        """Whether the message ID is that of a notification whose fate is open."""
        return (peer, mid) in self._by_mid

    def acknowledged(self, peer: Peer, mid: int, now: float) -> Observer | None:
        """Takes an ACK; the observer if it is owed a newer value."""
        observer = self._by_mid.pop((peer, mid), None)
        if observer is None or not observer.awaiting:
            return None
        observer.awaiting = False
        observer.datagram, observer.deadline = b"", 0.0
        observer.confirmed_at, observer.credit = now, math.inf
        self._unproven.pop(observer, None)
        if not observer.registered:
            self.forget(observer)
            return None
        return observer if observer.stale else None

    def reset(self, peer: Peer, mid: int) -> None:
        """Takes a RST: the peer does not want that observation."""
        if observer := self._by_mid.get((peer, mid)):
            self.forget(observer)

    def overdue(self, now: float) -> list[Observer]:
        """Whose ACK did not come in time, to be sent again; who never answered is forgotten."""
        late = [o for o in self._by_mid.values() if o.awaiting and o.deadline <= now]
        for observer in late:
            observer.tries += 1
            observer.deadline = now + _timeout_s(observer.mid, observer.tries)
            if observer.tries > MAX_RETRANSMIT:
                self.forget(observer)
        return [observer for observer in late if observer.awaiting]

    def unconfirmed(self, now: float) -> list[Observer]:
        """Who has not acknowledged anything for a day, though nothing changed either."""
        return [
            observer
            for endpoint in self._endpoints.values()
            for observer in endpoint.observers.values()
            if now - observer.confirmed_at >= CONFIRM_QUIET_S and not observer.awaiting
        ]


def _without_client(request: Request) -> Request:
    """What all who ask the same have in common."""
    return replace(
        request,
        peer=None,
        echo=b"",
        etags=(),
        if_match=(),
        if_none_match=False,
        request_tag=(),
    )


def _timeout_s(mid: int, tries: int) -> float:
    """The wait before a repetition, spread by the message ID over 1 to 1.5 times the basic one."""
    return ACK_TIMEOUT_S * (1 + (mid & 15) / 32) * (1 << tries)

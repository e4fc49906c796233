"""The table of nodes in radio range: who they are, what they speak, which addresses are theirs.

Does not know messages: what was learnt from them is told to it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

from adapters.lowpan.drops import Drop, Dropped
from adapters.lowpan.effects import Profile
from adapters.lowpan.link import LinkFrame, link_address
from adapters.lowpan.routing.limits import TokenBucket

MAX_NEIGHBOURS = 256
"""More than any mesh has within reach of one radio; about 0.5 MB."""

MAX_ADDRESSES = 8
"""Of one neighbour: link-local, one per prefix, and room for privacy addresses."""

ANSWERS_PER_S, ANSWERS_AT_ONCE = 2.0, 4.0
"""Solicitations answered to one neighbour: a joining node asks RS, NS and DIS within 50 ms."""

_WEIGHT = 1 / 8
"""Of a new frame in the averages of signal strength and quality."""


@dataclass(slots=True)
class Neighbour:
    """A node in radio range. `contexts` has a bit for each that it has shown to hold."""

    link: bytes
    eui64: bytes | None
    profile: Profile = Profile.UNKNOWN
    contexts: int = 0
    last_heard: float = -math.inf
    rssi_dbm: float | None = None
    lqi: float | None = None
    addresses: dict[bytes, float] = field(default_factory=dict)
    """Until when each is valid: the end of a registration, or infinity if it was only learnt."""
    answers: TokenBucket = field(
        default_factory=lambda: TokenBucket(ANSWERS_PER_S, ANSWERS_AT_ONCE)
    )


class Neighbours:
    """Neighbours by link address, and whose each IPv6 address is."""

    def __init__(self) -> None:
        self._by_link: dict[bytes, Neighbour] = {}
        self._by_address: dict[bytes, Neighbour] = {}

    def __len__(self) -> int:
        return len(self._by_link)

    def __iter__(self) -> Iterator[Neighbour]:
        return iter(self._by_link.values())

    def get(self, link: bytes) -> Neighbour | None:
        """The neighbour with a link address."""
        return self._by_link.get(link)

    def owner(self, address: bytes) -> Neighbour | None:
        """Whose an address is, by registration or because it was learnt."""
        return self._by_address.get(address)

    def by_interface(self, address: bytes) -> Neighbour | None:
        """The neighbour from whose link address an address would be made."""
        return self._by_link.get(link_address(address[8:]))

    def add(self, link: bytes) -> Neighbour:
        """The neighbour with a link address, new if need be; raises Dropped if all are in use."""
        neighbour = self._by_link.get(link)
        if neighbour is None:
            if len(self._by_link) >= MAX_NEIGHBOURS:
                self._evict()
            neighbour = Neighbour(link, link if len(link) == 8 else None)
            self._by_link[link] = neighbour
        return neighbour

    def heard(self, frame: LinkFrame, now: float) -> Neighbour:
        """The sender of a frame, with what the radio measured; raises Dropped."""
        neighbour = self.add(frame.source)
        neighbour.last_heard = now
        neighbour.rssi_dbm = _average(neighbour.rssi_dbm, frame.rssi_dbm)
        neighbour.lqi = _average(neighbour.lqi, frame.lqi)
        return neighbour

    def assign(self, address: bytes, neighbour: Neighbour, until: float = math.inf) -> None:
        """Gives an address to a neighbour, and takes it from another; raises Dropped."""
        if address not in neighbour.addresses and len(neighbour.addresses) >= MAX_ADDRESSES:
            raise Dropped(Drop.ADDRESSES_FULL)
        self.release(address)
        neighbour.addresses[address] = until
        self._by_address[address] = neighbour

    def release(self, address: bytes) -> None:
        """Forgets whose an address is."""
        if owner := self._by_address.pop(address, None):
            del owner.addresses[address]

    def expire(self, now: float) -> list[bytes]:
        """Forgets the addresses whose registration has ended; returns them."""
        late = [a for a, owner in self._by_address.items() if owner.addresses[a] <= now]
        for address in late:
            self.release(address)
        return late

    def _evict(self) -> None:
        """Forgets the neighbour that has been silent longest of those without a registration."""
        idle = (n for n in self._by_link.values() if not _registered(n))
        silent = min(idle, key=lambda n: n.last_heard, default=None)
        if silent is None:
            raise Dropped(Drop.NEIGHBOURS_FULL)
        for address in list(silent.addresses):
            self.release(address)
        del self._by_link[silent.link]


def _registered(neighbour: Neighbour) -> bool:
    return any(until < math.inf for until in neighbour.addresses.values())


def _average(average: float | None, value: int | None) -> float | None:
    if value is None:
        return average
    return float(value) if average is None else average + (value - average) * _WEIGHT

"""One observation and the client that it belongs to; what happens to them is in `observe`.

An observer is

- registered, and told of the next change at once;
- `awaiting` an acknowledgement, and `stale` as well if something has changed since;
- retired (no longer `registered`): its last word awaits the acknowledgement.

Who acknowledges nothing is forgotten, too.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field

from adapters.coap.conditions import Conditions
from adapters.coap.messages import Format, Peer, Request
from gateway.model import DeviceId, Path

LOWER_HALF = 0x7FFF
UPPER_HALF = 0x8000

Observed = tuple[DeviceId, Path | None]
"""What is observed: a path of a device, or the whole device."""


@dataclass(slots=True, eq=False)
class Endpoint:
    """A client's address, its next message ID and its observations by token."""

    peer: Peer
    mid: int = field(default_factory=lambda: secrets.randbelow(UPPER_HALF))
    observers: dict[bytes, Observer] = field(default_factory=dict)
    weight: int = 0


@dataclass(slots=True, eq=False)
class Observer:
    """One observation, in a format that stays (RFC 7641 4.2).

    `request` names no peer, since all who ask the same have one. Without `conditions`, every
    change is told. `datagram` is the notification that awaits its acknowledgement, `deadline` when
    that is overdue. `credit` is how many octets may be sent to it until its first acknowledgement
    shows that it is there.
    """

    endpoint: Endpoint
    token: bytes
    request: Request
    format: Format | None
    targets: Sequence[Observed]
    confirmable: bool
    confirmed_at: float
    conditions: Conditions | None = None
    credit: float = math.inf
    registered: bool = True
    mid: int = -1
    awaiting: bool = False
    stale: bool = False
    tries: int = 0
    deadline: float = 0.0
    datagram: bytes = b""

    @property
    def weight(self) -> int:
        """For how many it counts: one for each name, one for each kilobyte begun of the request."""
        return len(self.targets) + math.ceil(len(self.request.payload) / 1024)

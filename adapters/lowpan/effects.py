"""What the router wants done or known: frozen values that the shell carries out, in order."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, Flag, auto


@dataclass(frozen=True, slots=True)
class Transmit:
    """Send these payloads to a link address (or BROADCAST), in a row.

    They are one datagram: nothing else may go to that address in between, and when one is not
    acknowledged the rest is of no use.
    """

    destination: bytes
    payloads: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class UdpReceived:
    """A UDP datagram for one of our ports; an answer comes from `destination`.

    `hops` is the way's length in radio hops where it is known; `link` sent the last one.
    """

    source: bytes
    source_port: int
    destination: bytes
    destination_port: int
    data: bytes
    hops: int | None
    link: bytes


class Change(Enum):
    """What became of a node."""

    HEARD = "heard"
    """For the first time; it may not be reachable yet."""
    JOINED = "joined"
    """It can be reached at the address."""
    LEFT = "left"
    """Not any more: its registration or route has ended."""


class Profile(Flag):
    """What a node has shown to speak; RIOT can speak two."""

    UNKNOWN = 0
    ND = auto()
    """6LoWPAN-ND: it registers its addresses (RFC 6775)."""
    RPL = auto()
    PLAIN = auto()
    """Neighbour discovery by multicast (RFC 4861)."""


@dataclass(frozen=True, slots=True)
class Node:
    """A node as the tables know it. `link` is None beyond one hop.

    `addresses` are those at which it can be reached; `contexts` the ids of those that it holds.
    """

    eui64: bytes | None
    link: bytes | None
    addresses: tuple[bytes, ...]
    profile: Profile
    hops: int | None
    contexts: tuple[int, ...] = ()
    rssi_dbm: float | None = None
    lqi: float | None = None
    last_heard: float | None = None


@dataclass(frozen=True, slots=True)
class NodeChanged:
    """A node was heard, joined or left with an address."""

    change: Change
    address: bytes
    node: Node


@dataclass(frozen=True, slots=True)
class Undeliverable:
    """A UDP datagram of ours will not arrive, and why, for people."""

    destination: bytes
    destination_port: int
    source_port: int
    reason: str


@dataclass(frozen=True, slots=True)
class ForeignRouter:
    """Another network's router or root is in range; `link` sent what shows it."""

    link: bytes
    kind: str
    reason: str


Effect = Transmit | UdpReceived | NodeChanged | Undeliverable | ForeignRouter

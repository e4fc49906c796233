"""The root of the RPL DODAG (RFC 6550, non-storing): what it tells, and the routes it is told.

The numbers are those with which Contiki-NG and RIOT were seen to work; others make RIOT abort.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from adapters.lowpan.drops import Drop, Dropped
from adapters.lowpan.ipv6.address import ALL_RPL_NODES, is_link_local, is_multicast
from adapters.lowpan.ipv6.packet import Packet
from adapters.lowpan.link import BROADCAST, interface_id
from adapters.lowpan.routing import rpl_messages as rpl
from adapters.lowpan.routing.identity import Identity
from adapters.lowpan.routing.neighbours import Neighbour
from adapters.lowpan.routing.outgoing import Outgoing
from adapters.lowpan.routing.trickle import Trickle

INSTANCE = 0
PARAMETERS = rpl.DodagParameters(
    mode=1,  # non-storing; RIOT takes the mode from here
    doublings=8,
    interval_min=12,  # 2**12 ms
    max_rank_increase=2048,
    min_hop_rank_increase=256,
    objective=1,  # MRHOF, Contiki-NG's only one; RIOT falls back to OF0
    lifetime=30,
    lifetime_unit_s=60,
)
RANK = PARAMETERS.min_hop_rank_increase
HOP_LIMIT = 64
"""What Contiki-NG and RIOT send."""

MAX_ROUTES = 512
"""Targets of a mesh of 500 nodes; about 0.2 MB."""
MAX_HOPS = 8
"""A source route of more does not fit in a frame beside a request."""
REPAIR_INTERVAL_S = 60.0
"""Between two versions that nodes make us take: each lets the whole mesh join afresh."""

ACCEPTED, REJECTED = 0, 233
"""Status of a DAO-ACK; Contiki-NG takes smaller ones than 233 for consent."""
_FINAL = frozenset({Drop.RPL_OUTSIDE_PREFIX, Drop.ROUTES_FULL})
_INFINITE_LIFETIME = 0xFF
_FIRST_SEQUENCE = 240
_SEQUENCE_WINDOW = 16


@dataclass(frozen=True, slots=True)
class RootState:
    """What nodes remember of us, so that it must not go back when we start again."""

    dodag_id: bytes
    version: int = _FIRST_SEQUENCE
    dtsn: int = _FIRST_SEQUENCE


@dataclass(frozen=True, slots=True)
class Route:
    """How a target is reached: behind a parent, or through the neighbour that advertised it."""

    parent: bytes | None
    via: bytes | None
    until: float


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a DAO: its targets, why they were refused, the answer if one is wanted."""

    targets: tuple[bytes, ...]
    refused: Drop | None
    answer: Outgoing | None


@dataclass(frozen=True, slots=True)
class RoutePath:
    """The addresses from first hop to target; `link` is the first hop's if that is known."""

    hops: tuple[bytes, ...]
    link: bytes | None


def next_sequence(value: int) -> int:
    """The successor of a version or DTSN: 128 to 255 once, then 0 to 127 round and round."""
    return 0 if value in (127, 255) else value + 1


def is_newer(value: int, than: int) -> bool:
    """Whether a sequence number comes after another (RFC 6550 7.2)."""
    if (value < 128) == (than < 128):
        modulus = 128 if value < 128 else 256
        return 0 < (value - than) % modulus <= _SEQUENCE_WINDOW
    if value < 128:
        return 256 + value - than <= _SEQUENCE_WINDOW
    return 256 + than - value > _SEQUENCE_WINDOW


class Root:
    """The DODAG with ourselves as its root. `random` gives numbers from 0 to 1."""

    def __init__(
        self, identity: Identity, state: RootState | None, random: Callable[[], float], now: float
    ) -> None:
        self._identity = identity
        if state is None or state.dodag_id != identity.mesh:
            self.state = RootState(identity.mesh)
        else:
            # The routes are lost: nodes advertise them again when the DTSN changes.
            self.state = replace(state, dtsn=next_sequence(state.dtsn))
        shortest_s = 2**PARAMETERS.interval_min / 1000
        self._trickle = Trickle(shortest_s, PARAMETERS.doublings, random, now)
        self._repaired_at = -math.inf
        self.routes: dict[bytes, Route] = {}

    def information(self, destination: bytes, link: bytes) -> Outgoing:
        """Our DIO."""
        state = self.state
        dio = rpl.Information(
            *(INSTANCE, state.version, RANK, state.dodag_id, state.dtsn, PARAMETERS.mode)
        )
        message = rpl.encode_information(dio, PARAMETERS, self._identity.prefix)
        return Outgoing(self._identity.link_local, destination, message, HOP_LIMIT, link)

    def expire(self, now: float) -> Outgoing | None:
        """The DIO for everyone, if it is time."""
        if self._trickle.next_at > now:
            return None
        self._trickle.fired(now)
        return self.information(ALL_RPL_NODES, BROADCAST)

    def next_deadline(self) -> float:
        """When `expire` has something to do."""
        return self._trickle.next_at

    def expire_routes(self, now: float) -> list[bytes]:
        """Forgets the routes that were not renewed; returns their targets."""
        late = [target for target, route in self.routes.items() if route.until <= now]
        for target in late:
            del self.routes[target]
        return late

    def refresh(self, now: float) -> None:
        """Has all nodes advertise themselves again."""
        self.state = replace(self.state, dtsn=next_sequence(self.state.dtsn))
        self._trickle.reset(now)

    def repair(self, now: float) -> None:
        """Has all nodes join afresh (global repair)."""
        self.state = replace(self.state, version=next_sequence(self.state.version))
        self._trickle.reset(now)

    def solicited(
        self, packet: Packet, body: bytes, sender: Neighbour, now: float
    ) -> Outgoing | None:
        """The DIO that answers a DIS, if it asks for ours; raises Dropped."""
        _check_link_local(packet.source)
        asked = rpl.parse_solicitation(body)
        state = self.state
        if (
            asked.instance not in (None, INSTANCE)
            or asked.version not in (None, state.version)
            or asked.dodag_id not in (None, state.dodag_id)
        ):
            return None
        if is_multicast(packet.destination):
            self._trickle.reset(now)
        return self.information(packet.source, sender.link)

    def informed(self, packet: Packet, body: bytes, now: float) -> None:
        """Looks at a node's DIO for another root, or a version that we have forgotten.

        Raises Dropped with FOREIGN_ROOT for what is not our DODAG.
        """
        _check_link_local(packet.source)
        dio = rpl.parse_information(body)
        if dio.rank == rpl.INFINITE_RANK:
            return  # a probe, or a farewell
        if dio.instance != INSTANCE or dio.dodag_id != self.state.dodag_id:
            raise Dropped(Drop.FOREIGN_ROOT, dio.dodag_id.hex())
        if dio.rank <= RANK:
            raise Dropped(Drop.FOREIGN_ROOT, "our DODAG has another root")
        if is_newer(dio.version, self.state.version) and (
            now >= self._repaired_at + REPAIR_INTERVAL_S
        ):
            self._repaired_at = now
            self.state = replace(self.state, version=dio.version)
            self.repair(now)

    def advertised(self, packet: Packet, body: bytes, sender: Neighbour, now: float) -> Taken:
        """Takes the routes of a DAO and acknowledges it; raises Dropped.

        What a later DAO may mend (a loop) is not answered, so that the node tries again.
        """
        if not is_link_local(packet.source) and not self._identity.in_mesh(packet.source):
            raise Dropped(Drop.RPL_SOURCE)
        dao = rpl.parse_advertisement(body)
        if dao.instance != INSTANCE or dao.dodag_id not in (None, self.state.dodag_id):
            raise Dropped(Drop.RPL_INSTANCE)
        destinations = [d for d in dao.destinations if d.prefix_bits == 128]
        refused = None
        try:
            for destination in destinations:
                self._check(destination)
        except Dropped as dropped:
            if dropped.reason not in _FINAL:
                raise
            refused, destinations = dropped.reason, []
        for destination in destinations:
            self._take(destination, sender, now)
        answer = None
        if dao.ack_requested:
            ack = rpl.encode_ack(INSTANCE, dao.sequence, REJECTED if refused else ACCEPTED)
            link = sender.link if packet.source[8:] == interface_id(sender.link) else None
            answer = Outgoing(packet.destination, packet.source, ack, HOP_LIMIT, link)
        return Taken(tuple(d.target for d in destinations), refused, answer)

    def path(self, target: bytes) -> RoutePath | None:
        """The way to a target, if all the parents on it have advertised themselves."""
        hops = [target]
        route = self.routes.get(target)
        while route is not None and len(hops) <= MAX_HOPS:
            if route.parent is None or route.parent in self._identity.addresses:
                return RoutePath(tuple(reversed(hops)), route.via)
            hops.append(route.parent)
            route = self.routes.get(route.parent)
        return None

    def _check(self, destination: rpl.Destination) -> None:
        target, parent = destination.target, destination.parent
        for address in (target, parent or target):
            if not self._identity.in_mesh(address):
                raise Dropped(Drop.RPL_OUTSIDE_PREFIX)
        if target in self._identity.addresses:
            raise Dropped(Drop.RPL_LOOP, "one of our addresses")
        hops = 1
        while parent is not None and parent not in self._identity.addresses:
            hops += 1
            if parent == target or hops > MAX_HOPS:
                raise Dropped(Drop.RPL_LOOP)
            route = self.routes.get(parent)
            parent = route.parent if route else None
        if target not in self.routes and len(self.routes) >= MAX_ROUTES:
            raise Dropped(Drop.ROUTES_FULL)

    def _take(self, destination: rpl.Destination, sender: Neighbour, now: float) -> None:
        """The newest advertisement wins: Contiki-NG leaves the path sequence at 0."""
        if destination.lifetime == 0:
            self.routes.pop(destination.target, None)
            return
        if destination.target not in self.routes and len(self.routes) >= MAX_ROUTES:
            return
        until = math.inf
        if destination.lifetime != _INFINITE_LIFETIME:
            until = now + destination.lifetime * PARAMETERS.lifetime_unit_s
        via = sender.link if destination.parent is None else None
        self.routes[destination.target] = Route(destination.parent, via, until)


def _check_link_local(source: bytes) -> None:
    if not is_link_local(source):
        raise Dropped(Drop.RPL_SOURCE)

"""Where a packet goes next, and which nodes can be reached: neighbours and routes seen as one."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.lowpan.effects import Change, Node, NodeChanged, Profile
from adapters.lowpan.ipv6.address import is_link_local, is_multicast, link_local
from adapters.lowpan.link import BROADCAST, interface_id, link_address
from adapters.lowpan.routing.identity import Identity
from adapters.lowpan.routing.neighbours import Neighbour, Neighbours
from adapters.lowpan.routing.root import Root
from adapters.lowpan.sixlowpan.contexts import CONTEXT_IDS


@dataclass(frozen=True, slots=True)
class Hop:
    """The link address to send to, and the addresses to pass from there to the destination."""

    link: bytes
    path: tuple[bytes, ...]


class Topology:
    """The mesh as the gateway knows it."""

    def __init__(self, identity: Identity, neighbours: Neighbours, root: Root) -> None:
        self._identity = identity
        self._neighbours = neighbours
        self._root = root
        self._joined: set[bytes] = set()

    def next_hop(self, destination: bytes) -> Hop | None:
        """By registration, by RPL route, by interface identifier; None if it has to be asked."""
        if is_multicast(destination):
            return Hop(BROADCAST, (destination,))
        if owner := self._neighbours.owner(destination):
            return Hop(owner.link, (destination,))
        if path := self._root.path(destination):
            return Hop(path.link or self._link(path.hops[0]), path.hops)
        if is_link_local(destination):
            return Hop(link_address(destination[8:]), (destination,))
        neighbour = self._neighbours.by_interface(destination)
        if neighbour and self._identity.in_mesh(destination):
            return Hop(neighbour.link, (destination,))
        return None

    def is_beyond(self, destination: bytes) -> bool:
        """Whether an RPL node advertised an address, so that asking around for it is no use."""
        return destination in self._root.routes

    def contexts_of(self, link: bytes) -> int:
        """The bits of the contexts that a neighbour has shown to hold."""
        neighbour = self._neighbours.get(link)
        return neighbour.contexts if neighbour else 0

    def hops(self, source: bytes, sender: Neighbour) -> int | None:
        """How many radio hops away the source of a packet is that `sender` handed over."""
        if source[8:] == interface_id(sender.link) or source in sender.addresses:
            return 1
        path = self._root.path(source)
        return len(path.hops) if path and path.link is None else None

    def changed(self, address: bytes) -> NodeChanged | None:
        """Whether the node at an address has joined or left since it was looked at last."""
        node = self._node_at(address)
        if node is not None and address not in self._joined:
            self._joined.add(address)
            return NodeChanged(Change.JOINED, address, node)
        if node is None and address in self._joined:
            self._joined.discard(address)
            return NodeChanged(Change.LEFT, address, self._unreachable(address))
        return None

    def changes(self) -> list[NodeChanged]:
        """All that have left unnoticed."""
        return [change for address in list(self._joined) if (change := self.changed(address))]

    def heard(self, neighbour: Neighbour) -> NodeChanged:
        """A neighbour was heard for the first time."""
        address = link_local(interface_id(neighbour.link))
        return NodeChanged(Change.HEARD, address, self._node(neighbour))

    def nodes(self) -> list[Node]:
        """Every node: the neighbours, then those beyond."""
        beyond = [t for t in self._root.routes if self._neighbours.by_interface(t) is None]
        return [*map(self._node, self._neighbours), *map(self._remote, beyond)]

    def _link(self, address: bytes) -> bytes:
        owner = self._neighbours.owner(address)
        return owner.link if owner else link_address(address[8:])

    def _node_at(self, address: bytes) -> Node | None:
        if owner := self._neighbours.owner(address):
            return self._node(owner)
        if address in self._root.routes:
            neighbour = self._neighbours.by_interface(address)
            return self._node(neighbour) if neighbour else self._remote(address)
        return None

    def _node(self, neighbour: Neighbour) -> Node:
        routed = self._identity.prefix + interface_id(neighbour.link)
        own = [routed] if routed in self._root.routes else []
        path = self._root.path(routed)
        return Node(
            eui64=neighbour.eui64,
            link=neighbour.link,
            addresses=tuple(dict.fromkeys([*neighbour.addresses, *own])),
            profile=neighbour.profile,
            hops=len(path.hops) if path else 1,
            contexts=tuple(i for i in range(CONTEXT_IDS) if neighbour.contexts >> i & 1),
            rssi_dbm=neighbour.rssi_dbm,
            lqi=neighbour.lqi,
            last_heard=neighbour.last_heard,
        )

    def _remote(self, address: bytes) -> Node:
        path = self._root.path(address)
        hops = len(path.hops) if path and path.link is None else None
        return Node(_eui64(address), None, (address,), Profile.RPL, hops)

    def _unreachable(self, address: bytes) -> Node:
        if neighbour := self._neighbours.by_interface(address):
            return self._node(neighbour)
        return Node(_eui64(address), None, (), Profile.UNKNOWN, None)


def _eui64(address: bytes) -> bytes | None:
    link = link_address(address[8:])
    return link if len(link) == 8 else None

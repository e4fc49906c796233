"""Who the gateway is in the mesh: its addresses and the groups that it listens to."""

from __future__ import annotations

from dataclasses import dataclass, field

from adapters.lowpan.ipv6.address import (
    ALL_NODES,
    ALL_ROUTERS,
    ALL_RPL_NODES,
    is_link_local,
    is_multicast,
    link_local,
    solicited_node,
)
from adapters.lowpan.link import interface_id

_ALIAS_IID = (1).to_bytes(8, "big")
"""`prefix::1`: where Contiki-NG's LwM2M client registers, and default routes point."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The EUI-64 of our radio, the /64 prefix of the mesh (8 octets), and what follows."""

    eui64: bytes
    prefix: bytes
    link_local: bytes = field(init=False)
    mesh: bytes = field(init=False)
    alias: bytes = field(init=False)
    addresses: frozenset[bytes] = field(init=False)
    groups: frozenset[bytes] = field(init=False)

    def __post_init__(self) -> None:
        if len(self.eui64) != 8 or len(self.prefix) != 8:
            raise ValueError("an EUI-64 and a /64 prefix are 8 octets each")
        iid = interface_id(self.eui64)
        addresses = (link_local(iid), self.prefix + iid, self.prefix + _ALIAS_IID)
        groups = {ALL_NODES, ALL_ROUTERS, ALL_RPL_NODES, *map(solicited_node, addresses)}
        for name, value in zip(("link_local", "mesh", "alias"), addresses, strict=True):
            object.__setattr__(self, name, value)
        object.__setattr__(self, "addresses", frozenset(addresses))
        object.__setattr__(self, "groups", frozenset(groups))

    def source(self, destination: bytes) -> bytes:
        """The address of ours from which to speak to a destination."""
        if is_link_local(destination) or (is_multicast(destination) and destination[1] & 15 <= 2):
            return self.link_local
        return self.mesh

    def in_mesh(self, address: bytes) -> bool:
        """Whether an address has the mesh's prefix."""
        return address[:8] == self.prefix

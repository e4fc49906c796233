"""Virtual nodes around a virtual RCP: who hears whom, and a mesh to show and to test with."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from adapters.sim.node import Node
from adapters.sim.rcp import VirtualRcp


class Mesh:
    """The air between nodes and stick. Without a link two nodes do not hear each other."""

    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.tap: Callable[[bytes], object] = lambda _: None
        """Gets every frame on the air, without FCS."""
        self.rcp = VirtualRcp(self._from_gateway)
        self._reach: dict[bytes, set[bytes]] = {}
        self._near: set[bytes] = set()

    def add(
        self,
        make: Callable[[Callable[[bytes], None]], Node],
        *,
        near: bool,
        to: tuple[Node, ...] = (),
    ) -> Node:
        """Places a node: `near` the stick or not, and within reach of the nodes `to`."""
        holder: list[Node] = []
        node = make(lambda psdu: self._from_node(holder[0], psdu))
        holder.append(node)
        self.nodes.append(node)
        self._reach[node.eui64] = {other.eui64 for other in to}
        for other in to:
            self._reach[other.eui64].add(node.eui64)
        if near:
            self._near.add(node.eui64)
        return node

    @asynccontextmanager
    async def running(self) -> AsyncIterator[VirtualRcp]:
        """The stick and all nodes live within this block; open `path` of what it gives."""
        async with self.rcp, asyncio.TaskGroup() as tasks:
            lives = [tasks.create_task(node.run()) for node in self.nodes]
            try:
                yield self.rcp
            finally:
                for life in lives:
                    life.cancel()

    def _from_gateway(self, psdu: bytes) -> bool:
        self.tap(psdu)
        heard = [node.hears(psdu) for node in self.nodes if node.eui64 in self._near]
        return any(heard)

    def _from_node(self, node: Node, psdu: bytes) -> None:
        self.tap(psdu)
        reach = self._reach[node.eui64]
        for other in self.nodes:
            if other.eui64 in reach:
                other.hears(psdu)
        if node.eui64 in self._near:
            self.rcp.deliver(psdu)

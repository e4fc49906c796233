"""Nodes of every kind become devices, and are read and commanded, through the whole stack."""

from adapters.sim.mesh import Mesh
from adapters.sim.node import Profile
from gateway.events import State
from tests.lowpan.mesh_bench import (
    ND,
    TEMPERATURE,
    Gateway,
    add,
)


async def test_a_node_that_joins_by_neighbour_discovery_becomes_a_device() -> None:
    mesh, gateway = Mesh(), Gateway(ND)
    add(mesh, ND, Profile.ND)
    async with mesh.running() as rcp, gateway.running(f"spinel+hdlc://{rcp.path}"):
        await gateway.until(lambda: gateway.value(ND, TEMPERATURE) == 21.5, "a temperature")
        assert gateway.state(ND) == (State.ONLINE, "connected: 6LoWPAN-ND, in radio reach")

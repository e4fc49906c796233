"""When a node is asked, and when it is left alone."""

from adapters.sim.coap_node import Content
from adapters.sim.ipso import Objects
from adapters.sim.mesh import Mesh
from adapters.sim.node import Profile
from tests.lowpan.mesh_bench import ND, Gateway, add

GET = 1


async def test_a_node_that_is_refused_is_not_asked_again_because_it_has_answered() -> None:
    mesh, gateway = Mesh(), Gateway(ND)
    asked: list[str] = []

    class Counted(Objects):
        def get(self, path: str, accept: int | None) -> Content:
            asked.append(path)
            return super().get(path, accept)

    node = add(mesh, ND, Profile.ND, Counted({}, others={"/riot/board": "native"}))
    async with mesh.running() as rcp, gateway.running(f"spinel+hdlc://{rcp.path}"):
        await gateway.until(lambda: "no device definition" in gateway.state(ND)[1], "a reason")
        for _ in range(10):
            await node.ask(GET, "/.well-known/core")
    assert asked.count("/.well-known/core") <= 2, "on the link, and again when it has joined"

"""When a node is asked, and when it is left alone."""

import pytest

from adapters.sim.coap_node import Content
from adapters.sim.ipso import Objects
from adapters.sim.mesh import Mesh
from adapters.sim.node import Profile
from tests.lowpan.mesh_bench import ND, TEMPERATURE, Gateway, add

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


async def test_an_answer_that_cannot_be_read_is_one_warning(
    caplog: pytest.LogCaptureFixture,
) -> None:
    mesh, gateway = Mesh(), Gateway(ND)
    node = add(mesh, ND, Profile.ND)
    counters = gateway.hub.counters
    async with mesh.running() as rcp, gateway.running(f"spinel+hdlc://{rcp.path}"):
        await gateway.until(lambda: gateway.watches(ND, TEMPERATURE), "an observation")
        node.objects.set("/3303/0/5700", "warm")
        await gateway.until(lambda: counters["lowpan_payload_undecodable"] >= 1)
        node.objects.set("/3303/0/5700", "hot")
        await gateway.until(lambda: counters["lowpan_payload_undecodable"] >= 2)
    told = [record for record in caplog.records if record.levelname == "WARNING"]
    assert sum("an answer is ignored: /3303/0/5700" in r.getMessage() for r in told) == 1

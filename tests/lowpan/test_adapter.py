"""Nodes of every kind become devices, and are read and commanded, through the whole stack."""

import asyncio
from collections.abc import Awaitable
from pathlib import Path as FilePath
from typing import TypeVar

import pytest

from adapters.sim.coap import (
    BAD_REQUEST,
    CHANGED,
    CREATED,
    DELETE,
    DELETED,
    GET,
    LOCATION_PATH,
    NOT_FOUND,
    POST,
)
from adapters.sim.ipso import (
    LINKS,
    LWM2M_CBOR,
    LWM2M_JSON,
    SENML_CBOR,
    SENML_JSON,
    TLV,
    Objects,
)
from adapters.sim.mesh import Mesh
from adapters.sim.node import Profile
from gateway.errors import NotAllowed, NotFound
from gateway.events import Create, Delete, Execute, Outcome, State, Write
from gateway.model import Path
from tests.deadlines import DEADLINE_S
from tests.lowpan.mesh_bench import (
    LEAF,
    ND,
    PLAIN,
    ROUTER,
    SWITCH,
    TEMPERATURE,
    Gateway,
    add,
    device_of,
    thermometer,
)

PRECONDITION_FAILED = 0x8C

T = TypeVar("T")


async def soon(what: Awaitable[T]) -> T:
    """The result, before the deadline."""
    async with asyncio.timeout(DEADLINE_S):
        return await what


async def test_a_node_that_joins_by_neighbour_discovery_becomes_a_device() -> None:
    mesh, gateway = Mesh(), Gateway(ND)
    add(mesh, ND, Profile.ND)
    async with mesh.running() as rcp, gateway.running(f"spinel+hdlc://{rcp.path}"):
        await gateway.until(lambda: gateway.value(ND, TEMPERATURE) == 21.5, "a temperature")
        assert gateway.state(ND) == (State.ONLINE, "connected: 6LoWPAN-ND, in radio reach")


async def test_a_plain_neighbour_is_read_and_observed() -> None:
    mesh, gateway = Mesh(), Gateway(PLAIN)
    node = add(mesh, PLAIN, Profile.PLAIN, thermometer(root="/ipso", formats=(SENML_JSON,)))
    async with mesh.running() as rcp, gateway.running(f"spinel+hdlc://{rcp.path}"):
        await gateway.until(lambda: node.coap.observers, "an observation")
        node.objects.set("/3303/0/5700", 22.25)
        await gateway.until(lambda: gateway.value(PLAIN, TEMPERATURE) == 22.25, "a notification")
        assert gateway.state(PLAIN) == (State.ONLINE, "connected: plain neighbour, in radio reach")
        assert gateway.value(PLAIN, Path(4, 0, 2)) == -60
        assert gateway.value(PLAIN, Path(4, 0, 3)) == 200


async def test_a_write_to_a_node_two_hops_away_arrives_over_a_source_route() -> None:
    mesh, gateway = Mesh(), Gateway(ROUTER, LEAF)
    router = add(mesh, ROUTER, Profile.RPL, thermometer(formats=(TLV,)))
    leaf = add(mesh, LEAF, Profile.RPL, near=False, to=(router,))
    async with mesh.running() as rcp, gateway.running(f"spinel+hdlc://{rcp.path}"):
        await gateway.until(lambda: gateway.value(LEAF, SWITCH) is False, "a switch")
        assert "2 hops, parent fd00::" in gateway.state(LEAF)[1]
        assert gateway.value(LEAF, Path(4, 0, 2)) == -60
        assert gateway.value(LEAF, Path(3, 0, 2)) == LEAF.hex()
        write = Write(device_of(LEAF), {SWITCH: True}, "test")
        assert await gateway.hub.commander.execute(write) == Outcome(confirmed=True)
        assert leaf.objects.values["/3311/0/5850"] is True
        await gateway.until(lambda: gateway.value(LEAF, SWITCH) is True, "the new state")
        run = Execute(device_of(LEAF), Path(3303, 0, 5605), "test")
        assert await gateway.hub.commander.execute(run) == Outcome(confirmed=True)
        assert leaf.objects.executed == [("/3303/0/5605", "")]
        assert leaf.source_routes
        assert all(route[3] == 0 for route in leaf.source_routes)
        assert not router.source_routes


@pytest.mark.parametrize("content_format", [SENML_CBOR, SENML_JSON, TLV, LWM2M_JSON, LWM2M_CBOR])
async def test_a_node_that_registers_by_lwm2m_is_read_in_the_format_it_speaks(
    content_format: int,
) -> None:
    mesh, gateway = Mesh(), Gateway(ND)
    node = add(mesh, ND, Profile.ND, thermometer(formats=(content_format,), text=False))
    async with mesh.running() as rcp, gateway.running(f"spinel+hdlc://{rcp.path}"):
        await soon(node.joined.wait())
        links = node.objects.links(instances=True)
        answer = await soon(node.ask(POST, "/rd?ep=mote&lt=60&lwm2m=1.0", LINKS, links))
        assert answer.code == CREATED
        await gateway.until(lambda: gateway.value(ND, TEMPERATURE) == 21.5, "a temperature")
        await gateway.until(lambda: gateway.value(ND, SWITCH) is False, "a switch")
        location = "/" + "/".join(s.decode() for s in answer.all(LOCATION_PATH))
        assert (await soon(node.ask(POST, location))).code == CHANGED
        assert (await soon(node.ask(POST, "/rd/999"))).code == NOT_FOUND
        assert (await soon(node.ask(DELETE, location))).code == DELETED
        assert gateway.hub.store.require(device_of(ND)).name == "mote"


async def test_a_node_that_registers_with_the_resource_directory_becomes_a_device() -> None:
    mesh, gateway = Mesh(), Gateway(ND, PLAIN)
    simple = add(mesh, ND, Profile.ND)
    full = add(mesh, PLAIN, Profile.PLAIN, thermometer(root="/a/b", formats=(SENML_CBOR,)))
    async with mesh.running() as rcp, gateway.running(f"spinel+hdlc://{rcp.path}"):
        await soon(simple.joined.wait())
        assert (await soon(simple.ask(POST, "/.well-known/rd?ep=simple"))).code == CHANGED
        await soon(full.joined.wait())
        core = await soon(full.ask(GET, "/.well-known/core"))
        assert b'</rd>;rt="core.rd"' in core.payload
        answer = await soon(full.ask(POST, "/rd?ep=full&lt=60", LINKS, full.objects.links()))
        assert answer.code == CREATED
        await gateway.until(lambda: gateway.value(ND, TEMPERATURE) == 21.5, "a temperature")
        await gateway.until(lambda: gateway.value(PLAIN, TEMPERATURE) == 21.5, "a temperature")
        assert (await soon(full.ask(POST, "/rd", LINKS, full.objects.links()))).code == BAD_REQUEST
        refused = await soon(full.ask(POST, "/rd?ep=x&lwm2m=9.9", LINKS, "</3/0>"))
        assert refused.code == PRECONDITION_FAILED


async def test_a_registration_that_is_not_renewed_ends_with_the_device_shown_as_offline() -> None:
    mesh, gateway = Mesh(), Gateway(ND)
    node = add(mesh, ND, Profile.ND, thermometer(formats=(TLV,)))
    async with (
        mesh.running() as rcp,
        gateway.running(f"spinel+hdlc://{rcp.path}", poll="1h") as _,
    ):
        await soon(node.joined.wait())
        links = node.objects.links(instances=True)
        await soon(node.ask(POST, "/rd?ep=mote&lt=1&lwm2m=1.0", LINKS, links))
        expected = (State.OFFLINE, "its registration has ended")
        await gateway.until(lambda: gateway.state(ND) == expected, "the end")


async def test_what_a_node_refuses_comes_back_as_what_it_said() -> None:
    mesh, gateway = Mesh(), Gateway(ND)
    node = add(mesh, ND, Profile.ND)
    async with mesh.running() as rcp, gateway.running(f"spinel+hdlc://{rcp.path}"):
        await gateway.until(lambda: gateway.value(ND, SWITCH) is False, "a switch")
        node.objects.stuck = frozenset({"/3311/0/5850"})
        write = Write(device_of(ND), {SWITCH: True}, "test")
        assert await gateway.hub.commander.execute(write) == Outcome(confirmed=False)
        assert gateway.value(ND, SWITCH) is False
        node.objects.writable = frozenset()
        with pytest.raises(NotAllowed, match=r"4\.05 to PUT /3311/0/5850"):
            await gateway.hub.commander.execute(Write(device_of(ND), {SWITCH: True}, "test"))
        del node.objects.values["/3311/0/5850"]
        with pytest.raises(NotFound, match=r"4\.04"):
            await gateway.hub.commander.execute(Write(device_of(ND), {SWITCH: True}, "test"))


async def test_a_node_that_takes_no_text_is_written_in_the_format_it_speaks() -> None:
    mesh, gateway = Mesh(), Gateway(ND)
    node = add(mesh, ND, Profile.ND, thermometer(formats=(SENML_JSON,), text=False))
    async with mesh.running() as rcp, gateway.running(f"spinel+hdlc://{rcp.path}"):
        await gateway.until(lambda: gateway.value(ND, SWITCH) is False, "a switch")
        write = Write(device_of(ND), {SWITCH: True}, "test")
        assert await gateway.hub.commander.execute(write) == Outcome(confirmed=True)
        assert node.objects.values["/3311/0/5850"] is True


async def test_a_node_without_ipso_objects_is_refused_with_what_it_shows() -> None:
    mesh, gateway = Mesh(), Gateway(ND)
    objects = Objects({}, others={"/riot/board": "native", "/cli/stats": "3"})
    add(mesh, ND, Profile.ND, objects)
    async with mesh.running() as rcp, gateway.running(f"spinel+hdlc://{rcp.path}"):
        await gateway.until(lambda: "no device definition" in gateway.state(ND)[1], "a reason")
        assert "/riot/board, /cli/stats" in gateway.state(ND)[1]
        assert set(objects.asked) == {"/.well-known/core"}
        assert len(objects.asked) == 1


async def test_a_node_is_explored_once_and_then_only_told_or_polled() -> None:
    mesh, gateway = Mesh(), Gateway(ND)
    node = add(mesh, ND, Profile.ND, thermometer(formats=(TLV,)))
    async with mesh.running() as rcp, gateway.running(f"spinel+hdlc://{rcp.path}", poll="1h"):
        for value in (1.0, 2.0, 3.0):
            await gateway.until(lambda: gateway.watches(ND, TEMPERATURE), "an observation")
            node.objects.set("/3303/0/5700", value)
            await gateway.until(lambda v=value: gateway.value(ND, TEMPERATURE) == v, "a value")  # type: ignore[misc]
        assert list(node.objects.asked).count("/.well-known/core") == 2  # blocks
        assert list(node.objects.asked).count("/3303/0") == 3  # as SenML CBOR, SenML JSON, TLV


async def test_a_node_that_is_not_admitted_is_a_stranger_until_it_is_permitted() -> None:
    mesh, gateway = Mesh(), Gateway()
    add(mesh, ND, Profile.ND)
    async with mesh.running() as rcp, gateway.running(f"spinel+hdlc://{rcp.path}"):
        await gateway.until(lambda: device_of(ND) in gateway.hub.admission.strangers, "a stranger")
        assert gateway.hub.store.device(device_of(ND)) is None
        gateway.hub.permit(60.0)
        await gateway.until(lambda: gateway.value(ND, TEMPERATURE) == 21.5, "a temperature")
        gateway.hub.permit(0)
        gateway.hub.forget(device_of(ND))
        await gateway.until(
            lambda: device_of(ND) in gateway.hub.admission.strangers, "a stranger again"
        )


async def test_a_node_with_paths_of_its_own_becomes_a_device_when_a_definition_is_put_there(
    tmp_path: FilePath,
) -> None:
    mesh, gateway = Mesh(), Gateway(ND)
    paths = {"/riot/board": "native", "/cli/stats": "3", "/rtc": "none"}
    add(mesh, ND, Profile.ND, Objects({}, others=paths))
    async with (
        mesh.running() as rcp,
        gateway.running(f"spinel+hdlc://{rcp.path}", poll="1h", definitions=str(tmp_path)),
    ):
        await gateway.until(lambda: "no device definition" in gateway.state(ND)[1], "a reason")
        shipped = FilePath("config/devices/riot-gcoap.toml").read_text(encoding="utf-8")
        (tmp_path / "riot.toml").write_text(shipped, encoding="utf-8")
        await gateway.until(lambda: gateway.value(ND, Path(3300, 0, 5700)) == 3.0, "the number")
        assert gateway.value(ND, Path(3, 0, 17)) == "native"
        assert gateway.value(ND, Path(3, 0, 0)) == "RIOT"
        assert gateway.state(ND)[0] is State.ONLINE


async def test_a_definition_maps_writes_back_to_the_nodes_own_path(tmp_path: FilePath) -> None:
    definition = """
        name = "Blind"
        [match]
        paths = ["/position"]
        [[resource]]
        path = "/position"
        object = 3311
        resource = 5851
        scale = 0.1
    """
    (tmp_path / "blind.toml").write_text(definition, encoding="utf-8")
    mesh, gateway = Mesh(), Gateway(ND)
    objects = Objects({"/position": 500}, writable=frozenset({"/position"}))
    add(mesh, ND, Profile.ND, objects)
    async with (
        mesh.running() as rcp,
        gateway.running(f"spinel+hdlc://{rcp.path}", definitions=str(tmp_path)),
    ):
        dimmer = Path(3311, 0, 5851)
        await gateway.until(lambda: gateway.value(ND, dimmer) == 50, "the position")
        write = Write(device_of(ND), {dimmer: 75}, "test")
        assert await gateway.hub.commander.execute(write) == Outcome(confirmed=True)
        assert objects.values["/position"] == 750


async def test_an_instance_is_made_and_removed_where_the_node_can() -> None:
    mesh, gateway = Mesh(), Gateway(ND)
    objects = Objects(
        {"/3303/0/5700": 21.5, "/3340/0/5521": 5.0},
        formats=(110,),
        creatable=frozenset({"/3340"}),
    )
    add(mesh, ND, Profile.ND, objects)
    async with mesh.running() as rcp, gateway.running(f"spinel+hdlc://{rcp.path}"):
        await gateway.until(lambda: gateway.value(ND, Path(3340, 0, 5521)) == 5.0, "the timer")
        execute, device, new = gateway.hub.commander.execute, device_of(ND), Path(3340, 3)
        timer = {Path(*new, 5521): 2.5}
        assert await execute(Create(device, new, timer, "test")) == Outcome(confirmed=True)
        await gateway.until(lambda: gateway.value(ND, Path(*new, 5521)) == 2.5, "the new timer")
        assert await execute(Delete(device, new, "test")) == Outcome(confirmed=True)
        assert gateway.value(ND, Path(*new, 5521)) is None
        assert objects.values == {"/3303/0/5700": 21.5, "/3340/0/5521": 5.0}
        with pytest.raises(NotAllowed):
            await execute(Delete(device, Path(3303, 0), "test"))


async def test_a_long_text_goes_to_a_node_two_hops_away_in_blocks() -> None:
    mesh, gateway = Mesh(), Gateway(LEAF)
    router = add(mesh, ROUTER, Profile.RPL)
    text, display = "a longer text, " * 20, Path(3341, 0, 5527)
    objects = Objects({"/3341/0/5527": "short"}, writable=frozenset({"/3341/0/5527"}))
    add(mesh, LEAF, Profile.RPL, objects, near=False, to=(router,))
    async with mesh.running() as rcp, gateway.running(f"spinel+hdlc://{rcp.path}"):
        await gateway.until(lambda: gateway.value(LEAF, display) == "short", "the text")
        write = Write(device_of(LEAF), {display: text}, "test")
        assert await gateway.hub.commander.execute(write) == Outcome(confirmed=True)
        assert objects.values["/3341/0/5527"] == text


async def test_a_node_that_was_restarted_is_observed_again() -> None:
    mesh, gateway = Mesh(), Gateway(ND)
    node = add(mesh, ND, Profile.ND)
    async with mesh.running() as rcp, gateway.running(f"spinel+hdlc://{rcp.path}"):
        await gateway.until(lambda: gateway.watches(ND, TEMPERATURE), "an observation")
        node.coap.forget()
        await gateway.until(lambda: node.coap.observers, "another observation")
        node.objects.set("/3303/0/5700", 7.5)
        await gateway.until(lambda: gateway.value(ND, TEMPERATURE) == 7.5, "a notification")

"""Whatever datagrams come from the mesh, the CoAP endpoint does not break, and asks patiently."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from adapters.lowpan.coap.client import Client
from adapters.lowpan.coap.directory import Directory
from adapters.lowpan.coap.endpoint import Endpoint, Peer
from adapters.lowpan.coap.formats import Method, Request
from adapters.lowpan.devices.layout import read_layout
from adapters.lowpan.devices.registrations import Registration, Registrations
from adapters.lowpan.effects import UdpReceived, Undeliverable
from adapters.sim import coap
from gateway.errors import TimedOut, Unreachable
from gateway.formats.linkformat import Link, parse
from gateway.model import Path
from tests.deadlines import DEADLINE_S
from tests.vectors import LWM2M

NODE, OTHER, GATEWAY = (b"\xfd" + bytes(14) + bytes((n,)) for n in (2, 3, 1))


class Bench:
    """An endpoint with the mesh's directory, and what it sends."""

    def __init__(self, hops: int | None = 1) -> None:
        self.sent: asyncio.Queue[tuple[tuple[bytes, int], bytes, bytes | None]] = asyncio.Queue()
        self.registered: list[Registration] = []
        self.links: asyncio.Future[list[Link]] = asyncio.get_running_loop().create_future()
        directory = Directory(
            Registrations(),
            lambda peer: peer.address,
            lambda peer: asyncio.shield(self.links),
            lambda registration, peer: self.registered.append(registration),
            lambda registration: None,
        )
        self.endpoint = Endpoint(
            lambda to, data, local: self.sent.put_nowait((to, data, local)), directory.site()
        )
        self.client = Client(self.endpoint, lambda address: hops, lambda: "", 0.02)

    def receive(self, data: bytes, source: bytes = NODE, port: int = 5683) -> None:
        self.endpoint.received(UdpReceived(source, port, GATEWAY, 5683, data, 1, source[8:]))

    async def answer(self) -> coap.Message:
        async with asyncio.timeout(DEADLINE_S):
            return coap.parse((await self.sent.get())[1])


@asynccontextmanager
async def bench() -> AsyncIterator[Bench]:
    made = Bench()
    try:
        yield made
    finally:
        await made.endpoint.context.shutdown()


def request(code: int, path: str, mid: int = 1, payload: bytes = b"") -> bytes:
    options = coap.path_options(path)
    return coap.Message(coap.CON, code, mid, b"t", options, payload).encode()


async def test_no_datagram_breaks_the_endpoint() -> None:
    randomness = random.Random(1)
    seeds = [
        request(coap.POST, "/rd?ep=a&lt=60", payload=b"</3303/0>"),
        request(coap.POST, "/rd/1?lt=5"),
        request(coap.GET, "/.well-known/core"),
        coap.Message(coap.ACK, coap.CONTENT, 1, b"t", ((coap.OBSERVE, b"\1"),), b"x").encode(),
        coap.Message(coap.NON, coap.CONTENT, 2, b"", ((coap.BLOCK2, b"\x0a"),), b"x").encode(),
    ]
    async with bench() as made:
        for _ in range(3000):
            data = bytearray(randomness.choice(seeds))
            for _ in range(randomness.randrange(4)):
                data[randomness.randrange(len(data))] = randomness.randrange(256)
            made.receive(bytes(data[: randomness.randrange(len(data) + 1)]) or b"\x40")
            await asyncio.sleep(0)
        made.receive(request(coap.GET, "/.well-known/core", mid=0x7777))
        while (answer := await made.answer()).mid != 0x7777:
            pass
        assert answer.code == coap.CONTENT


VECTORS = [v for v in LWM2M if v["area"] == "registration"]
NOT_OFFERED = {"reg-bootstrap-request", "rd-endpoint-lookup"}
"""The mesh has no bootstrap server, and nodes do not look each other up at the gateway."""

# What Contiki-NG's lwm2m-ipso-objects sent to `prefix::1`, recorded.
REGISTER = bytes.fromhex(
    "4002dc52b27264496c776d326d3d312e300d0565703d436f6e74696b692d4e472d54657374056c743d3330"
    "03623d55ff3c2f332f303e2c3c2f333330332f303e2c3c2f303e2c3c2f313e"
)


async def test_contikis_recorded_registration_is_accepted_and_shows_its_objects() -> None:
    async with bench() as made:
        made.receive(REGISTER)
        answer = await made.answer()
        assert (answer.code, answer.mid, answer.token) == (coap.CREATED, 0xDC52, b"")
        assert answer.all(coap.LOCATION_PATH) == [b"rd", b"1"]
        (registration,) = made.registered
        assert (registration.endpoint, registration.lwm2m) == ("Contiki-NG-Test", "1.0")
        assert registration.lifetime_s == 30
        layout = read_layout(registration.links, lwm2m=True)
        assert layout is not None
        assert layout.instances == (Path(3, 0), Path(3303, 0))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["id"])
async def test_registrations_of_the_specifications_are_answered_as_they_say(
    vector: dict[str, Any],
) -> None:
    async with bench() as made:
        made.links.set_result(parse("</3303/0/5700>"))
        made.receive(request(coap.POST, "/rd?ep=example-client&lwm2m=1.1&lt=86400", mid=1))
        location = (await made.answer()).all(coap.LOCATION_PATH)
        path = vector["path"].replace("/rd/5a3f", b"/".join([b"", *location]).decode())
        code = {"GET": coap.GET, "POST": coap.POST, "DELETE": coap.DELETE}[vector["method"]]
        text = vector.get("text", "") if code == coap.POST else ""
        made.receive(request(code, f"{path}?{vector['query']}", mid=2, payload=text.encode()))
        answer = await made.answer()
        expected = "4.04" if vector["id"] in NOT_OFFERED else vector["expect_code"]
        assert f"{answer.code >> 5}.{answer.code & 31:02}" == expected
        if vector["method"] == "POST" and vector["expect_code"] == "2.01":
            assert answer.all(coap.LOCATION_PATH)[0] == b"rd"


async def test_an_answer_comes_from_the_address_that_was_asked() -> None:
    async with bench() as made:
        made.receive(request(coap.GET, "/.well-known/core"), port=61616)
        to, _, local = await made.sent.get()
        assert (to, local) == ((NODE, 61616), GATEWAY)


@pytest.mark.parametrize("path", ["/.well-known/rd", "/.well-known/core"])
async def test_a_node_registers_simply_at_the_path_of_the_rfc_or_of_its_drafts(path: str) -> None:
    async with bench() as made:
        made.links.set_result(parse("</3303/0/5700>"))
        made.receive(request(coap.POST, f"{path}?ep=a&lt=60"))
        assert (await made.answer()).code == coap.CHANGED
        assert [r.endpoint for r in made.registered] == ["a"]


async def test_a_node_can_register_simply_only_once_at_a_time() -> None:
    async with bench() as made:
        made.receive(request(coap.POST, "/.well-known/rd?ep=a", mid=1))
        made.receive(coap.Message(
            coap.CON, coap.POST, 2, b"u", coap.path_options("/.well-known/rd?ep=b")
        ).encode())  # fmt: skip
        assert (await made.answer()).code == 0xA3
        made.links.set_result(parse("</3303/0/5700>"))
        while (answer := await made.answer()).token != b"t" or not answer.code:
            pass
        assert answer.code == coap.CHANGED
        assert [r.endpoint for r in made.registered] == ["a"]


async def test_a_node_that_cannot_be_reached_is_known_at_once_and_others_are_not_touched() -> None:
    async with bench() as made:
        asking = asyncio.ensure_future(made.client.ask(Peer(NODE), Request(Method.GET, ("a",))))
        await made.answer()
        made.endpoint.undeliverable(Undeliverable(OTHER, 5683, 5683, "no route"))
        made.endpoint.undeliverable(Undeliverable(NODE, 5683, 5683, "no route to it"))
        with pytest.raises(Unreachable, match="no route to it"):
            async with asyncio.timeout(DEADLINE_S):
                await asking


async def test_a_silent_node_is_asked_five_times() -> None:
    async with bench() as made:
        with pytest.raises(TimedOut, match="asked 5 times"):
            await made.client.ask(Peer(NODE), Request(Method.GET, ("a",)))
        assert made.sent.qsize() == 5


@pytest.mark.parametrize(("hops", "ack_timeout_s"), [(None, 2.0), (1, 2.0), (2, 4.0), (5, 4.0)])
async def test_a_node_beyond_the_first_hop_has_twice_as_long_to_acknowledge(
    hops: int | None, ack_timeout_s: float
) -> None:
    async with bench() as made:
        client = Client(made.endpoint, lambda _: hops, lambda: "", 2.0)
        message = client._message(Peer(NODE), Request(Method.GET, ("a",)))
        assert ack_timeout_s == message.transport_tuning.ACK_TIMEOUT


async def test_requests_ask_for_blocks_of_64_octets() -> None:
    async with bench() as made:
        asking = asyncio.ensure_future(made.client.ask(Peer(NODE), Request(Method.GET, ("a",))))
        message = await made.answer()
        assert message.uint(coap.BLOCK2) == 2
        answer = coap.Message(coap.ACK, coap.CONTENT, message.mid, message.token, (), b"21.5")
        made.receive(answer.encode())
        async with asyncio.timeout(DEADLINE_S):
            assert (await asking).payload == b"21.5"

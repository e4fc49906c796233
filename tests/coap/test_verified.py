"""An address that may be forged is sent little until it has shown that it hears us (RFC 9175)."""

import asyncio

import pytest

from adapters.coap.datagram import Datagram, Type, encode
from adapters.coap.directory import MANY_DEVICES
from adapters.coap.messages import Code, Option
from adapters.coap.server import MANY_RESOURCES
from adapters.coap.verified import REMEMBERED, VERIFIED_S, Verified
from gateway.model import DeviceId, Path
from tests.coap.conftest import Serve
from tests.coap.network import GATEWAY, GATEWAY_6, Network
from tests.coap.peers import Peer, Served, accept, coap_client, content_format, option
from tests.fakes import STATION, HubBench

VALUE, INSTANCE, LINKS = "/weather/3303/0/5700", "/weather/3303/0", "/.well-known/core"
WHO = ("192.0.2.7", 5683)


# --- pure ---


def test_an_address_is_real_for_a_while_once_it_sent_its_challenge_back() -> None:
    verified = Verified(b"secret")
    verified.take(WHO, verified.challenge(WHO, 100.0), 130.0)
    assert WHO in verified
    verified.expire(130.0 + VERIFIED_S)
    assert WHO not in verified


@pytest.mark.parametrize(
    ("peer", "at"), [(("192.0.2.8", 5683), 100.0), (("192.0.2.7", 5684), 100.0), (WHO, 300.0)]
)
def test_a_challenge_is_for_one_port_and_for_some_time(peer: tuple[str, int], at: float) -> None:
    verified = Verified(b"secret")
    verified.take(peer, verified.challenge(WHO, 100.0), at)
    assert peer not in verified


def test_nobody_makes_up_a_challenge() -> None:
    ours, theirs = Verified(b"secret"), Verified(b"guess")
    ours.take(WHO, theirs.challenge(WHO, 1.0), 1.0)
    ours.take(WHO, b"", 1.0)
    assert WHO not in ours


def test_so_many_are_remembered_and_the_newest_of_them() -> None:
    verified = Verified(b"secret")
    peers = [("192.0.2.7", port) for port in range(REMEMBERED + 1)]
    for peer in peers:
        verified.take(peer, verified.challenge(peer, 1.0), 1.0)
    assert peers[0] not in verified
    assert peers[1] in verified
    assert peers[-1] in verified


# --- on the wire ---


@pytest.fixture
async def open_server(network: Network, serve: Serve) -> Served:
    """The adapter where the client's machine reaches it, too."""
    with network.gateway.inside():
        return await serve(listen=(f"{GATEWAY}:0", "0.0.0.0:0"))


@pytest.fixture
def stranger(network: Network, open_server: Served) -> Peer:
    """A client on another machine, of which nothing is known."""
    with network.client.inside():
        return open_server.peer(GATEWAY)


async def ask(peer: Peer, octets: bytes) -> Datagram:
    """The answer, which is not longer than three times the request."""
    peer.send(octets)
    answer = await peer.receive()
    assert len(encode(answer)) <= 3 * len(octets)
    return answer


async def test_a_stranger_reads_a_value_like_anybody(stranger: Peer) -> None:
    for _ in range(2):  # the second answer is a prepared one
        assert (await ask(stranger, stranger.request(VALUE))).payload == b"21.5"


@pytest.mark.parametrize("path", [LINKS, f"{LINKS}?rt=urn*"])
async def test_what_is_long_is_told_to_an_address_that_shows_that_it_is_real(
    stranger: Peer, path: str
) -> None:
    path, _, query = path.partition("?")
    more = [(Option.URI_QUERY, query.encode())] if query else []
    challenge = await ask(stranger, stranger.request(path, *more))
    assert (challenge.code, challenge.payload) == (Code.UNAUTHORIZED, b"")
    echo = option(challenge, Option.ECHO)
    assert echo
    forged = await ask(stranger, stranger.request(path, *more, (Option.ECHO, bytes(8))))
    assert forged.code == Code.UNAUTHORIZED
    answer = await stranger.ask(path, *more, (Option.ECHO, echo))
    assert (answer.code, len(answer.payload)) == (Code.CONTENT, 1024)
    assert len((await stranger.ask(path, *more)).payload) == 1024


async def test_who_is_verified_at_one_port_is_a_stranger_at_another(
    network: Network, open_server: Served, stranger: Peer
) -> None:
    echo = option(await stranger.ask(LINKS), Option.ECHO)
    with network.client.inside():
        other = open_server.peer(GATEWAY)
    assert echo
    answer = await ask(other, other.request(LINKS, (Option.ECHO, echo)))
    assert answer.code == Code.UNAUTHORIZED


async def test_a_client_without_echo_reads_an_instance_in_small_blocks(
    home: HubBench, stranger: Peer
) -> None:
    first = await ask(stranger, stranger.request(INSTANCE, accept(110)))
    assert first.code == Code.CONTENT
    block2 = option(first, Option.BLOCK2)
    assert block2
    exponent, body, number = block2[-1] & 7, first.payload, 0
    while block2 and block2[-1] & 8:
        number += 1
        wanted = (number << 4 | exponent).to_bytes(1, "big")
        answer = await ask(stranger, stranger.request(INSTANCE, accept(110), (23, wanted)))
        assert option(answer, Option.ETAG) == option(first, Option.ETAG)
        body, block2 = body + answer.payload, option(answer, Option.BLOCK2)
    assert body == (await whole(stranger, INSTANCE, accept(110))).payload


async def test_the_links_can_be_fetched_in_small_blocks_without_echo(stranger: Peer) -> None:
    asked = stranger.request(LINKS, (Option.BLOCK2, b"\x06"))
    answer = await ask(stranger, asked)
    assert answer.code == Code.CONTENT
    block2 = option(answer, Option.BLOCK2)
    assert block2
    assert len(answer.payload) == 16 << (block2[-1] & 7)


async def whole(peer: Peer, path: str, *more: tuple[int, bytes]) -> Datagram:
    """The answer after the challenge."""
    echo = option(await peer.ask(LINKS), Option.ECHO)
    return await peer.ask(path, *more, (Option.ECHO, echo or b""))


@pytest.mark.parametrize(
    ("method", "path", "options", "payload"),
    [
        (Code.GET, "/weather/3303", [(Option.BLOCK2, b"\x01")], b""),
        (Code.GET, "/weather/3303", [(Option.IF_MATCH, b"\0" * 8)], b""),
        (Code.GET, LINKS, [(Option.URI_QUERY, b"rt=nothing")], b""),
        (Code.FETCH, "/", [content_format(110), (Option.BLOCK2, b"\x01")], b'[{"n":"/weather"}]'),
        (Code.FETCH, "/", [content_format(110)], b"[%s]" % b",".join([b'{"n":"/nobody/3"}'] * 40)),
    ],
)
async def test_what_takes_long_to_make_is_not_made_for_an_address_that_may_be_forged(
    home: HubBench,
    stranger: Peer,
    method: Code,
    path: str,
    options: list[tuple[int, bytes]],
    payload: bytes,
) -> None:
    home.say({Path(3303, instance, 5700): 1.0 for instance in range(MANY_RESOURCES)})
    for number in range(MANY_DEVICES):
        home.join(DeviceId(f"ble:00-00-00-00-00-{number:02x}"))
    asked = stranger.request(path, *options, code=method, payload=payload)
    assert (await ask(stranger, asked)).code == Code.UNAUTHORIZED
    await whole(stranger, path)
    answer = await stranger.ask(path, *options, code=method, payload=payload)
    assert answer.code in {Code.CONTENT, Code.PRECONDITION_FAILED}


async def test_a_composite_of_a_few_names_is_read_like_anything(stranger: Peer) -> None:
    asked = content_format(110), accept(110)
    payload = b'[{"n":"/weather/3303/0/5700"},{"n":"/light/3311/0/5850"}]'
    octets = stranger.request("/", *asked, code=Code.FETCH, payload=payload)
    assert b'"v":21.5' in (await ask(stranger, octets)).payload


@pytest.mark.parametrize("code", [Code.PUT, Code.POST, Code.DELETE, Code.IPATCH])
async def test_an_error_is_told_without_its_text(stranger: Peer, code: Code) -> None:
    octets = stranger.request("/light", code=code)
    answer = await ask(stranger, octets)
    assert (answer.code, answer.payload) == (Code.FORBIDDEN, b"")


@pytest.mark.parametrize(
    "octets",
    [b"\x40\x01\x00\x07", b"\x40\x05\x00\x07", b"\x40\x01\x00\x07\x60", b"\x40\x1f\x00\x07"],
)
async def test_the_shortest_requests_have_short_answers(stranger: Peer, octets: bytes) -> None:
    assert (await ask(stranger, octets)).code >= Code.BAD_REQUEST


async def test_a_fetch_in_blocks_is_only_for_the_verified(stranger: Peer) -> None:
    more = content_format(110), (Option.BLOCK1, b"\x08")
    octets = stranger.request("/", *more, code=Code.FETCH, payload=b'[{"n":"/weather"')
    assert (await ask(stranger, octets)).code == Code.UNAUTHORIZED


async def test_who_observes_from_a_strange_address_gets_one_notification_until_it_is_acknowledged(
    home: HubBench, stranger: Peer
) -> None:
    request = stranger.request(VALUE, (Option.OBSERVE, b""), kind=Type.NON)
    stranger.send(request)
    heard = len(encode(await stranger.receive()))
    home.say({Path(3303, 0, 5700): 1.5}, STATION)
    told = await stranger.receive()
    heard += len(encode(told))
    assert (told.type, told.payload) == (Type.CON, b"1.5")
    home.say({Path(3303, 0, 5700): 2.5}, STATION)
    assert heard <= 3 * len(request)
    stranger.acknowledge(told)
    told = await stranger.receive()
    assert (told.type, told.payload) == (Type.NON, b"2.5")


async def test_an_instance_is_observed_by_who_is_verified(home: HubBench, stranger: Peer) -> None:
    asked = (INSTANCE, (Option.OBSERVE, b""), accept(110))
    challenge = await ask(stranger, stranger.request(*asked))
    assert challenge.code == Code.UNAUTHORIZED
    echo = option(challenge, Option.ECHO) or b""
    answer = await stranger.ask(*asked, (Option.ECHO, echo))
    assert option(answer, Option.OBSERVE) is not None
    home.say({Path(3303, 0, 5700): 1.5}, STATION)
    assert b"1.5" in (await stranger.receive()).payload


async def test_this_machine_is_believed(network: Network, open_server: Served) -> None:
    with network.gateway.inside():
        peer = Peer(open_server.ports[1])
    try:
        assert len((await peer.ask(LINKS)).payload) == 1024
    finally:
        peer.close()


@pytest.mark.parametrize("host", [GATEWAY, f"[{GATEWAY_6}]"])
async def test_libcoap_reads_lists_and_observes_from_another_machine(
    home: HubBench, network: Network, serve: Serve, host: str
) -> None:
    with network.gateway.inside():
        served = await serve(listen=(f"{host}:0",))
    enter = network.client.enter
    value = await coap_client(served.port, VALUE, host=host, enter=enter)
    assert value.out.strip() == "21.5"
    links = await coap_client(served.port, LINKS, host=host, enter=enter)
    assert "</light/3311/0/5850>" in links.out
    observing = asyncio.create_task(
        coap_client(served.port, INSTANCE, "-s", "2", "-A", "110", host=host, enter=enter)
    )
    number = 0.0
    while not observing.done():
        number += 1
        home.say({Path(3303, 0, 5700): number}, STATION)
        await asyncio.sleep(0.1)
    assert observing.result().out.count('"bn":"/weather/3303/0/"') > 3

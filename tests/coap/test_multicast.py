"""Being found by multicast: two machines on a cable (RFC 7252 8)."""

import asyncio
import errno
import os
import socket
import struct
from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from adapters.coap import multicast
from adapters.coap.adapter import Coap, CoapSection
from adapters.coap.datagram import Datagram, Type, decode, encode
from adapters.coap.messages import Code, Option
from adapters.coap.multicast import understood
from adapters.coap.udp import ALL_NODES, ALL_NODES_6, GroupSocket, UdpSocket
from tests.coap.conftest import BUILTIN, Serve
from tests.coap.network import CLIENT, CLIENT_LINK, GATEWAY, GATEWAY_6, GATEWAY_LINK, Network
from tests.coap.peers import coap_client, option
from tests.deadlines import DEADLINE_S

LINKS = ((11, b".well-known"), (11, b"core"))
FILTER = (15, b"rt=oma.lwm2m")


def ask(
    *more: tuple[int, bytes], code: int = Code.GET, kind: Type = Type.NON, mid: int = 7
) -> bytes:
    options = tuple(sorted([*LINKS, *more], key=lambda option: option[0]))
    return encode(Datagram(kind, code, mid, b"tok", options))


def test_it_is_off_until_an_interface_is_named_and_wants_an_open_address() -> None:
    assert CoapSection().multicast == ()
    with pytest.raises(ValidationError, match="open listen to the network"):
        CoapSection(multicast=("eth0",))


async def test_check_names_an_interface_that_is_not_there() -> None:
    section = CoapSection(listen=("0.0.0.0:0",), multicast=("lo", "absent0"))
    findings = [finding.text for finding in await Coap.check(section, BUILTIN)]
    assert [text for text in findings if "no interface absent0 now" in text]
    assert not [text for text in findings if "interface lo" in text]


@pytest.mark.parametrize(
    "octets",
    [
        ask(),
        ask((15, b"nofilter")),
        ask(FILTER, kind=Type.CON),
        ask(FILTER, code=Code.PUT),
        ask(FILTER, code=Code.FETCH),
        ask(FILTER, (9_999, b"")),
        ask(FILTER, (258, b"\x1a")),
        encode(Datagram(Type.NON, 1, 7, b"", ((11, b"weather"), (15, b"rt=x")))),
        b"",
        b"\xff" * 40,
    ],
)
def test_nothing_but_a_filtered_list_of_links_is_asked_of_everybody(octets: bytes) -> None:
    assert understood(octets) is None
    assert understood(ask(FILTER)) is not None


class Asker:
    """A socket on the client's machine that asks everybody on the cable."""

    def __init__(self, family: int, port: int) -> None:
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        index = socket.if_nametoindex(CLIENT_LINK)
        if family == socket.AF_INET6:
            self.group: tuple[object, ...] = (ALL_NODES_6, port, 0, index)
        else:
            mreqn = (
                socket.inet_aton(ALL_NODES) + socket.inet_aton(CLIENT) + struct.pack("@i", index)
            )
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, mreqn)
            self.group = (ALL_NODES, port)

    def ask(self, octets: bytes) -> None:
        self.socket.sendto(octets, self.group)

    async def receive(self) -> tuple[Datagram, tuple[object, ...]]:
        async with asyncio.timeout(DEADLINE_S):
            data, peer = await asyncio.get_running_loop().sock_recvfrom(self.socket, 2048)
        return decode(data), peer


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multicast, "LEISURE_S", 0.0)


@pytest.fixture(params=["any address", "one address"])
def listen(request: pytest.FixtureRequest) -> tuple[str, ...]:
    if request.param == "any address":
        return ("0.0.0.0:5683", "[::]:5683")
    return (f"{GATEWAY}:5683", f"[{GATEWAY_6}]:5683")


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6])
def asker(request: pytest.FixtureRequest, network: Network) -> Iterator[Asker]:
    with network.client.inside():
        asker = Asker(request.param, 5683)
    yield asker
    asker.socket.close()


@pytest.mark.usefixtures("at_once")
async def test_who_looks_for_something_finds_the_gateway_and_fetches_the_rest_there(
    network: Network, serve: Serve, asker: Asker, listen: tuple[str, ...]
) -> None:
    with network.gateway.inside():
        await serve(listen=listen, multicast=(GATEWAY_LINK,))
        asker.ask(ask(FILTER))
        answer, gateway = await asker.receive()
    assert gateway[1] == 5683
    assert (answer.type, answer.code, answer.token) == (Type.NON, Code.CONTENT, b"tok")
    assert len(encode(answer)) <= 3 * len(ask(FILTER))
    block2 = option(answer, Option.BLOCK2)
    assert block2 is not None
    body, number, more = answer.payload, 0, True
    while more:
        number += 1
        wanted = (number << 4 | block2[-1] & 7).to_bytes(1, "big")
        asker.socket.sendto(ask(FILTER, (23, wanted), kind=Type.CON, mid=number), gateway)
        answer, _ = await asker.receive()
        body, more = body + answer.payload, bool((option(answer, Option.BLOCK2) or b"\0")[-1] & 8)
    assert body.count(b"oma.lwm2m") == 3


@pytest.mark.usefixtures("at_once")
async def test_nobody_answers_what_is_not_for_everybody_or_selects_nothing(
    network: Network, serve: Serve, asker: Asker
) -> None:
    with network.gateway.inside():
        await serve(listen=("0.0.0.0:5683", "[::]:5683"), multicast=(GATEWAY_LINK,))
        silent = [ask(), ask(FILTER, kind=Type.CON), ask((15, b"rt=nothing")), ask((15, b"x"))]
        for octets in [*silent, b"\x50\x01\x00\x07\xff", ask(FILTER, mid=99)]:
            asker.ask(octets)
        answer, _ = await asker.receive()
    assert answer.mid & 0x7FFF == 99
    with pytest.raises(BlockingIOError):
        asker.socket.recv(2048)


async def test_without_the_key_nobody_answers_and_the_listener_hears_no_group(
    network: Network, serve: Serve, asker: Asker
) -> None:
    with network.gateway.inside():
        served = await serve(listen=("0.0.0.0:5683", "[::]:5683"))
        other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)  # another program has joined
        index = socket.if_nametoindex(GATEWAY_LINK)
        group = socket.inet_aton(ALL_NODES) + struct.pack("@ii", 0, index)
        other.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
    asker.ask(ask(FILTER))
    with network.client.inside():
        peer = served.peer(GATEWAY)
    assert (await peer.ask("/weather/3303/0/5700")).payload == b"21.5"
    other.close()
    with pytest.raises(BlockingIOError):
        asker.socket.recv(2048)


@pytest.mark.usefixtures("at_once")
async def test_repetitions_and_crowds_get_no_more_than_one_answer_each_and_a_bounded_number(
    network: Network, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    # None is answered before all have asked, also where the machine has other things to do.
    monkeypatch.setattr("random.uniform", lambda _, longest: longest)
    monkeypatch.setattr(multicast, "LEISURE_S", 2.0)
    monkeypatch.setattr(multicast, "WAITING", 3)
    with network.gateway.inside():
        await serve(listen=("0.0.0.0:5683",), multicast=(GATEWAY_LINK,))
    with network.client.inside():
        askers = [Asker(socket.AF_INET, 5683) for _ in range(5)]
    for asker in askers:
        asker.ask(ask(FILTER))
        asker.ask(ask(FILTER))
    for asker in askers[:3]:
        await asker.receive()
    for asker in askers:
        with pytest.raises(BlockingIOError):
            asker.socket.recv(2048)
        asker.socket.close()


@pytest.mark.usefixtures("at_once")
async def test_an_interface_that_is_not_ready_at_boot_is_tried_again_and_told_once(
    network: Network,
    serve: Serve,
    asker: Asker,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusals = iter(range(6))

    def socket_of(listener: UdpSocket, index: int) -> GroupSocket:
        if next(refusals, None) is not None:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))
        with network.gateway.inside():
            return GroupSocket(listener, index)

    caplog.set_level("INFO", "adapters.coap.multicast")
    monkeypatch.setattr(multicast, "GroupSocket", socket_of)
    monkeypatch.setattr("gateway.configuration.listen.LOOK_S", 0.01)
    monkeypatch.setattr(multicast, "_index", {GATEWAY_LINK: index_of(network)}.__getitem__)
    with network.gateway.inside():
        await serve(listen=("0.0.0.0:5683", "[::]:5683"), multicast=(GATEWAY_LINK,))

    def told() -> list[str]:
        return [r.getMessage() for r in caplog.records if r.name == multicast.__name__]

    async with asyncio.timeout(DEADLINE_S):
        while len(told()) < 2:
            await asyncio.sleep(0.01)
    asker.ask(ask(FILTER))
    assert (await asker.receive())[0].code == Code.CONTENT
    failed, joined = told()
    assert failed.endswith(f"on {GATEWAY_LINK}: not possible now (No such device)")
    assert joined.endswith(f"on {GATEWAY_LINK}: {ALL_NODES}:5683, [{ALL_NODES_6}]:5683")


def index_of(network: Network) -> int:
    with network.gateway.inside():
        return socket.if_nametoindex(GATEWAY_LINK)


@pytest.mark.usefixtures("at_once")
async def test_libcoap_finds_the_gateway(network: Network, serve: Serve) -> None:
    with network.gateway.inside():
        await serve(listen=("0.0.0.0:5683", "[::]:5683"), multicast=(GATEWAY_LINK, "absent0"))
    query = "/.well-known/core?rt=oma.lwm2m"
    network.client.run("ip", "route", "add", "default", "dev", CLIENT_LINK)
    # Not by IPv6: libcoap 4.3.4 (Debian 13) takes no interface in a URI.
    found = await coap_client(
        5683, query, "-N", "-B", "2", host=ALL_NODES, enter=network.client.enter
    )
    assert 'rt="oma.lwm2m"' in found.out

"""The quick way and the long one give the same answers: the listener, and aiocoap alone."""

import logging
import os
import random
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

import aiocoap
import pytest
from aiocoap import Message
from aiocoap.error import UnparsableMessage
from aiocoap.numbers.constants import TransportTuning

from adapters.coap.commands import Site
from adapters.coap.datagram import Datagram, Type, decode, known_options
from adapters.coap.front import Front
from adapters.coap.messages import Code, Option, Refusal, Request, Response
from adapters.coap.secured import options_of
from adapters.coap.server import Server
from gateway.errors import DecodeError
from gateway.model import Path
from gateway.policy import DeviceRule
from tests.coap.conftest import Serve
from tests.coap.peers import Peer, accept, content_format, option
from tests.deadlines import DEADLINE_S
from tests.fakes import METER, STATION, HubBench

REQUESTS = int(os.environ.get("COAP_REQUESTS", "2000"))
"""How many, each sent twice; more find more, and take longer."""

pytestmark = pytest.mark.filterwarnings(  # aiocoap's own way to an empty ACK
    "ignore:Initializing messages with an m:DeprecationWarning:aiocoap"
)


class Trusting(Server):
    """Takes commands from whomever they come, as the listener does from its own machine."""

    async def command(self, request: Request) -> Response:
        return await super().command(replace(request, secure=True))


@pytest.fixture(params=[False, True], ids=["open", "loopback"])
def writes(request: pytest.FixtureRequest, home: HubBench) -> bool:
    """Whether commands are taken."""
    home.rules(
        station=DeviceRule(listed=True), meter=DeviceRule(listed=True, writable=request.param)
    )
    return bool(request.param)


@pytest.fixture
async def plain(
    home: HubBench, writes: bool, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Peer]:
    """A client of the same hub behind aiocoap's own transport, without the listener."""
    monkeypatch.setattr(TransportTuning, "EMPTY_ACK_DELAY", DEADLINE_S)  # one datagram an answer
    logging.getLogger("coap-server").setLevel(logging.ERROR)
    server = Trusting(home.north) if writes else Server(home.north)
    context = await aiocoap.Context.create_server_context(
        Site(server), bind=("127.0.0.1", 0), transports=["udp6"]
    )
    interface = context.request_interfaces[0].token_interface.message_interface
    peer = Peer(interface.transport.get_extra_info("socket").getsockname()[1])
    yield peer
    peer.close()
    await context.shutdown()


@pytest.fixture
def prepared(monkeypatch: pytest.MonkeyPatch) -> Counter[bool]:
    """How many datagrams were answered from prepared octets, and how many were not."""
    counted: Counter[bool] = Counter()
    answer_again = Front._answer_again

    def counting(self: Front, *datagram: Any) -> bool:
        answered = answer_again(self, *datagram)
        counted[answered] += 1
        return answered

    monkeypatch.setattr(Front, "_answer_again", counting)
    return counted


USUAL = ["/weather/3303/0/5700", "/light/3311/0/5850", "/light/3311/0", "/light/3340/0/5523", "/25"]
"""What is there, and can be read, written or executed."""

UNUSUAL = [
    (1, b""), (1, b"x"), (5, b""), (4, b"tag"), (252, b"echo"), (292, b"t"), (258, b""),
    (258, b"\x02"), (258, b"\x08"), (258, b"\x1a"), (27, b"\x06"), (27, b"\x08"), (27, b"\x1e"),
    (7, b"\x16\x33"), (14, b"\x3c"), (60, b"\x10"), (60, b"\x01\0\1"), (28, b""), (16, b"\x05"),
]  # fmt: skip
"""Options that are seldom sent, each of them legal somewhere."""

DAMAGED = [
    (9_999, b""), (9_998, b""), (65_001, b"x" * 300), (3, b""), (3, b"gw"), (1, b"x" * 9),
    (4, b""), (4, b"x" * 9), (5, b"x"), (35, b"coap://x"), (39, b"coap"), (11, b"x" * 256),
    (17, b"\x32"), (12, b"\x00"), (23, b"\x07"), (27, b"\x07"), (252, b""), (258, b"xx"),
    (292, b"x" * 9), (15, b""), (31, b""),
]  # fmt: skip
"""Options that cannot be honoured, or are no option of a request at all."""


def made_up(peer: Peer, dice: random.Random, etags: Sequence[bytes]) -> bytes:
    """One request: mostly sensible, sometimes not; `etags` were seen in answers."""
    device = dice.choice(["/weather", "/light", "", "", "/nobody"])
    ids = [["3303", "3311", "3", "25", "3340", "3339", "0"], ["0", "1", "7"]]
    ids += [["5700", "5701", "5850", "5605", "11", "5522", "0", "x"], ["0", "1"]]
    path = device + "".join(f"/{dice.choice(level)}" for level in ids[: dice.randint(0, 4)])
    if dice.random() < 0.5:
        path = dice.choice(["/.well-known/core", *USUAL])
    more: list[tuple[int, bytes]] = []
    if dice.random() < 0.5:
        more.append(accept(dice.choice([0, 40, 42, 60, 110, 112, 310, 11_542, 11_544, 65_000])))
    if dice.random() < 0.2:
        more.append((23, bytes([dice.choice([0x00, 0x02, 0x06, 0x12, 0x22, 0x16, 0x07])])))
    if dice.random() < 0.2:
        more.append((15, dice.choice([b"rt=oma*", b"ct=110", b"href=/light*", b"x", b"gt=1"])))
    kind = dice.choice([Type.CON, Type.CON, Type.NON])
    if dice.random() < 0.2 and etags:
        more.append((dice.choice([1, 4, 4]), dice.choice(etags)))
    if dice.random() < 0.2:
        more += dice.choices(UNUSUAL, k=dice.randint(1, 2))
    if dice.random() < 0.1:
        more += dice.choices(DAMAGED, k=dice.randint(1, 2))
    others = [Code.PUT, Code.POST, Code.DELETE, Code.FETCH, Code.IPATCH]
    code = Code.GET if dice.random() < 0.6 else dice.choice(others)
    payload = b""
    if code in {Code.FETCH, Code.IPATCH}:
        path = dice.choice([path, "/", "/", "/"])
        value = b',"vb":true' if code == Code.IPATCH else b""
        payload = b'[{"n":"/light/3311/0/5850"%s}]' % dice.choice([value, value, b"", b',"u":"m"'])
        more.append(content_format(dice.choice([110, 110, 320, 112, 11_544, 0])))
    if code in {Code.PUT, Code.POST}:
        payload = dice.choice([b"", b"1", b"0='a'", b'[{"n":"/light/3311/0/5850","vb":true}]'])
        if dice.random() < 0.8:
            more.append(content_format(dice.choice([0, 0, 42, 110, 110, 60, 11_542, 11_544])))
    token = dice.randbytes(dice.randint(0, 8))
    octets = peer.request(path, *more, code=code, payload=payload, kind=kind, token=token)
    return damaged(octets, dice) if dice.random() < 0.1 else octets


def asked_again(octets: bytes, peer: Peer) -> bytes:
    """The same request with another message ID and, if it has one, another token."""
    peer.mid = (peer.mid + 1) & 0xFFFF
    end = 4 + (octets[0] & 15)
    token = bytes(octet ^ 0xFF for octet in octets[4:end])
    return octets[:2] + peer.mid.to_bytes(2, "big") + token + octets[end:]


def damaged(octets: bytes, dice: random.Random) -> bytes:
    """A copy with some octets behind the header changed, taken out or doubled."""
    copy = bytearray(octets)
    for _ in range(dice.randint(1, 3)):
        at = dice.randrange(4, len(copy) + 1)
        match dice.randrange(3):
            case 0 if at < len(copy):
                copy[at] ^= 1 << dice.randrange(8)
            case 1:
                del copy[at : at + dice.randint(1, 3)]
            case _:
                copy[at:at] = copy[max(4, at - 2) : at]
    return bytes(copy)


def comparable(octets: bytes) -> bool:
    """Whether aiocoap reads the same request from it, and both answer that with a datagram."""
    try:
        ours, theirs = decode(octets), Message.decode(octets)
    except (DecodeError, UnparsableMessage, ValueError):
        return False
    if ours.options != tuple(options_of(theirs)):
        return False
    if any(number == Option.OBSERVE for number, _ in ours.options):
        return False  # aiocoap is not asked who observes
    try:
        known = known_options(ours.options)
    except Refusal:
        return ours.type is Type.CON  # else the listener resets, and aiocoap does not
    return ours.type is Type.CON or Option.NO_RESPONSE not in known


def essence(answer: Datagram) -> tuple[object, ...]:
    return answer.type, answer.code, answer.token, answer.options, answer.payload


async def test_every_request_has_the_same_answer_on_both_ways(
    home: HubBench, serve: Serve, plain: Peer, writes: bool, prepared: Counter[bool]
) -> None:
    served = await serve(listen=("127.0.0.1:0" if writes else "0.0.0.0:0",))
    peers = (served.peer(), plain)
    dice = random.Random(7641)
    codes: Counter[int] = Counter()
    etags: list[bytes] = []
    for number in range(REQUESTS):
        while not comparable(first := made_up(peers[0], dice, etags)):
            pass
        for octets in (first, asked_again(first, peers[0])):
            if dice.random() < 0.1:
                home.say({Path(3303, 0, 5700): number / 8}, STATION)
                home.say({Path(3311, 0, 5850): dice.random() < 0.5}, METER)
            answers, done = [], []
            for peer in peers:
                home.adapter.commands.clear()
                peer.send(octets)
                answers.append(await peer.receive())
                done.append([replace(c, origin="") for c in home.adapter.commands])
            assert essence(answers[0]) == essence(answers[1]), octets.hex()
            assert done[0] == done[1], octets.hex()
            codes[answers[0].code] += 1
            if etag := option(answers[0], Option.ETAG):
                etags = [*etags[-9:], etag]
    assert len(codes) >= 12
    assert {Code.EMPTY, Code.VALID, Code.PRECONDITION_FAILED} < codes.keys()
    assert prepared[True] > REQUESTS / 10
    assert (codes[Code.CHANGED] > REQUESTS / 100) is writes

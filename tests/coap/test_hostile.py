"""What peers send that they should not: it has its answer, and nothing stops the server."""

import asyncio
import logging
import os
import random
from dataclasses import replace
from decimal import Decimal
from typing import Any

import cbor2
import pytest

from adapters.coap.datagram import Datagram, Type, decode, encode
from adapters.coap.messages import Code, Format, Option, Request
from gateway.errors import DecodeError
from gateway.formats.senml import NAMESPACE
from tests.coap.peers import Peer, Served, accept, content_format, resident_kb
from tests.fakes import HubBench

VALUE = "/weather/3303/0/5700"
PATH = tuple((11, part.encode()) for part in VALUE[1:].split("/"))
NOTHING = "nothing"

CON, NON, ACK, RST = Type.CON, Type.NON, Type.ACK, Type.RST


def message(
    *more: tuple[int, bytes], code: int = 1, kind: Type = CON, payload: bytes = b""
) -> bytes:
    options = tuple(sorted([*PATH, *more], key=lambda option: option[0]))
    return encode(Datagram(kind, code, 7, b"\xaa\xbb", options, payload))


OPTIONS = message()[6:]


@pytest.mark.parametrize(
    ("octets", "answer"),
    [
        (message(), (ACK, 0x45)),
        (message(kind=NON), (NON, 0x45)),
        (b"", NOTHING),
        (b"\x40\x01\x00", NOTHING),
        (b"\x00\x01\x00\x07", NOTHING),
        (b"\x80\x01\x00\x07", NOTHING),
        (b"\x40\x00\x00\x07", (RST, 0)),
        (b"\x41\x00\x00\x07\x01", (RST, 0)),
        (b"\x40\x00\x00\x07\xffxx", (RST, 0)),
        (b"\x50\x00\x00\x07", NOTHING),
        (b"\x49\x01\x00\x07123456789" + OPTIONS, (RST, 0)),
        (b"\x4f\x01\x00\x07123456789012345" + OPTIONS, (RST, 0)),
        (b"\x59\x01\x00\x07123456789" + OPTIONS, NOTHING),
        (b"\x48\x01\x00\x0712", (RST, 0)),
        (b"\x40\x01\x00\x07\xf0abc", (RST, 0)),
        (b"\x40\x01\x00\x07\xbfabc", (RST, 0)),
        (b"\x40\x01\x00\x07\xb8abc", (RST, 0)),
        (b"\x40\x01\x00\x07\xe0\x01", (RST, 0)),
        (message() + b"\xff", (RST, 0)),
        (message(kind=NON) + b"\xff", NOTHING),
        (message(code=33), (RST, 0)),
        (message(code=192), (RST, 0)),
        (message(code=225), (RST, 0)),
        (message(code=225, kind=NON), NOTHING),
        (message(code=31), (ACK, 0x85)),
        (message(code=69), (RST, 0)),
        (message(code=69, kind=NON), NOTHING),
        (message(kind=ACK), NOTHING),
        (message(kind=RST), NOTHING),
        (message((9999, b"x")), (ACK, 0x82)),
        (message((9999, b"x"), code=3, payload=b"1"), (ACK, 0x82)),
        (message((9999, b"x"), kind=NON), (RST, 0)),
        (message((9998, b"x")), (ACK, 0x45)),
        (message((17, b""), (17, b"\x32")), (ACK, 0x82)),
        (message((17, b"123456789")), (ACK, 0x82)),
        (message((17, b"\xfd\xe8")), (ACK, 0x86)),
        (message((3, b"a"), (3, b"b")), (ACK, 0x82)),
        (message((3, b"")), (ACK, 0x82)),
        (encode(Datagram(CON, 1, 7, b"", ((11, b"\xff\xfe"),))), (ACK, 0x82)),
        (message((15, b"\xff\xfe")), (ACK, 0x82)),
        (encode(Datagram(CON, 1, 7, b"", ((11, b"a" * 300),))), (ACK, 0x82)),
        (encode(Datagram(CON, 1, 7, b"", ((11, b"a"),) * 64)), (ACK, 0x84)),
        (encode(Datagram(CON, 1, 7, b"", ((11, b"a"),) * 65)), (ACK, 0x82)),
        (message(*[(292, b"tag")] * 600, content_format(0), code=3, payload=b"1"), (ACK, 0x82)),
        (message(*[(9998, b"")] * 600), (ACK, 0x82)),
        (encode(Datagram(CON, 1, 7, b"", ((35, b"coap://127.0.0.1:9/x"),))), (ACK, 0xA5)),
        (message((39, b"http")), (ACK, 0xA5)),
        (message((23, b"\x06\x36")), (ACK, 0x80)),
        (message((23, b"\x07")), (ACK, 0x80)),
        (message((23, b"\x00\x00\x00\x06")), (ACK, 0x82)),
        (message((27, b"\x5e"), content_format(110), code=3, payload=b"x" * 1024), (ACK, 0x88)),
        (message((27, b"\x0e"), content_format(110), code=3, payload=b"short"), (ACK, 0x80)),
        (message((6, b"\x00\x00\x00\x00")), (ACK, 0x45)),
        (message((6, b"\x07")), (ACK, 0x45)),
        (message(code=4), (ACK, 0x85)),
        (message(code=5), (ACK, 0x85)),
        (message(code=7), (ACK, 0x85)),
        (message(content_format(0), code=3, payload=b"y" * 5000), (ACK, 0x8D)),
        (b"\xff" * 60_000, NOTHING),
    ],
)  # fmt: skip
async def test_each_probe_has_the_answer_of_the_rfc(
    served: Served, octets: bytes, answer: object
) -> None:
    peer = served.peer()
    peer.send(octets)
    if answer == NOTHING:
        peer.send(b"\x40\x00\x30\x39")  # a ping, answered after whatever was answered before
        assert (await peer.receive()).mid == 12345
    else:
        first = await peer.receive()
        assert (first.type, first.code) == answer
        assert first.token in {b"", b"\xaa\xbb"}


DATAGRAMS = int(os.environ.get("COAP_DATAGRAMS", "10000"))
"""How many mutated ones: 200,000 take a quarter of a minute."""

MOST_GROWN_KB = 100 * 1024
"""What peers may make the process grow by: 60 MB of commands to be known again, 16 MB of lists."""

JSON = b'[{"n":"/light/3311/0/5850","vb":true}]'
LIGHT = tuple((11, part) for part in (b"light", b"3311", b"0"))


def composite(form: Format, payload: bytes, code: int) -> bytes:
    options = content_format(form), accept(form)
    return encode(Datagram(CON, code, 14, b"c", options, payload))


def write(form: Format, payload: bytes, code: int = 3) -> bytes:
    return encode(Datagram(CON, code, 15, b"w", (*LIGHT, content_format(form)), payload))


PACK = [{0: "/light/3311/0/5850", 4: True}, {0: "/weather/3303", 99: 1 << 70, 6: Decimal("1.5")}]
TREE = {("light", 3311, 0): {5850: True, 5851: 20}, 3: {0: {9: 1}}, ("weather",): {3303: None}}
XML = f"<sensml xmlns='{NAMESPACE}'><senml n='/light/3311/0/5850' vb='true'/></sensml>".encode()
SEEDS = [
    message(),
    message((6, b"")),
    message((6, b""), kind=NON),
    message((17, b"n"), (23, b"\x02")),
    message((4, b"etag"), (252, b"echoecho"), (258, b"\x02")),
    message((1, b"match"), content_format(0), (292, b"tag"), code=3, payload=b"22"),
    message(content_format(0), code=3, payload=b"22"),
    encode(Datagram(CON, 1, 9, b"t", ((11, b".well-known"), (11, b"core"), (15, b"rt=a*")))),
    encode(Datagram(CON, 1, 9, b"t", ((11, b".well-known"), (11, b"core"), (23, b"\x16")))),
    encode(Datagram(CON, 3, 10, b"", (*LIGHT, (12, b"n"), (27, b"\x08")), JSON[:16])),
    encode(Datagram(CON, 5, 10, b"f", ((12, b"n"), (17, b"n")), JSON)),
    encode(Datagram(CON, 7, 10, b"", ((12, b"n"),), JSON)),
    encode(Datagram(CON, 2, 11, b"12345678", LIGHT, b"1='a'")),
    composite(Format.SENML_CBOR, cbor2.dumps([{0: name[0]} for name in PACK]), Code.FETCH),
    composite(Format.SENML_CBOR, cbor2.dumps(PACK), Code.FETCH),
    composite(Format.SENML_CBOR, cbor2.dumps(PACK), Code.IPATCH),
    composite(Format.ETCH_CBOR, cbor2.dumps([{0: "/light", 1 << 15_000: 1}]), Code.FETCH),
    composite(Format.ETCH_CBOR, cbor2.dumps([*PACK, {0: "/light/3311", 2: None}]), Code.IPATCH),
    composite(Format.LWM2M_CBOR, cbor2.dumps(TREE), Code.FETCH),
    composite(Format.LWM2M_CBOR, cbor2.dumps(TREE), Code.IPATCH),
    write(Format.SENML_CBOR, cbor2.dumps(PACK[:1])),
    write(Format.SENML_XML, XML),
    write(Format.TLV, bytes.fromhex("e116da01e116db14")),
    write(Format.TLV, bytes.fromhex("0008e116da01e116db14"), Code.POST),
    write(Format.LWM2M_CBOR, cbor2.dumps(TREE), Code.POST),
    write(
        Format.LWM2M_JSON, b'{"bn":"/3311/0/","e":[{"n":"5851","v":9999},{"n":"5850","bv":true}]}'
    ),
    encode(Datagram(ACK, 0, 12, b"")),
    encode(Datagram(RST, 0, 13, b"")),
]


def mutated(seed: bytes, dice: random.Random) -> bytes:
    """A copy with a few octets changed, taken out, doubled or cut off."""
    octets = bytearray(seed)
    for _ in range(dice.randint(1, 6)):
        at = dice.randrange(len(octets) + 1)
        match dice.randrange(5):
            case 0 if at < len(octets):
                octets[at] ^= 1 << dice.randrange(8)
            case 1 if at < len(octets):
                octets[at] = dice.choice((0, 0xFF, 0x7F, 0x80, dice.randrange(256)))
            case 2:
                octets[at:at] = dice.randbytes(dice.randint(1, 4))
            case 3:
                del octets[at : at + dice.randint(1, 4)]
            case _:
                octets[at:] = octets[:at]
    return bytes(octets[:2000])


async def test_mutated_datagrams_leave_the_server_as_it_was_and_others_are_answered_throughout(
    home: HubBench, served: Served
) -> None:
    logging.getLogger("adapters.coap.front").setLevel(logging.INFO)
    dice = random.Random(7252)
    peers, other = [served.peer() for _ in range(20)], served.peer()
    answered, before = 0, resident_kb()
    for number in range(DATAGRAMS):
        peer = peers[number % 20]
        peer.send(mutated(dice.choice(SEEDS), dice))
        if number % 50 == 0:
            await asyncio.sleep(0)
            answered += sum(map(drained, peers))
        if number % 1_000 == 0:
            answer = await other.ask(VALUE)
            assert (answer.code, answer.payload) == (Code.CONTENT, b"21.5")
    assert answered > DATAGRAMS / 10
    assert home.hub.counters["coap_malformed"] > DATAGRAMS / 10
    assert home.adapter.commands == []
    assert resident_kb() - before < MOST_GROWN_KB


def drained(peer: Peer) -> int:
    """Reads what came, which must be CoAP; how many datagrams that were."""
    count = 0
    while True:
        try:
            decode(peer.socket.recv(65_536))
        except BlockingIOError:
            return count
        except DecodeError as error:
            pytest.fail(f"the server sends no CoAP: {error}")
        count += 1


async def test_options_that_nobody_knows_leave_nothing_behind(
    home: HubBench, served: Served
) -> None:
    from aiocoap.numbers.optionnumbers import OptionNumber

    before = len(OptionNumber)
    peer = served.peer()
    more = [(number, b"") for number in range(40_000, 40_100, 2)]
    path = "/light/3311/0/5850"
    answer = await peer.ask(path, content_format(0), *more, code=Code.PUT, payload=b"1")
    assert answer.code == Code.FORBIDDEN
    assert len(OptionNumber) == before


async def test_reads_that_are_padded_leave_nothing_behind(served: Served) -> None:
    peer, before = served.peer(), resident_kb()
    for number in range(2_000):
        answer = await peer.ask(VALUE, (9998, number.to_bytes(2, "big") + bytes(4_000)))
        assert answer.code == Code.CONTENT
    assert resident_kb() - before < 2 * 1024


def test_a_transfer_is_known_by_little_however_long_its_requests_are() -> None:
    parts: list[dict[str, Any]] = [
        {}, {"peer": ("192.0.2.7", 1)}, {"code": Code.FETCH}, {"path": ("b",)},
        {"query": ("q" * 4_000,)}, {"accept": Format.LINK}, {"request_tag": (b"tag",) * 60},
    ]  # fmt: skip
    asked = Request(Code.GET, ("a",), peer=("192.0.2.7", 5683))
    known = [replace(asked, **part, payload=b"x", etags=(b"y",)).transfer for part in parts]
    assert len(set(known)) == len(parts)
    assert known[0] == asked.transfer
    assert all(len(repr(key)) < 100 for key in known)


async def test_a_client_cannot_take_memory_with_endless_blocks(served: Served) -> None:
    peer = served.peer()
    for number in range(70):
        block = (Option.BLOCK1, (number << 4 | 0x0E).to_bytes(2, "big"))
        answer = await peer.ask(
            "/light/3311/0", content_format(110), block, code=Code.PUT, payload=b"x" * 1024
        )
        if answer.code == Code.REQUEST_ENTITY_TOO_LARGE:
            return
        assert answer.code == Code.CONTINUE
    pytest.fail("64 kB were not too much")

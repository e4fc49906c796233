"""What aiocoap 0.4.17 gets wrong as a server is not true of this one, though it is used here.

Elsewhere: unknown options and endless uploads that take memory, critical options, datagrams that
are none (test_hostile); one peer's ICMP error, notifications after a Reset, stale values after a
late acknowledgement, bodies of several blocks (test_observe); acknowledgements at least once a day
(test_observers); answers longer than three times their request (test_verified); errors for a
multicast (test_multicast); filters that select what they should not (test_links).
"""

import gc
import logging
from itertools import pairwise

import cbor2
import pytest
from aiocoap import Message
from aiocoap.numbers import ContentFormat

from adapters.coap.datagram import Type
from adapters.coap.messages import Code, Option, uint
from gateway.policy import DeviceRule
from tests.coap.conftest import Serve
from tests.coap.peers import Peer, Served, accept, content_format, observe_number, resident_kb
from tests.fakes import HubBench

VALUE, LIGHT = "/weather/3303/0/5700", "/light/3311/0/5850"

NO_LABEL = cbor2.dumps([{0: LIGHT, 1 << 15_000: 1}])
NO_INTEGER = b'{"e":[{"n":"","v":1' + 400 * b"0" + b"}]}"


@pytest.fixture
def peer(home: HubBench, served: Served) -> Peer:
    home.rules(meter=DeviceRule(listed=True, writable=True))
    return served.peer()


@pytest.mark.parametrize("kind", [Type.CON, Type.NON])
async def test_a_read_leaves_nothing_behind(peer: Peer, kind: Type) -> None:
    """There, 2.5 kB for 247 s, and a garbage collector that stops everything for a second."""
    await peer.ask(VALUE, kind=kind)
    gc.collect()
    objects, before = len(gc.get_objects()), resident_kb()
    for number in range(2_000):
        more = [accept(0)] if number % 2 else []
        await peer.ask(VALUE, *more, kind=kind, token=number.to_bytes(4, "big"))
    gc.collect()
    assert len(gc.get_objects()) - objects < 1_000  # half an object a read
    assert resident_kb() - before < 2 * 1024


async def test_what_was_asked_is_not_kept_with_the_answer(peer: Peer) -> None:
    """There, every option and octet of it, for 247 s."""
    octets = peer.request(LIGHT, content_format(0), code=Code.POST, payload=b"x" * 1_000)
    for _ in range(2):  # the second is answered by what is kept
        peer.send(octets)
        assert (await peer.receive()).code == Code.METHOD_NOT_ALLOWED
    gc.collect()
    kept = [each for each in gc.get_objects() if isinstance(each, Message)]
    assert [each.code for each in kept if each.code == Code.METHOD_NOT_ALLOWED]
    assert not [each for each in kept if len(each.payload) == 1_000]


async def test_a_format_that_nobody_knows_leaves_nothing_behind(peer: Peer) -> None:
    """There, a member of an enumeration for ever."""
    before = len(ContentFormat)
    for number in range(30_000, 30_050):
        answer = await peer.ask(LIGHT, content_format(number), code=Code.PUT, payload=b"1")
        assert answer.code == Code.UNSUPPORTED_CONTENT_FORMAT
        assert (await peer.ask(LIGHT, accept(number))).code == Code.NOT_ACCEPTABLE
    assert len(ContentFormat) == before


async def test_a_write_of_5000_octets_is_refused_and_not_cut(home: HubBench, peer: Peer) -> None:
    """There, 4,077 of them are stored."""
    answer = await peer.ask(LIGHT, content_format(0), code=Code.PUT, payload=b"1" * 5_000)
    assert answer.code == Code.REQUEST_ENTITY_TOO_LARGE
    assert home.adapter.commands == []


@pytest.mark.parametrize("number", [9_999, 9, 2_049, 65_001])
async def test_a_write_with_an_unknown_critical_option_changes_nothing(
    home: HubBench, peer: Peer, number: int
) -> None:
    """There, the option is ignored and the resource is changed."""
    more = content_format(0), (number, b"x")
    answer = await peer.ask(LIGHT, *more, code=Code.PUT, payload=b"1")
    assert answer.code == Code.BAD_OPTION
    assert home.adapter.commands == []


async def test_observe_numbers_rise_over_a_new_registration_and_a_new_server(
    serve: Serve,
) -> None:
    """There, they begin at 0 again, so that a client takes the new values for old ones."""
    numbers = []
    for _ in range(2):
        peer = (await serve()).peer()
        numbers += [observe_number(await peer.observe(VALUE)) for _ in range(2)]
    for older, newer in pairwise(numbers):
        assert older is not None
        assert newer is not None
        assert 0 <= newer - older < 1 << 23 or older - newer > 1 << 23  # RFC 7641 3.4


async def test_peers_do_not_set_the_pace_of_the_log(
    peer: Peer, caplog: pytest.LogCaptureFixture
) -> None:
    """There, each malformed datagram is a warning, and some are a traceback."""
    with caplog.at_level(logging.INFO):
        for octets in (
            b"\x49\x01\x00\x07",
            b"\x40\x01\x00\x07\xff",
            b"\x40\x01\x00\x07\xb2\xff\xfe",
        ):
            for _ in range(20):
                peer.send(octets)
                await peer.receive()
        for _ in range(20):
            await peer.ask(LIGHT, (9_999, b""), code=Code.PUT)
            await peer.ask("/light/3311", (Option.ACCEPT, uint(50)), code=Code.POST)
            await peer.ask("/", content_format(112), code=Code.FETCH, payload=NO_LABEL)
            await peer.ask(LIGHT, content_format(11543), code=Code.PUT, payload=NO_INTEGER)
    assert [record for record in caplog.records if record.levelno >= logging.INFO] == []

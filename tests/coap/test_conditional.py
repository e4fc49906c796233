"""Conditional observation and Write-Attributes, with clients that speak datagrams."""

from typing import Any

import pytest

from adapters.coap.datagram import Datagram, Type
from adapters.coap.messages import Code, Format, Option, Request
from adapters.coap.server import Server
from gateway.model import Path
from gateway.policy import ReportRule
from tests.coap.peers import Peer, Served, accept, coap_client, observe_number, option
from tests.fakes import METER, STATION, HubBench
from tests.vectors import LWM2M

VALUE = "/weather/3303/0/5700"
VALUE_PATH = Path(3303, 0, 5700)
LIGHT = "/light/3311/0/5850"
VECTORS = [v for v in LWM2M if "expect_code" in v]


@pytest.fixture
def peer(served: Served) -> Peer:
    return served.peer()


def query(text: str) -> list[tuple[int, bytes]]:
    return [(int(Option.URI_QUERY), part.encode()) for part in text.split("&") if part]


async def observe(
    peer: Peer, path: str, asked: str = "", *more: tuple[int, bytes], **how: Any
) -> Datagram:
    return await peer.ask(path, (Option.OBSERVE, b""), *query(asked), *more, **how)


def say(home: HubBench, value: float, path: Path = VALUE_PATH) -> None:
    home.say({path: value})


async def quiet(peer: Peer) -> None:
    """Fails if anything came before the answer to a ping."""
    peer.mid += 1
    peer.send(bytes((0x40, 0, peer.mid >> 8, peer.mid & 0xFF)))
    answer = await peer.receive()
    assert (answer.type, answer.mid) == (Type.RST, peer.mid), answer


async def told(home: HubBench, peer: Peer, values: list[float]) -> list[float]:
    """Of these values, said one after the other, those that the peer is told."""
    numbers = []
    for value in values:
        say(home, value)
        for _ in range(2):  # the first answer may come before the hub's news is told
            peer.mid += 1
            peer.send(bytes((0x40, 0, peer.mid >> 8, peer.mid & 0xFF)))
            while (answer := await peer.receive()).type is not Type.RST:
                numbers.append(float(answer.payload))
    return numbers


# --- the query of an observation ---


@pytest.mark.parametrize(
    ("asked", "said", "heard"),
    [
        ("gt=25", [22, 26, 27, 24, 20], [26, 24]),
        ("c.gt=25", [22, 26, 27, 24, 20], [26, 24]),
        ("lt=0", [3, -1, -5, 1], [-1, 1]),
        ("gt=30&lt=20", [25, 31, 19, 25], [31, 19, 25]),
        ("c.st=1", [22, 22.5, 23, 21.5], [22.5, 21.5]),
        ("st=5", [25, 26.5, 27, 31.5], [26.5, 31.5]),
        ("c.band&c.gt=20&c.lt=30", [18, 20, 25, 31, 30], [20, 25, 30]),
        ("pmax=600", [22, 22, 23], [22, 23]),
    ],
)
async def test_an_observer_hears_what_its_query_asks_for(
    home: HubBench, peer: Peer, asked: str, said: list[float], heard: list[float]
) -> None:
    first = await observe(peer, VALUE, asked)
    assert (first.code, first.payload) == (Code.CONTENT, b"21.5")
    assert observe_number(first) is not None
    assert await told(home, peer, said) == heard


async def test_an_edge_is_told_in_its_direction_only(home: HubBench, peer: Peer) -> None:
    await observe(peer, LIGHT, "edge=1")
    for value, heard in ((True, True), (False, False), (True, True)):
        home.say({Path(3311, 0, 5850): value}, METER)
        if heard:
            assert (await peer.receive()).payload == b"1"
        await quiet(peer)


async def test_different_queries_are_different_observations(home: HubBench, peer: Peer) -> None:
    await observe(peer, VALUE, "gt=25", token=b"a")
    await observe(peer, VALUE, "gt=28", token=b"b")
    await observe(peer, VALUE, token=b"c", kind=Type.NON)
    tokens = []
    for value in (26, 29):
        say(home, value)
        tokens += [(await peer.receive()).token for _ in range(2)]
    assert sorted(tokens[:2]) == [b"a", b"c"]
    assert sorted(tokens[2:]) == [b"b", b"c"]


async def test_a_change_within_pmin_is_told_when_it_ends(home: HubBench, peer: Peer) -> None:
    await observe(peer, VALUE, "pmin=1")
    say(home, 22.0)
    await quiet(peer)
    say(home, 23.0)
    await quiet(peer)
    assert (await peer.receive()).payload == b"23"
    await quiet(peer)


async def test_pmax_tells_the_value_though_it_is_the_same(peer: Peer) -> None:
    await observe(peer, VALUE, "c.pmax=0.2&c.gt=90")
    numbers = []
    for _ in range(3):
        notification = await peer.receive()
        assert (notification.type, notification.payload) == (Type.NON, b"21.5")
        numbers.append(observe_number(notification))
    assert numbers == sorted(set(numbers), key=numbers.index)


async def test_a_value_is_not_called_fresh_beyond_pmax(peer: Peer) -> None:
    assert option(await observe(peer, VALUE), Option.MAX_AGE) == b"\x3c"
    assert option(await observe(peer, VALUE, "c.pmax=7"), Option.MAX_AGE) == b"\x07"


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ("gt=25", Type.NON),
        ("gt=25&con=0", Type.NON),
        ("gt=25&con=1", Type.CON),
        ("con=1", Type.CON),
        ("c.con=1", Type.CON),
    ],
)
async def test_notifications_are_confirmable_if_the_query_says_so(
    home: HubBench, peer: Peer, asked: str, kind: Type
) -> None:
    await observe(peer, VALUE, asked)
    for value in (26.0, 20.0):
        say(home, value)
        told = await peer.receive()
        assert told.type is kind
        peer.acknowledge(told)


async def test_what_comes_before_an_acknowledgement_is_told_after_it_if_it_matters(
    home: HubBench, peer: Peer
) -> None:
    await observe(peer, VALUE, "st=2&con=1")
    say(home, 24.0)
    first = await peer.receive()
    say(home, 24.5)
    await quiet(peer)
    peer.acknowledge(first)
    await quiet(peer)
    say(home, 26.5)
    second = await peer.receive()
    say(home, 30.0)
    await quiet(peer)
    peer.acknowledge(second)
    assert (await peer.receive()).payload == b"30"


async def test_what_was_told_after_an_acknowledgement_is_what_counts_from_then_on(
    home: HubBench, peer: Peer
) -> None:
    await observe(peer, VALUE, "st=2&con=1")
    say(home, 24.0)
    first = await peer.receive()
    for value in (27.0, 28.0):
        say(home, value)
        await quiet(peer)
    peer.acknowledge(first)
    second = await peer.receive()
    assert second.payload == b"28"
    peer.acknowledge(second)
    say(home, 29.5)
    await quiet(peer)


@pytest.mark.parametrize(
    ("path", "asked", "code"),
    [
        *((v.get("path", VALUE), v["query"], Code.BAD_REQUEST)
          for v in VECTORS if v["area"] == "notify"),
        (VALUE, "foo=5", Code.BAD_REQUEST),
        (VALUE, "gt", Code.BAD_REQUEST),
        (VALUE, "gt=x", Code.BAD_REQUEST),
        (VALUE, "gt=1&lt=9", Code.BAD_REQUEST),
        (VALUE, "gt=1&gt=1", Code.BAD_REQUEST),
        (VALUE, "gt=1&c.pmin=3", Code.BAD_REQUEST),
        (VALUE, "edge=1", Code.BAD_REQUEST),
        (VALUE, "c.band", Code.BAD_REQUEST),
        ("/weather/3303/0", "gt=1", Code.BAD_REQUEST),
        ("/weather/3303", "st=1", Code.BAD_REQUEST),
        ("/weather/3/0/11", "gt=1", Code.BAD_REQUEST),
        (LIGHT, "gt=1", Code.BAD_REQUEST),
        ("/weather/3303/0/5701", "c.lt=1", Code.BAD_REQUEST),
        ("/weather/3303/0/5605", "pmin=1", Code.METHOD_NOT_ALLOWED),
        ("/weather/3304", "pmin=1", Code.NOT_FOUND),
    ],
)  # fmt: skip
async def test_a_query_that_cannot_be_is_refused_and_observes_nothing(
    home: HubBench, peer: Peer, path: str, asked: str, code: Code
) -> None:
    answer = await observe(peer, path, asked)
    assert (answer.code, observe_number(answer)) == (code, None)
    say(home, 30.0)
    await quiet(peer)


@pytest.mark.parametrize("asked", ["gt=1", "c.gt=1", "pmin=10", "foo"])
async def test_a_plain_get_has_no_query(peer: Peer, asked: str) -> None:
    assert (await peer.ask(VALUE, *query(asked))).code == Code.BAD_REQUEST


async def test_the_observation_is_cancelled_by_the_same_query(home: HubBench, peer: Peer) -> None:
    await observe(peer, VALUE, "gt=25")
    answer = await peer.ask(VALUE, (Option.OBSERVE, b"\x01"), *query("gt=25"))
    assert (answer.code, answer.payload) == (Code.CONTENT, b"21.5")
    assert await told(home, peer, [26]) == []


async def test_the_blocks_after_the_first_have_the_same_query(home: HubBench, peer: Peer) -> None:
    clip = bytes(range(250)) * 8
    home.say({Path(3339, 0, 5522): clip}, STATION)
    first = await observe(peer, "/weather/3339/0/5522", "pmin=5")
    rest = await peer.ask("/weather/3339/0/5522", (Option.BLOCK2, b"\x16"), *query("pmin=5"))
    assert first.payload + rest.payload == clip


async def test_the_end_of_what_is_observed_is_told_whatever_the_conditions(
    home: HubBench, peer: Peer
) -> None:
    await observe(peer, VALUE, "gt=90&pmin=600")
    home.hub.forget(STATION)
    end = await peer.receive()
    assert (end.type, end.code, observe_number(end)) == (Type.CON, Code.NOT_FOUND, None)
    peer.acknowledge(end)
    await quiet(peer)


async def test_an_instance_is_told_on_change_but_not_when_it_is_only_heard_again(
    home: HubBench, peer: Peer
) -> None:
    home.rules(report=ReportRule(max_interval_s=60))
    await observe(peer, "/weather/3303/0", "pmax=600", accept(110), token=b"a")
    await observe(peer, VALUE, token=b"b", kind=Type.NON)
    home.clock.advance(61)
    say(home, 21.5)
    assert (await peer.receive()).token == b"b"
    await quiet(peer)
    say(home, 22.0)
    both = [await peer.receive(), await peer.receive()]
    assert sorted(n.token for n in both) == [b"a", b"b"]


# --- attributes that stay ---


async def attach(served: Served, path: str, asked: str) -> Code:
    answer = await served.peer().ask(path, *query(asked), code=Code.PUT)
    return Code(answer.code)


@pytest.mark.parametrize("vector", [v for v in VECTORS if v["area"] == "attributes"])
async def test_attributes_are_taken_or_refused_as_the_vectors_say(
    home: HubBench, vector: dict[str, str]
) -> None:
    wanted = vector["expect_code"].replace("4.02", "4.00")  # the code that LwM2M's tables have
    path = f"/weather{vector['path']}"
    answer = await Server(home.north).command(
        Request(Code.PUT, tuple(path[1:].split("/")), tuple(vector["query"].split("&")))
    )
    assert f"{answer.code >> 5}.{answer.code & 31:02}" == wanted


@pytest.mark.parametrize(
    ("path", "asked", "code"),
    [
        ("/weather/3303", "pmin=1", Code.CHANGED),
        ("/weather/3/0/11", "gt=1", Code.CHANGED),
        ("/weather/3/0/11/0", "gt=1", Code.CHANGED),
        (LIGHT, "edge=0", Code.CHANGED),
        ("/3/0", "pmax=60", Code.CHANGED),
        (VALUE, "edge=1", Code.BAD_REQUEST),
        (VALUE, "c.pmin=1", Code.BAD_REQUEST),
        ("/weather/3304", "pmin=1", Code.NOT_FOUND),
        ("/weather/3303/0/5605", "pmin=1", Code.METHOD_NOT_ALLOWED),
        ("/weather", "pmin=1", Code.BAD_REQUEST),
        ("/", "pmin=1", Code.METHOD_NOT_ALLOWED),
        ("/0", "pmin=1", Code.UNAUTHORIZED),
    ],
)
async def test_write_attributes_follows_the_tree(
    served: Served, path: str, asked: str, code: Code
) -> None:
    assert await attach(served, path, asked) == code


async def test_an_open_address_takes_no_attributes(home: HubBench) -> None:
    request = Request(Code.PUT, ("weather", "3303"), ("pmin=1",), secure=False)
    assert (await Server(home.north).command(request)).code == Code.FORBIDDEN


async def test_a_write_with_a_payload_takes_no_attributes(home: HubBench) -> None:
    server = Server(home.north)
    path = ("light", "3311", "0", "5850")
    for more in ({"payload": b"1"}, {"content_format": Format.TEXT}):
        request = Request(Code.PUT, path, ("pmin=1",), **more)
        assert (await server.command(request)).code == Code.BAD_REQUEST


async def test_what_is_attached_is_discovered_and_holds_for_new_observers(
    home: HubBench, served: Served
) -> None:
    peer = served.peer()
    assert (await peer.ask(VALUE, accept(40))).payload == b"</3303/0/5700>"
    assert await attach(served, "/weather/3303", "pmax=600") == Code.CHANGED
    assert await attach(served, VALUE, "gt=25") == Code.CHANGED
    links = await peer.ask(VALUE, accept(40))
    assert links.payload == b"</3303/0/5700>;pmax=600;gt=25"
    await observe(peer, VALUE, token=b"a")
    await observe(peer, VALUE, "lt=10", token=b"b")
    say(home, 22.0)
    await quiet(peer)
    say(home, 26.0)
    assert (await peer.receive()).token == b"a"
    await quiet(peer)


async def test_what_is_attached_later_holds_at_once_and_can_be_taken_back(
    home: HubBench, served: Served
) -> None:
    peer = served.peer()
    await observe(peer, VALUE, kind=Type.NON)
    assert await attach(served, "/weather/3303/0", "pmin=600") == Code.CHANGED
    assert await told(home, peer, [22, 23]) == []
    assert await attach(served, "/weather/3303/0", "pmin") == Code.CHANGED
    assert (await peer.receive()).payload == b"23"
    assert await told(home, peer, [24, 25]) == [24, 25]


async def test_notifications_become_confirmable_when_that_is_attached(
    home: HubBench, served: Served
) -> None:
    peer = served.peer()
    await observe(peer, VALUE)
    for value, con, kind in ((22.0, "con=1", Type.CON), (23.0, "con", Type.NON)):
        assert await attach(served, "/weather/3303", con) == Code.CHANGED
        say(home, value)
        told = await peer.receive()
        assert (told.type, told.payload) == (kind, str(int(value)).encode())
        peer.acknowledge(told)


async def test_thresholds_attached_to_an_array_are_for_its_instances(
    home: HubBench, served: Served
) -> None:
    assert await attach(served, "/weather/3/0/11", "gt=100") == Code.CHANGED
    peer = served.peer()
    await observe(peer, "/weather/3/0/11", "", accept(110), kind=Type.NON, token=b"a")
    await observe(peer, "/weather/3/0/11/0", kind=Type.NON, token=b"b")
    home.say({Path(3, 0, 11, 0): 3})
    assert (await peer.receive()).token == b"a"
    await quiet(peer)


async def test_what_is_attached_goes_with_the_device(home: HubBench, served: Served) -> None:
    assert await attach(served, "/weather/3303/1", "pmin=600") == Code.CHANGED
    home.south.withdraw(STATION, Path(3303, 1))
    peer = served.peer()
    await quiet(peer)
    say(home, 1.0, Path(3303, 1, 5700))
    links = await peer.ask("/weather/3303/1", accept(40))
    assert links.payload == b"</3303/1>,</3303/1/5700>"


async def test_libcoap_observes_with_a_condition(home: HubBench, served: Served) -> None:
    result = await coap_client(served.port, f"{VALUE}?c.pmax=0.3", "-s", "1")
    assert result.out.count("21.5") >= 2

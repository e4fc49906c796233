"""Observers: who is told what, with clients that speak datagrams."""

import asyncio
import json
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest

from adapters.coap import formats, notifier
from adapters.coap.datagram import Datagram, Type
from adapters.coap.messages import Code, Option
from gateway.events import Sighting
from gateway.model import Path
from tests.coap.conftest import Serve
from tests.coap.peers import Peer, Served, accept, observe_number, option
from tests.fakes import STATION, Clock, HubBench

VALUE = "/weather/3303/0/5700"
VALUE_PATH = Path(3303, 0, 5700)


@pytest.fixture
def peer(served: Served) -> Peer:
    return served.peer()


def say(home: HubBench, value: float, path: Path = VALUE_PATH) -> None:
    home.say({path: value})


async def quiet(peer: Peer) -> None:
    """Fails if anything came before the answer to a ping."""
    peer.mid += 1
    peer.send(bytes((0x40, 0, peer.mid >> 8, peer.mid & 0xFF)))
    answer = await peer.receive()
    assert (answer.type, answer.mid) == (Type.RST, peer.mid), answer


async def settle() -> None:
    """Lets the adapter take what the hub told."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_an_observer_gets_each_change_once_with_rising_numbers(
    home: HubBench, peer: Peer
) -> None:
    first = await peer.observe(VALUE, query=b"con=1")
    assert (first.type, first.code, first.payload) == (Type.ACK, Code.CONTENT, b"21.5")
    numbers = [observe_number(first)]
    for value in (22.0, 22.5):
        say(home, value)
        told = await peer.receive()
        assert (told.type, told.token) == (Type.CON, b"\xaa")
        assert told.payload == str(value).removesuffix(".0").encode()
        assert option(told, Option.CONTENT_FORMAT) == b""
        assert option(told, Option.MAX_AGE) == b"\x3c"
        numbers.append(observe_number(told))
        peer.acknowledge(told)
        await quiet(peer)
    again = await peer.observe(VALUE)
    numbers.append(observe_number(again))
    assert all(a is not None and b is not None and a < b for a, b in pairwise(numbers))


async def test_an_observer_that_is_slow_gets_the_newest_value_only(
    home: HubBench, peer: Peer
) -> None:
    await peer.observe(VALUE, query=b"con=1")
    say(home, 22.0)
    told = await peer.receive()
    for value in (23.0, 24.0, 25.0):
        say(home, value)
        await settle()
    await quiet(peer)
    peer.acknowledge(told)
    newest = await peer.receive()
    assert newest.payload == b"25"
    peer.acknowledge(newest)
    await quiet(peer)


@pytest.mark.parametrize("kind", [Type.CON, Type.NON])
async def test_who_does_not_ask_for_more_is_told_each_change_non_confirmably(
    home: HubBench, peer: Peer, kind: Type
) -> None:
    await peer.observe(VALUE, kind=kind)
    for value in (22.0, 22.5):
        say(home, value)
        told = await peer.receive()
        assert (told.type, told.payload) == (Type.NON, str(value).removesuffix(".0").encode())


@pytest.mark.parametrize("con", [b"con=0", b"con=1"])
async def test_a_reset_ends_the_observation(home: HubBench, peer: Peer, con: bytes) -> None:
    await peer.observe(VALUE, query=con)
    say(home, 22.0)
    peer.reset(await peer.receive())
    await quiet(peer)
    say(home, 23.0)
    await settle()
    await quiet(peer)


async def test_observe_1_ends_the_observation(home: HubBench, peer: Peer) -> None:
    await peer.observe(VALUE)
    answer = await peer.ask(VALUE, (Option.OBSERVE, b"\x01"))
    assert (answer.payload, observe_number(answer)) == (b"21.5", None)
    say(home, 22.0)
    await settle()
    await quiet(peer)


async def test_one_client_observes_many_things_by_token(home: HubBench, peer: Peer) -> None:
    await peer.observe(VALUE, b"a")
    await peer.observe("/weather/3303/1/5700", b"b")
    await peer.observe("/light/3311/0/5850", b"c")
    say(home, 1.0, Path(3303, 1, 5700))
    told = await peer.receive()
    assert (told.token, told.payload) == (b"b", b"1")
    await quiet(peer)


async def test_an_instance_tells_all_its_resources_once_for_all_changes_of_a_frame(
    home: HubBench, peer: Peer
) -> None:
    first = await peer.ask("/weather/3303/0", (Option.OBSERVE, b""), accept(110))
    assert option(first, Option.CONTENT_FORMAT) == b"\x6e"
    home.say({VALUE_PATH: 30.0, Path(3303, 0, 5601): 21.5, Path(3303, 0, 5602): 30.0})
    told = await peer.receive()
    assert option(told, Option.CONTENT_FORMAT) == b"\x6e"
    assert told.payload.count(b'"n"') == 4
    peer.acknowledge(told)
    await quiet(peer)


async def test_an_object_tells_of_a_new_instance(home: HubBench, peer: Peer) -> None:
    await peer.ask("/weather/3303", (Option.OBSERVE, b""), accept(110))
    say(home, 1.0, Path(3303, 7, 5700))
    assert b"7/5700" in (await peer.receive()).payload


async def test_a_device_that_goes_is_told_with_the_reason_and_its_values_stay(
    home: HubBench, clock: Clock, peer: Peer
) -> None:
    await peer.ask("/25/0", (Option.OBSERVE, b""), accept(110))
    clock.advance(7)
    say(home, 22.0)
    home.south.seen(Sighting(STATION))
    await quiet(peer)  # being seen is no news
    clock.advance(7)
    home.south.stopped("the radio is out")
    told = await peer.receive()
    said = {record["n"]: record for record in json.loads(told.payload)}
    assert said["26241"]["vs"] == "offline"
    assert said["26242"]["vs"] == "the radio is out"
    assert said["26243"]["v"] == int(clock.wall())
    peer.acknowledge(told)
    await quiet(peer)
    kept = await peer.ask(VALUE)
    assert (kept.payload, option(kept, Option.MAX_AGE)) == (b"22", b"")
    home.south.online(STATION, "connected")
    assert b'"online"' in (await peer.receive()).payload


async def test_two_observers_with_other_formats_get_their_own(
    home: HubBench, served: Served
) -> None:
    text, pack = served.peer(), served.peer()
    await text.observe(VALUE)
    await pack.ask(VALUE, (Option.OBSERVE, b""), accept(110))
    say(home, 22.0)
    assert (await text.receive()).payload == b"22"
    assert b'"v":22' in (await pack.receive()).payload


async def test_the_end_of_a_device_is_told_with_4_04(home: HubBench, peer: Peer) -> None:
    await peer.observe(VALUE)
    home.hub.forget(STATION)
    told = await peer.receive()
    assert (told.type, told.code, observe_number(told)) == (Type.CON, Code.NOT_FOUND, None)
    peer.acknowledge(told)
    await quiet(peer)


async def test_an_observation_that_ended_does_not_come_back_with_its_resource(
    home: HubBench, peer: Peer
) -> None:
    await peer.observe("/weather/3303/1/5700")
    home.south.withdraw(STATION, Path(3303, 1))
    peer.acknowledge(await peer.receive())
    say(home, 1.0, Path(3303, 1, 5700))
    await settle()
    await quiet(peer)


async def test_the_end_of_an_instance_is_told_to_those_in_it_and_to_those_above(
    home: HubBench, served: Served
) -> None:
    inside, above, beside = served.peer(), served.peer(), served.peer()
    await inside.observe("/weather/3303/1/5700")
    await above.ask("/weather/3303", (Option.OBSERVE, b""), accept(110))
    await beside.observe(VALUE)
    home.south.withdraw(STATION, Path(3303, 1))
    assert (await inside.receive()).code == Code.NOT_FOUND
    assert b"1/5700" not in (await above.receive()).payload
    await quiet(beside)


async def test_what_cannot_be_read_cannot_be_observed(peer: Peer) -> None:
    assert (await peer.observe("/weather/3303/0/5605")).code == Code.METHOD_NOT_ALLOWED
    assert (await peer.observe("/weather/3303/0/5601")).code == Code.NOT_FOUND


async def test_beyond_the_limits_an_observe_is_a_plain_read(home: HubBench, serve: Serve) -> None:
    served = await serve(max_observers=3, max_observers_per_client=2)
    first, second = served.peer(), served.peer()
    numbers = [observe_number(await first.observe(VALUE, t)) for t in (b"a", b"b", b"c")]
    assert [n is None for n in numbers] == [False, False, True]
    assert observe_number(await second.observe(VALUE, b"a")) is not None
    refused = await second.observe(VALUE, b"b")
    assert (refused.payload, observe_number(refused)) == (b"21.5", None)
    await first.ask(VALUE, (Option.OBSERVE, b"\x01"), token=b"a")
    assert observe_number(await second.observe(VALUE, b"b")) is not None
    assert home.hub.counters["coap_observers_refused"] == 2


@pytest.mark.uvloop
async def test_a_client_that_is_gone_costs_its_neighbours_nothing(
    home: HubBench, served: Served
) -> None:
    gone = [served.peer() for _ in range(6)]
    neighbours = [served.peer() for _ in range(6)]
    for a, b in zip(neighbours, gone, strict=True):
        await a.observe(VALUE, kind=Type.NON)  # what is lost is not repeated
        await b.observe(VALUE)
    for peer in gone:
        peer.close()
    for value in (22.0, 23.0, 24.0):
        say(home, value)
        for peer in neighbours:
            told = await peer.receive()
            assert told.payload == str(value).removesuffix(".0").encode()
    assert (await neighbours[0].ask(VALUE)).payload == b"24"


async def test_a_long_body_is_told_by_its_first_block(home: HubBench, peer: Peer) -> None:
    clip = bytes(range(250)) * 8
    home.say({Path(3339, 0, 5522): clip}, STATION)
    first = await peer.observe("/weather/3339/0/5522")
    assert option(first, Option.BLOCK2) == b"\x0e"
    home.say({Path(3339, 0, 5522): clip[::-1]}, STATION)
    told = await peer.receive()
    assert (option(told, Option.BLOCK2), len(told.payload)) == (b"\x0e", 1024)
    peer.acknowledge(told)
    rest = await peer.ask("/weather/3339/0/5522", (Option.BLOCK2, b"\x16"))
    assert told.payload + rest.payload == clip[::-1]
    assert option(rest, Option.ETAG) == option(told, Option.ETAG)


@pytest.fixture
def written(home: HubBench, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many resources each body had that was written, once these are made long."""
    home.say({Path(3303, n, 5700): 0.5 for n in range(2, 100)})
    sizes: list[int] = []
    write = formats.write

    def counting(items: Sequence[formats.Item], *how: Any) -> bytes:
        sizes.append(len(items))
        return write(items, *how)

    monkeypatch.setattr(formats, "write", counting)
    return sizes


async def test_a_long_body_is_written_once_for_all_who_observe_it_and_each_fetches_the_rest(
    home: HubBench, served: Served, written: list[int]
) -> None:
    peers = [served.peer() for _ in range(30)]
    for peer in peers:
        first = await peer.observe("/weather/3303", query=b"con=1")
        assert option(first, Option.BLOCK2) == b"\x0e"
    written.clear()
    say(home, 22.0)
    etags = {option(await peer.receive(), Option.ETAG) for peer in peers}
    assert written == [101]
    say(home, 23.0)  # what is fetched stays what was told
    wanted = (Option.URI_QUERY, b"con=1"), (Option.BLOCK2, b"\x16")
    rest = [await peer.ask("/weather/3303", *wanted) for peer in peers]
    assert {option(answer, Option.ETAG) for answer in rest} == etags


async def test_requests_are_answered_between_long_notifications(
    home: HubBench, served: Served, written: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(notifier, "TURN_S", 0)
    peers, other = [served.peer() for _ in range(30)], served.peer()
    for number, peer in enumerate(peers):  # with a query each has its own
        await peer.ask("/weather/3303", (Option.OBSERVE, b""), (15, b"pmax=%d" % (900 + number)))
    written.clear()
    say(home, 22.0)
    while not written:
        await asyncio.sleep(0)
    await other.ask(VALUE)
    for peer in peers:
        await peer.receive()
    assert written.index(1) < len(written) - 1


async def test_a_burst_of_changes_reaches_a_thousand_observers(
    home: HubBench, serve: Serve
) -> None:
    served = await serve(max_observers=1000, max_observers_per_client=500)
    peers = [served.peer() for _ in range(4)]
    for number in range(250):
        for peer in peers:
            await peer.observe(VALUE, number.to_bytes(2, "big"))

    async def last_values(peer: Peer) -> set[bytes]:
        newest: dict[bytes, Datagram] = {}
        while len(newest) < 250 or any(told.payload != b"29" for told in newest.values()):
            told = await peer.receive()
            newest[told.token] = told
            peer.acknowledge(told)
        return {told.payload for told in newest.values()}

    async with asyncio.TaskGroup() as tasks:
        results = [tasks.create_task(last_values(peer)) for peer in peers]
        for value in range(20, 30):
            say(home, float(value))
            await asyncio.sleep(0.005)
    assert all(task.result() == {b"29"} for task in results)

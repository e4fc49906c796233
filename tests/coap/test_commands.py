"""Writes and executes through the whole server: slow devices, repetitions, several at once."""

import asyncio
from typing import Any

import pytest
from aiocoap import Context

from adapters.coap.commands import Commands, Recent, Site
from adapters.coap.datagram import Datagram, Type, decode, encode
from adapters.coap.messages import Code
from adapters.coap.server import Server
from adapters.coap.udp import UdpSocket
from gateway.events import Command, Execute, Outcome
from gateway.model import Path
from gateway.policy import DeviceRule
from tests.coap.peers import Served, content_format
from tests.fakes import HubBench, ScriptedSouth

ON = "/light/3311/0/5850"
TRIGGER = "/light/3340/0/5523"
TEXT = content_format(0)


class SlowSouth(ScriptedSouth):
    """A device that answers when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.ready = asyncio.Event()

    async def execute(self, command: Command) -> Outcome:
        self.commands.append(command)
        self.asked.set()
        await self.ready.wait()
        return Outcome(confirmed=True)


@pytest.fixture
def slow(home: HubBench) -> SlowSouth:
    enable(home)
    south = SlowSouth()
    owners: dict[str, Any] = home.hub.commander.owners
    owners["ble"] = south
    return south


def enable(home: HubBench) -> None:
    home.rules(meter=DeviceRule(listed=True, writable=True))


async def test_a_quick_command_is_answered_in_the_acknowledgement(
    home: HubBench, served: Served
) -> None:
    enable(home)
    answer = await served.peer().ask(ON, TEXT, code=Code.PUT, payload=b"1")
    assert (answer.type, answer.code) == (Type.ACK, Code.CHANGED)


async def test_a_slow_command_is_acknowledged_first_and_answered_when_it_is_done(
    slow: SlowSouth, served: Served
) -> None:
    peer = served.peer()
    first = await peer.ask(TRIGGER, code=Code.POST, payload=b"1='a'")
    assert (first.type, first.code, first.token) == (Type.ACK, Code.EMPTY, b"")
    slow.ready.set()
    answer = await peer.receive()
    assert (answer.type, answer.code, answer.token) == (Type.CON, Code.CHANGED, b"\xaa")
    peer.acknowledge(answer)
    assert isinstance(slow.commands[0], Execute)


async def test_a_repeated_datagram_is_done_once_and_answered_twice(
    home: HubBench, served: Served
) -> None:
    enable(home)
    peer = served.peer()
    octets = peer.request(TRIGGER, code=Code.POST)
    peer.send(octets)
    first = await peer.receive()
    peer.send(octets)
    again = await peer.receive()
    assert first == again
    assert (first.type, first.code) == (Type.ACK, Code.CHANGED)
    assert len(home.adapter.commands) == 1


async def test_a_repetition_before_the_answer_does_not_start_it_again(
    slow: SlowSouth, served: Served
) -> None:
    peer = served.peer()
    octets = peer.request(TRIGGER, code=Code.POST)
    peer.send(octets)
    await slow.asked.wait()
    peer.send(octets)
    assert (await peer.receive()).code == Code.EMPTY
    slow.ready.set()
    peer.acknowledge(await peer.receive())
    assert len(slow.commands) == 1


async def test_a_token_that_is_in_use_does_not_stop_the_earlier_command(
    slow: SlowSouth, served: Served
) -> None:
    peer = served.peer()
    peer.send(peer.request(TRIGGER, code=Code.POST))
    await slow.asked.wait()
    second = await peer.ask(ON, TEXT, code=Code.PUT, payload=b"1")
    assert second.code == Code.SERVICE_UNAVAILABLE
    slow.ready.set()
    assert (await peer.receive()).code == Code.CHANGED


async def test_a_reading_client_does_not_wait_for_a_slow_command(
    slow: SlowSouth, served: Served
) -> None:
    writer, reader = served.peer(), served.peer()
    writer.send(writer.request(TRIGGER, code=Code.POST))
    await slow.asked.wait()
    assert (await reader.ask("/weather/3303/0/5700")).payload == b"21.5"
    slow.ready.set()


async def test_a_non_confirmable_command_has_a_non_confirmable_answer(
    home: HubBench, served: Served
) -> None:
    enable(home)
    answer = await served.peer().ask(ON, TEXT, code=Code.PUT, payload=b"1", kind=Type.NON)
    assert (answer.type, answer.code) == (Type.NON, Code.CHANGED)


async def test_the_librarys_message_ids_stay_in_the_upper_half(home: HubBench) -> None:
    sent: asyncio.Queue[int] = asyncio.Queue()
    context = Context(serversite=Site(Server(home.north)))
    commands = Commands(
        context, UdpSocket("127.0.0.1", 0), lambda octets, _: sent.put_nowait(decode(octets).mid)
    )
    commands._manager.message_id = 0xFFFE
    for number in range(3):
        request = Datagram(Type.NON, Code.PUT, number, bytes([number]), ((11, b"3"),))
        assert commands.take(request, encode(request), ("127.0.0.1", 9), 0.0) == ""
        assert await sent.get() == (0xFFFE, 0xFFFF, 0x8000)[number]
    await context.shutdown()


async def test_requests_are_counted_and_forgotten_in_time() -> None:
    recent = Recent(lifetime_s=60, limit=2)
    assert [recent.add("a", 0), recent.add("b", 1), recent.add("c", 2)] == [True, True, False]
    assert [recent.holds(key, 59) for key in "abc"] == [True, True, False]
    assert [recent.holds(key, 60) for key in "abc"] == [False, True, False]
    assert recent.add("c", 60)
    recent.discard("b")
    recent.discard("b")
    assert [recent.holds(key, 60) for key in "abc"] == [False, False, True]


async def test_notifications_and_late_answers_to_one_client_never_share_a_message_id(
    home: HubBench, slow: SlowSouth, served: Served
) -> None:
    peer = served.peer()
    await peer.observe("/weather/3303/0/5700", b"o", kind=Type.NON)
    slow.ready.set()
    seen = []
    for value in range(20):
        home.say({Path(3303, 0, 5700): float(value)})
        seen.append((await peer.receive()).mid)
        answer = await peer.ask(ON, TEXT, code=Code.PUT, payload=b"1", kind=Type.NON)
        seen.append(answer.mid)
    assert len(set(seen)) == len(seen)
    assert all(mid < 0x8000 for mid in seen[::2])
    assert all(mid >= 0x8000 for mid in seen[1::2])

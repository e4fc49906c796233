"""The gateway as somebody to chat with, for people whose client knows nothing else."""

from collections.abc import AsyncIterator

import pytest
from slixmpp import JID

from adapters.sim.prosody import ThrowawayProsody
from adapters.xmpp import talks
from adapters.xmpp.access import Roles
from adapters.xmpp.chat import HELP, MAX_LINES, MAX_WATCHERS, MAX_WATCHES, WATCH_S, Chat
from adapters.xmpp.control import Control
from gateway.events import Change, Write
from gateway.model import Path
from gateway.policy import DeviceRule
from tests.fakes import STATION, Clock, HubBench
from tests.xmpp.conftest import SWITCH, VALUE, Gateway, Peer, Run, peer_of

GATEWAY = JID("gateway@localhost")
ANN = "ann@localhost/phone"


@pytest.fixture
def bench(bench: HubBench) -> HubBench:
    """The device may be written to."""
    bench.rules(station=DeviceRule(listed=True, writable=True))
    return bench


@pytest.fixture
async def gateway(run: Run, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    monkeypatch.setattr(talks, "NEWS_EVERY_S", 0.05)
    async with run() as running:
        await running.settled()
        yield running


async def say(peer: Peer, text: str) -> str:
    """What the gateway answers."""
    before = len(peer.chats)
    peer.send_message(GATEWAY, text, mtype="chat")
    await peer.until(lambda: len(peer.chats) > before, text)
    return peer.chats[before]


async def test_a_person_reads_and_sets_by_chat(
    gateway: Gateway, operator: Peer, bench: HubBench
) -> None:
    assert await say(operator, "hello?") == HELP
    assert "d1 (a name): online" in await say(operator, "devices")
    assert "3303/0/5700 Sensor Value: 21.5" in await say(operator, "Read d1 3303/0")
    assert await say(operator, "set d1 3312/0/5850 on") == "d1/3312/0/5850 is set"
    (command,) = bench.adapter.commands
    assert isinstance(command, Write)
    assert command.values[SWITCH] is True
    assert await say(operator, "set d1 3303/0/5700 1") == (
        "Sorry: d1 has nothing that can be written at 3303/0/5700"
    )


async def test_a_watcher_is_told_of_changes_until_it_has_enough(
    gateway: Gateway, reader: Peer, bench: HubBench
) -> None:
    assert "I tell you when d1 (a name) 3303/0/5700 changes" in await say(
        reader, "watch d1 3303/0/5700 by 2"
    )
    for value in (22.0, 24.0):
        bench.clock.advance(1)
        bench.say({VALUE: value})
    await reader.until(lambda: "d1/3303/0/5700 Sensor Value: 24" in reader.chats)
    assert await say(reader, "unwatch") == "You are told of no changes any more."
    assert not any(chat.endswith(": 22") for chat in reader.chats)


async def test_a_reader_cannot_set_and_a_stranger_hears_nothing(
    gateway: Gateway, reader: Peer, server: ThrowawayProsody, bench: HubBench
) -> None:
    assert "role of operator" in await say(reader, "set d1 3312/0/5850 on")
    async with peer_of(server, "stranger") as stranger:
        stranger.send_message(GATEWAY, "devices", mtype="chat")
        stranger.send_message(GATEWAY, "set d1 3312/0/5850 on", mtype="chat")
        assert await say(reader, "devices")
        assert stranger.chats == []
    assert bench.adapter.commands == []


async def test_a_set_that_was_stored_while_the_gateway_was_away_is_not_carried_out(
    run: Run, operator: Peer, bench: HubBench
) -> None:
    stored = (
        f"<message to='{GATEWAY}/gateway' type='chat'><body>set d1 3312/0/5850 on</body>"
        "<delay xmlns='urn:xmpp:delay' stamp='2026-01-01T00:00:00Z'/></message>"
    )
    async with run() as gateway:
        await gateway.settled()
        operator.send_raw(stored)
        await operator.until(lambda: operator.chats)
    assert "late and is not carried out" in operator.chats[0]
    assert bench.adapter.commands == []


@pytest.fixture
def chat(bench: HubBench, clock: Clock) -> Chat:
    roles = Roles({"ann@localhost": "operator", "@many": "reader"})
    return Chat(Control(bench.north, roles, clock.monotonic, clock.wall), clock.monotonic)


async def test_a_person_asks_for_what_was(chat: Chat, bench: HubBench, clock: Clock) -> None:
    for value in range(MAX_LINES + 5):
        clock.advance(30)
        bench.say({VALUE: float(value)})
    short = await chat.answer(ANN, "history d1 3303/0/5700 1min", 0)
    assert short
    assert short.splitlines()[-1].endswith(f"3303/0/5700 Sensor Value: {MAX_LINES + 4}")
    assert len(short.splitlines()) == 2
    long = await chat.answer(ANN, "history d1 3303/0/5700 2h", 0)
    assert long
    assert "... 6 more: history d1 3303/0/5700 2023-11-14T" in long.splitlines()[-1]
    rest = await chat.answer(ANN, long.splitlines()[-1].partition(": ")[2], 0)
    assert rest
    assert len(rest.splitlines()) == 6
    clock.advance(2)
    assert (
        await chat.answer(ANN, "history d1 3303/0/5700 1s", 0) == "Nothing was told in that time."
    )
    assert "Sorry: history DEVICE PATH" in str(await chat.answer(ANN, "history d1", 0))


async def test_who_reads_on_misses_nothing_of_the_same_moment(
    chat: Chat, bench: HubBench, clock: Clock
) -> None:
    temperatures = [Path(3303, instance, 5700) for instance in range(7)]
    for value in range(20):
        clock.advance(30)
        bench.say({path: float(value) for path in temperatures})
    line, told = "history d1 3303 15min", list[str]()
    while line:
        *lines, last = str(await chat.answer(ANN, line, 0)).splitlines()
        line = last.partition(": ")[2] if last.startswith("...") else ""
        told += lines if line else [*lines, last]
    assert len(told) == len(set(told)) >= 7 * 20


async def test_who_has_no_role_gets_no_answer_whatever_is_asked(chat: Chat) -> None:
    for line in ("", "help", "devices", "read d1", "set d1 3312/0/5850 on", "watch d1", "unwatch"):
        assert await chat.answer("eve@evil", line, 0.0) is None


@pytest.mark.parametrize(
    "line",
    [
        "read",
        "read d9",
        "read d1 9999",
        "read d1 x/y",
        "set d1",
        "set d1 3312/0/5850",
        "run d1 3312/0/5850",
        "watch",
        "watch d1 nonsense",
        "watch d1 3303/0/5700 by much",
        "watch d1 9999",
    ],
)
async def test_a_line_that_makes_no_sense_is_answered_with_a_reason(chat: Chat, line: str) -> None:
    answer = await chat.answer(ANN, line, 0.0)
    assert answer is not None
    assert answer.startswith("Sorry: ")


async def test_a_value_may_hold_blanks(chat: Chat, bench: HubBench) -> None:
    bench.say({Path(3312, 0, 5750): "old"})
    answer = await chat.answer(ANN, "set d1 3312/0/5750 a  new name", 0.0)
    assert answer == "d1/3312/0/5750 is set"
    (command,) = bench.adapter.commands
    assert isinstance(command, Write)
    assert dict(command.values) == {Path(3312, 0, 5750): "a  new name"}


async def test_news_of_the_same_moment_are_one_message(chat: Chat, bench: HubBench) -> None:
    await chat.answer(ANN, "watch d1", 0.0)
    await chat.answer(ANN, "watch d1 3303", 0.0)
    for path in (VALUE, SWITCH, VALUE):
        chat.absorb(Change(STATION, path))
    news = chat.news()
    assert list(news) == [ANN]
    assert news[ANN].splitlines() == [
        "d1/3303/0/5700 Sensor Value: 21.5",
        "d1/3312/0/5850 On/Off: 0",
    ]
    assert chat.news() == {}


async def test_a_watch_ends_with_its_time_with_its_watcher_and_with_its_device(
    chat: Chat, bench: HubBench, clock: Clock
) -> None:
    for end in ("time", "gone", "forgotten"):
        await chat.answer(ANN, "watch d1", 0.0)
        if end == "time":
            clock.advance(WATCH_S + 1)
        elif end == "gone":
            chat.gone(ANN)
        else:
            bench.north.outbox.take_all()
            bench.hub.forget(STATION)
            for event in bench.north.outbox.take_all():
                chat.absorb(event)
        chat.absorb(Change(STATION, VALUE))
        assert chat.news() == {}


async def test_watches_are_bounded(chat: Chat) -> None:
    for _ in range(MAX_WATCHES):
        assert "I tell you" in str(await chat.answer(ANN, "watch d1", 0.0))
    assert "unwatch something" in str(await chat.answer(ANN, "watch d1", 0.0))
    for number in range(MAX_WATCHERS - 1):
        assert "I tell you" in str(await chat.answer(f"u{number}@many", "watch d1", 0.0))
    assert "unwatch something" in str(await chat.answer("last@many", "watch d1", 0.0))


async def test_a_long_answer_is_cut(chat: Chat, bench: HubBench) -> None:
    bench.say({Path(3303, i, 5700): 1.0 for i in range(100)})
    answer = await chat.answer(ANN, "read d1", 0.0)
    assert answer is not None
    assert len(answer.splitlines()) == MAX_LINES + 1
    assert "more: name a path to see less" in answer

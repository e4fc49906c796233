"""Event subscriptions: what is told, when, to whom, and until when."""

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest

from adapters.sim.prosody import ThrowawayProsody
from adapters.xmpp import talks
from adapters.xmpp.access import Roles
from adapters.xmpp.chat import Chat
from adapters.xmpp.control import Control
from adapters.xmpp.errors import NoAnswer, StanzaError
from adapters.xmpp.iot import events
from adapters.xmpp.iot.things import Things
from adapters.xmpp.presence import Presence
from adapters.xmpp.session import Session
from gateway.model import Path
from tests.deadlines import DEADLINE_S
from tests.fakes import METER, STATION, Clock, HubBench
from tests.xmpp.conftest import SWITCH, VALUE, Gateway, Peer, Run, peer_of
from tests.xmpp.iot.test_things import ask, each_root, heard

EVENTS = "urn:nf:iot:events:1.0"
SD = "{urn:nf:iot:sd:1.0}"
ANN = "ann@localhost/app"


@pytest.fixture
def things(bench: HubBench, clock: Clock) -> Things:
    """The nodes without a server in between."""
    bench.north.outbox.take_all()
    roles = Roles({"ann@localhost": "reader", "@many": "reader"})
    return Things(Control(bench.north, roles, clock.monotonic), clock.wall, clock.monotonic)


async def subscribe(
    things: Things,
    attributes: str = "",
    inside: str = "",
    *,
    asker: str = ANN,
    node: str = STATION,
    id: str = "e",
) -> ET.Element | None:
    content = f"<nd id='{node}'/>{inside}"
    asked = ET.fromstring(
        f"<subscribe xmlns='{EVENTS}' id='{id}' {attributes}>{content}</subscribe>"
    )
    return await things.handlers[asked.tag](asker, asked)


def told(things: Things, bench: HubBench) -> list[set[tuple[str | None, str | None]]]:
    """The fields of each event that is due now."""
    for event in bench.north.outbox.take_all():
        things.absorb(event)
    return [
        {(f.get("n"), f.get("v")) for f in response.iter() if f.get("n")}
        for _, response in things.news()
    ]


async def test_an_event_holds_the_fields_that_were_asked_for_of_the_node_that_changed(
    things: Things, bench: HubBench
) -> None:
    bench.join(METER)
    answer = await subscribe(things, "m='true'", f"<nd id='{METER}'/>")
    assert answer is not None
    assert (answer.tag, answer.get("id")) == (f"{SD}accepted", "e")
    assert told(things, bench) == []
    bench.say({VALUE: 22.0})
    assert told(things, bench) == [{("Temperature", "22"), ("On/Off", "false")}]
    bench.say({Path(3, 0, 0): "Other"})
    assert told(things, bench) == []


@pytest.mark.parametrize(
    ("condition", "values", "expected"),
    [
        ("by='1'", [22.0, 22.5, 23.0, 21.5], ["22.5", "21.5"]),
        ("up='1'", [20.0, 22.5, 1.0, 23.5], ["22.5", "23.5"]),
        ("dn='1'", [30.0, 20.5, 20.0, 19.5], ["20.5", "19.5"]),
        ("up='5' dn='1'", [22.5, 20.5, 26.0], ["20.5", "26"]),
        ("v='10' by='100'", [22.0, 110.0, 111.0], ["110"]),
        ("", [22.0, 22.1], ["22", "22.1"]),
    ],
)
async def test_a_field_is_told_when_it_went_as_far_as_was_asked(
    things: Things, bench: HubBench, condition: str, values: Sequence[float], expected: list[str]
) -> None:
    await subscribe(things, "", f"<f n='Temperature' {condition}/>")
    seen = []
    for value in values:
        bench.clock.advance(1)
        bench.say({VALUE: value})
        seen += [v for event in told(things, bench) for _, v in event]
    assert seen == expected


async def test_a_truth_value_counts_as_a_number(things: Things, bench: HubBench) -> None:
    await subscribe(things, "m='true'", "<f n='On/Off' v='0' by='1'/>")
    bench.say({SWITCH: True})
    assert told(things, bench) == [{("On/Off", "true")}]


async def test_events_keep_the_least_and_the_greatest_pause(
    things: Things, bench: HubBench, clock: Clock
) -> None:
    await subscribe(things, "minInt='PT10S' maxInt='PT1M' req='true'", "<f n='Temperature'/>")
    assert told(things, bench) == [{("Temperature", "21.5")}]
    clock.advance(1)
    bench.say({VALUE: 22.0})
    assert told(things, bench) == []
    clock.advance(9)
    assert told(things, bench) == [{("Temperature", "22")}]
    clock.advance(59)
    assert told(things, bench) == []
    clock.advance(1)
    assert told(things, bench) == [{("Temperature", "22")}]


async def test_a_subscription_ends_by_word_by_absence_with_its_node_and_with_its_time(
    things: Things, bench: HubBench, clock: Clock
) -> None:
    for end in ("word", "account", "resource", "session", "node", "time"):
        await subscribe(things)
        if end == "word":
            asked = ET.fromstring(f"<unsubscribe xmlns='{EVENTS}' id='e'/>")
            assert await things.handlers[asked.tag](ANN, asked) is None
        elif end == "account":
            things.gone("ann@localhost")
        elif end == "resource":
            things.gone("ann@localhost/other")
            things.gone(ANN)
        elif end == "session":
            things.reset()
        elif end == "node":
            bench.hub.forget(STATION)
            assert told(things, bench) == []
            bench.join()
        else:
            clock.advance(events.LIFETIME_S + 1)
        bench.say({VALUE: 1.0})
        assert told(things, bench) == [], end
        bench.say({VALUE: 2.0})


async def test_subscriptions_are_bounded_for_each_account_and_altogether(
    things: Things, bench: HubBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(events.MAX_SUBSCRIPTIONS):
        await subscribe(things, id=str(number))
        await subscribe(things, id=str(number))
    with pytest.raises(StanzaError, match="resource-constraint"):
        await subscribe(things, id="more", asker="ann@localhost/elsewhere")
    monkeypatch.setattr(events, "MAX_NODES_WATCHED", events.MAX_SUBSCRIPTIONS + 1)
    await subscribe(things, asker="bob@many/x")
    with pytest.raises(StanzaError, match="resource-constraint"):
        await subscribe(things, asker="eve@many/x")


async def past(things: Things, bench: HubBench) -> list[list[str | None]]:
    """The values marked historical of each event with a past that is due now."""
    assert told(things, bench) == []
    return [
        [f.get("v") for f in response.iter() if f.get("h") == "true"]
        async for _, response in things.late_news()
    ]


@pytest.mark.parametrize(
    ("asked", "first"),
    [
        ("m='true' h='true' maxAge='PT90S'", ["2", "3"]),
        ("h='true' maxAge='PT90S'", ["2", "3"]),
        ("all='true' maxAge='PT1H'", ["21.5", "1", "2", "3"]),
        ("h='true' maxAge='2023-11-14T22:31:25Z'", ["2", "3"]),
        ("h='true'", ["3"]),
    ],
)
async def test_an_event_holds_the_past_no_older_than_asked_for_and_each_change_once(
    things: Things, bench: HubBench, clock: Clock, asked: str, first: list[str]
) -> None:
    for value in (1.0, 2.0):
        clock.advance(60)
        bench.say({VALUE: value})
    clock.advance(15)
    await subscribe(things, f"{asked} minInt='PT10S'", "<f n='Temperature'/>")
    clock.advance(15)
    bench.say({VALUE: 3.0})
    clock.advance(1)
    assert await past(things, bench) == [first]
    for value in (4.0, 5.0):
        clock.advance(6)
        bench.say({VALUE: value})
    assert await past(things, bench) == [["4", "5"]]
    assert await past(things, bench) == []


async def test_an_event_whose_past_cannot_be_read_goes_without(
    things: Things, bench: HubBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.xmpp.iot.things.MAX_PAST_NODES", 0)
    await subscribe(things, "m='true' h='true' maxAge='PT1H'")
    bench.say({VALUE: 22.0})
    assert told(things, bench) == []
    (event,) = [response async for _, response in things.late_news()]
    assert {f.get("v") for f in event.iter() if f.get("n")} == {"22", "false"}
    assert not [f for f in event.iter() if f.get("h")]


@pytest.mark.parametrize(
    "broken", ["minInt='1'", "maxInt='x'", "req='maybe'", "maxAge='PX'", "maxAge='long'"]
)
async def test_a_subscription_that_breaks_the_schema_is_a_bad_request(
    things: Things, broken: str
) -> None:
    with pytest.raises(StanzaError, match="bad-request"):
        await subscribe(things, broken)
    for trigger in ("by='0'", "by='-1'", "up='x'", "dn='INF'", "by='1' v='x'"):
        with pytest.raises(StanzaError, match="bad-request"):
            await subscribe(things, "", f"<f n='Temperature' {trigger}/>")


@pytest.fixture
async def gateway(run: Run, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Gateway]:
    monkeypatch.setattr(talks, "NEWS_EVERY_S", 0.02)
    async with run() as running:
        await running.settled()
        yield running


@each_root
async def test_a_subscriber_is_told_in_the_namespace_of_its_request(
    gateway: Gateway, reader: Peer, bench: HubBench, root: str
) -> None:
    responses = heard(reader, f"{root}iot:sd:1.0")
    kind = "get" if root == "urn:nfi:" else "set"  # the text wants set, its examples show get
    answer = await ask(
        reader, kind,
        f"<subscribe xmlns='{root}iot:events:1.0' id='e'><nd id='{STATION}'/>"
        "<f n='Temperature' by='1'/></subscribe>",
    )  # fmt: skip
    assert answer is not None
    assert answer.tag == f"{{{root}iot:sd:1.0}}accepted"
    bench.say({VALUE: 23.0})
    await reader.until(lambda: responses)
    assert [f.get("v") for f in responses[0].iter(f"{{{root}iot:sd:1.0}}q")] == ["23"]


class Unreachable:
    """A session in which every question has the same answer."""

    def __init__(self, answer: Exception) -> None:
        self.answer = answer
        self.asked = asyncio.Event()

    async def ask(self, *_: object) -> None:
        self.asked.set()
        raise self.answer


@pytest.mark.parametrize(
    ("answer", "is_gone"),
    [
        (StanzaError("service-unavailable"), True),
        (StanzaError("recipient-unavailable", "wait"), True),
        (StanzaError("remote-server-not-found"), True),
        (StanzaError("item-not-found"), True),
        (StanzaError("feature-not-implemented"), False),
        (StanzaError("forbidden", "auth"), False),
        (StanzaError("resource-constraint", "wait"), False),
        (NoAnswer("late"), False),
    ],
)
async def test_who_answers_anyhow_is_still_there(
    things: Things, monkeypatch: pytest.MonkeyPatch, *, answer: Exception, is_gone: bool
) -> None:
    monkeypatch.setattr(talks, "PROBE_EVERY_S", 0.0)
    await subscribe(things)
    session = Unreachable(answer)
    chat = Chat(things._control, things._monotonic)
    talking = talks.Talks(cast(Session, session), cast(Presence, None), chat, things)
    task = asyncio.create_task(talking._probe())
    async with asyncio.timeout(DEADLINE_S):
        await session.asked.wait()
    task.cancel()
    await asyncio.wait({task})
    assert things.followers() == (set() if is_gone else {ANN})


@pytest.mark.parametrize("is_seen", [True, False])
async def test_who_leaves_is_not_told_any_more(
    run: Run, server: ThrowawayProsody, monkeypatch: pytest.MonkeyPatch, *, is_seen: bool
) -> None:
    """By presence where it is seen, else by the server's answer to a question now and then."""
    monkeypatch.setattr(talks, "PROBE_EVERY_S", DEADLINE_S if is_seen else 0.05)
    async with run() as gateway:
        await gateway.settled()
        things = gateway.adapter._things
        async with peer_of(server, "op") as leaving:
            if is_seen:
                leaving.send_presence(pto="gateway@localhost/gateway")
            content = f"<subscribe xmlns='{EVENTS}' id='e'><nd id='{STATION}'/></subscribe>"
            await ask(leaving, "set", content)
            assert things.followers() == {"op@localhost/test"}
        async with peer_of(server, "reader") as reader, asyncio.timeout(DEADLINE_S):
            disco: Any = reader.plugin["xep_0030"]
            while things.followers():
                await disco.get_info("gateway@localhost/gateway", timeout=DEADLINE_S)


async def test_a_subscriber_is_sent_the_past_that_it_asked_for(
    gateway: Gateway, reader: Peer, bench: HubBench
) -> None:
    responses = heard(reader, "urn:nf:iot:sd:1.0")
    await ask(
        reader, "set",
        f"<subscribe xmlns='{EVENTS}' id='e' h='true' maxAge='2023-11-14T00:00:00Z'>"
        f"<nd id='{STATION}'/>"
        "<f n='Temperature'/></subscribe>",
    )  # fmt: skip
    bench.clock.advance(1)
    bench.say({VALUE: 23.0})
    await reader.until(lambda: responses)
    assert [(f.get("v"), f.get("h")) for f in responses[0].iter(f"{SD}q")] == [
        ("21.5", "true"),
        ("23", "true"),
    ]

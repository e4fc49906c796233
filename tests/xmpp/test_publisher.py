"""The mirror against a service in memory that forgets and refuses as real ones do."""

import asyncio
import time
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from types import SimpleNamespace
from typing import cast

import pytest

from adapters.xmpp import pace, queue
from adapters.xmpp import publisher as publisher_module
from adapters.xmpp.config import XmppSection
from adapters.xmpp.errors import NoAnswer, SessionLost, StanzaError
from adapters.xmpp.payload import Pack
from adapters.xmpp.publisher import Publisher
from adapters.xmpp.pubsub import STATE, Kind, Pubsub, Service
from gateway.errors import AdapterError
from gateway.events import Availability, State
from tests.deadlines import DEADLINE_S
from tests.fakes import STATION, HubBench
from tests.xmpp.conftest import (
    DIRECTORY,
    NODE,
    OWN_NODE,
    SWITCH,
    VALUE,
    WatchedSlot,
    field,
    records,
)


class Memory:
    """A pubsub service: nodes, their items, and an error to raise at the next publish of one."""

    service = Service("memory")
    account = "gateway@localhost"
    address = "gateway@localhost/gateway"

    def __init__(self) -> None:
        self.nodes: dict[str, dict[str, ET.Element]] = {}
        self.faults: dict[str, AdapterError] = {}
        self.log: list[tuple[str, str]] = []
        self.created: dict[str, int] = {}
        self.room = 256

    async def ensure(self, node: str, title: str, kind: Kind = STATE) -> int:
        await asyncio.sleep(0)
        if node not in self.nodes:
            self.nodes[node] = {}
            self.created[node] = len(self.log)
        return self.room

    def forget(self, node: str) -> bool:
        return True

    async def publish(self, node: str, item_id: str, pack: Pack) -> None:
        await asyncio.sleep(0)
        if fault := self.faults.pop(item_id, None):
            raise fault
        if node not in self.nodes:
            raise StanzaError("item-not-found")
        self.nodes[node][item_id] = pack.xml
        self.log.append((node, item_id))

    async def retract(self, node: str, item_id: str) -> None:
        self.nodes.get(node, {}).pop(item_id, None)

    async def delete(self, node: str) -> None:
        self.nodes.pop(node, None)

    async def items(self, node: str) -> dict[str, ET.Element]:
        if node not in self.nodes:
            raise StanzaError("item-not-found")
        return dict(self.nodes[node])

    async def item_ids(self, node: str) -> list[str]:
        return list(self.nodes.get(node, ()))

    def value(self, item: str, name: str) -> str | None:
        return field(records(self.nodes[NODE][item]), name)


class Bench:
    """A publisher with its slot and its service."""

    def __init__(self, hub: HubBench) -> None:
        self.hub = hub
        self.slot = WatchedSlot(hub)
        self.publisher = Publisher(XmppSection(jid="gateway@localhost"), self.slot)
        self.memory = Memory()

    def restart(self) -> None:
        """The gateway begins another life, the service does not."""
        self.publisher = Publisher(XmppSection(jid="gateway@localhost"), self.slot)
        self.memory.log.clear()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[asyncio.Task[None]]:
        task = asyncio.create_task(self.publisher.run(cast(Pubsub, self.memory)))
        try:
            yield task
        finally:
            task.cancel()
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.wait({task})

    async def settled(self) -> None:
        for event in self.slot.outbox.take_all():
            self.publisher.absorb(event)
        await self.slot.until(lambda: self.publisher.waiting == 0)


@pytest.fixture
def mirror(bench: HubBench, monkeypatch: pytest.MonkeyPatch) -> Bench:
    monkeypatch.setattr(queue, "FIRST_PAUSE_S", 0.02)
    return Bench(bench)


async def test_what_was_acknowledged_just_before_a_session_ended_is_published_again(
    mirror: Bench,
) -> None:
    async with mirror.session():
        await mirror.settled()
    mirror.memory.nodes[NODE].clear()  # the server was killed and has not kept it
    items = {"3/0", "4/0", "3303/0", "3312/0", "status", "meta"}
    async with mirror.session():
        await mirror.slot.until(lambda: set(mirror.memory.nodes[NODE]) == items)


async def test_however_long_an_outage_is_what_was_acknowledged_before_it_is_published_again(
    mirror: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with mirror.session():
        await mirror.settled()
        number = mirror.publisher.delivery.place.number
        mirror.publisher.delivery.replay(number)
        mirror.publisher.delivery.replayed(number, time.monotonic())
        mirror.hub.say({VALUE: 22.5})
        await mirror.settled()
    del mirror.memory.nodes[NODE]["3303/0"]
    hours_later = SimpleNamespace(monotonic=lambda: time.monotonic() + 3_600, time=time.time)
    monkeypatch.setattr(publisher_module, "time", hours_later)
    async with mirror.session():
        await mirror.slot.until(lambda: "3303/0" in mirror.memory.nodes[NODE])
        assert mirror.publisher.delivery.behind  # the journal brings what was in between


@pytest.mark.parametrize(
    "fault",
    [
        NoAnswer("late"),
        StanzaError("resource-constraint", "wait"),
        StanzaError("internal-server-error", "wait"),
        StanzaError("item-not-found"),
        SessionLost("cut"),
    ],
)
async def test_an_item_that_could_not_be_sent_is_sent_later(
    mirror: Bench, fault: AdapterError
) -> None:
    mirror.memory.faults["3303/0"] = fault
    async with mirror.session() as first:
        if isinstance(fault, SessionLost):
            await asyncio.wait({first}, timeout=DEADLINE_S)
        else:
            await mirror.settled()
    async with mirror.session():
        await mirror.settled()
    assert mirror.memory.value("3303/0", "5700") == "21.5"
    assert mirror.memory.log.index((NODE, "status")) > mirror.memory.log.index((NODE, "3303/0"))


async def test_an_item_that_the_server_refuses_for_good_holds_up_nothing(
    mirror: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    mirror.memory.faults["3303/0"] = StanzaError("bad-request", "modify", "invalid item")
    async with mirror.session():
        await mirror.settled()
        assert mirror.memory.value("status", "online") == "true"
        assert "3303/0" not in mirror.memory.nodes[NODE]
        mirror.hub.say({VALUE: 22.5})
        await mirror.settled()
        assert mirror.memory.value("3303/0", "5700") == "22.5"
    assert "3303/0 is not published" in caplog.text


async def test_a_forbidden_node_is_told_and_tried_again(
    mirror: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_module, "FORBIDDEN_PAUSE_S", 0.02)
    mirror.memory.faults["3303/0"] = StanzaError("forbidden", "auth")
    async with mirror.session():
        await mirror.settled()
    told = [text.partition(" (")[0] for text in mirror.slot.texts]
    connected = "connected as gateway@localhost, publishing on memory"
    assert told == [
        connected,
        "memory does not let gateway@localhost create or write nodes",
        connected,
    ]


async def test_a_device_that_leaves_and_comes_back_has_its_node(mirror: Bench) -> None:
    async with mirror.session():
        await mirror.settled()
        mirror.hub.hub.forget(STATION)
        for event in mirror.slot.outbox.take_all():
            mirror.publisher.absorb(event)
        mirror.hub.join()
        mirror.hub.say({VALUE: 1.0})
        await mirror.settled()
    assert mirror.memory.value("3303/0", "5700") == "1.0"
    assert "0024befffe804ff1" in mirror.memory.nodes[DIRECTORY]


async def test_a_description_is_published_when_it_says_something_new(mirror: Bench) -> None:
    async with mirror.session():
        await mirror.settled()
        mirror.memory.log.clear()
        mirror.hub.south.lost(STATION, "out of reach")
        await mirror.settled()
        assert {item for _, item in mirror.memory.log} == {"status", "0024befffe804ff1"}
        mirror.hub.hub.rename(STATION, "Roof")
        await mirror.settled()
        assert mirror.memory.value("meta", "name") == "Roof"
        mirror.hub.hub.forget(STATION)
        await mirror.settled()
        assert NODE not in mirror.memory.nodes
        mirror.hub.join()
        await mirror.settled()
        assert "meta" in mirror.memory.nodes[NODE]
        assert "0024befffe804ff1" in mirror.memory.nodes[DIRECTORY]


async def test_who_finds_a_device_in_the_directory_finds_its_node(mirror: Bench) -> None:
    async with mirror.session():
        await mirror.settled()
    listed = mirror.memory.log.index((DIRECTORY, "0024befffe804ff1"))
    assert mirror.memory.created[NODE] <= listed


async def test_what_the_directory_says_already_is_not_written_again(mirror: Bench) -> None:
    async with mirror.session():
        await mirror.settled()
    mirror.restart()
    async with mirror.session():
        await mirror.settled()
        assert (NODE, "3303/0") in mirror.memory.log
        assert (DIRECTORY, "0024befffe804ff1") not in mirror.memory.log
        mirror.publisher.republish()
        await mirror.settled()
    assert (DIRECTORY, "0024befffe804ff1") in mirror.memory.log


async def test_a_device_that_was_not_heard_yet_is_in_the_directory_as_before(
    mirror: Bench,
) -> None:
    async with mirror.session():
        await mirror.settled()
    unheard = Availability(State.UNKNOWN, "not heard since the gateway started", 0.0)
    store = mirror.hub.hub.store
    store.put(replace(store.require(STATION), availability=unheard))
    mirror.restart()
    async with mirror.session():
        await mirror.settled()
        mirror.hub.say({VALUE: 22.0})
        await mirror.settled()
        assert (DIRECTORY, "0024befffe804ff1") not in mirror.memory.log
        mirror.hub.south.lost(STATION, "out of reach")
        await mirror.settled()
    entry = records(mirror.memory.nodes[DIRECTORY]["0024befffe804ff1"])
    assert field(entry, "online") == "false"


async def test_what_changed_between_two_lives_is_in_the_directory(mirror: Bench) -> None:
    async with mirror.session():
        await mirror.settled()
    mirror.hub.south.lost(STATION, "out of reach")
    mirror.hub.hub.rename(STATION, "Roof")
    mirror.restart()
    async with mirror.session():
        await mirror.settled()
    entry = records(mirror.memory.nodes[DIRECTORY]["0024befffe804ff1"])
    assert (field(entry, "name"), field(entry, "online")) == ("Roof", "false")


async def test_a_directory_that_cannot_be_read_is_written(mirror: Bench) -> None:
    strange = ET.Element("{urn:x}strange")
    mirror.memory.nodes[DIRECTORY] = {"0024befffe804ff1": strange}
    async with mirror.session():
        await mirror.settled()
    entry = records(mirror.memory.nodes[DIRECTORY]["0024befffe804ff1"])
    assert field(entry, "node") == NODE


async def test_a_server_that_holds_us_back_is_told_to_the_operator(
    mirror: Bench, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(pace, "SLOW_S", 0.0)
    async with mirror.session():
        await mirror.settled()
    assert caplog.text.count('unlimited_jids = { "gateway@localhost" }') == 1


async def test_a_device_that_leaves_leaves_no_node(mirror: Bench) -> None:
    async with mirror.session():
        await mirror.settled()
        mirror.hub.hub.forget(STATION)
        await mirror.settled()
    assert set(mirror.memory.nodes) == {DIRECTORY, OWN_NODE}
    assert set(mirror.memory.nodes[DIRECTORY]) == {"gateway"}


async def test_of_a_device_that_leaves_nothing_is_kept(
    mirror: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    for value in (1.0, 2.0):
        mirror.memory.faults["3303/0"] = StanzaError("bad-request", "modify", "invalid item")
        mirror.memory.room = 256
        async with mirror.session():
            await mirror.settled()
            mirror.memory.room = 3
            mirror.hub.say({VALUE: 10 * value})
            await mirror.settled()
            mirror.hub.hub.forget(STATION)
            await mirror.settled()
        mirror.hub.join()
        mirror.hub.say({VALUE: value, SWITCH: True})
    assert caplog.text.count(f"{STATION} 3303/0 is not published") == 2
    assert caplog.text.count(f"{STATION}: the server keeps only 3 items") == 2


async def test_a_value_that_changes_a_thousand_times_is_sent_as_often_as_the_server_takes_it(
    mirror: Bench,
) -> None:
    async with mirror.session():
        await mirror.settled()
        before = len(mirror.memory.log)
        for number in range(1_000):
            mirror.hub.say({VALUE: float(number)})
            for event in mirror.slot.outbox.take_all():
                mirror.publisher.absorb(event)
        await mirror.settled()
    assert mirror.memory.value("3303/0", "5700") == "999.0"
    assert len(mirror.memory.log) - before < 5

"""What an outage held back follows from the journal: all of it, in order, after the live values."""

import asyncio
import contextlib
import itertools
import signal
import sqlite3
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import cast

import pytest

from adapters.sim.prosody import ThrowawayProsody
from adapters.xmpp import adapter, replay
from adapters.xmpp.config import XmppSection
from adapters.xmpp.errors import NoAnswer, StanzaError
from adapters.xmpp.publisher import Publisher
from adapters.xmpp.pubsub import Pubsub
from adapters.xmpp.replay import LIVE_SHARE, Replay
from gateway.events import Entry
from gateway.model import Path
from tests.daemon import CORE, Daemon
from tests.deadlines import DEADLINE_S
from tests.fakes import METER, HubBench
from tests.xmpp.conftest import (
    NODE,
    PASSWORDS,
    SWITCH,
    VALUE,
    Gateway,
    Peer,
    Run,
    WatchedSlot,
    field,
    peer_of,
    records,
)
from tests.xmpp.test_publisher import Memory

HISTORY = f"{NODE}/history"
UNLIMITED = {"settings": 'unlimited_jids = { "gateway@localhost" }'}

WINDOW = 8
"""Live values that may be on their way while the turn of the past is counted."""

Told = tuple[str, float, str]
"""Name, time and value of one record."""


def told(pack: Sequence[dict[str, str]]) -> list[Told]:
    """The records of a pack as a subscriber understands them."""
    found, base, time = [], "", 0.0
    for record in pack:
        base, time = record.get("bn", base), float(record.get("bt", time))
        value = next(record[k] for k in ("v", "vs", "vb") if k in record)
        found.append((base + record["n"], time + float(record.get("t", 0)), value))
    return found


def firsts(packs: Sequence[Sequence[dict[str, str]]]) -> list[Told]:
    """All records in the order in which they came first; one that came twice counts once."""
    return list(dict.fromkeys(itertools.chain.from_iterable(map(told, packs))))


def expected(entries: Sequence[Entry]) -> list[Told]:
    urn = "urn:dev:mac:0024befffe804ff1"
    return [
        (f"{urn}{e.path}", e.at, str(e.value).lower() if e.value is True else str(e.value))
        for e in entries
    ]


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(adapter, "LONGEST_PAUSE_S", 0.2)
    monkeypatch.setattr(replay, "FIRST_PAUSE_S", 0.02)


async def entries(bench: HubBench, after: int = 0) -> Sequence[Entry]:
    found: list[Entry] = []
    while page := (await bench.hub.journal.since(found[-1].number if found else after, 1_000))[0]:
        found += page
    return found


async def caught_up(gateway: Gateway) -> None:
    await gateway.settled()
    delivery = gateway.adapter._publisher.delivery
    await gateway.slot.until(lambda: not delivery.behind, "the journal is caught up with")


# --- a real server -----------------------------------------------------------------------------


@pytest.mark.parametrize("server_options", [UNLIMITED])
async def test_after_a_kill_of_the_server_every_change_arrives_in_order_the_newest_first(
    run: Run, server: ThrowawayProsody, bench: HubBench, tmp_path: FilePath
) -> None:
    password = tmp_path / "password"
    async with run() as gateway:
        await caught_up(gateway)
        before = bench.hub.journal._last
        await server.kill()
        for number in range(120):
            bench.clock.advance(1)
            bench.say({VALUE: float(number), Path(3303, 0, 5601): -float(number)})
            await asyncio.sleep(0)
        password.rename(tmp_path / "aside")  # so that others are there before the gateway is
        await server.start()
        async with peer_of(server, "gateway") as admin:
            await admin.pubsub.create_node("pubsub.localhost", HISTORY)
            await admin.subscribe(HISTORY)
            await admin.subscribe(NODE)
            (tmp_path / "aside").rename(password)
            await caught_up(gateway)
            want = expected(await entries(bench, before))
            await admin.until(lambda: len(firsts(packs(admin))) >= len(want), "all of it")
            assert firsts(packs(admin)) == want
            assert field(admin.items[NODE, "3303/0"], "5700") == "119.0"
            assert admin.order.index("3303/0") < admin.order.index(history_ids(admin)[0])


def packs(peer: Peer) -> list[list[dict[str, str]]]:
    return [pack for (node, _), pack in peer.items.items() if node == HISTORY]


def history_ids(peer: Peer) -> list[str]:
    return [item for node, item in peer.items if node == HISTORY]


async def test_late_changes_can_be_fetched_by_those_who_were_away_themselves(
    run: Run, server: ThrowawayProsody, bench: HubBench, reader: Peer
) -> None:
    async with run() as gateway:
        await caught_up(gateway)
        for value in (1.0, 2.0, 3.0):
            bench.say({VALUE: value})
        await caught_up(gateway)
        stored = await reader.stored(HISTORY)
        assert {value for pack in stored.values() for _, _, value in told(pack)} >= {"1.0", "2.0"}


async def test_every_press_of_a_button_is_an_item_with_its_time_through_an_outage(
    run: Run, server: ThrowawayProsody, bench: HubBench
) -> None:
    button = Path(3347, 0, 5500)
    async with run() as gateway, peer_of(server, "reader") as early:
        bench.say({button: False})
        await gateway.slot.until(lambda: bench.hub.counters["xmpp_alerts_published"] == 1)
        await early.subscribe("iot/gateway/alerts")
        presses = []
        for number in range(6):
            bench.clock.advance(0.25)
            presses.append((bench.clock.wall(), str(number % 2 == 0).lower()))
            bench.say({button: number % 2 == 0})  # also two within one turn of the loop
        await early.until(lambda: len(early.order) >= 7)
        await early.disconnect()
        await server.kill()
        for number in range(6):
            bench.clock.advance(0.25)
            presses.append((bench.clock.wall(), str(number % 2 == 0).lower()))
            bench.say({button: number % 2 == 0, VALUE: float(number)})
        await server.start()
        await gateway.slot.until(lambda: bench.hub.counters["xmpp_alerts_published"] >= 13)
        async with peer_of(server, "reader") as late:
            stored = await late.stored("iot/gateway/alerts")
    records_ = [
        told(stored[item])[0] for item in sorted(stored, key=lambda i: int(i.split("-")[0]))
    ]
    assert [(at, value) for _, at, value in records_[1:]] == presses
    assert {name for name, _, _ in records_} == {"urn:dev:mac:0024befffe804ff1/3347/0/5500"}


async def test_alerts_are_stored_for_those_who_are_away(
    run: Run, admin: Peer, bench: HubBench
) -> None:
    async with run(alerts=["3312/0/5850"]) as gateway:
        bench.say({SWITCH: True})
        await gateway.slot.until(lambda: bench.hub.counters["xmpp_alerts_published"] == 1)
        answer = await admin.pubsub.get_node_config("pubsub.localhost", "iot/gateway/alerts")
        config = answer["pubsub_owner"]["configure"]["form"].get_values()
        assert config["pubsub#notification_type"] == "normal"
        assert config["pubsub#access_model"] == "whitelist"
        bench.say({VALUE: 1.0})
        await caught_up(gateway)
        assert bench.hub.counters["xmpp_alerts_published"] == 1


# --- a service in memory -----------------------------------------------------------------------


class Past:
    """A publisher and its replay on a service in memory, with a journal on disk if wanted."""

    def __init__(self, hub: HubBench) -> None:
        self.hub = hub
        self.slot = WatchedSlot(hub)
        self.publisher = Publisher(XmppSection(jid="gateway@localhost"), self.slot)
        self.memory = Memory()

    def absorb(self) -> None:
        for event in self.slot.outbox.take_all():
            self.publisher.absorb(event)

    def start(self) -> list[asyncio.Task[None]]:
        pubsub = cast(Pubsub, self.memory)
        work = (
            self.publisher.run(pubsub),
            Replay(self.slot, self.publisher, pubsub).run(),
        )
        return [asyncio.create_task(each) for each in work]

    async def until_caught_up(self) -> None:
        await self.slot.until(
            lambda: not self.publisher.delivery.behind and self.publisher.waiting == 0
        )

    def history(self) -> list[list[dict[str, str]]]:
        items = self.memory.nodes.get(HISTORY, {})
        return [records(items[i]) for i in sorted(items, key=int)]


@pytest.fixture
async def past(bench: HubBench) -> Past:
    return Past(bench)


async def stop(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    async with asyncio.timeout(DEADLINE_S):
        await asyncio.wait(tasks)


async def test_live_values_go_first_and_are_never_held_up_by_more_than_one_pack(
    past: Past, bench: HubBench
) -> None:
    """1,000 late changes, and more live ones all the time than can be sent."""
    tasks = past.start()
    await past.until_caught_up()
    await stop(tasks)
    instances = [Path(3303, i, 5700) for i in range(40)]
    for number in range(25):
        bench.say({path: float(number) for path in instances})
        past.absorb()
    past.memory.log.clear()
    value = 1_000
    tasks = past.start()
    async with asyncio.timeout(DEADLINE_S):
        while len(past.history()) < 20:
            value += 1
            bench.say({instances[value % 40]: float(value)})
            past.absorb()
            await asyncio.sleep(0)
    await stop(tasks)
    kinds = [node == HISTORY for node, _ in past.memory.log]
    assert kinds.index(True) >= 40  # what waited when the session began
    runs = [(late, len(list(run))) for late, run in itertools.groupby(kinds)]
    assert {length for late, length in runs if late} == {1}
    assert min(length for late, length in runs[1:-1] if not late) >= LIVE_SHARE - WINDOW


async def test_a_house_that_never_rests_is_caught_up_with(past: Past, bench: HubBench) -> None:
    """What goes as a live value while the past is sent is not told a second time."""
    for number in range(200):
        bench.say({VALUE: float(number)})
        past.absorb()
    last = bench.hub.journal._last
    tasks = past.start()
    await past.slot.until(lambda: past.publisher.waiting == 0)
    value = 1_000
    async with asyncio.timeout(DEADLINE_S):
        while past.publisher.delivery.behind:
            value += 1
            bench.say({VALUE: float(value)})
            past.absorb()
            await past.slot.until(lambda: past.publisher.waiting == 0)
    await stop(tasks)
    assert value > 1_001
    told_late = {value for _, _, value in firsts(past.history())}
    assert told_late >= {f"{n}.0" for n in range(200)}
    assert f"{value}.0" not in told_late
    assert past.publisher.delivery.place.number > last


async def test_a_history_that_is_refused_for_a_while_or_deleted_loses_nothing(
    past: Past, bench: HubBench
) -> None:
    tasks = past.start()
    await past.until_caught_up()
    await stop(tasks)
    before = bench.hub.journal._last
    for number in range(130):
        bench.say({VALUE: float(number)})
        past.absorb()
    for item, fault in zip(
        (before + 1, before + 51, before + 101),
        (NoAnswer("no answer"), StanzaError("item-not-found"), StanzaError("wait", "wait")),
        strict=True,
    ):
        past.memory.faults[str(item)] = fault
    tasks = past.start()
    await past.until_caught_up()
    await stop(tasks)
    assert [value for _, _, value in firsts(past.history())] == [f"{n}.0" for n in range(130)]


async def test_a_history_that_was_forbidden_and_is_not_any_more_is_well(
    past: Past, bench: HubBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replay, "FORBIDDEN_PAUSE_S", 0.02)
    tasks = past.start()
    await past.until_caught_up()
    await stop(tasks)
    number = bench.hub.journal._last + 1
    for value in range(2):
        bench.say({VALUE: float(value)})
        past.absorb()
    past.memory.faults[str(number)] = StanzaError("forbidden", "auth")
    tasks = past.start()
    await past.until_caught_up()
    await stop(tasks)
    assert [text.partition(" ")[0] for text in past.slot.texts[-2:]] == ["memory", "connected"]


async def test_of_a_device_that_is_forgotten_meanwhile_no_history_is_made(
    past: Past, bench: HubBench
) -> None:
    bench.join(METER)
    for number in range(10):
        bench.say({VALUE: float(number)}, METER)
        past.absorb()
    bench.hub.forget(METER)
    past.absorb()
    tasks = past.start()
    await past.until_caught_up()
    await stop(tasks)
    assert not any("0024befffe804ff2/history" in node for node in past.memory.nodes)


# --- the daemon --------------------------------------------------------------------------------

XMPP = """
[report]
max_interval = "1ms"

[sim]
devices = 1
interval = "100ms"

[xmpp]
jid = "gateway@localhost"
password_file = "{{folder}}/password"
host = "127.0.0.1"
port = {port}
ca_file = "{ca_file}"
window = 1
"""


def journal_of(daemon: Daemon) -> dict[int, Told]:
    """What the journal on disk has of one resource, by number."""
    with contextlib.closing(sqlite3.connect(daemon.folder / "state" / "state.db")) as db:
        sql = (
            "SELECT number, at_ms, value FROM journal JOIN series ON id = series "
            "WHERE path = '/3303/0/5700' ORDER BY number"
        )
        rows = db.execute(sql).fetchall()
    name = "urn:dev:mac:0000000000000001/3303/0/5700"
    return {number: (name, at_ms / 1000, value) for number, at_ms, value in rows}


async def test_after_kill_9_of_the_daemon_it_goes_on_with_what_was_not_delivered(
    server: ThrowawayProsody, tmp_path: FilePath
) -> None:
    (tmp_path / "password").write_text(PASSWORDS["gateway"])
    config = CORE + XMPP.format(port=server.port, ca_file=server.ca_file)
    daemon, node = Daemon(tmp_path, config), "iot/gateway/0000000000000001"
    await server.kill()
    await asyncio.to_thread(daemon.start)
    await asyncio.to_thread(daemon.until, lambda: len(journal_of(daemon)) > 12)
    await asyncio.to_thread(daemon.end, signal.SIGKILL)
    held = list(journal_of(daemon).values())
    await server.start()
    async with peer_of(server, "gateway") as admin:
        await admin.pubsub.create_node("pubsub.localhost", f"{node}/history")
        await admin.subscribe(f"{node}/history")
        await asyncio.to_thread(daemon.start)

        def arrived() -> list[Told]:
            all_packs = [p for (n, _), p in admin.items.items() if n.endswith("/history")]
            return [record for record in firsts(all_packs) if record[0] == held[0][0]]

        await admin.until(lambda: set(held) <= set(arrived()), "all that was held back")
        in_order = [record for record in arrived() if record in set(held)]
    await asyncio.to_thread(daemon.end, signal.SIGKILL)
    assert in_order == held

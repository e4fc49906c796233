"""Whatever happens to server and line, subscribers end up with the newest values."""

import pytest

from adapters.sim.prosody import ThrowawayProsody
from adapters.xmpp import adapter, session
from gateway.model import Path
from tests.fakes import HubBench
from tests.xmpp.conftest import NODE, VALUE, Run, field, peer_of
from tests.xmpp.servers import line_to

UNLIMITED = {"settings": 'unlimited_jids = { "gateway@localhost" }'}


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapter, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(adapter, "LONGEST_PAUSE_S", 0.2)


@pytest.mark.parametrize("server_options", [UNLIMITED])
async def test_after_a_kill_of_the_server_every_item_shows_the_newest_value(
    run: Run, server: ThrowawayProsody, bench: HubBench
) -> None:
    instances = [Path(3303, i, 5700) for i in range(20)]
    async with run() as gateway:
        await gateway.settled()
        value = 0.0
        for kill in (False, True, False, True):
            for _ in range(10):
                value += 1
                bench.clock.advance(1)
                bench.say(dict.fromkeys(instances, value))
                published = bench.hub.counters["xmpp_items_published"]
                await gateway.slot.until(
                    lambda published=published: (
                        bench.hub.counters["xmpp_items_published"] > published
                    )
                )
            if kill:  # while most of it is on its way
                await server.kill()
                for _ in range(3):
                    value += 1
                    bench.clock.advance(1)
                    bench.say(dict.fromkeys(instances, value))
                await server.start()
        await gateway.settled()
        async with peer_of(server, "reader") as reader:
            stored = await reader.stored(NODE)
    assert {field(stored[f"3303/{i}"], "5700") for i in range(20)} == {str(value)}
    assert field(stored["status"], "online") == "true"
    assert bench.hub.counters["xmpp_items_refused"] == 0


async def test_a_reset_line_is_taken_up_again(
    run: Run, server: ThrowawayProsody, bench: HubBench
) -> None:
    async with line_to(server.port) as line, run(port=line.port) as gateway:
        await gateway.settled()
        line.cut()
        await gateway.says("not connected")
        bench.clock.advance(1)
        bench.say({VALUE: 33.0})
        await gateway.settled()
        async with peer_of(server, "reader") as reader:
            assert field((await reader.stored(NODE))["3303/0"], "5700") == "33.0"


async def test_a_line_that_swallows_everything_is_found(
    run: Run, server: ThrowawayProsody, bench: HubBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert session.PING_EVERY_S + session.PING_TIMEOUT_S <= 45
    monkeypatch.setattr(session, "PING_EVERY_S", 0.2)
    monkeypatch.setattr(session, "PING_TIMEOUT_S", 0.3)
    async with line_to(server.port) as line, run(port=line.port) as gateway:
        await gateway.settled()
        line.dead = True
        assert "no answer to a ping" in await gateway.says("not connected")
        line.dead = False
        bench.clock.advance(1)
        bench.say({VALUE: 34.0})
        await gateway.settled()
        async with peer_of(server, "reader") as reader:
            assert field((await reader.stored(NODE))["3303/0"], "5700") == "34.0"


async def test_a_server_that_is_not_there_is_waited_for(
    run: Run, server: ThrowawayProsody, bench: HubBench
) -> None:
    await server.kill()
    async with run() as gateway:
        assert "cannot connect" in await gateway.says("not connected")
        bench.say({VALUE: 35.0})
        await server.start()
        await gateway.says("connected as gateway@localhost")
        await gateway.settled()
        async with peer_of(server, "reader") as reader:
            assert field((await reader.stored(NODE))["3303/0"], "5700") == "35.0"


async def test_what_changes_while_the_server_is_away_takes_no_more_room_than_the_items(
    run: Run, server: ThrowawayProsody, bench: HubBench
) -> None:
    async with run() as gateway:
        await gateway.settled()
        await server.kill()
        await gateway.says("not connected")
        for number in range(2_000):
            bench.clock.advance(1)
            bench.say({VALUE: float(number)})
        assert gateway.adapter._publisher.waiting + len(gateway.slot.outbox) < 20

"""The same promises on ejabberd, which keeps, loses and refuses otherwise than Prosody."""

import asyncio
import functools
from collections.abc import AsyncIterator
from pathlib import Path as FilePath

import pytest
from slixmpp.exceptions import IqError

from adapters.sim.prosody import SERVICE
from adapters.xmpp import adapter, upkeep
from tests.deadlines import DEADLINE_S
from tests.fakes import METER, HubBench
from tests.xmpp.conftest import (
    DIRECTORY,
    NODE,
    PASSWORDS,
    VALUE,
    Peer,
    Run,
    field,
    peer_of,
)
from tests.xmpp.ejabberd import ThrowawayEjabberd

ITEMS = {"3/0", "4/0", "3303/0", "3312/0", "status", "meta"}


@pytest.fixture
async def ejabberd(certificates: FilePath, tmp_path: FilePath) -> AsyncIterator[ThrowawayEjabberd]:
    folder = tmp_path / "ejabberd"
    folder.mkdir()
    async with ThrowawayEjabberd(PASSWORDS, folder, certificates) as server:
        yield server


@pytest.fixture
def run(launch: Run, ejabberd: ThrowawayEjabberd) -> Run:
    """Runs the adapter against ejabberd."""
    return functools.partial(launch, port=ejabberd.port, ca_file=ejabberd.ca_file)


async def _item_ids(reader: Peer) -> set[str]:
    try:
        return set(await reader.stored(NODE))
    except IqError:  # the node is new, and its whitelist is not yet
        return set()


async def test_devices_are_mirrored_and_a_deleted_node_comes_back(
    run: Run, ejabberd: ThrowawayEjabberd, bench: HubBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A publish alone would create it anew there, open to everybody and with one item."""
    monkeypatch.setattr(upkeep, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(upkeep, "LOOK_ROUND_S", 0.05)
    async with run() as gateway, peer_of(ejabberd, "reader") as reader:
        await gateway.says("publishing on pubsub.localhost")
        await gateway.settled()
        assert set(await reader.stored(NODE)) == ITEMS
        await reader.subscribe(NODE)
        await reader.until(lambda: reader.items, "the last item")
        bench.clock.advance(1)
        bench.say({VALUE: 22.5})
        await reader.until(lambda: reader.value(NODE, "3303/0", "5700") == "22.5")
        async with peer_of(ejabberd, "gateway") as admin:
            await admin.pubsub.delete_node(SERVICE, NODE)
        bench.clock.advance(1)
        bench.say({VALUE: 23.5})
        async with asyncio.timeout(DEADLINE_S):
            while await _item_ids(reader) != ITEMS:
                await gateway.settled()
        async with peer_of(ejabberd, "stranger") as stranger:
            with pytest.raises(IqError):
                await stranger.subscribe(NODE)
        other = {"jid": "boss@localhost", "password": PASSWORDS["boss"]}
        async with run(**other, gateway="gateway") as second:
            text = await second.says("not connected")
            assert "another account publishes on iot/gateway already" in text
        async with run(**other, gateway="attic") as second:
            await second.settled()
        assert set(await reader.stored(DIRECTORY)) == {"gateway", "0024befffe804ff1"}
        bench.join(METER)
        await gateway.settled()
        bench.hub.forget(METER)
        await gateway.settled()
        assert set(await reader.stored(DIRECTORY)) == {"gateway", "0024befffe804ff1"}
    assert bench.hub.counters["xmpp_items_refused"] == 0


async def test_what_it_acknowledged_and_then_lost_in_a_kill_is_published_again(
    run: Run, ejabberd: ThrowawayEjabberd, bench: HubBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(adapter, "LONGEST_PAUSE_S", 0.2)
    monkeypatch.setattr(upkeep, "LOOK_EVERY_S", 0.05)
    monkeypatch.setattr(upkeep, "LOOK_ROUND_S", 0.05)
    async with run() as gateway:
        await gateway.settled()
        bench.clock.advance(1)
        bench.say({VALUE: 24.5})
        await gateway.settled()
        await ejabberd.kill()
        await gateway.says("not connected")
        await ejabberd.start()
        connected = len(gateway.slot.texts)
        await gateway.slot.until(
            lambda: any("publishing on" in t for t in gateway.slot.texts[connected - 1 :])
        )
        async with peer_of(ejabberd, "reader") as reader, asyncio.timeout(DEADLINE_S):
            while await _item_ids(reader) != ITEMS:
                await gateway.settled()
            stored = await reader.stored(NODE)
    assert field(stored["3303/0"], "5700") == "24.5"

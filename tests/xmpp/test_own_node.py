"""The gateway itself as a node among those of its devices: its own objects, and no more noise."""

from collections.abc import Mapping

import pytest
from slixmpp.exceptions import IqError

from adapters.sim.prosody import ThrowawayProsody
from adapters.xmpp import publisher as publisher_module
from gateway.events import Reading
from gateway.model import GATEWAY, Path, Value
from tests.deadlines import DEADLINE_S
from tests.fakes import METER, STATION, HubBench
from tests.xmpp.conftest import DIRECTORY, OWN_NODE, VALUE, Peer, Run, field, peer_of
from tests.xmpp.test_publisher import Bench, mirror
from tests.xmpp.test_subscribe import following

__all__ = ["mirror"]

RESTLESS_VALUES: Mapping[Path, Value] = {
    Path(3, 0, 10): 100_000,
    Path(3, 0, 13): 1_700_000_000,
    Path(4, 0, 2): -50,
    Path(7, 0, 2): 10,
    Path(7, 0, 3): 20,
}


def tell(bench: HubBench, values: Mapping[Path, Value]) -> None:
    """The gateway says something of itself."""
    now = bench.clock.wall()
    bench.hub.report([Reading(GATEWAY, path, value, now) for path, value in values.items()])


async def test_the_directory_leads_to_what_the_gateway_says_of_itself(
    run: Run, reader: Peer, bench: HubBench
) -> None:
    tell(bench, RESTLESS_VALUES)
    async with run() as gateway:
        await gateway.settled()
        entry = (await reader.stored(DIRECTORY))["gateway"]
        assert field(entry, "node") == OWN_NODE
        assert field(entry, "devices") == "1"
        stored = await reader.stored(OWN_NODE)
        assert set(stored) == {"3/0", "4/0", "7/0", "25/0", "meta", "status"}
        assert stored["3/0"][0]["bn"] == "gateway/3/0/"
        assert field(stored["3/0"], "0") == "Border Gateway"
        assert field(stored["7/0"], "3") == "20"
        assert field(stored["25/0"], "0") == "urn:dev:mac:0024befffe804ff1"
        assert field(stored["25/0"], "26241") is None  # that is the device's own status
        assert field(stored["status"], "online") == "true"
        assert field(stored["meta"], "model") == "border-gateway"
        assert field(stored["meta"], "objects") == "</3/0>,</4/0>,</7/0>,</25>"


async def test_a_change_of_the_gateway_itself_is_told_at_once(
    run: Run, reader: Peer, bench: HubBench
) -> None:
    async with run() as gateway:
        await gateway.settled()
        await reader.subscribe(OWN_NODE)
        tell(bench, {Path(3, 0, 11, 0): 7})
        await reader.until(lambda: reader.value(OWN_NODE, "3/0", "11/0") == "7")


async def test_the_directory_counts_devices_as_they_come_and_go(
    run: Run, reader: Peer, bench: HubBench
) -> None:
    async with run() as gateway:
        await gateway.settled()
        await reader.subscribe(DIRECTORY)
        bench.join(METER)
        bench.say({VALUE: 1.0}, METER)
        await reader.until(lambda: reader.value(DIRECTORY, "gateway", "devices") == "2")
        bench.hub.forget(METER)
        await reader.until(lambda: reader.value(DIRECTORY, "gateway", "devices") == "1")


async def test_devices_come_to_and_leave_the_gateways_object_25(
    run: Run, reader: Peer, bench: HubBench
) -> None:
    async with run() as gateway:
        await gateway.settled()
        await reader.subscribe(OWN_NODE)
        bench.join(METER)
        bench.say({VALUE: 1.0}, METER)
        await reader.until(lambda: "3303/0" in (reader.value(OWN_NODE, "25/1", "3") or ""))
        bench.hub.forget(METER)
        await reader.until(lambda: (OWN_NODE, "25/1") in reader.gone)
        await gateway.settled()
        assert "25/1" not in await reader.stored(OWN_NODE)


async def test_a_gateway_that_stops_says_so_on_its_own_node(run: Run, reader: Peer) -> None:
    async with run() as gateway:
        await gateway.settled()
    status = (await reader.stored(OWN_NODE))["status"]
    assert (field(status, "online"), field(status, "reason")) == ("false", "gateway-stop")


@pytest.mark.parametrize(
    ("layout", "items"),
    [
        ("state", {"state"}),
        ("resource", {"3/0/0", "3/0/1", "3/0/3", "3/0/11", "3/0/16"}),
    ],
)
async def test_object_25_has_an_item_a_device_in_every_layout(
    run: Run, reader: Peer, layout: str, items: set[str]
) -> None:
    async with run(layout=layout) as gateway:
        await gateway.settled()
        stored = await reader.stored(OWN_NODE)
    assert set(stored) == {*items, "25/0", "meta", "status"}
    assert not any(record["n"].startswith("25") for record in stored.get("state", ()))


@pytest.mark.parametrize("server_options", [{"settings": "pubsub_max_items = 5"}])
async def test_where_the_server_keeps_too_few_items_object_25_is_left_out(
    run: Run, reader: Peer, bench: HubBench
) -> None:
    async with run() as gateway:
        await gateway.settled()
        assert set(await reader.stored(OWN_NODE)) == {"3/0", "25/0", "meta", "status"}
        for device in (METER, STATION):
            bench.join(device)
            await gateway.settled()
        tell(bench, {Path(6, 0, 0): 48.1, Path(6, 0, 1): 11.5})
        await gateway.settled()
        stored = await reader.stored(OWN_NODE)
    assert set(stored) == {"state", "meta", "status"}
    assert field(stored["state"], "6/0/0") == "48.1"


async def test_a_subscriber_of_the_directory_is_shown_the_gateways_own_values(
    run: Run, server: ThrowawayProsody
) -> None:
    async with following(server) as screen, run():
        await screen.until_shown("Border Gateway", "gateway/3/0/0")


async def test_what_the_gateway_has_no_more_is_deleted_if_that_is_wanted(
    run: Run, admin: Peer, bench: HubBench
) -> None:
    bench.join(METER)
    async with run() as gateway:
        await gateway.settled()
    bench.hub.forget(METER)
    await admin.subscribe(OWN_NODE)
    async with run(prune=True):
        await admin.until(lambda: (OWN_NODE, "25/1") in admin.gone)
        assert "25/0" in await admin.stored(OWN_NODE)


async def test_two_gateways_have_a_node_of_their_own_each(
    run: Run, server: ThrowawayProsody, bench: HubBench
) -> None:
    async with run(gateway="cellar") as gateway, peer_of(server, "reader") as reader:
        await gateway.settled()
        stored = await reader.stored("iot/cellar/gateway")
        assert stored["3/0"][0]["bn"] == "cellar/3/0/"
        with pytest.raises(IqError, match="item-not-found"):
            await reader.stored(OWN_NODE)


async def test_in_sensor_data_too_the_gateways_values_have_their_names(
    run: Run, reader: Peer
) -> None:
    async with run(payload="nf-sd") as gateway:
        await gateway.settled()
        answer = await reader.pubsub.get_items("pubsub.localhost", OWN_NODE, timeout=DEADLINE_S)
    fields = {
        element.get("n"): element.get("v") for element in answer.xml.iter("{urn:nf:iot:sd:1.0}s")
    }
    assert fields["Manufacturer"] == "Border Gateway"


async def test_what_never_rests_makes_no_stream(mirror: Bench) -> None:
    tell(mirror.hub, RESTLESS_VALUES)
    async with mirror.session():
        await mirror.settled()
        mirror.memory.log.clear()
        for number in range(50):
            mirror.hub.clock.advance(60)
            tell(mirror.hub, dict.fromkeys(RESTLESS_VALUES, number))
            mirror.hub.hub.tick()
            await mirror.settled()
        assert OWN_NODE not in dict(mirror.memory.log)
        tell(mirror.hub, {Path(3, 0, 11, 0): 8})
        await mirror.settled()
        assert [item for node, item in mirror.memory.log if node == OWN_NODE] == ["3/0"]
    assert field(records_of(mirror, "3/0"), "13") == "49"  # what is sent is as new as can be


async def test_what_never_rests_is_told_with_the_gateways_sign_of_life(
    mirror: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publisher_module, "REFRESH_S", 0.05)
    tell(mirror.hub, RESTLESS_VALUES)
    async with mirror.session():
        await mirror.settled()
        tell(mirror.hub, {Path(7, 0, 2): 999})
        await mirror.slot.until(lambda: field(records_of(mirror, "7/0"), "2") == "999")
        mirror.memory.log.clear()
        await mirror.slot.until(lambda: (OWN_NODE, "status") in mirror.memory.log)
        assert (OWN_NODE, "25/0") not in mirror.memory.log


async def test_what_the_server_has_of_object_25_is_not_written_again(mirror: Bench) -> None:
    async with mirror.session():
        await mirror.settled()
    mirror.restart()
    async with mirror.session():
        await mirror.settled()
        assert (OWN_NODE, "3/0") in mirror.memory.log
        assert (OWN_NODE, "25/0") not in mirror.memory.log


def records_of(mirror: Bench, item: str) -> list[dict[str, str]]:
    """What the service has of the gateway itself."""
    return [dict(record.attrib) for record in mirror.memory.nodes[OWN_NODE][item]]

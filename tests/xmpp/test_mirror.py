"""What subscribers get from the gateway, seen by clients that share no code with it."""

from typing import Any

import pytest
from slixmpp.exceptions import IqError

from adapters.sim.prosody import SERVICE, ThrowawayProsody
from gateway.model import Path
from tests.deadlines import DEADLINE_S
from tests.fakes import METER, STATION, HubBench
from tests.xmpp.conftest import (
    DIRECTORY,
    NODE,
    SWITCH,
    UNIT,
    VALUE,
    Peer,
    Run,
    field,
    peer_of,
)


async def test_a_subscriber_sees_value_unit_and_time_of_each_change(
    run: Run, reader: Peer, bench: HubBench
) -> None:
    async with run() as gateway:
        await gateway.settled()
        await reader.subscribe(NODE)
        bench.clock.advance(5.25)
        bench.say({VALUE: 23.5})
        await reader.until(lambda: reader.value(NODE, "3303/0", "5700") == "23.5")
    value, unit = reader.items[NODE, "3303/0"]
    assert value["bn"] == "urn:dev:mac:0024befffe804ff1/3303/0/"
    assert (value["n"], value["u"]) == ("5700", "Cel")
    assert float(value["bt"]) + float(value.get("t", 0)) == 1_700_001_005.25
    assert (unit["n"], unit["vs"]) == ("5701", "Cel")
    assert float(value["bt"]) + float(unit.get("t", 0)) == 1_700_001_000


async def test_get_items_gives_every_object_instance_and_the_state(run: Run, reader: Peer) -> None:
    async with run() as gateway:
        await gateway.settled()
        stored = await reader.stored(NODE)
        assert set(stored) == {"3/0", "4/0", "3303/0", "3312/0", "status", "meta"}
        assert field(stored["status"], "online") == "true"
        assert field(stored["status"], "rssi") == "-90"
        assert field(stored["meta"], "manufacturer") == "Acme"
        assert field(stored["meta"], "objects") == "</3/0>,</4/0>,</3303/0>,</3312/0>"


async def test_the_directory_names_the_node_of_every_device(
    run: Run, reader: Peer, bench: HubBench
) -> None:
    bench.join(METER)
    async with run() as gateway:
        await gateway.settled()
        stored = await reader.stored(DIRECTORY)
        assert set(stored) == {"gateway", "0024befffe804ff1", "0024befffe804ff2"}
        assert field(stored["0024befffe804ff1"], "node") == NODE
        assert field(stored["0024befffe804ff1"], "objects") == "3 4 3303 3312"
        assert field(stored["gateway"], "online") == "true"


async def test_online_is_said_when_everything_else_is_there(
    run: Run, admin: Peer, bench: HubBench
) -> None:
    await admin.pubsub.create_node(SERVICE, NODE)
    await admin.subscribe(NODE)
    async with run(window=4) as gateway:
        await gateway.settled()
        await admin.until(lambda: "status" in admin.order)
    assert admin.order[0] == "meta"
    assert admin.order.index("status") == 5


async def test_only_who_has_a_role_can_subscribe(
    run: Run, server: ThrowawayProsody, reader: Peer
) -> None:
    async with run() as gateway:
        await gateway.settled()
        await reader.subscribe(NODE)
        async with peer_of(server, "stranger") as stranger:
            with pytest.raises(IqError, match=r"not-allowed|forbidden"):
                await stranger.subscribe(NODE)


async def test_a_role_that_was_taken_away_ends_the_right(run: Run, reader: Peer) -> None:
    async with run() as gateway:
        await gateway.settled()
    async with run(roles={}) as gateway:
        await gateway.settled()
        with pytest.raises(IqError):
            await reader.stored(NODE)


async def test_a_device_that_is_lost_is_published_as_offline(
    run: Run, reader: Peer, bench: HubBench
) -> None:
    async with run() as gateway:
        await gateway.settled()
        await reader.subscribe(NODE)
        bench.south.lost(STATION, "out of reach")
        await reader.until(lambda: reader.value(NODE, "status", "reason") == "out of reach")
        assert reader.value(NODE, "status", "online") == "false"
        assert "3303/0" in await reader.stored(NODE)


async def test_a_device_that_is_forgotten_vanishes_for_subscribers(
    run: Run, reader: Peer, bench: HubBench
) -> None:
    async with run() as gateway:
        await gateway.settled()
        await reader.subscribe(NODE)
        await reader.subscribe(DIRECTORY)
        bench.hub.forget(STATION)
        await reader.until(lambda: (NODE, "") in reader.gone)
        await reader.until(lambda: (DIRECTORY, "0024befffe804ff1") in reader.gone)
        assert reader.value(NODE, "status", "reason") == "left"


async def test_a_device_that_is_renamed_keeps_its_node(
    run: Run, reader: Peer, bench: HubBench
) -> None:
    async with run() as gateway:
        await gateway.settled()
        await reader.subscribe(NODE)
        bench.hub.rename(STATION, "Kitchen")
        await reader.until(lambda: reader.value(NODE, "meta", "name") == "Kitchen")
        disco: Any = reader.plugin["xep_0030"]
        listed = await disco.get_items(SERVICE, timeout=DEADLINE_S)
        names = {item[1]: item[2] for item in listed["disco_items"]["items"]}
        assert names[NODE] == "Kitchen"


async def test_an_object_that_is_withdrawn_is_retracted(
    run: Run, reader: Peer, bench: HubBench
) -> None:
    async with run() as gateway:
        await gateway.settled()
        await reader.subscribe(NODE)
        bench.south.withdraw(STATION, Path(3312))
        await reader.until(lambda: (NODE, "3312/0") in reader.gone)
        await reader.until(lambda: "3312" not in str(reader.value(NODE, "meta", "objects")))


async def test_a_device_that_joins_later_gets_its_node(
    run: Run, reader: Peer, bench: HubBench
) -> None:
    async with run() as gateway:
        await gateway.settled()
        await reader.subscribe(DIRECTORY)
        bench.join(METER)
        bench.say({VALUE: 1.5, UNIT: "Cel"}, METER)
        await reader.until(lambda: (DIRECTORY, "0024befffe804ff2") in reader.items)
        await gateway.settled()
        stored = await reader.stored("iot/gateway/0024befffe804ff2")
        assert field(stored["3303/0"], "5700") == "1.5"


async def test_a_node_that_an_administrator_deleted_comes_back_with_all_items(
    run: Run, admin: Peer, bench: HubBench
) -> None:
    async with run() as gateway:
        await gateway.settled()
        await admin.pubsub.delete_node(SERVICE, NODE)
        bench.clock.advance(1)
        bench.say({VALUE: 5.0})
        await gateway.settled()
        stored = await admin.stored(NODE)
        assert field(stored["3303/0"], "5700") == "5.0"
        assert set(stored) == {"3/0", "4/0", "3303/0", "3312/0", "status", "meta"}


async def test_a_node_that_was_misconfigured_is_put_right(run: Run, admin: Peer) -> None:
    forms: Any = admin.plugin["xep_0004"]
    form = forms.make_form("submit")
    form.add_field(
        var="FORM_TYPE", ftype="hidden", value="http://jabber.org/protocol/pubsub#node_config"
    )
    form.add_field(var="pubsub#access_model", value="open")
    form.add_field(var="pubsub#max_items", value="2")
    await admin.pubsub.create_node(SERVICE, NODE, config=form)
    async with run() as gateway:
        await gateway.settled()
        answer = await admin.pubsub.get_node_config(SERVICE, NODE)
        config = answer["pubsub_owner"]["configure"]["form"].get_values()
        assert config["pubsub#access_model"] == "whitelist"
        assert config["pubsub#title"] == "a name"
        assert len(await admin.stored(NODE)) == 6


async def test_a_stopping_gateway_says_that_it_is_gone(run: Run, admin: Peer) -> None:
    async with run() as gateway:
        await gateway.settled()
    directory, device = await admin.stored(DIRECTORY), await admin.stored(NODE)
    assert field(directory["gateway"], "online") == "false"
    assert field(device["status"], "online") == "false"
    assert field(device["status"], "reason") == "gateway-stop"
    assert field(device["3303/0"], "5700") == "21.5"


async def test_a_text_that_no_stanza_can_carry_is_left_out(
    run: Run, reader: Peer, bench: HubBench
) -> None:
    bench.say({Path(3, 0, 1): "x" * 300_000, Path(3, 0, 3): "1.0", Path(3312, 0, 5750): "a\x07b"})
    async with run() as gateway:
        await gateway.settled()
        stored = await reader.stored(NODE)
        assert field(stored["3/0"], "3") == "1.0"
        assert field(stored["3/0"], "1") is None
        assert field(stored["3312/0"], "5850") == "false"
        assert not any("not connected" in text for text in gateway.slot.texts)


@pytest.mark.parametrize("server_options", [{"settings": "pubsub_max_items = 4"}])
async def test_where_the_server_keeps_too_few_items_a_device_gets_one_for_all(
    run: Run, reader: Peer, bench: HubBench, caplog: pytest.LogCaptureFixture
) -> None:
    async with run() as gateway:
        await gateway.settled()
        await reader.subscribe(NODE)
        bench.clock.advance(1)
        bench.say({VALUE: 22.5})
        await reader.until(lambda: reader.value(NODE, "state", "3303/0/5700") == "22.5")
        assert set(await reader.stored(NODE)) == {"state", "status", "meta"}
    assert "keeps only 4 items" in caplog.text


async def test_in_the_state_layout_one_item_holds_all_values(
    run: Run, reader: Peer, bench: HubBench
) -> None:
    async with run(layout="state") as gateway:
        await gateway.settled()
        await reader.subscribe(NODE)
        bench.clock.advance(1)
        bench.say({VALUE: 22.5})
        await reader.until(lambda: reader.value(NODE, "state", "3303/0/5700") == "22.5")
        stored = await reader.stored(NODE)
        assert set(stored) == {"state", "status", "meta"}
        assert stored["state"][0]["bn"] == "urn:dev:mac:0024befffe804ff1/"
        (value,) = (record for record in stored["state"] if record["n"] == "3303/0/5700")
        assert value["u"] == "Cel"
        bench.south.withdraw(STATION, Path(3303))
        await reader.until(lambda: reader.value(NODE, "state", "3303/0/5700") is None)
        assert reader.value(NODE, "state", "3312/0/5850") == "false"


async def test_in_the_resource_layout_each_resource_is_an_item(
    run: Run, reader: Peer, bench: HubBench
) -> None:
    async with run(layout="resource") as gateway:
        await gateway.settled()
        await reader.subscribe(NODE)
        bench.clock.advance(1)
        bench.say({VALUE: 22.5, Path(3, 0, 11, 1): 5})
        await reader.until(lambda: reader.value(NODE, "3303/0/5700", "5700") == "22.5")
        await reader.until(lambda: reader.value(NODE, "3/0/11", "11/1") == "5")
        assert reader.items[NODE, "3303/0/5700"][0]["u"] == "Cel"
        bench.say({UNIT: "K"})
        await reader.until(lambda: reader.items[NODE, "3303/0/5700"][0]["u"] == "K")
        bench.south.withdraw(STATION, Path(3303, 0))
        await reader.until(lambda: (NODE, "3303/0/5700") in reader.gone)
        await reader.until(lambda: (NODE, "3303/0/5701") in reader.gone)


async def test_what_earlier_lives_left_behind_is_deleted_if_that_is_wanted(
    run: Run, admin: Peer, bench: HubBench
) -> None:
    bench.join(METER)
    async with run(layout="resource") as gateway:
        await gateway.settled()
    bench.hub.forget(METER)
    async with run() as gateway:
        await gateway.settled()
        assert "0024befffe804ff2" in await admin.stored(DIRECTORY)
        assert "3303/0/5700" in await admin.stored(NODE)
    await admin.subscribe(DIRECTORY)
    await admin.subscribe(NODE)
    async with run(prune=True):
        await admin.until(lambda: (DIRECTORY, "0024befffe804ff2") in admin.gone)
        old_items = {(NODE, item) for item in ("3303/0/5700", "3303/0/5701", "3312/0/5850")}
        await admin.until(lambda: old_items <= set(admin.gone))
        with pytest.raises(IqError, match="item-not-found"):
            await admin.stored("iot/gateway/0024befffe804ff2")


async def test_a_switch_is_published_as_a_truth_value(
    run: Run, reader: Peer, bench: HubBench
) -> None:
    async with run() as gateway:
        await gateway.settled()
        await reader.subscribe(NODE)
        bench.say({SWITCH: True})
        await reader.until(lambda: reader.value(NODE, "3312/0", "5850") == "true")

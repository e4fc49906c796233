"""What subscribers get where the operator chose another payload than SenML in XML."""

import json
import xml.etree.ElementTree as ET
from typing import Any

from adapters.sim.prosody import SERVICE, ThrowawayProsody
from gateway.model import Path
from tests.deadlines import DEADLINE_S
from tests.fakes import STATION, HubBench
from tests.xmpp.conftest import DIRECTORY, NODE, VALUE, Peer, Run
from tests.xmpp.test_subscribe import NAME, following


async def payloads(peer: Peer, node: str) -> dict[str, ET.Element]:
    """The payload of each item that the server holds."""
    answer: Any = await peer.pubsub.get_items(SERVICE, node, timeout=DEADLINE_S)
    found = answer.xml.iter("{http://jabber.org/protocol/pubsub}item")
    return {item.get("id"): item[0] for item in found}


async def node_type(peer: Peer, node: str) -> str:
    answer: Any = await peer.pubsub.get_node_config(SERVICE, node)
    values = answer["pubsub_owner"]["configure"]["form"].get_values()
    return str(values["pubsub#type"])


async def test_senml_may_be_published_in_json(
    run: Run, reader: Peer, admin: Peer, server: ThrowawayProsody
) -> None:
    async with run(payload="json") as gateway:
        await gateway.settled()
        stored = await payloads(reader, NODE)
        assert {payload.tag for payload in stored.values()} == {"{urn:xmpp:json:0}json"}
        value, unit = json.loads(stored["3303/0"].text or "")
        assert (value["bn"], value["n"]) == ("urn:dev:mac:0024befffe804ff1/3303/0/", "5700")
        assert (value["v"], value["u"], unit["vs"]) == (21.5, "Cel", "Cel")
        assert await node_type(admin, NODE) == "urn:xmpp:json:0"
        async with following(server, NODE) as screen:
            await screen.until_shown(21.5, NAME)


async def test_sensor_data_of_the_iotgateway_family_may_be_published(
    run: Run, reader: Peer, admin: Peer, bench: HubBench
) -> None:
    sd = "{urn:nfi:iot:sd:1.0}"
    bench.say({Path(3303, 1, 5700): 5.5})
    async with run(payload="nf-sd", nf_root="urn:nfi") as gateway:
        await gateway.settled()
        stored = await payloads(reader, NODE)
        assert {payload.tag for payload in stored.values()} == {f"{sd}resp"}
        (node,) = stored["3303/0"]
        assert (node.tag, node.get("id")) == (f"{sd}nd", STATION)
        fields = {f.get("n"): dict(f.attrib) for f in node.iter(f"{sd}q")}
        assert fields == {
            "Temperature, Temperature 0": {
                "n": "Temperature, Temperature 0",
                "m": "true",
                "ar": "true",
                "v": "21.5",
                "u": "°C",
            }
        }
        said = {f.get("n"): f.get("v") for f in stored["status"].iter() if f.get("n")}
        assert (said["online"], said["reason"], said["rssi"]) == ("true", "connected", "-90")
        listed = await payloads(reader, DIRECTORY)
        said = {f.get("n"): f.get("v") for f in listed["0024befffe804ff1"].iter() if f.get("n")}
        assert said["node"] == NODE
        assert listed["gateway"][0].get("id") == "gateway"
        assert await node_type(admin, NODE) == "urn:nfi:iot:sd:1.0"
        bench.clock.advance(1)
        bench.say({VALUE: 22.5})
        await gateway.settled()
        (node,) = (await payloads(reader, NODE))["3303/0"]
        assert [f.get("v") for f in node.iter(f"{sd}q")] == ["22.5"]


async def test_what_comes_late_is_marked_as_historical_in_sensor_data(
    run: Run, reader: Peer, bench: HubBench
) -> None:
    async with run(payload="nf-sd") as gateway:
        await gateway.settled()
        for value in (1.0, 2.0, 3.0):
            bench.clock.advance(1)
            bench.say({VALUE: value})
        await gateway.settled()
        delivery = gateway.adapter._publisher.delivery
        await gateway.slot.until(lambda: not delivery.behind, "the journal is caught up with")
        late = await payloads(reader, f"{NODE}/history")
        live = await payloads(reader, NODE)
    fields = [f for item in late.values() for f in item.iter("{urn:nf:iot:sd:1.0}q")]
    assert {f.get("v") for f in fields} >= {"1", "2"}
    assert {(f.get("h"), f.get("m")) for f in fields} == {("true", None)}
    (field,) = live["3303/0"].iter("{urn:nf:iot:sd:1.0}q")
    assert (field.get("v"), field.get("h"), field.get("m")) == ("3", None, "true")

"""A subscriber over XMPP and a client of CoAP are told the same of one path."""

import asyncio
import xml.etree.ElementTree as ET

from adapters.coap.adapter import Coap, CoapSection
from adapters.sim.prosody import SERVICE
from gateway.formats.senml import from_xml
from gateway.slots import NorthSlot
from tests.coap.peers import Served, coap_client
from tests.deadlines import DEADLINE_S
from tests.fakes import HubBench
from tests.xmpp.conftest import NODE, VALUE, Peer, Run

Said = dict[str, tuple[object, object, object]]


def said(pack: str, prefix: str) -> Said:
    """Value, unit and time of each resource."""
    found = from_xml(pack, now=0.0)
    return {r.name.removeprefix(prefix): (r.value, r.unit, r.time) for r in found}


async def test_the_same_path_says_the_same_over_xmpp_and_coap(
    run: Run, reader: Peer, bench: HubBench
) -> None:
    slot = NorthSlot("coap", bench.hub)
    serving = asyncio.create_task(
        Coap(CoapSection.model_validate({"listen": ("127.0.0.1:0",)}), slot).run()
    )
    async with run() as gateway, asyncio.timeout(3 * DEADLINE_S):
        bench.clock.advance(5.25)
        bench.say({VALUE: 22.5})
        await gateway.settled()
        while not slot.text.startswith("listens"):
            await asyncio.sleep(0.01)
        port = Served(slot.text, serving).port
        answer = await reader.pubsub.get_items(SERVICE, NODE, timeout=DEADLINE_S)
        items = answer.xml.iter("{http://jabber.org/protocol/pubsub}item")
        packs = {item.get("id"): ET.tostring(item[0]).decode() for item in items}
        for instance in ("3303/0", "3312/0", "3/0", "4/0"):
            over_xmpp = said(packs[instance], "urn:dev:mac:0024befffe804ff1/")
            got = await coap_client(port, f"/d1/{instance}", "-A", "310")
            assert over_xmpp
            assert said(got.out, "/d1/") == over_xmpp
    serving.cancel()
    await asyncio.wait({serving})

"""Nodes read and set in the dialect of the IoTGateway family, over a real server."""

import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from typing import Any

import pytest
from slixmpp.exceptions import IqError
from slixmpp.xmlstream.handler import Callback
from slixmpp.xmlstream.matcher import MatchXPath

from adapters.sim.prosody import ThrowawayProsody
from adapters.xmpp.control import BURST
from adapters.xmpp.iot.dialect import NAMESPACES, ROOTS
from gateway.errors import DeviceRefused, Unreachable
from gateway.events import Write
from gateway.model import Path
from gateway.policy import DeviceRule
from tests.deadlines import DEADLINE_S
from tests.fakes import METER, STATION, HubBench
from tests.xmpp.conftest import SWITCH, UNIT, VALUE, Gateway, Peer, Run, peer_of

GATEWAY_JID = "gateway@localhost/gateway"
LAMP, DIMMER = Path(3311, 0, 5850), Path(3311, 0, 5851)

each_root = pytest.mark.parametrize("root", ROOTS)


@pytest.fixture
def bench(bench: HubBench) -> HubBench:
    """The device is a lamp that may be written to; another one may only be read."""
    bench.rules(station=DeviceRule(listed=True, writable=True))
    bench.say({LAMP: True, DIMMER: 30})
    bench.join(METER)
    bench.say({VALUE: 1.5, DIMMER: 10}, METER)
    return bench


@pytest.fixture
async def gateway(run: Run) -> AsyncIterator[Gateway]:
    async with run() as running:
        await running.settled()
        yield running


async def ask(peer: Peer, kind: str, content: str) -> ET.Element | None:
    """The content of the answer to an IQ; IqError if it is refused."""
    iq: Any = peer.make_iq(ito=GATEWAY_JID)
    iq["type"] = kind
    iq.append(ET.fromstring(content))
    answer = await iq.send(timeout=DEADLINE_S)
    return next(iter(answer.xml), None)


async def refusal(peer: Peer, kind: str, content: str) -> tuple[str, ET.Element | None]:
    """The condition of a refusal, and the paramError in it."""
    with pytest.raises(IqError) as refused:
        await ask(peer, kind, content)
    error = refused.value.iq.xml.find("{jabber:client}error")
    detail = next((e for e in error if e.tag.endswith("paramError")), None)
    return refused.value.condition, detail


def heard(peer: Peer, space: str = "urn:nf:iot:sd:1.0") -> list[ET.Element]:
    """What the peer is told in messages from now on."""
    told: list[ET.Element] = []

    def take(message: Any) -> None:
        told.extend(message.xml.findall(f"{{{space}}}resp"))
        peer.changed()

    matcher = MatchXPath(f"{{jabber:client}}message/{{{space}}}resp")
    peer.register_handler(Callback("responses", matcher, take))
    return told


@each_root
async def test_a_node_is_read_in_the_namespace_of_the_request(
    gateway: Gateway, reader: Peer, root: str
) -> None:
    sd = f"{{{root}iot:sd:1.0}}"
    answer = await ask(
        reader, "get",
        f"<req xmlns='{root}iot:sd:1.0' id='r1' m='true'>"
        f"<nd id='{STATION}'/><nd id='{METER}'/></req>",
    )  # fmt: skip
    assert answer is not None
    assert (answer.tag, answer.get("id"), answer.get("more")) == (f"{sd}resp", "r1", None)
    station, meter = answer
    assert (station.tag, station.get("id"), meter.get("id")) == (f"{sd}nd", STATION, METER)
    assert {
        (f.tag, f.get("n"), f.get("v"), f.get("ctr")) for f in station.iter() if f.get("n")
    } == {
        (f"{sd}q", "Temperature", "21.5", None),
        (f"{sd}b", "On/Off", "false", "true"),
        (f"{sd}b", "Lamp", "true", "true"),
        (f"{sd}i", "Dimmer", "30", "true"),
    }
    assert {f.get("ctr") for f in meter.iter(f"{sd}i")} == {None}


@each_root
async def test_a_node_is_set_in_the_namespace_of_the_request(
    gateway: Gateway, operator: Peer, bench: HubBench, root: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    ctr = f"{{{root}iot:ctr:1.0}}"
    answer = await ask(
        operator, "set",
        f"<set xmlns='{root}iot:ctr:1.0'><nd id='{STATION}'/><b n='Lamp' v='false'/>"
        "<i n='Dimmer' v='55'/></set>",
    )  # fmt: skip
    assert answer is not None
    assert answer.tag == f"{ctr}resp"
    assert [(e.tag, e.get("id") or e.get("n")) for e in answer] == [
        (f"{ctr}nd", STATION),
        (f"{ctr}p", "Lamp"),
        (f"{ctr}p", "Dimmer"),
    ]
    (command,) = bench.adapter.commands
    assert command == Write(STATION, {LAMP: False, DIMMER: 55}, "xmpp op@localhost")
    assert "xmpp op@localhost writes /3311/0/5851: 30 -> 55" in caplog.text


async def test_a_form_shows_what_can_be_set_and_is_filled_in(
    gateway: Gateway, operator: Peer, bench: HubBench
) -> None:
    form = await ask(
        operator, "get", f"<getForm xmlns='urn:nf:iot:ctr:1.0'><nd id='{STATION}'/></getForm>"
    )
    assert form is not None
    shown = {f.get("var"): f for f in form.iter("{jabber:x:data}field")}
    assert set(shown) == {"On/Off", "Lamp", "Dimmer"}
    assert shown["Lamp"].get("type") == "boolean"
    bounds = next(shown["Dimmer"].iter("{http://jabber.org/protocol/xdata-validate}range"))
    assert dict(bounds.attrib) == {"min": "0", "max": "100"}
    references = form.iter("{http://jabber.org/protocol/xdata-layout}fieldref")
    assert [e.get("var") for e in references] == list(shown)
    await ask(
        operator, "set",
        f"<set xmlns='urn:nf:iot:ctr:1.0'><nd id='{STATION}'/><x xmlns='jabber:x:data' "
        "type='submit'><field var='Dimmer'><value>20</value></field></x></set>",
    )  # fmt: skip
    assert bench.adapter.commands == [Write(STATION, {DIMMER: 20}, "xmpp op@localhost")]


async def test_a_parameter_that_cannot_be_set_is_named_and_reaches_no_radio(
    gateway: Gateway, operator: Peer, bench: HubBench
) -> None:
    for node, parameter, name in (
        (STATION, "<s n='Lamp' v='x'/>", "Lamp"),
        (STATION, "<b n='Lamp' v='true'/><i n='Dimmer' v='101'/>", "Dimmer"),
        (STATION, "<db n='Temperature' v='5'/>", "Temperature"),
        (METER, "<i n='Dimmer' v='5'/>", "Dimmer"),
    ):
        condition, detail = await refusal(
            operator, "set", f"<set xmlns='urn:nfi:iot:ctr:1.0'><nd id='{node}'/>{parameter}</set>"
        )
        assert condition == "bad-request"
        assert detail is not None
        assert (detail.tag, detail.get("var")) == ("{urn:nfi:iot:ctr:1.0}paramError", name)
    assert bench.adapter.commands == []


async def test_unknown_nodes_and_unfit_requests_get_their_condition(
    gateway: Gateway, operator: Peer, bench: HubBench
) -> None:
    sd, ctr = "xmlns='urn:nf:iot:sd:1.0'", "xmlns='urn:nf:iot:ctr:1.0'"
    for kind, content, condition in (
        ("get", f"<req {sd} id='1'><nd id='ble:00-00-00-00-00-00'/></req>", "item-not-found"),
        ("get", f"<req {sd} m='true'/>", "bad-request"),
        ("set", f"<set {ctr}><nd id='d9'/><b n='Lamp' v='1'/></set>", "item-not-found"),
        ("set", f"<set {ctr}><b n='Lamp' v='1'/></set>", "bad-request"),
        ("set", f"<set {ctr}><nd id='d1'/></set>", "bad-request"),
        ("get", f"<getForm {ctr}/>", "bad-request"),
    ):
        assert await refusal(operator, kind, content) == (condition, None), content
    switch_on = f"<set {ctr}><nd id='d1'/><b n='On/Off' v='1'/></set>"
    for failure, condition in (
        (DeviceRefused("no"), "not-acceptable"),
        (Unreachable("away"), "recipient-unavailable"),
    ):
        bench.adapter.answer = failure
        assert await refusal(operator, "set", switch_on) == (condition, None)
    nothing = await ask(operator, "get", f"<req {sd} id='1' all='true'/>")
    assert nothing is not None
    assert list(nothing) == []


async def test_who_lacks_the_role_reads_and_sets_nothing(
    gateway: Gateway, reader: Peer, server: ThrowawayProsody, bench: HubBench
) -> None:
    requests = {
        "req": f"<req xmlns='urn:nf:iot:sd:1.0' id='1'><nd id='{STATION}'/></req>",
        "set": f"<set xmlns='urn:nf:iot:ctr:1.0'><nd id='{STATION}'/><b n='Lamp' v='0'/></set>",
        "getForm": f"<getForm xmlns='urn:nf:iot:ctr:1.0'><nd id='{STATION}'/></getForm>",
        "getInterfaces": f"<getInterfaces xmlns='urn:nf:iot:hi:1.0' id='{STATION}'/>",
    }
    async with peer_of(server, "stranger") as stranger:
        for content in requests.values():
            assert await refusal(stranger, "set", content) == ("forbidden", None)
    for name in ("set", "getForm"):
        assert await refusal(reader, "set", requests[name]) == ("forbidden", None)
    assert bench.adapter.commands == []


async def test_a_flood_of_sets_is_slowed_down(
    gateway: Gateway, operator: Peer, bench: HubBench
) -> None:
    content = f"<set xmlns='urn:nf:iot:ctr:1.0'><nd id='{STATION}'/><b n='Lamp' v='1'/></set>"
    conditions = []
    for _ in range(100):
        try:
            await ask(operator, "set", content)
        except IqError as error:
            conditions.append(error.condition)
            break
    assert conditions == ["resource-constraint"]
    assert len(bench.adapter.commands) >= BURST


async def test_an_offline_devices_values_are_marked_as_doubtful(
    gateway: Gateway, reader: Peer, bench: HubBench
) -> None:
    bench.south.lost(STATION, "out of reach")
    content = f"<req xmlns='urn:nf:iot:sd:1.0' id='1'><nd id='{STATION}'/></req>"
    answer = await ask(reader, "get", content)
    assert answer is not None
    assert {f.get("w") for f in answer.iter() if f.get("n")} == {"true"}


async def test_a_long_readout_goes_on_in_messages_until_it_is_complete(
    gateway: Gateway, reader: Peer, bench: HubBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.xmpp.talks.NEWS_EVERY_S", 0.02)
    bench.say({Path(3303, i, 5750): "x" * 3_000 for i in range(30)})
    parts = heard(reader)
    content = f"<req xmlns='urn:nf:iot:sd:1.0' id='long'><nd id='{STATION}'/></req>"
    first = await ask(reader, "get", content)
    assert first is not None
    assert first.get("more") == "true"
    await reader.until(lambda: parts and parts[-1].get("more") is None)
    names = [f.get("n") for part in (first, *parts) for f in part.iter() if f.get("n")]
    assert len(names) == len(set(names)) > 30
    assert {part.get("id") for part in parts} == {"long"}


async def test_clients_find_the_dialect_and_the_harmonised_interfaces(
    gateway: Gateway, reader: Peer, bench: HubBench
) -> None:
    disco: Any = reader.plugin["xep_0030"]
    info = await disco.get_info(GATEWAY_JID, timeout=DEADLINE_S)
    assert set(NAMESPACES) <= set(info["disco_info"]["features"])
    content = f"<getInterfaces xmlns='urn:nf:iot:hi:1.0' id='{STATION}'/>"
    answer = await ask(reader, "get", content)
    assert answer is not None
    assert [interface.get("ref") for interface in answer] == [
        "urn:nf:iot:hi:actuator:lamp:1.0",
        "urn:nf:iot:hi:identity:manufacturer:1.0",
        "urn:nf:iot:hi:sensor:temperature:1.0",
    ]
    assert {UNIT, SWITCH} <= {r.path for r in bench.north.resources(STATION)}


async def test_the_past_is_read_from_the_journal(
    gateway: Gateway, reader: Peer, bench: HubBench
) -> None:
    for value in (22.5, 23.5, 24.5):
        bench.clock.advance(60)
        bench.say({VALUE: value, DIMMER: int(value)})
    content = (
        f"<req xmlns='urn:nf:iot:sd:1.0' id='1' h='true' from='2023-11-14T22:31:00Z' "
        f"to='2023-11-14T22:32:10Z'><nd id='{STATION}'/><f n='Temperature'/></req>"
    )
    answer = await ask(reader, "get", content)
    assert answer is not None
    (node,) = answer
    times = [(ts.get("v"), [dict(f.attrib) for f in ts]) for ts in node]
    assert times == [
        (f"2023-11-14T22:{minute}:00.000Z", [
            {"n": "Temperature", "h": "true", "ar": "true", "v": v, "u": "°C"}
        ])
        for minute, v in (("31", "22.5"), ("32", "23.5"))
    ]  # fmt: skip

"""Commands of people and programs, given with slixmpp's own plugins over a real server."""

import asyncio
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from typing import Any

import pytest
from slixmpp.exceptions import IqError

from adapters.sim.prosody import ThrowawayProsody
from adapters.xmpp import requests, stanzas
from adapters.xmpp.access import Roles
from adapters.xmpp.adhoc import LIFETIME_S, MAX_OPEN, AdHoc
from adapters.xmpp.administration import Administration
from adapters.xmpp.control import BURST, COMMANDS_PER_S, HISTORY_LENGTH, Control
from adapters.xmpp.errors import Forbidden, StanzaError
from adapters.xmpp.forms import MAX_OPTIONS
from adapters.xmpp.session import MAX_STANZA
from gateway.errors import Busy, DeviceRefused, NotFound
from gateway.events import Execute, Outcome, Write
from gateway.model import DeviceId, Path
from gateway.policy import DeviceRule
from tests.deadlines import DEADLINE_S
from tests.fakes import METER, STATION, Clock, HubBench
from tests.xmpp.conftest import SWITCH, VALUE, Gateway, Peer, Run, field, peer_of, records

GATEWAY_JID = "gateway@localhost/gateway"
FORM = "{jabber:x:data}"
COMMANDS = "{http://jabber.org/protocol/commands}"
RESET = Path(3303, 0, 5605)


@pytest.fixture
def bench(bench: HubBench) -> HubBench:
    """The device may be written to, and has something to execute."""
    bench.rules(station=DeviceRule(listed=True, writable=True))
    bench.say({RESET: None, Path(3311, 0, 5851): 30, Path(3311, 0, 5850): True})
    return bench


@pytest.fixture
async def gateway(run: Run) -> AsyncIterator[Gateway]:
    async with run() as running:
        await running.settled()
        yield running


async def ask(peer: Peer, node: str, values: dict[str, str] | None = None, **options: str) -> Any:
    """One step of a command; gives the `<command/>` that comes back."""
    iq: Any = peer.make_iq_set(ito=GATEWAY_JID)
    command = iq["command"]
    command["node"] = node
    for name, content in options.items():
        command[name] = content
    if values is not None:
        forms: Any = peer.plugin["xep_0004"]
        form = forms.make_form("submit")
        for var, value in values.items():
            form.add_field(var=var, value=value)
        command.append(form)
    answer = await iq.send(timeout=DEADLINE_S)
    return answer.xml[0]


def note(command: Any) -> tuple[str, str]:
    found = command.find(f"{COMMANDS}note")
    return found.get("type"), found.text


def fields(command: Any) -> dict[str, Any]:
    return {f.get("var"): f for f in command.find(f"{FORM}x").findall(f"{FORM}field")}


def rows(command: Any) -> list[dict[str, str]]:
    return [
        {f.get("var"): f.findtext(f"{FORM}value") for f in item}
        for item in command.iter(f"{FORM}item")
    ]


async def test_clients_find_the_commands_that_their_role_allows(
    gateway: Gateway, reader: Peer, operator: Peer, server: ThrowawayProsody
) -> None:
    async with peer_of(server, "stranger") as stranger:
        offered = []
        for peer in (stranger, reader, operator):
            disco: Any = peer.plugin["xep_0030"]
            answer = await disco.get_items(
                GATEWAY_JID, node="http://jabber.org/protocol/commands", timeout=10
            )
            offered.append({item[1] for item in answer["disco_items"]["items"]})
            info = await disco.get_info(GATEWAY_JID, timeout=DEADLINE_S)
            has = "http://jabber.org/protocol/commands" in info["disco_info"]["features"]
            assert has == bool(offered[-1])
    reading = {"devices", "read", "history"}
    assert offered == [set(), reading, {*reading, "write", "execute"}]


async def test_devices_are_listed(gateway: Gateway, reader: Peer, bench: HubBench) -> None:
    answer = await ask(reader, "devices")
    assert answer.get("status") == "completed"
    own, station = rows(answer)
    assert own["id"] == "gateway"
    assert (station["id"], station["name"], station["state"]) == ("d1", "a name", "online")
    assert station["objects"] == "3 4 3303 3311 3312"


async def test_reading_gives_people_a_table_and_programs_a_pack(
    gateway: Gateway, reader: Peer
) -> None:
    answer = await ask(reader, "read", {"device": "d1", "path": "3303/0"})
    assert [(row["path"], row["value"]) for row in rows(answer)] == [
        ("3303/0/5700", "21.5"),
        ("3303/0/5701", "Cel"),
    ]
    pack = records(answer)
    assert field(pack, "3303/0/5700") == "21.5"
    assert pack[0]["u"] == "Cel"


async def test_the_past_is_given_as_a_table_and_as_a_pack_with_its_times(
    gateway: Gateway, reader: Peer, bench: HubBench
) -> None:
    for value in (22.5, 23.5, 24.5):
        bench.clock.advance(60)
        bench.say({VALUE: value})
    span = {"from": "2023-11-14T22:30:00Z", "to": "2023-11-14T22:32:10Z"}
    answer = await ask(reader, "history", {"device": "d1", "path": "3303/0/5700", **span})
    assert [(row["time"], row["value"]) for row in rows(answer)] == [
        ("2023-11-14T22:31:00.000Z", "22.5"),
        ("2023-11-14T22:32:00.000Z", "23.5"),
    ]
    assert note(answer)[1] == "2 values; to go on: from = 2023-11-14T22:32:00.000Z"
    first, second = records(answer)
    assert (first["bn"], first["n"], first["v"], first["u"]) == (
        "urn:dev:mac:0024befffe804ff1/", "3303/0/5700", "22.5", "Cel",
    )  # fmt: skip
    base = float(first["bt"])
    assert [base + float(r.get("t", 0)) for r in (first, second)] == [1_700_001_060, 1_700_001_120]
    wrong = await ask(reader, "history", {"device": "d1", "path": "3303/0/5700", "from": "then"})
    assert note(wrong)[0] == "error"
    assert "is no time" in note(wrong)[1]


async def test_a_person_is_led_through_forms_to_a_write(
    gateway: Gateway, operator: Peer, bench: HubBench
) -> None:
    first = await ask(operator, "write")
    assert first.get("status") == "executing"
    options = {o.findtext(f"{FORM}value") for o in fields(first)["device"].iter(f"{FORM}option")}
    assert options == {"gateway", "d1"}
    session = first.get("sessionid")
    second = await ask(
        operator, "write", {"device": "d1", "path": "3311/0/5851"}, sessionid=session, action="next"
    )
    value = fields(second)["value"]
    assert value.findtext(f"{FORM}value") == "30"
    validate = value.find("{http://jabber.org/protocol/xdata-validate}validate")
    assert validate.get("datatype") == "xs:long"
    assert dict(validate[0].attrib) == {"min": "0", "max": "100"}
    assert second.find(f"{COMMANDS}actions").get("execute") == "complete"
    last = await ask(operator, "write", {"value": "45"}, sessionid=session, action="complete")
    assert last.get("status") == "completed"
    assert note(last) == ("info", "d1/3311/0/5851 is set")
    (command,) = bench.adapter.commands
    assert isinstance(command, Write)
    assert (dict(command.values), command.origin) == (
        {Path(3311, 0, 5851): 45},
        "xmpp op@localhost",
    )


async def test_a_program_writes_in_one_step(
    gateway: Gateway, operator: Peer, bench: HubBench
) -> None:
    bench.adapter.answer = Outcome(confirmed=False)
    values = {"device": "d1", "path": "3312/0/5850", "value": "true"}
    answer = await ask(operator, "write", values)
    assert note(answer) == ("info", "d1/3312/0/5850: sent, not yet confirmed")
    (command,) = bench.adapter.commands
    assert isinstance(command, Write)
    assert command.values[SWITCH] is True


async def test_a_resource_is_executed_with_its_arguments(
    gateway: Gateway, operator: Peer, bench: HubBench
) -> None:
    values = {"device": "d1", "path": "3303/0/5605", "arguments": "0='x'"}
    assert note(await ask(operator, "execute", values))[0] == "info"
    assert bench.adapter.commands == [Execute(STATION, RESET, "xmpp op@localhost", "0='x'")]


async def test_what_the_device_or_the_operator_of_the_box_refuses_is_told(
    gateway: Gateway, operator: Peer, bench: HubBench
) -> None:
    values = {"device": "d1", "path": "3312/0/5850", "value": "1"}
    bench.adapter.answer = DeviceRefused("the lamp says no")
    assert note(await ask(operator, "write", values)) == ("error", "the lamp says no")
    bench.rules()
    kind, text = note(await ask(operator, "write", values))
    assert (kind, "set writable" in text) == ("error", True)


async def test_who_lacks_the_role_is_refused_and_nothing_reaches_a_radio(
    gateway: Gateway, reader: Peer, server: ThrowawayProsody, bench: HubBench
) -> None:
    values = {"device": "d1", "path": "3312/0/5850", "value": "1"}
    async with peer_of(server, "stranger") as stranger:
        for peer, node in ((reader, "write"), (reader, "execute"), (stranger, "devices")):
            with pytest.raises(IqError) as refusal:
                await ask(peer, node, values)
            assert refusal.value.condition == "forbidden"
    assert bench.adapter.commands == []


async def test_a_form_belongs_to_who_opened_it(
    gateway: Gateway, operator: Peer, server: ThrowawayProsody
) -> None:
    opened = await ask(operator, "write")
    session = opened.get("sessionid")
    async with peer_of(server, "reader") as thief:
        with pytest.raises(IqError):
            await ask(thief, "read", {"device": "d1"}, sessionid=session)
    canceled = await ask(operator, "write", sessionid=session, action="cancel")
    assert canceled.get("status") == "canceled"
    with pytest.raises(IqError) as refusal:
        await ask(operator, "write", {"device": "d1"}, sessionid=session)
    assert refusal.value.condition == "bad-request"


async def test_unknown_commands_and_requests_are_answered_as_the_rfc_wants(
    gateway: Gateway, operator: Peer
) -> None:
    with pytest.raises(IqError) as refusal:
        await ask(operator, "reboot")
    assert refusal.value.condition == "item-not-found"
    iq: Any = operator.make_iq_get("urn:example:unknown", ito=GATEWAY_JID)
    with pytest.raises(IqError) as refusal:
        await iq.send(timeout=DEADLINE_S)
    assert refusal.value.condition == "feature-not-implemented"
    operator.register_plugin("xep_0199")
    ping: Any = operator.plugin["xep_0199"]
    assert await ping.ping(GATEWAY_JID, timeout=DEADLINE_S) > 0


async def test_no_value_that_a_device_says_can_end_the_session(
    gateway: Gateway, reader: Peer, bench: HubBench
) -> None:
    bench.say({Path(3, 0, 0): "a\x07\uffff", Path(3, 0, 1): "\u00e9" * 150_000})
    bench.say({Path(3303, i, 5750): "<&>" * 200 for i in range(500)})
    found = rows(await ask(reader, "read", {"device": "d1", "path": "3/0/0"}))
    assert [row["value"] for row in found] == ["a??"]
    assert len(rows(await ask(reader, "read", {"device": "d1"}))) > 0
    await gateway.settled()
    assert not any("not connected" in text for text in gateway.slot.texts)


async def test_a_slow_device_holds_up_nobody_else(
    gateway: Gateway, operator: Peer, reader: Peer, bench: HubBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    started, release = asyncio.Event(), asyncio.Event()

    async def slow(command: object) -> Outcome:
        started.set()
        await release.wait()
        return Outcome(True)

    monkeypatch.setattr(bench.adapter, "execute", slow)
    values = {"device": "d1", "path": "3312/0/5850", "value": "1"}
    writing = asyncio.create_task(ask(operator, "write", values))
    await started.wait()
    assert len(rows(await ask(reader, "devices"))) == 2
    monkeypatch.setattr(requests, "MAX_AT_A_TIME", 1)
    with pytest.raises(IqError) as refusal:
        await ask(reader, "devices")
    assert refusal.value.condition == "resource-constraint"
    release.set()
    assert note(await writing)[0] == "info"


def control(bench: HubBench, clock: Clock) -> Control:
    roles = Roles({"op@x": "operator", "@y": "reader", "low@y": "admin"})
    return Control(bench.north, roles, clock.monotonic)


@pytest.fixture
def commands(bench: HubBench, clock: Clock) -> AdHoc:
    """The commands without a server in between."""
    return adhoc(control(bench, clock), clock)


def adhoc(door: Control, clock: Clock) -> AdHoc:
    return AdHoc(door, Administration(door, lambda: None), clock.monotonic)


def command(node: str, values: dict[str, str] | None = None, **attributes: str) -> ET.Element:
    element = ET.Element(f"{COMMANDS}command", {"node": node, **attributes})
    if values:
        element.append(stanzas.submit("form", values))
    return element


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("d1", "0"),
        ("ble:00-24-be-80-4f-f1", "0"),
        ("0024befffe804ff1", "0"),
        ("0024BEFFFE804FF1", "0"),
    ],
)
async def test_a_device_is_known_by_prefix_and_identity(
    commands: AdHoc, name: str, value: str
) -> None:
    read = command("read", {"device": name, "path": "/3312/0/5850"})
    assert [row["value"] for row in rows(await commands.handle("op@x", read))] == [value]


async def test_the_gateway_itself_can_be_read(commands: AdHoc) -> None:
    read = command("read", {"device": "gateway", "path": "3/0/0"})
    assert [r["value"] for r in rows(await commands.handle("op@x", read))] == ["Border Gateway"]


async def test_a_table_and_a_list_of_devices_fit_into_a_stanza(
    commands: AdHoc, bench: HubBench
) -> None:
    bench.say({Path(3303, i, 5750): "x" * 1_000 for i in range(500)})
    answer = await commands.handle("op@x", command("read", {"device": "d1"}))
    assert 50 < len(rows(answer)) < 100
    assert len(ET.tostring(answer)) < MAX_STANZA
    for number in range(MAX_OPTIONS):
        bench.join(DeviceId(f"lowpan:{number:016x}"))
    device = fields(await commands.handle("op@x", command("read")))["device"]
    assert (device.get("type"), device.findall(f"{FORM}option")) == ("text-single", [])


async def test_a_history_begins_an_hour_ago_and_is_read_on_from_its_last_time(
    bench: HubBench, clock: Clock
) -> None:
    roles = Roles({"op@x": "operator"})
    commands = adhoc(Control(bench.north, roles, clock.monotonic, clock.wall), clock)
    for value in range(300):
        clock.advance(30)
        bench.say({VALUE: float(value)})
    values = {"device": "d1", "path": "3303/0/5700"}
    last_hour = rows(await commands.handle("op@x", command("history", values)))
    assert [row["value"] for row in last_hour] == [str(n) for n in range(180, 300)]
    got: list[str] = []
    start = "3h"
    while more := rows(
        await commands.handle("op@x", command("history", {**values, "from": start}))
    ):
        assert len(more) <= HISTORY_LENGTH
        got += [row["value"] for row in more]
        start = more[-1]["time"]
    assert got == ["21.5", *map(str, range(300))]


async def test_what_has_no_history_says_so(commands: AdHoc) -> None:
    for values, complaint in (
        ({"device": "gateway", "path": "3/0/0"}, "no history"),
        ({"device": "d1", "path": "9/9/9"}, "nothing to read"),
        ({"device": "d1", "path": "3303/0/5700", "from": "1970-01-01"}, ""),
    ):
        kind, text = note(await commands.handle("op@x", command("history", values)))
        assert (kind, complaint in text) == ("error" if complaint else "info", True)


async def test_a_switch_is_a_check_box(commands: AdHoc) -> None:
    write = command("write", {"device": "d1", "path": "3312/0/5850"})
    assert fields(await commands.handle("op@x", write))["value"].get("type") == "boolean"


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"device": "d1", "path": "3311/0/5851", "value": "101"}, "0 to 100"),
        ({"device": "d1", "path": "3311/0/5851", "value": "x"}, "decimal integer"),
        ({"device": "d1", "path": "3303/0/5700", "value": "1"}, "nothing that can be written"),
        ({"device": "d1", "path": "1/2/x", "value": "1"}, "not a path"),
        ({"device": "d9", "path": "3311/0/5851", "value": "1"}, "no device d9"),
        ({"device": "", "path": "3311/0/5851", "value": "1"}, "no device"),
    ],
)
async def test_a_write_that_makes_no_sense_reaches_no_radio(
    commands: AdHoc, bench: HubBench, values: dict[str, str], complaint: str
) -> None:
    kind, text = note(await commands.handle("op@x", command("write", values)))
    assert kind == "error"
    assert complaint in text
    assert bench.adapter.commands == []


@pytest.mark.parametrize("action", ["prev", "destroy"])
async def test_an_action_that_was_not_offered_is_refused(commands: AdHoc, action: str) -> None:
    with pytest.raises(StanzaError, match="no action"):
        await commands.handle("op@x", command("write", None, action=action))


def test_the_role_of_an_account_counts_before_that_of_its_domain() -> None:
    roles = Roles({"ann@x": "operator", "@x": "reader"})
    assert roles.role("ann@x/phone") == "operator"
    assert roles.role("bob@x") == "reader"
    assert roles.role("bob@x.evil") is roles.role("bob@evil") is roles.role("") is None
    assert roles.role("x") == "reader"  # the server itself
    assert roles.allow("ann@x", "reader")
    assert not roles.allow("ann@x", "admin")


async def test_a_flood_of_writes_is_slowed_down_for_who_sends_it_only(
    bench: HubBench, clock: Clock
) -> None:
    door = control(bench, clock)
    device = door.device("op@x/a", "d1")
    for _ in range(int(BURST)):
        await door.write("op@x/a", device, "3312/0/5850", "on")
    with pytest.raises(Busy):
        await door.write("op@x/b", device, "3312/0/5850", "on")
    await door.write("low@y", device, "3312/0/5850", "off")
    clock.advance(1 / COMMANDS_PER_S)
    await door.write("op@x/a", device, "3312/0/5850", "on")


async def test_forms_are_closed_after_a_while_and_bounded_in_number(
    commands: AdHoc, clock: Clock
) -> None:
    opened = [await commands.handle("op@x/a", command("write")) for _ in range(MAX_OPEN + 1)]
    first, second = (command("write", None, sessionid=o.get("sessionid", "")) for o in opened[:2])
    with pytest.raises(StanzaError, match="start again"):
        await commands.handle("op@x/a", first)
    assert (await commands.handle("op@x/a", second)).get("status") == "executing"
    clock.advance(LIFETIME_S + 1)
    with pytest.raises(StanzaError, match="start again"):
        await commands.handle("op@x/a", second)
    with pytest.raises(Forbidden):
        await commands.handle("op@z", command("write"))


def test_keys_cannot_be_read(bench: HubBench, clock: Clock) -> None:
    door = control(bench, clock)
    with pytest.raises(NotFound):
        door.resources("op@x", door.device("op@x", "d1"), "0/0")
    bench.join(METER)
    with pytest.raises(NotFound):
        door.resources("op@x", door.device("op@x", "d2"), "")
    assert door.current(door.device("op@x", "d1"), str(VALUE)) == "21.5"

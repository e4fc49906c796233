"""What contacts see of the gateway: that it is there, what it can do, and when it is gone."""

import base64
import hashlib
import xml.etree.ElementTree as ET
from typing import Any, cast

import pytest

from adapters.xmpp import presence
from adapters.xmpp.access import Roles
from adapters.xmpp.session import Session
from tests.deadlines import DEADLINE_S
from tests.fakes import STATION, HubBench
from tests.xmpp.conftest import Peer, Run

CAPS = "{http://jabber.org/protocol/caps}c"


def presences(peer: Peer) -> list[Any]:
    """Those that the peer gets from now on, of the gateway."""
    seen: list[Any] = []
    for kind in ("available", "unavailable"):
        peer.add_event_handler(f"presence_{kind}", lambda p: _keep(p, seen))
        peer.add_event_handler(f"presence_{kind}", lambda _: peer.changed())
    peer.send_presence(pto="gateway@localhost", ptype="subscribe")
    return seen


def _keep(found: Any, seen: list[Any]) -> None:
    if found["from"].user == "gateway":
        seen.append(found)


async def test_presence_says_how_many_devices_there_are_and_what_the_gateway_can_do(
    run: Run, reader: Peer, bench: HubBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(presence, "UPDATE_EVERY_S", 0.05)
    async with run() as gateway:
        await gateway.settled()
        seen = presences(reader)
        await reader.until(lambda: seen and seen[-1]["status"] == "1 devices, 0 offline")
        bench.south.lost(STATION, "out of reach")
        await reader.until(lambda: seen[-1]["status"] == "1 devices, 1 offline")
        caps = seen[-1].xml.find(CAPS)
        disco: Any = reader.plugin["xep_0030"]
        node = f"{caps.get('node')}#{caps.get('ver')}"
        info = await disco.get_info("gateway@localhost/gateway", node=node, timeout=DEADLINE_S)
        features = sorted(info["disco_info"]["features"])
        said = "<".join(["client/bot//Border Gateway", *features, ""])
        assert base64.b64encode(hashlib.sha1(said.encode()).digest()).decode() == caps.get("ver")


class ComponentSession:
    """What a component sent, and to whom."""

    is_component = True

    def __init__(self) -> None:
        self.sent: list[tuple[str | None, str]] = []

    def send(self, stanza: ET.Element) -> None:
        self.sent.append((stanza.get("to"), stanza.get("type", "available")))

    def taken(self) -> list[tuple[str | None, str]]:
        sent, self.sent = self.sent, []
        return sent


async def test_whoever_may_see_a_component_is_answered_however_many_are_told_of_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(presence, "MAX_TOLD", 2)
    session = ComponentSession()
    roles = Roles({"ann@localhost": "reader", "@many": "reader"})
    shown = presence.Presence(
        cast(Session, session), roles, (("client", "bot", "Gateway"), ()), lambda: "well"
    )
    for asker in ("ann@localhost/x", "bob@many/x", "eve@many/x"):
        shown.answer(asker, "probe")
    answered = ["ann@localhost", "bob@many", "eve@many"]
    assert session.taken() == [(asker, "available") for asker in answered]
    shown.answer("eve@many", "subscribe")
    assert session.taken() == [("eve@many", "subscribed"), ("eve@many", "available")]
    shown.answer("stranger@localhost/x", "probe")
    shown.answer("bob@many", "unsubscribe")
    assert session.taken() == []
    shown.answer("eve@many/x", "probe")
    shown.end()
    assert session.taken()[1:] == [("ann@localhost", "unavailable"), ("eve@many", "unavailable")]

"""The gateway as a component of the server (XEP-0114): the same promises, without an account."""

from collections.abc import AsyncIterator
from pathlib import Path as FilePath
from typing import Any

import pytest
import slixmpp
from pydantic import ValidationError

from adapters.sim.port import free_port
from adapters.sim.prosody import ThrowawayProsody
from adapters.xmpp.config import XmppSection
from gateway.events import Write
from gateway.policy import DeviceRule
from tests.deadlines import DEADLINE_S
from tests.fakes import STATION, HubBench
from tests.xmpp.conftest import NODE, PASSWORDS, SWITCH, VALUE, Peer, Run, peer_of

JID = "iot.localhost"


@pytest.fixture
def component_port() -> int:
    return free_port()


@pytest.fixture
async def server(certificates: FilePath, component_port: int) -> AsyncIterator[ThrowawayProsody]:
    """A server that takes the gateway for a component, which may create nodes."""
    settings = f"""
component_ports = {{ {component_port} }}
Component "{JID}"
  component_secret = "gateway-pw"
"""
    options: dict[str, Any] = {"settings": settings, "certificates": certificates}
    async with ThrowawayProsody(PASSWORDS, admins=[JID], **options) as prosody:
        yield prosody


async def test_a_component_publishes_and_takes_commands_and_chat(
    launch: Run, component_port: int, server: ThrowawayProsody, bench: HubBench
) -> None:
    bench.rules(station=DeviceRule(listed=True, writable=True))
    options = {"jid": JID, "component": True, "port": component_port}
    async with launch(**options) as gateway, peer_of(server, "op") as op:
        await gateway.says("connected as iot.localhost, publishing on pubsub.localhost")
        await gateway.settled()
        await op.subscribe(NODE)
        bench.clock.advance(1)
        bench.say({VALUE: 22.5})
        await op.until(lambda: op.value(NODE, "3303/0", "5700") == "22.5")

        iq: Any = op.make_iq_set(ito=JID)
        iq["command"]["node"] = "devices"
        answer = await iq.send(timeout=DEADLINE_S)
        assert answer["from"] == JID
        assert len(list(answer.xml.iter("{jabber:x:data}item"))) == 2

        op.send_message(slixmpp.JID(f"someone@{JID}"), "set d1 3312/0/5850 on", mtype="chat")
        await op.until(lambda: op.chats)
        assert op.chats == ["d1/3312/0/5850 is set"]
        assert bench.adapter.commands == [Write(STATION, {SWITCH: True}, "xmpp op@localhost")]


async def test_a_component_shows_its_presence_to_those_who_asked_and_may(
    launch: Run, component_port: int, server: ThrowawayProsody
) -> None:
    options = {"jid": JID, "component": True, "port": component_port}
    seen: list[tuple[str, str]] = []

    def watch(peer: Peer) -> None:
        for kind in ("available", "unavailable", "unsubscribed"):
            peer.add_event_handler(
                f"presence_{kind}", lambda p: seen.append((p["type"], p["to"].user))
            )
            peer.add_event_handler(f"presence_{kind}", lambda _: peer.changed())

    async with peer_of(server, "stranger") as stranger, peer_of(server, "reader") as reader:
        watch(reader)
        watch(stranger)
        async with launch(**options) as gateway:
            await gateway.settled()
            stranger.send_presence(pto=JID, ptype="subscribe")
            await stranger.until(lambda: ("unsubscribed", "stranger") in seen)
            reader.send_presence(pto=JID, ptype="subscribe")
            await reader.until(lambda: ("available", "reader") in seen)
        await reader.until(lambda: ("unavailable", "reader") in seen)
        seen.clear()
        async with launch(**options):  # the next life tells those with a role by itself
            await reader.until(lambda: ("available", "reader") in seen)
    assert ("available", "stranger") not in seen


async def test_a_wrong_secret_is_told(
    launch: Run, component_port: int, server: ThrowawayProsody
) -> None:
    options = {"jid": JID, "component": True, "port": component_port}
    async with launch(password="wrong", **options) as gateway:
        text = await gateway.says("not connected")
        assert "refuses the component iot.localhost or its secret" in text
        assert "tries again in 15 s" in text


@pytest.mark.parametrize(
    ("jid", "host"),
    [("gateway@example.org", None), ("iot.example.org/x", None), ("iot.example.org", "192.0.2.1")],
)
def test_a_component_is_a_domain_and_its_server_on_this_machine(jid: str, host: str | None) -> None:
    with pytest.raises(ValidationError):
        XmppSection(jid=jid, host=host, component=True)

"""Profanity, for people: chat, and commands with their forms."""

from pathlib import Path as FilePath

from adapters.sim.prosody import ThrowawayProsody
from gateway.events import Write
from gateway.policy import DeviceRule
from tests.fakes import STATION, HubBench
from tests.xmpp.conftest import SWITCH, Run
from tests.xmpp.peers.profanity import profanity

GATEWAY = "gateway@localhost/gateway"


async def test_a_person_with_profanity_chats_and_gives_commands(
    run: Run, server: ThrowawayProsody, bench: HubBench, tmp_path: FilePath
) -> None:
    bench.rules(station=DeviceRule(listed=True, writable=True))
    async with run() as gateway, profanity(server, tmp_path) as screen:
        await gateway.settled()
        screen.type("/msg gateway@localhost read d1 3303/0")
        await screen.shows("3303/0/5700 Sensor Value: 21.5")
        screen.type("/win 1")
        screen.type(f"/cmd list {GATEWAY}")
        await screen.shows("devices", "read", "write", "execute")
        screen.type(f"/cmd exec write {GATEWAY}")
        await screen.shows("field1", "field2")
        screen.type("/field1 d1")
        await screen.shows("Field updated")
        screen.type("/field2 3312/0/5850")
        await screen.shows("Field updated")
        screen.type("/form submit")
        await screen.shows("On/Off", "FALSE")
        screen.type("/field1 on")
        await screen.shows("Field updated", "TRUE")
        screen.type("/form submit")
        await screen.shows("d1/3312/0/5850 is set")
    assert bench.adapter.commands == [Write(STATION, {SWITCH: True}, "xmpp op@localhost")]

"""A client on xmpp.js, that shares nothing with slixmpp: follows devices and gives commands."""

import asyncio
import json
import os
import shutil
import subprocess
from collections.abc import AsyncIterator
from pathlib import Path as FilePath
from typing import Any

import pytest

from adapters.sim.prosody import ThrowawayProsody
from gateway.events import Write
from gateway.model import Path
from gateway.policy import DeviceRule
from tests.deadlines import DEADLINE_S
from tests.fakes import STATION, HubBench
from tests.xmpp.conftest import NODE, PASSWORDS, SWITCH, VALUE, Run, field

HERE = FilePath(__file__).with_name("xmppjs")


class XmppJs:
    """The client as a process; events are kept while answers are waited for."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.events: list[dict[str, Any]] = []

    async def line(self) -> dict[str, Any]:
        assert self._process.stdout
        async with asyncio.timeout(DEADLINE_S):
            text = await self._process.stdout.readline()
        assert text, "the client ended"
        said: dict[str, Any] = json.loads(text)
        assert "error" not in said, said
        if "event" in said:
            self.events.append(said)
        return said

    async def ask(self, do: str, **what: Any) -> Any:
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"do": do, **what}).encode() + b"\n")
        while "event" in (said := await self.line()):
            pass
        return said.get("answer", said)

    async def event(self, kind: str, item: str) -> dict[str, Any]:
        """The next event of an item, also one that came before."""
        while True:
            for number, event in enumerate(self.events):
                if (event["event"], event["id"]) == (kind, item):
                    return self.events.pop(number)
            await self.line()


@pytest.fixture
async def peer(server: ThrowawayProsody) -> AsyncIterator[XmppJs]:
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            pytest.fail(f"{tool} is not installed: a client on xmpp.js is run against the gateway")
    if not (HERE / "node_modules" / "@xmpp").is_dir():
        install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(install, cwd=HERE, check=True, timeout=300)
    process = await asyncio.create_subprocess_exec(
        "node", "peer.js", str(server.port), "op", PASSWORDS["op"],
        cwd=HERE, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"NODE_EXTRA_CA_CERTS": str(server.ca_file)},
    )  # fmt: skip
    try:
        yield XmppJs(process)
    finally:
        process.kill()
        await process.wait()


async def test_a_client_on_xmpp_js_follows_a_device_and_gives_commands(
    run: Run, peer: XmppJs, bench: HubBench
) -> None:
    bench.rules(station=DeviceRule(listed=True, writable=True))
    async with run(roles={"op@localhost": "operator"}) as gateway:
        await gateway.settled()
        assert await peer.line() == {"online": True}
        assert await peer.ask("subscribe", node=NODE) is True
        assert (await peer.event("item", "status"))["records"], "the last item"
        items = await peer.ask("items", node=NODE)
        assert set(items) == {"3/0", "4/0", "3303/0", "3312/0", "status", "meta"}
        bench.clock.advance(1)
        bench.say({VALUE: 22.5})
        event = await peer.event("item", "3303/0")
        assert (event["node"], field(event["records"], "5700")) == (NODE, "22.5")
        bench.south.withdraw(STATION, Path(3303))
        await peer.event("retract", "3303/0")

        to = "gateway@localhost/gateway"
        answer = await peer.ask("command", to=to, node="devices", values={})
        assert [row["id"] for row in answer["rows"]] == ["gateway", "d1"]
        values = {"device": "d1", "path": "3312/0/5850", "value": "true"}
        answer = await peer.ask("command", to=to, node="write", values=values)
        assert answer["note"] == "d1/3312/0/5850 is set"
        assert bench.adapter.commands == [Write(STATION, {SWITCH: True}, "xmpp op@localhost")]
        refusal = await peer.ask("command", to=to, node="reboot", values={})
        assert refusal == {"refused": "item-not-found"}

"""The subscriber that comes with the gateway: one line a change, whatever happens in between."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import entry_points
from pathlib import Path as FilePath

import pytest
from click.testing import CliRunner

from adapters.sim.prosody import SERVICE, ThrowawayProsody
from adapters.xmpp import subscribe
from adapters.xmpp.errors import BadCredentials
from adapters.xmpp.merge import Update
from adapters.xmpp.stream import Account
from adapters.xmpp.subscribe import Subscriber, json_line, line
from gateway.cli.root import cli
from gateway.formats.senml import Record
from tests.deadlines import DEADLINE_S
from tests.fakes import METER, STATION, HubBench
from tests.xmpp.conftest import (
    DIRECTORY,
    NODE,
    PASSWORDS,
    UNIT,
    VALUE,
    Run,
    Watched,
    peer_of,
)

NAME = "urn:dev:mac:0024befffe804ff1/3303/0/5700"


class Screen(Watched):
    """What the subscriber would have printed."""

    def __init__(self) -> None:
        super().__init__()
        self.updates: list[Update] = []
        self.told: list[str] = []

    def show(self, update: Update) -> None:
        self.updates.append(update)
        self.changed()

    def tell(self, text: str) -> None:
        self.told.append(text)
        self.changed()

    def values(self, name: str = NAME) -> list[object]:
        return ["gone" if u.gone else u.record.value for u in self.updates if u.record.name == name]

    async def until_shown(self, value: object, name: str = NAME) -> None:
        await self.until(lambda: value in self.values(name), f"{name} {value}")


def account(server: ThrowawayProsody, user: str = "reader") -> Account:
    jid, password = f"{user}@localhost/tool", PASSWORDS[user]
    return Account(jid, password, "127.0.0.1", server.port, ca_file=server.ca_file)


@asynccontextmanager
async def following(
    server: ThrowawayProsody, *nodes: str, service: str | None = None, user: str = "reader"
) -> AsyncIterator[Screen]:
    screen = Screen()
    subscriber = Subscriber(
        account(server, user),
        service=service,
        nodes=nodes,
        directory=None if nodes else DIRECTORY,
        show=screen.show,
        tell=screen.tell,
    )
    task = asyncio.create_task(subscriber.run())
    try:
        yield screen
    finally:
        task.cancel()
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.wait({task})


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subscribe, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(subscribe, "RETRY_S", 0.05)


async def test_every_change_is_shown_once(
    run: Run, server: ThrowawayProsody, bench: HubBench
) -> None:
    async with run() as gateway, following(server, NODE) as screen:
        await gateway.settled()
        await screen.until_shown(21.5)
        for value in (22.5, 23.5):
            bench.clock.advance(1)
            bench.say({VALUE: value})
            await screen.until_shown(value)
    assert screen.values() == [21.5, 22.5, 23.5]


async def test_devices_that_come_and_go_are_followed_through_the_directory(
    run: Run, server: ThrowawayProsody, bench: HubBench
) -> None:
    async with run(), following(server) as screen:
        await screen.until_shown(21.5)
        bench.join(METER)
        bench.say({VALUE: 4.5, UNIT: "Cel"}, METER)
        await screen.until_shown(4.5, NAME.replace("4ff1", "4ff2"))
        bench.hub.forget(STATION)
        await screen.until_shown("gone")


async def test_a_node_that_is_not_there_yet_is_waited_for(
    run: Run, server: ThrowawayProsody
) -> None:
    async with following(server, NODE) as screen:
        await screen.until(lambda: any("item-not-found" in text for text in screen.told))
        async with run():
            await screen.until_shown(21.5)


async def test_a_node_that_is_deleted_and_comes_back_is_followed_again(
    run: Run, server: ThrowawayProsody, bench: HubBench
) -> None:
    async with run() as gateway, following(server, NODE) as screen:
        await gateway.settled()
        await screen.until_shown(21.5)
        async with peer_of(server, "gateway") as admin:
            await admin.pubsub.delete_node(SERVICE, NODE)
        await screen.until_shown("gone")
        bench.clock.advance(1)
        bench.say({VALUE: 50.0})
        await screen.until_shown(50.0)


async def test_nothing_is_missed_while_the_server_is_away(
    run: Run, server: ThrowawayProsody, bench: HubBench
) -> None:
    async with run() as gateway, following(server, NODE) as screen:
        await gateway.settled()
        await screen.until_shown(21.5)
        await server.kill()
        bench.clock.advance(1)
        bench.say({VALUE: 60.0})
        await screen.until(lambda: screen.told)
        await server.start()
        await screen.until_shown(60.0)


async def test_events_from_others_than_the_service_are_ignored(
    run: Run, server: ThrowawayProsody, bench: HubBench
) -> None:
    async with run() as gateway, following(server, NODE) as screen:
        await gateway.settled()
        await screen.until_shown(21.5)
        async with peer_of(server, "stranger") as stranger:
            # Several items in one event: slixmpp's own plugin never ends on these.
            stranger.send_raw(
                "<message to='reader@localhost' type='headline'>"
                "<event xmlns='http://jabber.org/protocol/pubsub#event'>"
                f"<items node='{NODE}'><item id='1'/><item id='2'/><retract id='3303/0'/></items>"
                "</event></message>"
            )
        bench.clock.advance(1)
        bench.say({VALUE: 70.0})
        await screen.until_shown(70.0)
    assert "gone" not in screen.values()


async def test_the_account_has_no_subscription_left_afterwards(
    run: Run, server: ThrowawayProsody
) -> None:
    async with run() as gateway:
        await gateway.settled()
        async with following(server, NODE) as screen:
            await screen.until_shown(21.5)
        async with peer_of(server, "reader") as reader:
            answer = await reader.pubsub.get_subscriptions(SERVICE)
            assert len(answer["pubsub"]["subscriptions"]["substanzas"]) == 0


async def test_the_own_account_of_a_gateway_is_followed_with_its_consent(
    run: Run, server: ThrowawayProsody, bench: HubBench
) -> None:
    async with (
        run(service="gateway@localhost") as gateway,
        following(server, NODE, service="gateway@localhost") as screen,
    ):
        await gateway.settled()
        await screen.until_shown(21.5)
        bench.clock.advance(1)
        bench.say({VALUE: 80.0})
        await screen.until_shown(80.0)


async def test_a_wrong_password_ends_the_subscriber(server: ThrowawayProsody) -> None:
    refused = Account("reader@localhost/t", "x", "127.0.0.1", server.port, ca_file=server.ca_file)
    screen = Screen()
    subscriber = Subscriber(
        refused, service=None, nodes=[NODE], directory=None, show=screen.show, tell=screen.tell
    )
    with pytest.raises(BadCredentials):
        await subscriber.run()


async def tool(server: ThrowawayProsody, folder: FilePath, *arguments: str) -> tuple[str, str, int]:
    """What the command prints, run as a user would."""
    (folder / "reader").write_text(PASSWORDS["reader"])
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "adapters.xmpp.subscribe",
        "--jid", "reader@localhost", "--password-file", str(folder / "reader"),
        "--host", "127.0.0.1", "--port", str(server.port), *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(2 * DEADLINE_S):
        out, err = await process.communicate()
    assert process.returncode is not None
    return out.decode(), err.decode(), process.returncode


async def test_the_command_prints_a_line_for_each_value(
    run: Run, server: ThrowawayProsody, tmp_path: FilePath
) -> None:
    async with run() as gateway:
        await gateway.settled()
        options = ("--ca-file", str(server.ca_file), "--json", "--count", "20")
        out, err, code = await tool(server, tmp_path, *options)
    assert code == 0, err
    lines = [json.loads(text) for text in out.splitlines()]
    assert len(lines) == 20
    (entry,) = (entry for entry in lines if entry["name"] == NAME)
    assert (entry["value"], entry["unit"], entry["node"]) == (21.5, "Cel", NODE)


async def test_the_command_says_what_is_wrong_with_the_certificate(
    server: ThrowawayProsody, tmp_path: FilePath
) -> None:
    _, err, code = await tool(server, tmp_path, "--ca-file", str(tmp_path / "none.pem"))
    assert code == 1
    assert "none.pem cannot be used" in err


def test_the_command_is_offered_to_the_command_line() -> None:
    (point,) = entry_points(group="border_gateway.commands", name="subscribe")
    assert point.load() is subscribe.command


def test_a_line_for_people_holds_time_name_value_and_unit() -> None:
    update = Update(NODE, "3303/0", Record(NAME, 21.5, "Cel", 1_795_217_136.241))
    assert line(update) == f"2026-11-20T23:25:36.241Z {NAME} 21.5 Cel"
    assert line(Update(NODE, "x", Record(NAME, "a\x1b[31m"))).endswith(f"{NAME} a?[31m")
    assert line(Update(NODE, "x", Record(NAME, 1, None, 1e300))).startswith("1e+300")
    assert line(Update(NODE, "x", Record(NAME, True))).endswith(" true")
    assert line(Update(NODE, "x", Record(NAME, 1), gone=True)).strip() == f"{NAME} is gone"


def test_a_line_for_programs_is_one_json_object() -> None:
    entry = json.loads(json_line(Update("n", "i", Record("a/b", b"\x00\xff", None, 1.5))))
    assert entry == {
        "node": "n",
        "item": "i",
        "name": "a/b",
        "value": "AP8=",
        "unit": None,
        "time": 1.5,
    }


@pytest.mark.parametrize("jid", ["@", "a@", "localhost", "a b@c"])
def test_what_is_no_account_is_told_without_a_traceback(jid: str) -> None:
    words = ["subscribe", "--jid", jid, "--password-file", "/nowhere"]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 2
    assert "is no account, such as you@example.org" in done.output


def test_ctrl_c_is_how_one_ends_it(monkeypatch: pytest.MonkeyPatch, tmp_path: FilePath) -> None:
    async def interrupted(_: Subscriber) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Subscriber, "run", interrupted)
    (tmp_path / "password").write_text("x")
    (tmp_path / "password").chmod(0o600)
    words = ["subscribe", "--jid", "a@localhost", "--password-file", str(tmp_path / "password")]
    done = CliRunner().invoke(cli, words)
    assert (done.exit_code, done.output) == (0, "")

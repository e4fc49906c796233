"""The control socket: what the command line asks, and clients that do not behave."""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import pytest

from gateway.control import server as control
from gateway.control.requests import Requests
from gateway.control.server import MAX_CLIENTS, ControlServer, encoded
from gateway.errors import ConfigError, StateError
from gateway.events import Sighting
from gateway.model import DeviceId, Path
from gateway.policy import DeviceRule
from tests.deadlines import DEADLINE_S
from tests.fakes import STATION, HubBench

LISTED, STRANGER = DeviceId("ble:00-24-be-80-4f-01"), DeviceId("ble:00-24-be-80-4f-02")
TEMPERATURE = Path(3303, 0, 5700)
CLIENTS: list["Client"] = []


class Client:
    """One connection to the control socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def ask(self, **request: object) -> Any:
        self._writer.write(json.dumps(request).encode() + b"\n")
        return await self.line()

    async def line(self) -> Any:
        """The next line; None at the end."""
        async with asyncio.timeout(DEADLINE_S):
            return json.loads(await self._reader.readline() or b"null")

    async def hang_up(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError):
            await self._writer.wait_closed()


async def no_reload() -> Sequence[str]:
    raise ConfigError("line 3: not TOML")


def served(file: FilePath, bench: HubBench) -> ControlServer:
    return ControlServer(file, Requests(bench.hub, no_reload, bytes))


@pytest.fixture(autouse=True)
async def _hang_up_in_the_end() -> AsyncIterator[None]:
    yield
    while CLIENTS:
        await CLIENTS.pop().hang_up()


@pytest.fixture
async def file(bench: HubBench, tmp_path: FilePath) -> AsyncIterator[FilePath]:
    """The socket of a server for the bench's hub, with one device."""
    bench.join(prefix="attic")
    bench.say({TEMPERATURE: 20.0})
    async with served(tmp_path / "control.sock", bench).listening():
        yield tmp_path / "control.sock"
    assert not (tmp_path / "control.sock").exists()


async def connect(file: FilePath) -> Client:
    CLIENTS.append(client := Client(*await asyncio.open_unix_connection(file)))
    return client


async def watch(file: FilePath, bench: HubBench, target: str | None) -> Client:
    """A client that watches, once it does."""
    client, before = await connect(file), len(bench.hub.outboxes)
    client._writer.write(json.dumps({"do": "watch", "target": target}).encode() + b"\n")
    await until(lambda: len(bench.hub.outboxes) > before)
    return client


async def until(condition: Any) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    ("request_", "error"),
    [
        ({"do": "watch", "target": "cellar"}, "no device 'cellar'"),
        ({"do": "watch", "target": 5}, "unknown request"),
        ({"do": "forget", "target": "/"}, "no device gateway"),
        ({"do": "forget", "target": "attic/3303"}, "only a whole device can be forgotten"),
        ({"do": "get", "target": "attic/3303/9"}, "attic has nothing at /3303/9"),
        ({"do": "dance"}, "unknown request"),
    ],
)
async def test_what_cannot_be_done_is_answered_with_the_reason(
    file: FilePath, request_: dict[str, object], error: str
) -> None:
    answer = await (await connect(file)).ask(**request_)
    assert error in answer["error"]


@pytest.mark.parametrize("do", ["get", "device", "watch"])
async def test_who_is_listed_or_was_seen_but_is_not_bridged_is_known(
    file: FilePath, bench: HubBench, do: str
) -> None:
    rule = DeviceRule(listed=True, prefix="window")
    bench.hub.reconfigure(
        replace(bench.hub.rules, devices={**bench.hub.rules.devices, LISTED: rule})
    )
    bench.hub.seen("ble", Sighting(STRANGER, ""))
    for target in ("window", LISTED):
        answer = await (await connect(file)).ask(do=do, target=target)
        assert answer["error"] == f"{LISTED} is listed, but never seen"
    answer = await (await connect(file)).ask(do=do, target=STRANGER)
    assert answer["error"].startswith(f"{STRANGER} was seen, but is not bridged: not listed")


async def test_watch_goes_on_when_its_device_is_forgotten_and_joins_again(
    file: FilePath, bench: HubBench
) -> None:
    client = await watch(file, bench, "attic/3303/0/5700")
    bench.hub.forget(STATION)
    assert (await client.line())["ok"] == {"removed": "attic"}
    bench.join()
    bench.say({TEMPERATURE: 21.0})
    while "path" not in (line := (await client.line())["ok"]):
        pass
    assert (line["path"], line["value"]) == ("attic/3303/0/5700", 21.0)


async def test_who_watches_everything_is_told_once_that_a_device_is_away(
    file: FilePath, bench: HubBench
) -> None:
    bench.say({TEMPERATURE: 20.0})
    client = await watch(file, bench, None)
    bench.hub.attendance.all_away(bench.hub.store.devices()[1:], "ble", "the adapter ble stopped")
    told = [(await client.line())["ok"]]
    bench.say({TEMPERATURE: 21.0})
    while told[-1].get("value") != 21.0:
        told.append((await client.line())["ok"])
    assert [line["device"]["state"] for line in told if "device" in line] == ["offline", "online"]
    assert not [line for line in told if line.get("path", "").startswith("/25/0/2624")]


async def test_a_watch_that_ended_leaves_nothing_behind(file: FilePath, bench: HubBench) -> None:
    before = list(bench.hub.outboxes)
    client = await watch(file, bench, None)
    await client.hang_up()
    await until(lambda: bench.hub.outboxes == before)


async def test_a_watch_that_is_not_read_is_dropped(
    file: FilePath, bench: HubBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "REQUEST_TIMEOUT_S", 0.05)
    before = list(bench.hub.outboxes)
    with socket.socket(socket.AF_UNIX) as deaf:
        deaf.setblocking(False)
        deaf.connect(str(file))
        deaf.sendall(b'{"do": "watch", "target": null}\n')
        await until(lambda: len(bench.hub.outboxes) > len(before))
        temperature = 0.0

        def gone() -> bool:
            nonlocal temperature
            temperature += 1.0
            bench.say({TEMPERATURE: temperature})
            return bench.hub.outboxes == before

        await until(gone)


async def test_others_have_their_turn_while_a_long_answer_is_encoded() -> None:
    turns = 0

    async def others() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    answer = {"devices": [{"prefix": f"d{n}", "main": None} for n in range(950)], "counters": {}}
    task = asyncio.create_task(others())
    text = await encoded(answer)
    task.cancel()
    assert json.loads(text) == answer
    assert turns >= 9
    assert json.loads(await encoded({11: {"dbm": -90}})) == {"11": {"dbm": -90}}


async def test_too_many_clients_at_once_are_told_so_and_others_later_served(
    file: FilePath, bench: HubBench
) -> None:
    clients = [await watch(file, bench, None) for _ in range(MAX_CLIENTS)]
    one_more = await connect(file)
    assert "clients are connected already" in (await one_more.line())["error"]
    await clients[0].hang_up()
    await until(lambda: len(bench.hub.outboxes) == MAX_CLIENTS)
    assert "ok" in await (await connect(file)).ask(do="devices")


async def test_the_end_of_the_daemon_ends_its_watchers(bench: HubBench, tmp_path: FilePath) -> None:
    before = list(bench.hub.outboxes)
    async with served(tmp_path / "sock", bench).listening():
        client = await watch(tmp_path / "sock", bench, None)
    assert await client.line() is None
    assert bench.hub.outboxes == before


async def test_the_socket_of_a_running_gateway_is_not_taken_from_it(
    file: FilePath, bench: HubBench
) -> None:
    with pytest.raises(StateError, match="another gateway answers at"):
        async with served(file, bench).listening():
            pass
    assert "ok" in await (await connect(file)).ask(do="devices")


async def test_a_file_that_is_no_socket_is_left_alone(bench: HubBench, tmp_path: FilePath) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(StateError, match="is not a socket"):
        async with served(tmp_path / "notes.txt", bench).listening():
            pass
    assert (tmp_path / "notes.txt").read_text() == "mine"


async def test_a_socket_that_a_killed_daemon_left_is_replaced(
    bench: HubBench, tmp_path: FilePath
) -> None:
    with socket.socket(socket.AF_UNIX) as killed:
        killed.bind(str(tmp_path / "sock"))
        killed.listen()
    async with served(tmp_path / "sock", bench).listening():
        assert "ok" in await (await connect(tmp_path / "sock")).ask(do="devices")
        assert (tmp_path / "sock").stat().st_mode & 0o777 == 0o660


async def test_a_path_that_is_too_long_for_a_socket_is_a_clear_error(
    bench: HubBench, tmp_path: FilePath
) -> None:
    with pytest.raises(StateError, match="path too long; set"):
        async with served(tmp_path / ("x" * 110), bench).listening():
            pass

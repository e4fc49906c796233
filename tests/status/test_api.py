"""The page's JSON: who may read what, and who may do what."""

import socket
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from adapters.status.api import Api
from adapters.status.door import is_loopback
from tests.deadlines import DEADLINE_S
from tests.fakes import HubBench
from tests.status.conftest import ATTIC, CELLAR, TOKEN, Page


def test_a_device_is_shown_in_one_line_with_its_main_value(page: Page) -> None:
    _, attic = page.get("/api/devices").json["devices"]
    assert (attic["id"], attic["prefix"], attic["name"]) == (ATTIC, "attic", "Attic")
    assert attic["state"] == "online"
    assert attic["main"]["name"] == "Temperature"
    assert attic["main"]["unit"] == "Cel"
    assert float(attic["main"]["text"]) == attic["main"]["number"]


def test_resources_are_shown_as_the_definitions_describe_them(page: Page) -> None:
    objects = page.get(f"/api/devices/{ATTIC}").json["objects"]
    temperature = next(o for o in objects if o["name"] == "Temperature")
    power = next(o for o in objects if o["name"] == "Power Control")
    assert (temperature["path"], power["path"]) == ("/3303/0", "/3312/0")
    reset = next(r for r in temperature["resources"] if r["path"] == "/3303/0/5605")
    assert (reset["operations"], reset["text"], reset["writable"]) == ("E", None, False)
    (switch,) = power["resources"]
    assert (switch["name"], switch["type"]) == ("On/Off", "boolean")
    assert (switch["operations"], switch["writable"]) == ("RW", True)


def test_who_is_not_bridged_is_shown_with_the_reason(page: Page) -> None:
    (stranger,) = page.get("/api/overview").json["strangers"]["latest"]
    assert stranger["id"] == CELLAR
    assert stranger["reason"] == "not listed, and the join window is closed"


def test_the_log_is_shown(page: Page) -> None:
    assert any("joins as /attic" in line["text"] for line in page.get("/api/log").json)


def test_the_token_switches_what_the_configuration_lets_be_written(page: Page) -> None:
    done = page.act("write", id=ATTIC, path="/3312/0/5850", text="1")
    assert (done.status, done.json) == (200, {"confirmed": True})
    assert page.daemon.value("attic/3312/0/5850") == "1"


def test_the_token_names_devices_and_opens_the_join_window(page: Page) -> None:
    assert page.act("permit", seconds=60).status == 200
    page.daemon.until(lambda: len(page.get("/api/devices").json["devices"]) == 3)
    assert page.act("permit", seconds=0).json == {"seconds": 0.0}
    assert page.act("name", id=CELLAR, name="Wine <b>cellar</b>").status == 200
    assert page.get(f"/api/devices/{CELLAR}").json["name"] == "Wine <b>cellar</b>"


@pytest.mark.parametrize(
    ("what", "content", "status", "reason"),
    [
        ("execute", {"id": ATTIC, "path": "/3303/0/5605"}, 403, "writing is off here"),
        ("write", {"id": ATTIC, "path": "/3303/0/5700", "text": "1"}, 403, "cannot be written"),
        ("write", {"id": ATTIC, "path": "/3312/0/5850", "text": "up"}, 400, "is not on or off"),
        ("write", {"id": ATTIC, "path": "/3312", "text": "1"}, 400, "is no resource"),
        ("write", {"id": "ble:x", "path": "/3312/0/5850", "text": "1"}, 404, "no such device"),
        ("write", {"id": ATTIC, "path": "/9/9/9", "text": "1"}, 404, "nothing defines /9/9/9"),
        ("name", {"id": ATTIC, "name": "x"}, 403, "the configuration names it 'Attic'"),
        ("name", {"id": ATTIC}, 400, "id and name must be text"),
        ("permit", {"seconds": -1}, 400, "seconds must be a number"),
        ("permit", {"seconds": "60"}, 400, "seconds must be a number"),
        ("permit", {"seconds": True}, 400, "seconds must be a number"),
        ("dance", {}, 404, "Not Found"),
        ("overview", {}, 405, "Method Not Allowed"),
        ("name", {"name": 20_000 * "x"}, 413, "request body size"),
    ],
)
def test_what_cannot_be_done_is_refused_with_the_reason(
    page: Page, what: str, content: dict[str, Any], status: int, reason: str
) -> None:
    refused = page.act(what, **content)
    assert refused.status == status
    assert reason in refused.json["error"]


@pytest.mark.parametrize("token", ["", "0123456789abcdeg", "\u00fc"])
def test_nothing_is_done_without_the_token(page: Page, token: str) -> None:
    refused = page.act("permit", token, seconds=60)
    assert (refused.status, refused.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert page.get("/api/overview").json["joinUntil"] is None


async def test_the_token_is_not_taken_where_others_can_read_it_on_its_way(
    bench: HubBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("adapters.status.api.is_loopback", lambda _: False)
    app = web.Application()
    app.add_routes(Api(bench.north, TOKEN).routes())
    async with TestClient(TestServer(app)) as client:
        headers = {"Authorization": f"Bearer {TOKEN}"}
        refused = await client.post("/api/permit", json={"seconds": 60}, headers=headers)
        assert refused.status == 403
        assert "reverse proxy with TLS" in (await refused.json())["error"]


@pytest.mark.parametrize(
    ("host", "local"),
    [("127.0.0.1", True), ("::1", True), ("10.0.0.7", False), ("fe80::1%eth0", False)],
)
def test_this_machine_is_told_from_others(host: str, local: bool) -> None:
    assert is_loopback(host) == local


@pytest.mark.parametrize("body", [b"", b"[1]", b"{", b"[" * 10_000])
def test_what_is_no_json_object_is_refused(page: Page, body: bytes) -> None:
    headers = {"Authorization": "Bearer 0123456789abcdef"}
    assert page.ask("POST", "/api/permit", body, headers).status == 400


def test_a_request_of_megabytes_is_refused(page: Page) -> None:
    headers = {"Authorization": "Bearer 0123456789abcdef"}
    assert page.ask("POST", "/api/permit", b" " * 1_000_000, headers).status == 413


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "127.0.0.1.evil.com"])
def test_a_name_that_an_attacker_points_here_shows_nothing(page: Page, host: str) -> None:
    refused = page.get("/api/overview", Host=f"{host}:{page.port}")
    assert refused.status == 421
    assert b"[status] hosts" in refused.body


@pytest.mark.parametrize("host", ["localhost:8080", "[::1]:1", "10.0.0.7", "gateway.example.org"])
def test_the_gateways_own_names_are_served(page: Page, host: str) -> None:
    assert page.get("/", Host=host).status == 200


def test_the_page_needs_nothing_from_elsewhere_and_runs_nothing_inline(page: Page) -> None:
    index = page.get("/")
    assert "default-src 'none'" in index.headers["Content-Security-Policy"]
    assert b"http://" not in index.body
    assert b"https://" not in index.body
    assert page.get("/", **{"If-None-Match": index.headers["ETag"]}).status == 304


@pytest.mark.parametrize(
    "sent",
    [b"GET / HTTP/1.1\r\nno header\r\n\r\n", b"GET /" + b"a" * 9_000 + b" HTTP/1.1\r\n\r\n"],
)
def test_what_is_no_http_is_counted_and_does_not_fill_the_log(page: Page, sent: bytes) -> None:
    before, logged = counted(page), len(page.get("/api/log").json)
    with socket.create_connection((page.host, page.port), DEADLINE_S) as connection:
        connection.sendall(sent)
        assert b" 400 " in connection.recv(100)
    page.daemon.until(lambda: counted(page) > before)
    assert len(page.get("/api/log").json) == logged


def counted(page: Page) -> int:
    """Requests that were none."""
    counters = page.daemon.ask({"do": "devices"})["counters"]
    return int(counters.get("status_bad_requests", 0))


def test_connections_beyond_the_bound_are_turned_away_and_those_before_go_on(page: Page) -> None:
    first = socket.create_connection((page.host, page.port), DEADLINE_S)
    others = [socket.create_connection((page.host, page.port), DEADLINE_S) for _ in range(70)]
    try:
        assert others[-1].recv(1) == b""
        first.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert first.recv(12) == b"HTTP/1.1 200"
    finally:
        for connection in (first, *others):
            connection.close()

"""What open pages are told, by a daemon whose devices measure twenty times a second."""

import asyncio
import contextlib
import http.client
import json
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import ClientResponse, web
from aiohttp.test_utils import TestClient, TestServer

from adapters.status.feed import AT_ONCE, MAX_BROWSERS, Browser, Feed
from gateway.model import GATEWAY, DeviceId, Path
from gateway.ports import Outbox
from tests.deadlines import DEADLINE_S
from tests.fakes import METER, STATION, HubBench
from tests.status.conftest import ATTIC, Page


class Stream:
    """The events of one page."""

    def __init__(self, page: Page, shows: str | None = None) -> None:
        self._connection = http.client.HTTPConnection(page.host, page.port, timeout=DEADLINE_S)
        self._connection.request("GET", "/api/events" + (f"?device={shows}" if shows else ""))
        self.answer = self._connection.getresponse()

    def events(self) -> Iterator[tuple[str, Any]]:
        """Name and content of each event as it comes."""
        name = ""
        while line := self.answer.readline().decode():
            field, _, text = line.rstrip("\n").partition(": ")
            if field == "event":
                name = text
            elif field == "data":
                yield name, json.loads(text)

    def until(self, name: str) -> list[tuple[str, Any]]:
        """The events up to one of this name."""
        found = []
        for event in self.events():
            found.append(event)
            if event[0] == name:
                return found
        raise AssertionError(f"the stream ended before {name}")

    def close(self) -> None:
        self._connection.close()


@pytest.fixture
def stream(page: Page) -> Iterator[Stream]:
    with contextlib.closing(Stream(page, ATTIC)) as stream:
        yield stream


def test_a_page_is_told_everything_and_then_what_changes(stream: Stream) -> None:
    assert stream.answer.headers["Content-Type"] == "text/event-stream"
    told = stream.until("complete")
    names = [name for name, _ in told]
    assert names[0] == "reset"
    assert {"overview", "device", "tree"} <= set(names)
    _, first = next(e for e in told if e[0] == "tree")
    before = next(
        r["at"] for o in first["objects"] for r in o["resources"] if r["path"] == "/3303/0/5700"
    )
    values = (content for name, content in stream.events() if name == "value")
    changed = next(v for v in values if v["path"] == "/3303/0/5700")
    assert changed["id"] == ATTIC
    assert changed["value"]["at"] > before


def test_a_page_that_takes_nothing_holds_up_no_other(page: Page, stream: Stream) -> None:
    with contextlib.closing(Stream(page)) as stuck:
        stream.until("value")
        stream.until("value")
        assert stuck.answer.status == 200
        assert page.get("/healthz").status == 200


def test_pages_beyond_the_bound_are_told_so_and_a_closed_one_makes_room(page: Page) -> None:
    with contextlib.ExitStack() as stack:
        streams = [Stream(page) for _ in range(MAX_BROWSERS + 1)]
        for stream in streams:
            stack.callback(stream.close)
        assert {s.answer.status for s in streams[:-1]} == {200}
        assert streams[-1].answer.status == 503
    page.daemon.until(lambda: _accepted(page))


def test_the_join_window_and_the_log_are_told(page: Page, stream: Stream) -> None:
    stream.until("complete")
    page.act("permit", seconds=30)
    told = (event for event in stream.events() if event[0] in {"overview", "log"})
    assert any(name == "overview" and content["joinUntil"] for name, content in told)
    assert any(
        "devices may join" in line["text"]
        for name, lines in told if name == "log"
        for line in lines
    )  # fmt: skip
    page.act("permit", seconds=0)


async def test_what_a_slow_page_must_be_told_is_one_key_a_device() -> None:
    browser = Browser(None)
    for _ in range(1_000):
        browser.note(("device", DeviceId(f"sim:{number:016x}")) for number in range(40))
    assert len(await browser.keys()) == AT_ONCE
    assert len(await browser.keys()) == 40 - AT_ONCE


async def test_a_page_begins_anew_where_events_were_dropped_and_shows_no_device_that_is_gone(
    bench: HubBench,
) -> None:
    bench.join(STATION)
    bench.join(METER)
    slot = bench.north
    slot.outbox.take_all()
    bench.hub.outboxes[:] = [outbox] = [Outbox(limit=2)]
    slot.outbox = outbox
    feed = Feed(slot, may_act=lambda: False)
    app = web.Application()
    app.add_routes(feed.routes())
    async with asyncio.timeout(DEADLINE_S), TestClient(TestServer(app)) as client:
        answer = await client.get("/api/events")
        assert await devices_until_complete(answer) == {STATION, METER}
        bench.hub.forget(METER)
        for reason in ("x", "y"):  # more than the outbox holds: nobody is told that it is gone
            bench.south.online(STATION, reason)
            bench.say({Path(3303, 0, 5700): 20.5, Path(3303, 0, 5701): "Cel"})
        assert outbox.dropped
        absorbing = asyncio.create_task(feed.absorb())
        assert await devices_until_complete(answer) == {STATION}
        absorbing.cancel()
        answer.close()


async def devices_until_complete(answer: ClientResponse) -> set[str]:
    """The devices that a page has been told of between a reset and the end of everything."""
    found: set[str] = set()
    name = ""
    while (line := (await answer.content.readline()).decode()) != "event: complete\n":
        field, _, text = line.rstrip("\n").partition(": ")
        name = text if field == "event" else name
        if field == "event" and name == "reset":
            found.clear()
        if field == "data" and name == "device":
            found.add(json.loads(text)["id"])
    return found - {GATEWAY}


def _accepted(page: Page) -> bool:
    with contextlib.closing(Stream(page)) as stream:
        return stream.answer.status == 200

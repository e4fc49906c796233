"""Tells open pages what changes, by server-sent events. A page that is slow is told less often.

A page has no queue of messages: it has a set of what it must be told anew, which is rendered when
there is room for it. So it holds at most a key a device, and always gets the newest.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Callable, Iterable, Iterator
from typing import assert_never

from aiohttp import web

from adapters.status import views
from adapters.status.replies import encode, reply
from gateway.events import Change, DeviceChanged, Event, Removed
from gateway.model import DeviceId, Path
from gateway.ports import NorthPort

MAX_BROWSERS = 16
"""Pages at once: each costs the rendering of all that changes."""

COALESCE_S = 0.5
"""What changes within half a second is told once: a person sees no difference."""

AT_ONCE = 25
"""Messages rendered in one go: about 3 ms, then it is the turn of others, such as CoAP."""

REST = 4.0
"""How many times as long as it has worked the feed rests: pages take a fifth of the time at most,
however many there are and however much changes. Then they are told less often.
"""

KEEP_ALIVE_S = 15.0
"""A word to keep proxies from hanging up."""

WRITE_TIMEOUT_S = 20.0
"""A browser that takes nothing for so long is gone or asleep; it comes back by itself."""

EVENT_STREAM = {"Content-Type": "text/event-stream", "X-Accel-Buffering": "no"}
"""nginx passes on at once what says so."""

LOOK_INTERVAL_S = 1.0
"""How often adapters, join window and log are looked at: these have no events."""

SEEN_EVERY = 5
"""Every so many looks, who was heard without anything new, and which strangers."""

Key = tuple[str] | tuple[str, DeviceId] | tuple[str, DeviceId, Path]

OVERVIEW, STRANGERS, LOG = ("overview",), ("strangers",), ("log",)
RESET, COMPLETE = ("reset",), ("complete",)
"""Around everything: what a page has that was not in between is gone."""


class Browser:
    """One open page: what it must be told anew, and which device it shows in detail."""

    def __init__(self, shows: DeviceId | None) -> None:
        self.shows = shows
        self.log_number = 0
        self._pending: dict[Key, None] = {}
        self._noted = asyncio.Event()

    def note(self, keys: Iterable[Key]) -> None:
        """Something is to be told anew."""
        self._pending.update(dict.fromkeys(keys))
        if self._pending:
            self._noted.set()

    def begin_anew(self, everything: Iterable[Key]) -> None:
        """What was told may be wrong: all is to be told again."""
        self._pending.clear()
        self.note((RESET, *everything))

    async def keys(self) -> list[Key]:
        """Waits until there is something to tell; gives some of it, the oldest first."""
        await self._noted.wait()
        some = [key for key, _ in zip(list(self._pending), range(AT_ONCE), strict=False)]
        for key in some:
            del self._pending[key]
        if not self._pending:
            self._noted.clear()
        return some


class Feed:
    """The path /api/events, and what keeps it up to date."""

    def __init__(self, port: NorthPort, *, may_act: Callable[[], bool]) -> None:
        self._port = port
        self._may_act = may_act
        self._browsers: set[Browser] = set()
        self._lines: dict[DeviceId, bytes] = {}
        self._seen: dict[DeviceId, float | None] = {}
        self._looked: dict[Key, object] = {}
        self._lost = port.outbox.dropped
        self._pen = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._browsers)

    def routes(self) -> list[web.RouteDef]:
        """What is served where."""
        return [web.get("/api/events", self.events)]

    async def absorb(self) -> None:
        """Takes what the hub tells, until cancelled."""
        while True:
            events = [await self._port.outbox.take(), *self._port.outbox.take_all()]
            self._heed_losses()
            self._renew(dict.fromkeys(event.device for event in events))
            shown = {browser.shows for browser in self._browsers}
            events = [event for event in events if event.device in shown]
            for browser in self._browsers:
                browser.note(_detail(e) for e in events if e.device == browser.shows)

    async def look(self) -> None:
        """Finds what changes without an event, until cancelled."""
        looks = 0
        while True:
            await asyncio.sleep(LOOK_INTERVAL_S)
            if not self._browsers:
                self._lines.clear()
                continue
            looks += 1
            changed: list[Key] = [OVERVIEW] if self._is_news(OVERVIEW) else []
            if looks % SEEN_EVERY == 0:
                changed += [STRANGERS] if self._is_news(STRANGERS) else []
                self._renew(self._heard())
            for browser in self._browsers:
                browser.note(changed)
                if self._port.log_since(browser.log_number):
                    browser.note([LOG])

    async def events(self, request: web.Request) -> web.StreamResponse:
        """The stream of one page: everything first, then what changes."""
        if len(self._browsers) >= MAX_BROWSERS:
            return reply({"error": f"{MAX_BROWSERS} pages are open already"}, 503)
        shows = request.query.get("device")
        browser = Browser(DeviceId(shows) if shows else None)
        response = web.StreamResponse(headers=EVENT_STREAM)
        browser.note(self._everything(browser))
        self._browsers.add(browser)
        try:
            await response.prepare(request)
            await self._tell(browser, response)
        except (TimeoutError, ConnectionError):  # it sleeps, or went
            request.protocol.force_close()
        finally:
            self._browsers.discard(browser)
        return response

    async def _tell(self, browser: Browser, response: web.StreamResponse) -> None:
        await _write(response, b"retry: 3000\n" + _event("reset", None))
        while True:
            keys: list[Key] = []
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(KEEP_ALIVE_S):
                    keys = await browser.keys()
            await _write(response, await self._rendered(keys, browser) if keys else b":\n\n")
            if len(keys) < AT_ONCE:
                await asyncio.sleep(COALESCE_S)

    async def _rendered(self, keys: list[Key], browser: Browser) -> bytes:
        """The messages of these keys as they are now; one page at a time."""
        loop = asyncio.get_running_loop()
        async with self._pen:
            began = loop.time()
            data = _event("clock", time.time())
            data += b"".join(self._message(key, browser) for key in keys)
            await asyncio.sleep(REST * (loop.time() - began))
        return data

    def _everything(self, browser: Browser) -> Iterator[Key]:
        yield OVERVIEW
        if browser.shows:
            yield ("device", browser.shows)
            yield ("tree", browser.shows)
        for device in self._port.devices():
            yield ("device", device.id)
        yield COMPLETE
        yield STRANGERS
        yield LOG

    def _message(self, key: Key, browser: Browser) -> bytes:
        """One event as it is now; empty where there is nothing to tell any more."""
        match key:
            case ("value", device, path):
                resource = self._port.resource(device, path)
                value = views.value_view(resource) if resource else None
                return _event("value", {"id": device, "path": str(path), "value": value})
            case ("tree", device):
                known = self._port.device_by_id(device)
                return _event("tree", views.tree_view(known, self._port)) if known else b""
            case ("device", device):
                return self._line(device)
            case ("log",):
                lines = self._port.log_since(browser.log_number)
                browser.log_number = lines[-1].number if lines else browser.log_number
                return _event("log", views.log_view(lines)) if lines else b""
            case ("reset",):
                browser.log_number = 0
                return _event("reset", None)
            case ("complete",):
                return _event("complete", None)
            case _:
                return _event(key[0], self._state(key))

    def _heed_losses(self) -> None:
        """What the outbox has dropped is not known: all pages begin anew."""
        if self._lost != self._port.outbox.dropped:
            self._lost = self._port.outbox.dropped
            self._lines.clear()
            for browser in self._browsers:
                browser.begin_anew(self._everything(browser))

    def _renew(self, devices: Iterable[DeviceId]) -> None:
        """Has the lines of these devices told anew."""
        keys: list[Key] = [("device", device) for device in devices]
        for browser in self._browsers:
            browser.note(keys)
        for device in devices:
            self._lines.pop(device, None)

    def _line(self, device: DeviceId) -> bytes:
        """A device in one line, rendered once for all pages."""
        if line := self._lines.get(device):
            return line
        if known := self._port.device_by_id(device):
            line = _event("device", views.device_view(known, self._port))
            self._lines[device] = line
            return line
        return _event("gone", {"id": device})

    def _state(self, key: Key) -> object:
        overview = self._port.overview()
        if key == STRANGERS:
            return views.strangers_view(overview.strangers)
        return views.overview_view(overview, time.time(), may_act=self._may_act())

    def _is_news(self, key: Key) -> bool:
        state = self._state(key)
        before, self._looked[key] = self._looked.get(key), state
        return before != state

    def _heard(self) -> list[DeviceId]:
        before, self._seen = self._seen, {d.id: d.last_seen for d in self._port.devices()}
        return [d for d, seen in self._seen.items() if before.get(d) != seen]


def _detail(event: Event) -> Key:
    """What a page that shows the event's device must be told anew."""
    match event:
        case Change():
            return ("value", event.device, event.path)
        case DeviceChanged() | Removed():
            return ("tree", event.device)
        case _:
            assert_never(event)


def _event(name: str, content: object) -> bytes:
    """A server-sent event."""
    return b"event: " + name.encode() + b"\ndata: " + encode(content) + b"\n\n"


async def _write(response: web.StreamResponse, data: bytes) -> None:
    async with asyncio.timeout(WRITE_TIMEOUT_S):
        await response.write(data)

"""The JSON interface: reading for whoever reaches it, acting for who has the token."""

from __future__ import annotations

import asyncio
import hmac
import json
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from aiohttp import web
from aiohttp.typedefs import Handler

from adapters.status import views
from adapters.status.door import is_loopback
from adapters.status.history import last_hour
from adapters.status.replies import refusal, reply
from gateway.errors import GatewayError, InvalidValue, NotAllowed, NotFound
from gateway.events import Device, Execute, Write
from gateway.formats.text import from_words
from gateway.model import DeviceId, Path
from gateway.ports import NorthPort

log = logging.getLogger(__name__)

MOST_DEVICES = 500
"""Devices in one answer; `offset` gives the next ones."""

BODY_TIMEOUT_S = 10.0
"""What a browser may take to send a few hundred octets."""

WARN_EVERY_S = 60.0
"""A wrong token is logged once a minute at most: whoever guesses fills no disk."""

ORIGIN = "the status page"

Content = Mapping[str, Any]


class Api:
    """The paths below /api/, but for the events. Errors are `{"error": text}`."""

    def __init__(self, port: NorthPort, token: str | None) -> None:
        self._port = port
        self._token = token
        self._warned_at = -WARN_EVERY_S

    def may_act(self) -> bool:
        """Whether there is a token at all."""
        return self._token is not None

    def routes(self) -> list[web.RouteDef]:
        """What is served where."""
        return [
            web.get("/api/overview", self.overview),
            web.get("/api/devices", self.devices),
            web.get("/api/devices/{id}", _answered(self.device)),
            web.get("/api/history/{id}", _answered(self.history)),
            web.get("/api/log", self.log),
            web.post("/api/permit", self._acting(self.permit)),
            web.post("/api/name", self._acting(self.name)),
            web.post("/api/write", self._acting(self.write)),
            web.post("/api/execute", self._acting(self.execute)),
        ]

    # --- reading --------------------------------------------------------------------------------

    async def overview(self, _: web.Request) -> web.Response:
        """Adapters, join window, strangers."""
        overview = self._port.overview()
        shown = views.overview_view(overview, time.time(), may_act=self.may_act())
        return reply({**shown, "strangers": views.strangers_view(overview.strangers)})

    async def devices(self, request: web.Request) -> web.Response:
        """`?offset=500` gives those from there on."""
        offset = request.query.get("offset", "0")
        if not (offset.isdecimal() and len(offset) < 9):
            return refusal(InvalidValue("offset must be a number of devices"))
        devices = self._port.devices()
        shown = devices[int(offset) : int(offset) + MOST_DEVICES]
        return reply(
            {
                "total": len(devices),
                "devices": [views.device_view(d, self._port) for d in shown],
            }
        )

    async def device(self, request: web.Request) -> web.Response:
        """One device with all its resources."""
        known = self._known(request.match_info["id"])
        return reply({**views.device_view(known, self._port), **views.tree_view(known, self._port)})

    async def history(self, request: web.Request) -> web.Response:
        """`?path=/3303/0/5700`: the last hour of a value, as pairs of Unix seconds and number."""
        known = self._known(request.match_info["id"])
        path = _resource_path(request.query.get("path", ""))
        return reply({"points": await last_hour(self._port, known.id, path, time.time())})

    async def log(self, _: web.Request) -> web.Response:
        """The end of the log."""
        return reply(views.log_view(self._port.log_since(0)))

    # --- acting ---------------------------------------------------------------------------------

    async def permit(self, content: Content) -> object:
        """`{"seconds"}`: lets devices join; 0 closes the window."""
        match content:
            case {"seconds": int() | float() as seconds} if seconds is not True and seconds >= 0:
                self._port.permit(seconds)
                return {"seconds": self._port.overview().join_window_s}
            case _:
                raise InvalidValue("seconds must be a number, 0 or more")

    async def name(self, content: Content) -> object:
        """`{"id", "name"}`: names a device; an empty name gives it back its own."""
        match content:
            case {"id": str(id), "name": str(name)}:
                self._port.rename(self._known(id).id, name)
                return {"named": id}
            case _:
                raise InvalidValue("id and name must be text")

    async def write(self, content: Content) -> object:
        """`{"id", "path", "text"}`: writes a value, as people write it."""
        match content:
            case {"id": str(id), "path": str(path), "text": str(text)}:
                device, target = self._known(id), _resource_path(path)
                definition = self._port.registry.resource(target[0], target[2])
                if definition is None:
                    raise NotFound(f"nothing defines {target}")
                value = from_words(text, definition.type)
                command = Write(device.id, {target: value}, ORIGIN)
                return {"confirmed": (await self._port.execute(command)).confirmed}
            case _:
                raise InvalidValue("id, path and text must be text")

    async def execute(self, content: Content) -> object:
        """`{"id", "path"}`: executes a resource."""
        match content:
            case {"id": str(id), "path": str(path)}:
                command = Execute(self._known(id).id, _resource_path(path), ORIGIN)
                return {"confirmed": (await self._port.execute(command)).confirmed}
            case _:
                raise InvalidValue("id and path must be text")

    # --- inside ---------------------------------------------------------------------------------

    def _acting(self, act: Callable[[Content], Awaitable[object]]) -> Handler:
        """A handler that does something for who gives the token in the Authorization header.

        A browser never sends that by itself, so that no other page can have it done.
        """

        async def handler(request: web.Request) -> web.StreamResponse:
            self._check_way(request)
            if not self._is_allowed(request.headers.get("Authorization", "")):
                self._warn(request)
                response = reply({"error": "the token is wrong"}, 401)
                response.headers["WWW-Authenticate"] = "Bearer"
                return response
            return reply(await act(await _content(request)))

        return _answered(handler)

    def _check_way(self, request: web.Request) -> None:
        if self._token is None:
            raise NotAllowed(
                "this page only shows; set token_file under [status] in the configuration"
            )
        if request.transport is None or not is_loopback(
            request.transport.get_extra_info("sockname")[0]
        ):
            raise NotAllowed(
                "the token would be readable on its way: put a reverse proxy with TLS before the "
                "page on 127.0.0.1, or use an SSH tunnel"
            )

    def _is_allowed(self, authorization: str) -> bool:
        scheme, _, token = authorization.partition(" ")
        wanted = (self._token or "").encode()
        return scheme.lower() == "bearer" and hmac.compare_digest(
            token.strip().encode("utf-8", "surrogateescape"), wanted
        )

    def _warn(self, request: web.Request) -> None:
        self._port.count("status_wrong_tokens")
        now = asyncio.get_running_loop().time()
        if now - self._warned_at >= WARN_EVERY_S:
            self._warned_at = now
            log.warning("a wrong token was given to the status page, from %s", request.remote)

    def _known(self, id: str) -> Device:
        if known := self._port.device_by_id(DeviceId(id)):
            return known
        raise NotFound("there is no such device")


def _answered(handler: Handler) -> Handler:
    """A handler whose known errors are answered."""

    async def answered(request: web.Request) -> web.StreamResponse:
        try:
            return await handler(request)
        except GatewayError as error:
            return refusal(error)

    return answered


async def _content(request: web.Request) -> Content:
    try:
        async with asyncio.timeout(BODY_TIMEOUT_S):
            content = json.loads(await request.read())
    except (ValueError, RecursionError):
        content = None
    except TimeoutError:
        raise InvalidValue("the request did not come in time") from None
    if not isinstance(content, dict):
        raise InvalidValue("expected a JSON object")
    return content


def _resource_path(text: str) -> Path:
    try:
        path = Path.parse(text)
    except ValueError as error:
        raise InvalidValue(str(error)) from None
    if len(path) < 3:
        raise InvalidValue(f"{path} is no resource, such as /3303/0/5700")
    return path

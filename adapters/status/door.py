"""Who may come in: a bound on connections and their silence, Host names, headers that keep a page
to itself. Knows no page.
"""

from __future__ import annotations

import asyncio
import ipaddress
from collections.abc import Collection

from aiohttp import web
from aiohttp.typedefs import Handler

MAX_CONNECTIONS = 64
"""Browsers hold up to six each, monitoring one; a connection costs about 30 kB."""

REQUEST_TIMEOUT_S = 10.0
"""A connection that has not asked anything by then is closed."""

ANSWER_TIMEOUT_S = 20.0
"""An answer that is not taken by then is given up."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        "require-trusted-types-for 'script'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
"""Nothing from elsewhere, nothing inline: text of a device can at worst be seen, never run."""


class _TurnedAway(asyncio.Protocol):
    """A connection too many."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        transport.close()


class Door:
    """Makes the protocol of each connection, and looks at each request."""

    def __init__(self, hosts: Collection[str]) -> None:
        self._hosts = frozenset({"", "localhost", *hosts})  # only old tools send no Host at all
        self._silent: set[web.RequestHandler] = set()
        self._arriving = 0

    def connect(self, server: web.Server) -> asyncio.BaseProtocol:
        """The protocol of a new connection."""
        if len(server.connections) + self._arriving >= MAX_CONNECTIONS:
            return _TurnedAway()
        connection = server()
        self._silent.add(connection)
        self._arriving += 1  # until the server counts it itself, a turn of the loop later
        loop = asyncio.get_running_loop()
        loop.call_soon(self._arrived)
        loop.call_later(REQUEST_TIMEOUT_S, self._close_silent, connection)
        return connection

    def _arrived(self) -> None:
        self._arriving -= 1

    def _close_silent(self, connection: web.RequestHandler) -> None:
        if connection in self._silent:
            self._silent.discard(connection)
            connection.force_close()

    @web.middleware
    async def look(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Passes a request on; 421 where a browser was led here by another's name (rebinding)."""
        self._silent.discard(request.protocol)
        if not self._is_ours(request.headers.get("Host", "")):
            response: web.StreamResponse = web.Response(
                status=421,
                text="This name is not one of the gateway's; [status] hosts in its configuration "
                "lists those by which it may be called.\n",
            )
        else:
            response = await handler(request)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT_S):
                await response.prepare(request)
                await response.write_eof()
        except (TimeoutError, ConnectionError):
            request.protocol.force_close()
        return response

    def _is_ours(self, host: str) -> bool:
        """An IP address, which no foreign name server can make up, or one of the names."""
        name = host.lower() if host.endswith("]") else host.lower().rpartition(":")[0] or host
        name = name.lower().strip("[]")
        if name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True


async def add_headers(_: web.Request, response: web.StreamResponse) -> None:
    """Sends the headers above with every answer."""
    response.headers.update(HEADERS)
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["Server"] = "border-gateway"


def is_loopback(host: str) -> bool:
    """Whether an address is this machine's own."""
    return ipaddress.ip_address(host.partition("%")[0]).is_loopback

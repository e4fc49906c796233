"""What is served, and on which listeners."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections.abc import AsyncIterator, Sequence
from functools import partial

from aiohttp import web
from aiohttp.http import HttpProcessingError

from adapters.status.api import Api
from adapters.status.door import Door, add_headers, is_loopback
from adapters.status.feed import Feed
from adapters.status.health import Health
from adapters.status.metrics import Metrics
from adapters.status.page import Page
from adapters.status.replies import errors_in_json
from adapters.status.section import StatusSection
from gateway.configuration.listen import keep_looking, listening, open_all, places, require_one
from gateway.ports import NorthPort

log = logging.getLogger(__name__)

BODY_LIMIT = 16_384
"""Octets of a request: the longest value that is written by hand."""

BACKLOG = 64
"""Connections that wait to be accepted, in the kernel."""

KEEP_ALIVE_S = 30.0
"""An idle connection is closed; a browser makes another when it needs one."""

GONE_AFTER_MS = 60_000
"""A peer that acknowledges nothing for so long has lost its network, and its place."""

STOP_TIMEOUT_S = 0.2
"""What an answer on its way may take when the adapter stops."""


async def serve(config: StatusSection, port: NorthPort) -> None:
    """Serves until cancelled; AdapterError where it cannot listen, or its token is bad."""
    api = Api(port, config.token())
    feed = Feed(port, may_act=api.may_act)
    metrics = Metrics(port, feed.__len__)
    door = Door(config.hosts)
    app = web.Application(middlewares=[door.look, errors_in_json], client_max_size=BODY_LIMIT)
    for part in (Page(), Health(port), metrics, feed, api):
        app.add_routes(part.routes())
    app.on_response_prepare.append(add_headers)
    async with _serving(app, door, config.listen, _logger(port)) as addresses:

        def look() -> None:
            text, well = _describe(addresses)
            port.status(text, well=well)

        look()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(feed.absorb())
            tasks.create_task(feed.look())
            tasks.create_task(metrics.lag.measure())
            tasks.create_task(keep_looking(look))


@contextlib.asynccontextmanager
async def _serving(
    app: web.Application, door: Door, listen: Sequence[str], logger: logging.Logger
) -> AsyncIterator[Sequence[tuple[str, int]]]:
    """Serves within the context, and gives the addresses."""
    require_one(listen)
    runner = web.AppRunner(
        app,
        access_log=None,
        logger=logger,
        handler_cancellation=True,
        keepalive_timeout=KEEP_ALIVE_S,
        shutdown_timeout=STOP_TIMEOUT_S,
    )
    await runner.setup()
    assert runner.server is not None  # noqa: S101  (setup made it)
    loop = asyncio.get_running_loop()
    try:
        async with contextlib.AsyncExitStack() as stack:
            addresses = []
            sockets = open_all([(text, _bound) for text in listen])
            for sock in [stack.enter_context(sock) for sock in sockets]:
                connect = partial(door.connect, runner.server)
                server = await loop.create_server(connect, sock=sock, backlog=BACKLOG)
                stack.callback(server.close)
                addresses.append(sock.getsockname()[:2])
            yield addresses
    finally:
        await runner.cleanup()


def _bound(host: str, port: int) -> socket.socket:
    bound = listening(host, port)
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, GONE_AFTER_MS)
    return bound


def _logger(port: NorthPort) -> logging.Logger:
    """For the HTTP library, which calls an error what any scanner of ports can cause.

    That is counted; what is left is a bug of ours.
    """

    def is_ours(record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        is_peers = isinstance(error, HttpProcessingError | ConnectionError)
        if error:
            port.count("status_bad_requests" if is_peers else "adapter_bugs")
        return not is_peers

    logger = logging.Logger(__name__)  # not one of all modules', since a port goes with it
    logger.parent = log
    logger.addFilter(is_ours)
    return logger


def _describe(addresses: Sequence[tuple[str, int]]) -> tuple[str, bool]:
    """One line for the operator, and whether all is well."""
    pages, well = places(
        {
            f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/": host
            for host, port in addresses
        }
    )
    if all(is_loopback(host) for host, _ in addresses):
        who = "for this machine only; [status] listen opens it to the network"
        return f"serves {pages}, {who}", well
    return f"serves {pages}; whoever reaches these sees everything", well

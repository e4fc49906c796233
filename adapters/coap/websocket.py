"""CoAP over WebSockets, at the path /.well-known/coap; needs the library websockets."""

from __future__ import annotations

import asyncio
import http
import logging
import socket
from contextlib import suppress

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.protocol import State
from websockets.typing import Subprotocol

from adapters.coap import frames, streams
from adapters.coap.frames import Message
from adapters.coap.observe import Observers
from adapters.coap.server import Server
from adapters.coap.streams import MAX_BACKLOG, Streams
from adapters.coap.tcp import keep_alive
from gateway.errors import DecodeError
from gateway.ports import NorthPort

PATH = "/.well-known/coap"

MAX_WAITING = MAX_BACKLOG // frames.MAX_MESSAGE
"""Messages that wait for a client who reads too slowly; then it is cut off."""

LIBRARY = logging.getLogger("websockets.server.coap")
LIBRARY.addFilter(lambda record: record.msg != "opening handshake failed")
"""What versions 14 and 15 log, with a traceback, for each who connects and hangs up: peers set the
pace of it."""

CLOSE_S = 2.0
"""How long a client may take to close; a stop does not wait longer."""


class WebSocket:
    """A listener on one address; `run` lasts until it is cancelled."""

    def __init__(
        self, bound: socket.socket, server: Server, port: NorthPort, observers: Observers
    ) -> None:
        self.streams = Streams("ws", bound, server, port, observers)
        self._socket = bound

    def close(self) -> None:
        self._socket.close()

    async def run(self) -> None:
        """Accepts and serves clients."""
        connections: set[ServerConnection] = set()
        async with serve(
            self._serve,
            sock=self._socket,
            subprotocols=[Subprotocol("coap")],
            process_request=_check_path,
            create_connection=_bounded(connections, self.streams.port),
            ping_interval=None,  # RFC 8323 4.4 wants none
            max_size=frames.MAX_MESSAGE,
            max_queue=4,
            compression=None,
            close_timeout=CLOSE_S,
            logger=LIBRARY,
        ):
            try:
                await self.streams.keep_clean()
            finally:
                for connection in connections:
                    if connection.state is State.CONNECTING:  # the library would wait for it
                        connection.transport.abort()

    async def _serve(self, connection: ServerConnection) -> None:
        keep_alive(connection.transport.get_extra_info("socket"))
        outgoing: asyncio.Queue[Message | None] = asyncio.Queue(MAX_WAITING)

        def send(message: Message | None) -> None:
            try:
                outgoing.put_nowait(message)
            except asyncio.QueueFull:
                self.streams.port.count("coap_clients_too_slow")
                connection.transport.abort()

        stream = self.streams.join(tuple(connection.remote_address[:2]), send, lambda: send(None))
        if stream is None:
            return
        sender = asyncio.create_task(_send(connection, outgoing))
        try:
            with suppress(ConnectionClosed):
                async for received in connection:
                    try:
                        stream.take(_decode(received))
                    except DecodeError as error:
                        stream.abort(str(error))
        finally:
            self.streams.leave(stream)
            sender.cancel()


async def _send(connection: ServerConnection, outgoing: asyncio.Queue[Message | None]) -> None:
    """Sends what is put into the queue; None closes."""
    with suppress(ConnectionClosed):
        while (message := await outgoing.get()) is not None:
            await connection.send(frames.encode_web(message))
        await connection.close()


def _decode(received: bytes | str) -> Message:
    if isinstance(received, str):
        raise DecodeError("CoAP comes in binary messages")
    return frames.decode_web(received)


def _bounded(there: set[ServerConnection], port: NorthPort) -> type[ServerConnection]:
    """Connections of which so many can be there, with those that have asked for nothing yet."""

    class Bounded(ServerConnection):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(transport)
            there.add(self)
            if len(there) > streams.MAX_CLIENTS:
                port.count("coap_clients_refused")
                self.transport.abort()

        def connection_lost(self, exc: Exception | None) -> None:
            there.discard(self)
            super().connection_lost(exc)

    return Bounded


def _check_path(connection: ServerConnection, request: Request) -> Response | None:
    if request.path == PATH:
        return None
    return connection.respond(http.HTTPStatus.NOT_FOUND, f"CoAP is at {PATH}\n")

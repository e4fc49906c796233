"""CoAP over TCP: a listener whose connections are streams."""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from typing import cast

from adapters.coap import frames
from adapters.coap.frames import Message, Reassembly
from adapters.coap.observe import Observers
from adapters.coap.server import Server
from adapters.coap.streams import KEEPALIVE, MAX_BACKLOG, Stream, Streams
from gateway.errors import DecodeError
from gateway.ports import NorthPort

DRAIN = 64
"""Messages of one client that are taken in one turn of the event loop."""


class Tcp:
    """A listener on one address; `run` lasts until it is cancelled."""

    def __init__(
        self, bound: socket.socket, server: Server, port: NorthPort, observers: Observers
    ) -> None:
        self.streams = Streams("tcp", bound, server, port, observers)
        self._socket = bound

    def close(self) -> None:
        self._socket.close()

    async def run(self) -> None:
        """Accepts and serves clients."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(self.streams), sock=self._socket)
        try:
            await self.streams.keep_clean()
        finally:
            server.close()


class _Connection(asyncio.Protocol):
    def __init__(self, streams: Streams) -> None:
        self._streams = streams
        self._incomplete = Reassembly()
        self._waiting: deque[Message] = deque()
        self._stream: Stream | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by descent
        keep_alive(transport.get_extra_info("socket"))
        peer = transport.get_extra_info("peername")
        self._stream = peer and self._streams.join(tuple(peer[:2]), self._send, transport.close)
        if self._stream is None:
            self._transport.abort()

    def data_received(self, data: bytes) -> None:
        assert self._transport is not None  # noqa: S101  (made before)
        if self._stream is None:
            return
        try:
            self._waiting += self._incomplete.add(data)
        except DecodeError as error:
            self._stream.abort(str(error))
        else:
            self._transport.pause_reading()
            self._take()

    def _take(self) -> None:
        """Takes what waits, in turns with others; then more is read."""
        assert self._transport is not None  # noqa: S101  (made before)
        assert self._stream is not None  # noqa: S101  (else nothing is read)
        for _ in range(min(DRAIN, len(self._waiting))):
            if self._transport.is_closing():
                return
            self._stream.take(self._waiting.popleft())
        if self._waiting:
            asyncio.get_running_loop().call_soon(self._take)
        elif not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, _: Exception | None) -> None:
        if self._stream is not None:
            self._streams.leave(self._stream)

    def _send(self, message: Message) -> None:
        assert self._transport is not None  # noqa: S101  (made before)
        if self._transport.is_closing():
            return
        self._transport.write(frames.encode(message))
        if self._transport.get_write_buffer_size() > MAX_BACKLOG:
            self._streams.port.count("coap_clients_too_slow")
            self._transport.abort()


def keep_alive(connection: socket.socket) -> None:
    """Has the kernel find out when the other end has vanished."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        connection.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)

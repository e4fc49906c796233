"""Servers that are not what they should be: they count what a client gives away."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as FilePath

_HEADER = (
    "<?xml version='1.0'?><stream:stream from='localhost' id='1' version='1.0' "
    "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
)


class OddServer:
    """Offers the features given, and keeps whatever it is sent."""

    def __init__(self, features: str) -> None:
        self._features = features
        self.received = b""
        self.connections = 0
        self.port = 0

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        greeted = False
        try:
            while data := await reader.read(4096):
                self.received += data
                if not greeted and b"<stream:stream" in self.received:
                    greeted = True
                    features = f"<stream:features>{self._features}</stream:features>"
                    writer.write((_HEADER + features).encode())
        except OSError:
            pass
        finally:
            writer.close()


@asynccontextmanager
async def odd_server(
    features: str, certificates: FilePath | None = None
) -> AsyncIterator[OddServer]:
    """A server on loopback; with `certificates` it speaks TLS at once."""
    context = None
    if certificates:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificates / "leaf.crt", certificates / "leaf.key")
    odd = OddServer(features)
    listening = await asyncio.start_server(odd.answer, "127.0.0.1", 0, ssl=context)
    odd.port = listening.sockets[0].getsockname()[1]
    try:
        yield odd
    finally:
        listening.close()


class Line:
    """A TCP line to a port that can be cut, or go dead without a word."""

    def __init__(self, target: int) -> None:
        self._target = target
        self._writers: set[asyncio.StreamWriter] = set()
        self.dead = False
        self.port = 0

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.close()
            return
        self._writers |= {writer, far_writer}
        back = asyncio.create_task(self._pump(far_reader, writer))
        await self._pump(reader, far_writer)
        await back

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                if not self.dead:
                    writer.write(data)
        except OSError:
            pass
        finally:
            writer.close()

    def cut(self) -> None:
        """Resets all connections."""
        for writer in self._writers:
            writer.transport.abort()
        self._writers.clear()


@asynccontextmanager
async def line_to(port: int) -> AsyncIterator[Line]:
    line = Line(port)
    listening = await asyncio.start_server(line.carry, "127.0.0.1", 0)
    line.port = listening.sockets[0].getsockname()[1]
    try:
        yield line
    finally:
        listening.close()
        line.cut()
        await asyncio.sleep(0)

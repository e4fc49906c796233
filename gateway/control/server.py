"""The Unix socket that the command line speaks to: one JSON object a line, each way.

A request is `{"do": name, ...arguments}`; an answer is `{"ok": ...}` or `{"error": text}`.
Some requests have many answers: `ask` passes a question on to an adapter, for commands that the
adapter itself brings along; `watch` answers with a line a change until the client hangs up.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine, Mapping
from pathlib import Path as FilePath
from typing import Any

from gateway.client import LONGEST_REQUEST
from gateway.control.requests import Requests
from gateway.errors import GatewayError, StateError

REQUEST_TIMEOUT_S = 30.0
"""A client that connects and says nothing is dropped."""

MAX_CLIENTS = 32
"""Clients at once: more than a person has terminals, and few enough to hold 10,000 events each."""

AT_ONCE = 100
"""Items of a list that are encoded before others have their turn: they wait a millisecond."""

PROBE_TIMEOUT_S = 1.0
"""How long to wait whether somebody serves a socket that exists already."""


class ControlServer:
    """Serves the socket while `listening`. Who may connect is decided by the file's mode (0660)."""

    def __init__(self, file: FilePath, requests: Requests) -> None:
        self._file = file
        self._requests = requests
        self._clients: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listens within the context; StateError if the socket cannot be made or is another's."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            _make_room(self._file)
            server = await asyncio.start_unix_server(self._serve, self._file, limit=LONGEST_REQUEST)
            self._file.chmod(0o660)
        except OSError as error:
            raise StateError(
                f"{self._file}: {error.strerror or error}; set [gateway] socket to a place that "
                "the daemon may write to"
            ) from error
        try:
            yield
        finally:
            server.close()
            self._file.unlink(missing_ok=True)
            for client in self._clients:
                client.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        client = asyncio.current_task()
        assert client is not None  # noqa: S101  (a coroutine that runs has a task)
        try:
            with contextlib.suppress(ConnectionError, TimeoutError):
                if len(self._clients) >= MAX_CLIENTS:
                    await _send(writer, {"error": f"{MAX_CLIENTS} clients are connected already"})
                    return
                self._clients.add(client)
                await self._answer(await _request(reader), reader, writer)
        finally:
            self._clients.discard(client)
            writer.close()

    async def _answer(
        self, request: Any, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            if stream := self._requests.stream(request):
                await _until_hangup(reader, _send_all(stream, writer))
                return
            answer = await encoded(await self._requests.answer(request))
        except GatewayError as error:
            await _send(writer, {"error": str(error)})
        else:
            await _send_text(writer, f'{{"ok": {answer}}}')


async def _request(reader: asyncio.StreamReader) -> Any:
    """The client's one line as JSON; None where it is none."""
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            return json.loads(await reader.readline() or b"null")
    except (ValueError, RecursionError):
        return None


async def _send_all(answers: AsyncGenerator[object, None], writer: asyncio.StreamWriter) -> None:
    async with contextlib.aclosing(answers):
        async for answer in answers:
            await _send_text(writer, f'{{"ok": {await encoded(answer)}}}')


async def _until_hangup(reader: asyncio.StreamReader, work: Coroutine[Any, Any, None]) -> None:
    """Does the work until it fails or the client hangs up."""
    working = asyncio.create_task(work)
    reading = asyncio.create_task(_hangup(reader))
    try:
        await asyncio.wait([working, reading], return_when=asyncio.FIRST_COMPLETED)
    finally:
        working.cancel()
        reading.cancel()
        await asyncio.wait([working, reading])
    if not working.cancelled():
        working.result()


async def _hangup(reader: asyncio.StreamReader) -> None:
    with contextlib.suppress(ConnectionError):
        while await reader.read(LONGEST_REQUEST):
            pass


def _make_room(file: FilePath) -> None:
    """Removes the socket that a killed daemon left; StateError if the name is used otherwise."""
    if not file.exists():
        return
    if not file.is_socket():
        raise StateError(f"{file} is not a socket and is left alone; change [gateway] socket")
    with socket.socket(socket.AF_UNIX) as probe, contextlib.suppress(ConnectionRefusedError):
        probe.settimeout(PROBE_TIMEOUT_S)
        with contextlib.suppress(TimeoutError):
            probe.connect(os.fspath(file))
        raise StateError(
            f"another gateway answers at {file}; stop that one (systemctl stop border-gateway), "
            "or give this one its own [gateway] socket"
        )
    file.unlink()


async def encoded(value: object) -> str:
    """A value as JSON, long lists in pieces: the encoder lets nobody else have a turn."""
    match value:
        case Mapping():
            inner = [f"{json.dumps(str(k))}: {await encoded(v)}" for k, v in value.items()]
            return f"{{{', '.join(inner)}}}"
        case list() if len(value) > AT_ONCE:
            pieces: list[str] = []
            for start in range(0, len(value), AT_ONCE):
                pieces.append(json.dumps(value[start : start + AT_ONCE])[1:-1])
                await asyncio.sleep(0)
            return f"[{', '.join(pieces)}]"
        case _:
            return json.dumps(value)


async def _send(writer: asyncio.StreamWriter, answer: Mapping[str, object]) -> None:
    await _send_text(writer, json.dumps(answer))


async def _send_text(writer: asyncio.StreamWriter, text: str) -> None:
    writer.write(text.encode() + b"\n")
    async with asyncio.timeout(REQUEST_TIMEOUT_S):
        await writer.drain()

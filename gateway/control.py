"""The Unix socket that the command line speaks to: one JSON object a line, each way.

A request is `{"do": name, ...arguments}`; an answer is `{"ok": ...}` or `{"error": text}`.
`ask` passes a question on to an adapter, for commands that the adapter itself brings along.
`watch` answers with a line a change until the client hangs up.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import logging
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

from gateway import logs
from gateway.errors import GatewayError, InvalidValue, NotAllowed, NotFound, StateError
from gateway.events import (
    Availability,
    Change,
    Device,
    DeviceChanged,
    Execute,
    Removed,
    Resource,
    State,
    Write,
)
from gateway.hub import Hub
from gateway.model import GATEWAY, DeviceId, Path, parse_device_id, printable
from gateway.policy import MAX_NAME, DeviceRule
from gateway.ports import Answering, Outbox
from gateway.slots import Slot
from gateway.text import from_text, to_text

log = logging.getLogger(__name__)

REQUEST_LIMIT = 65_536
"""Octets of one request line: the longest value is a few kilobytes."""

REQUEST_TIMEOUT_S = 30.0
"""A client that connects and says nothing is dropped."""

MAX_CLIENTS = 32
"""Clients at once: more than a person has terminals, and few enough to hold 10,000 events each."""

PROBE_TIMEOUT_S = 1.0
"""How long to wait whether somebody serves a socket that exists already."""

WATCH_LIMIT = 10_000
"""Changes that wait for one slow `watch`; the oldest are dropped."""


BACKUP_PIECE = 262_144
"""Octets of the state database in one line."""


class ControlServer:
    """Serves the socket while `listening`. Who may connect is decided by the file's mode (0660)."""

    def __init__(
        self,
        file: FilePath,
        hub: Hub,
        slots: Sequence[Slot],
        reload: Callable[[], Awaitable[Sequence[str]]],
        snapshot: Callable[[], bytes],
    ) -> None:
        self._snapshot = snapshot
        self._reload = reload
        self._file = file
        self._hub = hub
        self._slots = slots
        self._clients: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def listening(self) -> AsyncIterator[None]:
        """Listens within the context; StateError if the socket cannot be made or is another's."""
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            _make_room(self._file)
            server = await asyncio.start_unix_server(self._serve, self._file, limit=REQUEST_LIMIT)
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
        answer: object
        try:
            if stream := self._stream(request, writer):
                await _until_hangup(reader, stream)
                return
            match request:
                case {"do": "devices"}:
                    answer = self._devices()
                case {"do": "get", "target": str(target)}:
                    answer = self._get(target)
                case {"do": "set", "target": str(target), "value": str(value)}:
                    answer = await self._set(target, value)
                case {"do": "exec", "target": str(target), "arguments": str(arguments)}:
                    answer = await self._exec(target, arguments)
                case {"do": "permit", "seconds": int() | float() as seconds}:
                    answer = self._permit(seconds)
                case {"do": "log", "level": str(level), "module": str() | None as module}:
                    answer = logs.change(level, module)
                case {"do": "reload"}:
                    answer = await self._reload()
                case {"do": "name", "target": str(target), "name": str(name)}:
                    answer = self._name(target, name)
                case {"do": "forget", "target": str(target)}:
                    answer = self._forget(target)
                case _:
                    raise NotFound("unknown request; are daemon and command of one version?")
        except GatewayError as error:
            await _send(writer, {"error": str(error)})
        else:
            await _send(writer, {"ok": answer})

    def _stream(
        self, request: Any, writer: asyncio.StreamWriter
    ) -> Coroutine[Any, Any, None] | None:
        """The work of a request that has many answers; None if this is another one."""
        match request:
            case {"do": "watch", "target": str() | None as target}:
                return self._watch(self._target(target) if target else (None, None), writer)
            case {"do": "ask", "adapter": str(name), "question": str(question)}:
                return _answers(self._adapter(name), question, writer)
            case {"do": "backup"}:
                return self._backup(writer)
            case _:
                return None

    def _adapter(self, name: str) -> Answering:
        """The running adapter of this name, if it takes questions."""
        owner = self._hub.commander.owners.get(name)
        if owner is None:
            raise NotFound(f"the adapter {name!r} is not running; see: border-gateway devices")
        if not isinstance(owner, Answering):
            raise NotFound(f"the adapter {name!r} takes no questions")
        return owner

    def _devices(self) -> Mapping[str, object]:
        rules = self._hub.rules.devices
        return {
            "adapters": [
                {"name": s.name, "running": s.running, "status": s.text, "restarts": s.restarts}
                for s in self._slots
            ],
            "join_window_s": self._hub.admission.remaining_s(),
            "counters": dict(self._hub.counters),
            "devices": [
                *(_device_json(d) for d in self._hub.store.devices() if d.prefix),
                *(_listed_json(d, r) for d, r in rules.items() if d not in self._hub.store),
            ],
            "strangers": [
                {
                    "id": s.device,
                    "name": s.name,
                    "rssi_dbm": s.rssi_dbm,
                    "adapter": s.adapter,
                    "reason": s.reason,
                    "at": s.at,
                }
                for s in reversed(self._hub.admission.strangers.values())
            ],
        }

    def _get(self, target: str) -> Sequence[Mapping[str, object]]:
        device, path = self._target(target)
        resources = self._hub.store.resources(device.id, path)
        if not resources:
            raise NotFound(f"{device.prefix or 'the gateway'} has nothing at {path or '/'}")
        return [self._resource_json(device, r) for r in resources]

    async def _set(self, target: str, text: str) -> Mapping[str, object]:
        device, path = self._resource_target(target)
        definition = self._hub.registry.resource(path[0], path[2])
        if definition is None:
            raise NotFound(f"nothing defines {path}")
        value = from_text(text, definition.type)
        outcome = await self._hub.commander.execute(
            Write(device.id, {path: value}, "the command line")
        )
        return {"confirmed": outcome.confirmed}

    async def _exec(self, target: str, arguments: str) -> Mapping[str, object]:
        device, path = self._resource_target(target)
        command = Execute(device.id, path, "the command line", arguments)
        return {"confirmed": (await self._hub.commander.execute(command)).confirmed}

    def _permit(self, seconds: float) -> Mapping[str, object]:
        self._hub.permit(seconds)
        return {"join_window_s": self._hub.admission.remaining_s()}

    def _name(self, target: str, name: str) -> Mapping[str, object]:
        device, path = self._target(target)
        if path is not None or device.id == GATEWAY:
            raise NotAllowed(f"only a whole device has a name, not {target}")
        if len(name) > MAX_NAME or printable(name) != name:
            raise InvalidValue(f"a name is up to {MAX_NAME} printable characters")
        self._hub.rename(device.id, name)
        return {"named": device.id}

    def _forget(self, target: str) -> Mapping[str, object]:
        try:
            device = parse_device_id(target)  # also of one that is not bridged now
        except ValueError:
            known, path = self._target(target)
            if path is not None:
                raise NotAllowed(f"only a whole device can be forgotten, not {target}") from None
            device = known.id
        self._hub.forget(device)
        return {"forgotten": device}

    async def _backup(self, writer: asyncio.StreamWriter) -> None:
        """Says how many octets the state database has, then gives them in pieces."""
        data = await asyncio.to_thread(self._snapshot)
        await _send(writer, {"ok": len(data)})
        for start in range(0, len(data), BACKUP_PIECE):
            piece = data[start : start + BACKUP_PIECE]
            await _send(writer, {"ok": base64.b64encode(piece).decode()})

    async def _watch(
        self, target: tuple[Device | None, Path | None], writer: asyncio.StreamWriter
    ) -> None:
        device, path = target
        outbox = Outbox(limit=WATCH_LIMIT)
        self._hub.outboxes.append(outbox)
        try:
            while True:
                event = await outbox.take()
                if device is not None and event.device != device.id:
                    continue
                if line := self._event_json(event, path):
                    await _send(writer, {"ok": line})
        finally:
            self._hub.outboxes.remove(outbox)

    def _event_json(
        self, event: Change | DeviceChanged | Removed, under: Path | None
    ) -> Mapping[str, object] | None:
        known = self._hub.store.device(event.device)
        match event:
            case Change() if known and (under is None or under.covers(event.path)):
                resource = self._hub.store.resource(event.device, event.path)
                return self._resource_json(known, resource) if resource else None
            case DeviceChanged() if known:
                return {"device": _device_json(known)}
            case Removed(path=gone) if not (gone and under) or (
                gone.covers(under) or under.covers(gone)
            ):
                return {"removed": f"{event.prefix}{event.path or ''}"}
            case _:
                return None

    def _target(self, target: str) -> tuple[Device, Path | None]:
        """`weather`, `weather/3303/0`, `ble:aa-../3303`, or `/3/0` for the gateway itself."""
        first, _, rest = target.partition("/")
        device = self._hub.store.by_prefix(first)
        if device is None:
            with contextlib.suppress(ValueError):
                device = self._hub.store.device(parse_device_id(first))
        if device is None:
            raise NotFound(f"no device {first!r}; `border-gateway devices` lists them")
        try:
            return device, Path.parse(rest) if rest else None
        except ValueError as error:
            raise NotFound(str(error)) from None

    def _resource_target(self, target: str) -> tuple[Device, Path]:
        device, path = self._target(target)
        if path is None or len(path) < 3:
            raise NotFound(f"{target} is not a resource, such as weather/3303/0/5700")
        return device, path

    def _resource_json(self, device: Device, resource: Resource) -> Mapping[str, object]:
        path = resource.path
        definition = self._hub.registry.resource(path[0], path[2])
        return {
            "path": f"{device.prefix}{path}",
            "name": definition.name if definition else "",
            "value": None if resource.value is None else to_text(resource.value),
            "at": resource.at,
            "restored": resource.restored,
        }


def _device_json(device: Device) -> Mapping[str, object]:
    return {
        "id": device.id,
        "prefix": device.prefix,
        "name": device.name,
        "adapter": device.adapter,
        "state": device.availability.state.value,
        "reason": device.availability.reason,
        "since": device.availability.since,
        "last_seen": device.last_seen,
    }


def _listed_json(device: DeviceId, rule: DeviceRule) -> Mapping[str, object]:
    never_seen = Availability(State.UNKNOWN, "listed, but never seen", 0.0)
    return _device_json(Device(device, rule.prefix or "", rule.name or "", "", never_seen))


async def _request(reader: asyncio.StreamReader) -> Any:
    """The client's one line as JSON; None where it is none."""
    try:
        async with asyncio.timeout(REQUEST_TIMEOUT_S):
            return json.loads(await reader.readline() or b"null")
    except (ValueError, RecursionError):
        return None


async def _answers(adapter: Answering, question: str, writer: asyncio.StreamWriter) -> None:
    """Passes on what an adapter answers, a line an item, until it is done."""
    async with contextlib.aclosing(adapter.answer(question)) as answers:
        async for item in answers:
            await _send(writer, {"ok": item})


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
        while await reader.read(REQUEST_LIMIT):
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


async def _send(writer: asyncio.StreamWriter, answer: Mapping[str, object]) -> None:
    writer.write(json.dumps(answer).encode() + b"\n")
    async with asyncio.timeout(REQUEST_TIMEOUT_S):
        await writer.drain()

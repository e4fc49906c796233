"""What the control socket is asked, and the hub's answers as JSON values."""

from __future__ import annotations

import asyncio
import base64
import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from gateway import logs
from gateway.control.shapes import (
    adapter_shape,
    device_shape,
    resource_shape,
    section_shape,
    stranger_shape,
)
from gateway.errors import NotAllowed, NotFound
from gateway.events import (
    Change,
    Device,
    DeviceChanged,
    Execute,
    Removed,
    Write,
)
from gateway.formats.text import from_words
from gateway.hub import Hub
from gateway.logs import TAIL
from gateway.model import Path, parse_device_id
from gateway.objects.own_objects import is_availability
from gateway.ports import Answering, Outbox, Section

WATCH_LIMIT = 10_000
"""Changes that wait for one slow `watch`; the oldest are dropped."""

BACKUP_PIECE = 262_144
"""Octets of the state database in one line."""

AT_ONCE = 20
"""Devices that are told of before others have their turn: they wait some milliseconds."""


class Requests:
    """Answers requests `{"do": name, ...arguments}`; raises a GatewayError that says why not."""

    def __init__(
        self,
        hub: Hub,
        reload: Callable[[], Awaitable[Sequence[str]]],
        snapshot: Callable[[], bytes],
        sections: Callable[[], Mapping[str, Section]] = dict,
    ) -> None:
        self._hub = hub
        self._reload = reload
        self._snapshot = snapshot
        self._sections = sections

    def stream(self, request: Any) -> AsyncGenerator[object, None] | None:
        """The answers of a request that has many; None if it has one."""
        match request:
            case {"do": "watch", "target": str() | None as target}:
                return self._watch(*(self._target(target) if target else (None, None)))
            case {"do": "ask", "adapter": str(name), "question": str(question)}:
                return self._adapter(name).answer(question)
            case {"do": "backup"}:
                return self._backup()
            case {"do": "diagnostics"}:
                return self._diagnostics()
            case _:
                return None

    async def answer(self, request: Any) -> object:
        """The answer of a request that has one."""
        match request:
            case {"do": "devices"}:
                return await self._devices()
            case {"do": "sections"}:
                return {name: section_shape(each) for name, each in self._sections().items()}
            case {"do": "device", "target": str(target)}:
                return self._device(target)
            case {"do": "get", "target": str(target)}:
                return self._get(target)
            case {"do": "set", "target": str(target), "value": str(value)}:
                return await self._set(target, value)
            case {"do": "exec", "target": str(target), "arguments": str(arguments)}:
                return await self._exec(target, arguments)
            case {"do": "permit", "seconds": int() | float() as seconds}:
                return self._permit(seconds)
            case {"do": "log", "level": str(level), "module": str() | None as module}:
                return logs.change(level, module)
            case {"do": "reload"}:
                return await self._reload()
            case {"do": "name", "target": str(target), "name": str(name)}:
                return self._name(target, name)
            case {"do": "forget", "target": str(target)}:
                return self._forget(target)
            case _:
                raise NotFound("unknown request; are daemon and command of one version?")

    def _adapter(self, name: str) -> Answering:
        """The running adapter of this name, if it takes questions."""
        owner = self._hub.commander.owners.get(name)
        if owner is None:
            raise NotFound(f"the adapter {name!r} is not running; see: border-gateway devices")
        if not isinstance(owner, Answering):
            raise NotFound(f"the adapter {name!r} takes no questions")
        return owner

    async def _devices(self) -> Mapping[str, object]:
        now = self._hub.overview()
        known = [device for device in self._hub.store.devices() if device.prefix]
        devices = []
        for device in (*known, *now.absent):
            devices.append(device_shape(self._hub, device))
            if len(devices) % AT_ONCE == 0:
                await asyncio.sleep(0)
        return {
            "adapters": [adapter_shape(adapter) for adapter in now.adapters],
            "join_window_s": now.join_window_s,
            "counters": now.counters,
            "devices": devices,
            "strangers": [stranger_shape(stranger) for stranger in now.strangers],
            "prefixes": self._hub.owners(),
        }

    def _device(self, target: str) -> Mapping[str, object]:
        device, path = self._target(target)
        if path is not None:
            raise NotFound(f"{target} is no device; read it with: border-gateway get {target}")
        resources = self._hub.store.resources(device.id)
        return {
            **device_shape(self._hub, device),
            "resources": [resource_shape(self._hub, device, r) for r in resources],
        }

    def _get(self, target: str) -> Sequence[Mapping[str, object]]:
        device, path = self._target(target)
        resources = self._hub.store.resources(device.id, path)
        if not resources:
            raise NotFound(f"{device.prefix or 'the gateway'} has nothing at {path or '/'}")
        return [resource_shape(self._hub, device, r) for r in resources]

    async def _set(self, target: str, text: str) -> Mapping[str, object]:
        device, path = self._resource_target(target)
        definition = self._hub.registry.resource(path[0], path[2])
        if definition is None:
            raise NotFound(f"nothing defines {path}")
        value = from_words(text, definition.type)
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
        if path is not None:
            raise NotAllowed(f"only a whole device has a name, not {target}")
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
        return {"forgotten": device, "listed": self._hub.rules.of(device).listed}

    async def _diagnostics(self) -> AsyncGenerator[object, None]:
        """How all is, the end of the log, and then each device with its values."""
        yield await self._devices()
        yield [
            f"{_time(line.at)} {line.level} {line.module}: {line.text}" for line in TAIL.since(0)
        ]
        for device in self._hub.store.devices():
            if device.prefix and device.id in self._hub.store:  # it may have gone meanwhile
                yield self._device(device.id)
                await asyncio.sleep(0)  # others have their turn

    async def _backup(self) -> AsyncGenerator[object, None]:
        """Says how many octets the state database has, then gives them in pieces."""
        data = await asyncio.to_thread(self._snapshot)
        yield len(data)
        for start in range(0, len(data), BACKUP_PIECE):
            yield base64.b64encode(data[start : start + BACKUP_PIECE]).decode()

    async def _watch(
        self, device: Device | None, under: Path | None
    ) -> AsyncGenerator[object, None]:
        outbox = Outbox(limit=WATCH_LIMIT)
        self._hub.outboxes.append(outbox)
        try:
            while True:
                event = await outbox.take()
                if device is not None and event.device != device.id:
                    continue
                if device is None and isinstance(event, Change) and is_availability(event.path):
                    continue  # the device's own line says it
                if line := self._event_json(event, under):
                    yield line
        finally:
            self._hub.outboxes.remove(outbox)

    def _event_json(
        self, event: Change | DeviceChanged | Removed, under: Path | None
    ) -> Mapping[str, object] | None:
        known = self._hub.store.device(event.device)
        match event:
            case Change() if known and (under is None or under.covers(event.path)):
                resource = self._hub.store.resource(event.device, event.path)
                return resource_shape(self._hub, known, resource) if resource else None
            case DeviceChanged() if known:
                return {"device": device_shape(self._hub, known)}
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
            raise NotFound(self._why_not(first))
        try:
            return device, Path.parse(rest) if rest else None
        except ValueError as error:
            raise NotFound(str(error)) from None

    def _why_not(self, name: str) -> str:
        """Why there is no device of this prefix or identity, as far as is known."""
        now = self._hub.overview()
        for listed in now.absent:
            if name in (listed.prefix, listed.id):
                return f"{listed.id} is {listed.availability.reason}"
        for stranger in now.strangers:
            if name == stranger.device:
                return f"{name} was seen, but is not bridged: {stranger.reason}"
        return f"no device {name!r}; `border-gateway devices` lists them"

    def _resource_target(self, target: str) -> tuple[Device, Path]:
        device, path = self._target(target)
        if path is None or len(path) < 3:
            raise NotFound(f"{target} is not a resource, such as weather/3303/0/5700")
        return device, path


def _time(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")

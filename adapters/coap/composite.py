"""Reads and writes across devices, by FETCH and iPATCH on the root (LwM2M Core 6.3.8, 6.3.9).

A read shows what is there. A write is checked as a whole before anything is written; when a device
then fails, the others get their former values back as far as they take them.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from adapters.coap import formats
from adapters.coap.formats import Item
from adapters.coap.messages import Code, Format, Refusal, Request
from adapters.coap.observer import Observed
from adapters.coap.tree import PRIVATE_OBJECTS, allows
from gateway.errors import (
    Asleep,
    CommandError,
    DecodeError,
    NotAllowed,
    NotFound,
    Unreachable,
    WritesDisabled,
)
from gateway.events import Device, Resource, State, Write
from gateway.model import GATEWAY, DeviceId, Operations, Path, ResourceType, Value
from gateway.objects.registry import Registry, coerce
from gateway.ports import NorthPort

log = logging.getLogger(__name__)

MAX_NAMES = 1_000
"""Names in one request: whole objects of as many devices make an answer of about a megabyte."""

ASLEEP_RETRY_S = 60.0
"""When to try again what a sleeping device is part of: nobody knows when it wakes."""


# --- reading ---


def targets(port: NorthPort, request: Request) -> Sequence[Observed]:
    """What a Read-Composite names, each once; devices and objects that are not there are not."""
    names = formats.read_names(request.payload, request.content_format)
    _check_number(names)
    found: dict[Observed, None] = {}
    for prefix, path in names:
        device = port.device(prefix)
        if device and (path is None or path.object not in PRIVATE_OBJECTS):
            found[device.id, path] = None
    return list(found)


def readable(
    port: NorthPort, observed: Iterable[Observed]
) -> Iterator[tuple[Device, Sequence[Resource]]]:
    """What is readable of each target, no resource twice."""
    seen: set[tuple[DeviceId, Path]] = set()
    for device_id, path in observed:
        device = port.device_by_id(device_id)
        if device is None:
            continue
        shown = [
            resource
            for resource in port.resources(device_id, path)
            if resource.value is not None
            and resource.path.object not in PRIVATE_OBJECTS
            and allows(port.registry, resource.path, Operations.READ)
            and (device_id, resource.path) not in seen
        ]
        seen.update((device_id, resource.path) for resource in shown)
        yield device, shown


def choose(accept: Format | None) -> Format:
    """The format of a composite answer."""
    if accept is None:
        return Format.SENML_CBOR
    if accept not in formats.COMPOSITE:
        raise Refusal(Code.NOT_ACCEPTABLE, "accept 110, 112, 310 or 11544 here")
    return accept


def _check_number(names: Sequence[object]) -> None:
    if len(names) > MAX_NAMES:
        raise Refusal(Code.REQUEST_ENTITY_TOO_LARGE, f"at most {MAX_NAMES} names")


# --- writing ---


@dataclass(frozen=True, slots=True)
class Part:
    """What one device gets, and what it had before where that is known; None deletes."""

    device: Device
    values: Mapping[Path, Value | None]
    before: Mapping[Path, Value]


@dataclass(frozen=True, slots=True)
class _Result:
    """What became of one part: whether the device took it, and what went wrong."""

    part: Part
    taken: bool
    fault: str = ""


def parts(port: NorthPort, request: Request) -> list[Part]:
    """What a Write-Composite asks of each device; an error if any of it cannot be done."""

    def type_of(path: Path) -> ResourceType | None:
        definition = port.registry.resource(path[0], path[2])
        return definition.type if definition else None

    items = formats.read_composite(request.payload, request.content_format, type_of)
    _check_number(items)
    by_device: dict[str, dict[Path, tuple[Value | None, Value | None]]] = {}
    for item in items:
        values = by_device.setdefault(item.prefix, {})
        if item.path in values:
            raise DecodeError(f"{item.name} stands twice")
        values[item.path] = _checked(port, item)
    if not by_device:
        raise DecodeError("nothing to write")
    return [
        Part(
            _reachable(port, prefix),
            {path: new for path, (new, _) in values.items()},
            {path: old for path, (_, old) in values.items() if old is not None},
        )
        for prefix, values in by_device.items()
    ]


def _checked(port: NorthPort, item: Item) -> tuple[Value | None, Value | None]:
    """The value as its definition wants it, None to delete it, and the present one."""
    if item.path.object in PRIVATE_OBJECTS:
        raise Refusal(Code.UNAUTHORIZED, "this object is not for clients")
    device = port.device(item.prefix)
    resource = port.resource(device.id, item.path) if device else None
    definition = port.registry.resource(item.path[0], item.path[2])
    if device is None or resource is None or definition is None:
        raise NotFound(f"{item.name} does not exist")
    if Operations.WRITE not in definition.operations:
        raise NotAllowed(f"{item.name} cannot be written")
    if device.id == GATEWAY:
        raise NotAllowed(f"{item.name} is the gateway's own and cannot be written")
    if item.value is None and len(item.path) < 4:
        raise NotAllowed(f"{item.name} cannot be deleted")
    value = None if item.value is None else coerce(definition, item.value)
    if not port.writable(device.id, item.path):
        raise WritesDisabled(
            f"writing {item.name} is off; see writable in the configuration of {device.id}"
        )
    return value, _readable_value(port.registry, resource)


def _readable_value(registry: Registry, resource: Resource) -> Value | None:
    return resource.value if allows(registry, resource.path, Operations.READ) else None


def _reachable(port: NorthPort, prefix: str) -> Device:
    device = port.device(prefix)
    assert device is not None  # noqa: S101  (_checked found it)
    match device.availability.state:
        case State.OFFLINE:
            raise Unreachable(f"{prefix} cannot be reached: {device.availability.reason}")
        case State.ASLEEP:
            raise Asleep(f"{prefix} is asleep", ASLEEP_RETRY_S)
        case State.ONLINE | State.UNKNOWN:
            return device


async def write(port: NorthPort, wanted: Sequence[Part], origin: str) -> None:
    """Writes all parts, each device for itself; Refusal 5.04 unless all have confirmed.

    Then those that took theirs are asked to take back what they had.
    """
    results: list[_Result] = []
    for deletes in (True, False):  # few devices can, and so far nothing is changed
        each = [(p, p.values) for p in wanted if (None in p.values.values()) is deletes]
        results += await _write_each(port, each, origin)
        if faults := [result.fault for result in results if result.fault]:
            break
    else:
        return
    former = [(r.part, r.part.before) for r in results if r.taken and r.part.before]
    undone = await _write_each(port, former, f"{origin} (taken back)")
    changed = [result.part.device.prefix for result in undone if result.fault]
    changed += [r.part.device.prefix for r in results if r.taken and not r.part.before]
    text = "; ".join([*faults, _outcome(changed)])
    log.warning("%s: a write to several devices failed: %s", origin, text)
    raise Refusal(Code.GATEWAY_TIMEOUT, text)


def _outcome(changed: Sequence[str]) -> str:
    if not changed:
        return "what was written is taken back"
    return f"what was written to {', '.join(changed)} may stand"


async def _write_each(
    port: NorthPort, wanted: Iterable[tuple[Part, Mapping[Path, Value | None]]], origin: str
) -> list[_Result]:
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(_write_one(port, part, values, origin)) for part, values in wanted
        ]
    return [task.result() for task in running]


async def _write_one(
    port: NorthPort, part: Part, values: Mapping[Path, Value | None], origin: str
) -> _Result:
    device = part.device
    written = {path: value for path, value in values.items() if value is not None}
    removed = frozenset(values.keys() - written.keys())
    try:
        outcome = await port.execute(Write(device.id, written, origin, removed))
    except CommandError as error:
        return _Result(part, False, f"{device.prefix}: {error}")
    return _Result(part, True, "" if outcome.confirmed else f"{device.prefix} did not confirm")

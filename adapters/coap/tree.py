"""Which device and path a request means, and whether the object tree allows it.

Decides by LwM2M Core 6.3 and Transport 6.4.4; knows neither payloads nor datagrams.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from adapters.coap.messages import Code, Refusal
from gateway.errors import InvalidValue, NotAllowed, NotFound
from gateway.events import Device, Resource
from gateway.model import MAX_ID, Operations, Path, Value
from gateway.objects.registry import Registry, ResourceDefinition
from gateway.ports import NorthPort

_ID = re.compile(r"0|[1-9][0-9]{0,4}")

PRIVATE_OBJECTS = frozenset({0, 21, 23})
"""Security, OSCORE and COSE: keys, never shown to a client (LwM2M Core 6.3)."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a request's path names, whether it exists or not."""

    device: Device
    path: Path

    @property
    def name(self) -> str:
        """The path as it stands in URIs and SenML names."""
        return f"{root(self.device)}{self.path}"


def root(device: Device) -> str:
    """What all names of a device begin with: `/weather`, or nothing for the gateway itself."""
    return f"/{device.prefix}" if device.prefix else ""


def locate(port: NorthPort, segments: Sequence[str]) -> Target:
    """The target of a Uri-Path; an error that says what is wrong with the path."""
    if not segments:
        raise NotAllowed("name an object: /3, or /{device}/{object}/{instance}/{resource}")
    prefix, ids = split(segments)
    device = port.device(prefix)
    if device is None and prefix.isdecimal():
        raise NotAllowed(f"ids are 0 to {MAX_ID}, without zeros before them")
    if device is None:
        raise NotFound("no such device")
    if not ids:
        raise InvalidValue("name an object of the device")
    target = Target(device, parse_ids(ids))
    if target.path.object in PRIVATE_OBJECTS:
        raise Refusal(Code.UNAUTHORIZED, "this object is not for clients")
    definition = define(port.registry, target.path)
    if definition and not definition.multiple and target.path.resource_instance is not None:
        raise NotAllowed(f"{definition.name} has no resource instances")
    return target


def split(segments: Sequence[str]) -> tuple[str, Sequence[str]]:
    """The prefix that some segments, at least one, begin with, and the ids that follow it."""
    return ("", segments) if _ID.fullmatch(segments[0]) else (segments[0], segments[1:])


def parse_ids(segments: Sequence[str]) -> Path:
    """The path of decimal segments; NotAllowed if they make none (LwM2M Transport 6.4.4)."""
    if not 1 <= len(segments) <= 4 or not all(map(_ID.fullmatch, segments)):
        raise NotAllowed("a path is one to four numbers: object, instance, resource, instance")
    ids = [int(segment) for segment in segments]
    if max(ids) > MAX_ID:
        raise NotAllowed(f"ids end at {MAX_ID}")
    return Path(*ids)


def define(registry: Registry, path: Path) -> ResourceDefinition | None:
    """The definition of the resource that `path` names or lies in, if there is one."""
    return None if path.resource is None else registry.resource(path.object, path.resource)


def allows(registry: Registry, path: Path, operation: Operations) -> bool:
    """Whether the definition has this operation; what nobody defined is the hub's to judge."""
    definition = define(registry, path)
    return definition is None or operation in definition.operations


def readable(port: NorthPort, target: Target) -> tuple[Resource, ...]:
    """What a Read or an Observe of the target shows, in path order; executables are left out."""
    found = port.resources(target.device.id, target.path)
    if not found:
        raise NotFound(f"{target.name} does not exist")
    shown = tuple(
        resource
        for resource in found
        if resource.value is not None and allows(port.registry, resource.path, Operations.READ)
    )
    if not shown and target.path.resource is not None:
        raise NotAllowed(f"{target.name} cannot be read")
    return shown


def existing(port: NorthPort, target: Target) -> Sequence[Resource]:
    """What is at and below the target; NotFound if nothing is."""
    found = port.resources(target.device.id, target.path)
    if not found:
        raise NotFound(f"{target.name} does not exist")
    return found


def check_write(port: NorthPort, target: Target) -> None:
    """Raises what stands against writing an instance, a resource or a resource instance."""
    existing(port, target)
    if target.path.instance is None:
        raise NotAllowed("write to an instance or to a resource")
    if not allows(port.registry, target.path, Operations.WRITE):
        raise NotAllowed(f"{target.name} cannot be written")


def check_execute(port: NorthPort, target: Target) -> None:
    """Raises what stands against executing the target."""
    existing(port, target)
    definition = define(port.registry, target.path)
    if len(target.path) != 3 or (definition and Operations.EXECUTE not in definition.operations):
        raise NotAllowed(f"{target.name} cannot be executed")


def is_array(port: NorthPort, target: Target) -> bool:
    """Whether the target is a multiple-instance resource as a whole."""
    if len(target.path) != 3:
        return False
    definition = define(port.registry, target.path)
    if definition:
        return definition.multiple
    return port.resource(target.device.id, target.path) is None


def writes(port: NorthPort, target: Target, values: Mapping[Path, Value]) -> dict[Path, Value]:
    """What to write of `values`: as much as the device has (LwM2M Core 6.3.3).

    Resources that the device does not implement are ignored, unless nothing remains.
    """
    present = {resource.path for resource in existing(port, target)}
    arrays = {path.upto(3) for path in present if len(path) == 4}
    kept = {
        path: value for path, value in values.items() if path in present or path.upto(3) in arrays
    }
    for path in kept:
        if not allows(port.registry, path, Operations.WRITE):
            raise NotAllowed(f"{Target(target.device, path).name} cannot be written")
    if not kept:
        raise NotFound("the device has none of these resources")
    return kept


def replaced(port: NorthPort, target: Target, written: Collection[Path]) -> frozenset[Path]:
    """The elements of arrays that a replacement by what is written takes away.

    No device can be relieved of a resource, so that a replacement must name all that clients can
    write. Raises what stands against it.
    """
    named = {path.upto(3) for path in written}
    gone = []
    for path in (r.path for r in existing(port, target) if r.path not in written):
        definition = define(port.registry, path)
        if definition is None or Operations.WRITE not in definition.operations:
            continue
        if not port.writable(target.device.id, path):
            continue
        if definition.mandatory and path.upto(3) not in named:
            raise InvalidValue(f"{definition.name} ({path}) is missing; POST changes only some")
        if len(path) < 4:
            text = f"{definition.name} ({path}) cannot be removed; POST changes only some"
            raise NotAllowed(text)
        gone.append(path)
    return frozenset(gone)

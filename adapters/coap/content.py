"""What an answer shows of a target and what a write asks of it; pure, no tree, no clock."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from adapters.coap import formats
from adapters.coap.formats import Item
from adapters.coap.messages import Code, Format, Refusal
from adapters.coap.tree import Target
from gateway.errors import DecodeError, InvalidValue, NotAllowed
from gateway.events import Device, Resource
from gateway.formats.units import senml_unit
from gateway.model import ObjLink, Path, ResourceType, Value
from gateway.objects.registry import Registry, ResourceDefinition

SENSOR_UNITS = 5701
"""The resource that names the unit of its instance's measured values (IPSO)."""

_MEASURED = frozenset({5600, 5601, 5602, 5603, 5604, 5700, 5702, 5703, 5704, 5900})
"""What 5701 speaks of: the value, its extremes and range, the axes, the set point."""

_ARGUMENT = r"([0-9])(?:='[ !#-&(-\[\]-~]*')?"  # a space is seen, and harmless
_ARGUMENTS = re.compile(rf"(?:{_ARGUMENT}(?:,{_ARGUMENT})*)?")
_EACH_ARGUMENT = re.compile(_ARGUMENT + r"(?:,|$)")

_TYPES: dict[type, ResourceType] = {
    bool: ResourceType.BOOLEAN,
    int: ResourceType.INTEGER,
    float: ResourceType.FLOAT,
    str: ResourceType.STRING,
    bytes: ResourceType.OPAQUE,
    ObjLink: ResourceType.OBJLINK,
}


def choose(accept: Format | None, target: Target, resources: Sequence[Resource]) -> Format:
    """The format of an answer; Refusal 4.06 where the accepted one cannot hold the resources."""
    one = single(target, resources)
    possible: Iterable[Format] = formats.PACKS
    natural = Format.SENML_CBOR
    if one is not None and isinstance(one.value, bytes):
        possible, natural = formats.OCTETS, Format.OPAQUE
    elif one is not None:
        possible, natural = formats.ONE_VALUE, Format.TEXT
    form = natural if accept is None else accept
    if form not in possible:
        raise Refusal(Code.NOT_ACCEPTABLE, "accept 110 or 112 here")
    return form


def single(target: Target, resources: Sequence[Resource]) -> Resource | None:
    """The one resource that the target is; None for an instance, an object, an array."""
    return resources[0] if len(resources) == 1 and resources[0].path == target.path else None


def items(
    device: Device, resources: Iterable[Resource], units: Mapping[Path, str], registry: Registry
) -> list[Item]:
    """The resources as answers show them; `units` holds 5701 of their instances, by instance."""
    return [
        Item(device.prefix, r.path, r.value, _senml_unit(r, units, registry), r.time)
        for r in resources
    ]


def _senml_unit(resource: Resource, units: Mapping[Path, str], registry: Registry) -> str | None:
    value, path = resource.value, resource.path
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if path[2] in _MEASURED and (named := units.get(path.upto(2))):
        return senml_unit(named)
    definition = registry.resource(path[0], path[2])
    return senml_unit(definition.units if definition else "")


# --- what clients send ---


def parse(
    payload: bytes,
    form: Format | None,
    target: Target,
    registry: Registry,
    current: Sequence[Resource],
) -> dict[Path, Value]:
    """The values that a write asks for, by path; DecodeError or Refusal if it asks for nonsense.

    `current` is what the target holds now: it tells the type of what nobody defined.
    """

    def type_of(path: Path) -> ResourceType:
        here = next((r.value for r in current if r.path.upto(3) == path.upto(3)), None)
        return kind(registry.resource(path[0], path[2]), here)

    alone = len(target.path) == 4 or current[0].path == target.path
    place = (target.device.prefix, target.path)
    values: dict[Path, Value] = {}
    for item in formats.read(payload, form, place, type_of, single=alone):
        if item.prefix != target.device.prefix or not target.path.covers(item.path):
            raise DecodeError(f"{item.name} is not in {target.name}")
        if item.path in values:
            raise DecodeError(f"{item.name} stands twice")
        if item.value is not None:
            values[item.path] = item.value
    if not values:
        raise DecodeError("nothing to write")
    return values


def parse_new(
    payload: bytes, form: Format | None, target: Target, registry: Registry, free: int
) -> tuple[Path, dict[Path, Value]]:
    """The instance that a Create asks for, `free` if it names none, and its values.

    DecodeError or Refusal if it asks for nonsense.
    """

    def type_of(path: Path) -> ResourceType:
        return kind(registry.resource(path[0], path[2]), None)

    place = (target.device.prefix, target.path)
    values: dict[Path, Value] = {}
    for item in formats.read_new(payload, form, place, type_of, free):
        if item.prefix != target.device.prefix or not target.path.covers(item.path):
            raise DecodeError(f"{item.name} is not in {target.name}")
        if item.path in values or item.value is None:
            raise DecodeError(f"{item.name} stands twice, or has no value")
        values[item.path] = item.value
    instances = {path.upto(2) for path in values} or {Path(*target.path, free)}
    if len(instances) > 1:
        raise DecodeError("create one instance at a time")
    return instances.pop(), values


def kind(definition: ResourceDefinition | None, current: Value | None) -> ResourceType:
    """The type of a resource: as defined, else as its value shows."""
    if definition:
        return definition.type
    return ResourceType.NONE if current is None else _TYPES[type(current)]


def may_execute(form: Format | None) -> bool:
    """Whether a POST in this format is an Execute, not a Write (LwM2M Transport 6.4.4)."""
    return form in {None, Format.TEXT}


def arguments(payload: bytes, form: Format | None) -> str:
    """The checked argument text of an Execute (LwM2M Core 6.3.5)."""
    if not may_execute(form):
        raise NotAllowed("arguments are text/plain")
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        raise DecodeError("the text is not UTF-8") from None
    digits = _EACH_ARGUMENT.findall(text)
    if not _ARGUMENTS.fullmatch(text) or len(set(digits)) < len(digits):
        raise InvalidValue("arguments look like 0='a',1, each digit once")
    return text

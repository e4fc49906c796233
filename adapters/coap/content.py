"""Resources as payloads and payloads as values, in each content format; pure, no tree, no clock."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import assert_never

from adapters.coap.messages import Code, Format, Refusal
from adapters.coap.tree import Target, parse_ids, root
from gateway import senml
from gateway.errors import DecodeError, InvalidValue, NotAllowed
from gateway.events import Device, Resource
from gateway.model import ObjLink, Path, ResourceType, Value
from gateway.registry import Registry, ResourceDefinition
from gateway.text import from_text, to_text
from gateway.units import senml_unit

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
    one = resources[0] if len(resources) == 1 and resources[0].path == target.path else None
    opaque = one is not None and isinstance(one.value, bytes)
    match accept:
        case None if one is None:
            return Format.SENML_CBOR
        case None:
            return Format.OPAQUE if opaque else Format.TEXT
        case Format.SENML_JSON | Format.SENML_CBOR:
            return accept
        case Format.TEXT if one is not None:
            return accept
        case Format.OPAQUE if opaque:
            return accept
        case Format.TEXT | Format.OPAQUE | Format.LINK:
            raise Refusal(Code.NOT_ACCEPTABLE, "accept 110 or 112 here")
        case _:
            assert_never(accept)


def render(
    device: Device,
    resources: Sequence[Resource],
    units: Mapping[Path, str],
    form: Format,
    registry: Registry,
) -> bytes:
    """The payload that shows `resources`; `units` holds 5701 of their instances, by instance."""
    match form:
        case Format.TEXT:
            return to_text(_value(resources[0])).encode()
        case Format.OPAQUE:
            value = resources[0].value
            return value if isinstance(value, bytes) else b""
        case Format.SENML_JSON | Format.SENML_CBOR:
            write = senml.to_json if form is Format.SENML_JSON else senml.to_cbor
            records = [_record(device, resource, units, registry) for resource in resources]
            return write(records, _base_name(device, resources))
        case Format.LINK:
            raise Refusal(Code.NOT_ACCEPTABLE)
        case _:
            assert_never(form)


def _base_name(device: Device, resources: Sequence[Resource]) -> str:
    instances = {resource.path.upto(2) for resource in resources}
    if not instances:
        return ""
    path = instances.pop()
    return f"{root(device)}{path.upto(1) if instances else path}/"


def _record(
    device: Device, resource: Resource, units: Mapping[Path, str], registry: Registry
) -> senml.Record:
    value = _value(resource)
    unit = None
    if isinstance(value, int | float) and not isinstance(value, bool):
        unit = senml_unit(_unit(resource.path, units, registry))
    return senml.Record(f"{root(device)}{resource.path}", value, unit, resource.at)


def _unit(path: Path, units: Mapping[Path, str], registry: Registry) -> str:
    if path[2] in _MEASURED and (named := units.get(path.upto(2))):
        return named
    definition = registry.resource(path[0], path[2])
    return definition.units if definition else ""


def _value(resource: Resource) -> Value:
    assert resource.value is not None, "only readable resources are rendered"  # noqa: S101
    return resource.value


# --- what clients send ---


def parse(
    payload: bytes,
    form: Format | None,
    target: Target,
    definition: ResourceDefinition | None,
    current: Sequence[Resource],
) -> dict[Path, Value]:
    """The values that a write asks for, by path; DecodeError or Refusal if it asks for nonsense.

    `current` is what the target holds now: it tells the type of what nobody defined.
    """
    single = len(target.path) == 4 or (len(target.path) == 3 and current[0].path == target.path)
    match form:
        case None:
            raise Refusal(Code.BAD_REQUEST, "Content-Format is missing")
        case Format.SENML_JSON:
            return _values(senml.from_json(payload, 0), target)
        case Format.SENML_CBOR:
            return _values(senml.from_cbor(payload, 0), target)
        case Format.TEXT if single:
            return {target.path: from_text(_text(payload), kind(definition, current[0].value))}
        case Format.OPAQUE if single and kind(definition, current[0].value) is ResourceType.OPAQUE:
            return {target.path: payload}
        case Format.TEXT | Format.OPAQUE | Format.LINK:
            raise Refusal(Code.UNSUPPORTED_CONTENT_FORMAT, "this format cannot hold such a value")
        case _:
            assert_never(form)


def kind(definition: ResourceDefinition | None, current: Value | None) -> ResourceType:
    """The type of a resource: as defined, else as its value shows."""
    if definition:
        return definition.type
    return ResourceType.NONE if current is None else _TYPES[type(current)]


def _values(records: Iterable[senml.Record], target: Target) -> dict[Path, Value]:
    values: dict[Path, Value] = {}
    base = f"{root(target.device)}/"
    for record in records:
        if record.time is not None:
            raise DecodeError(f"{record.name}: a write cannot say when")
        if record.value is None:
            raise DecodeError(f"{record.name}: no value")
        path = _path(record.name, base)
        if path is None or not target.path.covers(path):
            raise DecodeError(f"{record.name} is not in {target.name}")
        if path in values:
            raise DecodeError(f"{record.name} stands twice")
        values[path] = record.value
    if not values:
        raise DecodeError("nothing to write")
    return values


def _path(name: str, base: str) -> Path | None:
    if not name.startswith(base):
        return None
    try:
        path = parse_ids(name.removeprefix(base).split("/"))
    except NotAllowed:
        return None
    return path if len(path) >= 3 else None


def arguments(payload: bytes, form: Format | None) -> str:
    """The checked argument text of an Execute (LwM2M Core 6.3.5)."""
    if form not in {None, Format.TEXT}:
        raise Refusal(Code.UNSUPPORTED_CONTENT_FORMAT, "arguments are text/plain")
    text = _text(payload)
    digits = _EACH_ARGUMENT.findall(text)
    if not _ARGUMENTS.fullmatch(text) or len(set(digits)) < len(digits):
        raise InvalidValue("arguments look like 0='a',1, each digit once")
    return text


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise DecodeError("the text is not UTF-8") from None

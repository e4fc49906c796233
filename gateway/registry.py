"""The object definitions: which resources an object has, their types, operations, ranges, units.

Facts only, read from data (`objects.json`, and vendors' DDF files through `ddf.py`).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import assert_never

from gateway.errors import InvalidValue
from gateway.model import ObjLink, Operations, ResourceType, Value

FIRST_REUSABLE = 2048
"""Resource ids from here on have one meaning in every object (LwM2M registry)."""

# The widest integers of LwM2M (Core, appendix C).
_INT_RANGE = (-(2**63), 2**63 - 1)
_UNSIGNED_RANGE = (0, 2**64 - 1)


@dataclass(frozen=True, slots=True)
class ResourceDefinition:
    """One resource of one object. `range` bounds the number, or the octets of text and opaque."""

    id: int
    name: str
    operations: Operations
    type: ResourceType
    multiple: bool = False
    mandatory: bool = False
    range: tuple[float, float] | None = None
    units: str = ""


@dataclass(frozen=True, slots=True)
class ObjectDefinition:
    """One object in one version; `resources` by id, in ascending order."""

    id: int
    name: str
    urn: str
    version: str
    multiple: bool
    resources: Mapping[int, ResourceDefinition]


class Registry:
    """All objects that this gateway knows, the built-in ones and the operator's."""

    def __init__(self, objects: Iterable[ObjectDefinition]) -> None:
        self._objects: dict[int, ObjectDefinition] = {}
        self._reusable: dict[int, ResourceDefinition] = {}
        for definition in objects:
            self.add(definition)

    def add(self, definition: ObjectDefinition) -> None:
        """Adds an object, or replaces the one of the same id."""
        self._objects[definition.id] = definition
        for resource in definition.resources.values():
            if resource.id >= FIRST_REUSABLE:
                self._reusable.setdefault(resource.id, resource)

    def objects(self) -> Iterable[ObjectDefinition]:
        """Every object, by ascending id."""
        return (self._objects[i] for i in sorted(self._objects))

    def object(self, object_id: int) -> ObjectDefinition | None:
        """The object's definition, if known."""
        return self._objects.get(object_id)

    def resource(self, object_id: int, resource_id: int) -> ResourceDefinition | None:
        """The resource within the object; else the reusable resource's general meaning."""
        definition = self._objects.get(object_id)
        if definition and (found := definition.resources.get(resource_id)):
            return found
        return self._reusable.get(resource_id)


def coerce(definition: ResourceDefinition, value: Value) -> Value:
    """`value` as exactly the type that the definition wants; InvalidValue if it does not fit.

    Two conversions are made: an integer where a float is wanted, and a float without fraction
    where an integer is wanted (JSON knows one kind of number).
    """
    checked = _typed(definition, value)
    low, high = definition.range or (-math.inf, math.inf)
    measure: float | None = None
    if isinstance(checked, str | bytes):
        measure = len(checked.encode() if isinstance(checked, str) else checked)
    elif isinstance(checked, int | float) and not isinstance(checked, bool):
        measure = checked
    if measure is not None and not low <= measure <= high:
        raise InvalidValue(f"{definition.name} must be {low:g} to {high:g}, not {measure:g}")
    return checked


def _typed(definition: ResourceDefinition, value: Value) -> Value:
    match definition.type:
        case ResourceType.STRING | ResourceType.CORELNK if isinstance(value, str):
            return value
        case ResourceType.OPAQUE if isinstance(value, bytes):
            return value
        case ResourceType.BOOLEAN if isinstance(value, bool):
            return value
        case ResourceType.OBJLINK if isinstance(value, ObjLink):
            return value
        case ResourceType.FLOAT if isinstance(value, int | float) and not isinstance(value, bool):
            if math.isfinite(value):
                return float(value)
            raise InvalidValue(f"{definition.name} must be a finite number")
        case ResourceType.INTEGER | ResourceType.TIME:
            if (number := _whole(value)) is not None and _INT_RANGE[0] <= number <= _INT_RANGE[1]:
                return number
        case ResourceType.UNSIGNED:
            number = _whole(value)
            if number is not None and _UNSIGNED_RANGE[0] <= number <= _UNSIGNED_RANGE[1]:
                return number
        case (
            ResourceType.STRING
            | ResourceType.CORELNK
            | ResourceType.OPAQUE
            | ResourceType.BOOLEAN
            | ResourceType.OBJLINK
            | ResourceType.FLOAT
            | ResourceType.NONE
        ):
            pass
        case _:
            assert_never(definition.type)
    raise InvalidValue(f"{definition.name} must be {_article(definition.type.value)}")


def _whole(value: Value) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        return int(value)
    return value if isinstance(value, int) else None


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeio' else 'a'} {noun}"

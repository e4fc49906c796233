"""The object definitions: which resources an object has, their types, operations, ranges, units.

Facts only, read from data (`objects.json`, and vendors' DDF files through `ddf.py`).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self, assert_never

from gateway.errors import InvalidValue
from gateway.model import ObjLink, Operations, ResourceType, Value

FIRST_REUSABLE = 2048
"""Resource ids from here on have one meaning in every object (LwM2M registry)."""

FIRST_PRIVATE = 26_241
"""Resource ids from here on mean what whoever uses them says, each in his own object (OMNA)."""

OPERATIONS = {
    "": Operations.NONE,
    "R": Operations.READ,
    "W": Operations.WRITE,
    "RW": Operations.READ | Operations.WRITE,
    "E": Operations.EXECUTE,
}
"""The operations as DDF files and `objects.json` spell them."""

CARDINALITIES = {
    "1": {"mandatory": True, "multiple": False},
    "0..1": {"mandatory": False, "multiple": False},
    "1..*": {"mandatory": True, "multiple": True},
    "0..*": {"mandatory": False, "multiple": True},
}
"""How often an object has a resource, as `objects.json` spells it."""

_BUILTIN = Path(__file__).with_name("objects.json")

_PYTHON_TYPES: Mapping[ResourceType, type] = {
    ResourceType.STRING: str,
    ResourceType.CORELNK: str,
    ResourceType.OPAQUE: bytes,
    ResourceType.BOOLEAN: bool,
    ResourceType.OBJLINK: ObjLink,
    ResourceType.FLOAT: float,
    ResourceType.INTEGER: int,
    ResourceType.UNSIGNED: int,
    ResourceType.TIME: int,
}
WHOLE = (ResourceType.INTEGER, ResourceType.UNSIGNED)
"""The types of whole numbers that count something; a Time is none of them."""

_WIDEST: Mapping[ResourceType, tuple[float, float]] = {
    ResourceType.FLOAT: (-sys.float_info.max, sys.float_info.max),
    ResourceType.INTEGER: (-(2**63), 2**63 - 1),
    ResourceType.TIME: (-(2**63), 2**63 - 1),
    ResourceType.UNSIGNED: (0, 2**64 - 1),
}


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

    def __init__(
        self,
        objects: Iterable[ObjectDefinition] = (),
        reusable: Iterable[ResourceDefinition] = (),
    ) -> None:
        self._objects: dict[int, ObjectDefinition] = {}
        self._reusable = {definition.id: definition for definition in reusable}
        for definition in objects:
            self.add(definition)

    @classmethod
    def builtin(cls) -> Self:
        """The OMA and IPSO objects that come with the program; a registry of its own each time."""
        data = json.loads(_BUILTIN.read_bytes())
        shared = {int(key): facts for key, facts in data["reusable"].items()}
        return cls(
            (_object(int(key), entry, shared) for key, entry in data["objects"].items()),
            (_resource(key, "0..1", facts) for key, facts in shared.items()),
        )

    def add(self, definition: ObjectDefinition) -> None:
        """Adds an object, or replaces the one of the same id."""
        self._objects[definition.id] = definition
        for resource in definition.resources.values():
            if FIRST_REUSABLE <= resource.id < FIRST_PRIVATE:
                self._reusable.setdefault(resource.id, resource)

    def become(self, other: Registry) -> bool:
        """Takes over what `other` knows, for all who hold this registry; True if that is news."""
        before = self._objects, self._reusable
        self._objects, self._reusable = other._objects, other._reusable
        return before != (self._objects, self._reusable)

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


def _object(id: int, entry: Mapping[str, Any], shared: Mapping[int, list[Any]]) -> ObjectDefinition:
    uses = [_resource(int(k), often, shared[int(k)]) for k, often in entry["reusable"].items()]
    own = [_resource(int(k), often, facts) for k, (often, *facts) in entry["private"].items()]
    resources = {resource.id: resource for resource in own + uses}
    return ObjectDefinition(
        id, entry["name"], entry["urn"], entry["version"], entry["multiple"], resources
    )


def _resource(id: int, often: str, facts: list[Any]) -> ResourceDefinition:
    """Facts are name, operations, type, range, units; the last two are left out where empty."""
    complete: list[Any] = [*facts, *(None, "")[len(facts) - 3 :]]
    name, operations, type, bounds, units = complete
    return ResourceDefinition(
        id,
        name,
        OPERATIONS[operations],
        ResourceType(type),
        range=(bounds[0], bounds[1]) if bounds else None,
        units=units,
        **CARDINALITIES[often],
    )


def coerce(definition: ResourceDefinition, value: Value) -> Value:
    """`value` as exactly the type that the definition wants; InvalidValue if it does not fit.

    Two conversions are made: an integer where a float is wanted, and a float without fraction
    where an integer is wanted (JSON knows one kind of number).
    """
    wanted = _PYTHON_TYPES.get(definition.type)
    if type(value) is int and abs(value) > sys.float_info.max:  # beyond what can be compared
        raise InvalidValue(f"{definition.name} must be a number of 64 bits")
    if wanted is float and type(value) is int:
        value = float(value)
    elif wanted is int and type(value) is float and value.is_integer():
        value = int(value)
    if type(value) is not wanted:
        raise InvalidValue(f"{definition.name} must be {_article(definition.type.value)}")
    size = _size(definition, value)
    for low, high in filter(None, (_WIDEST.get(definition.type), definition.range)):
        if size is not None and not low <= size <= high:
            octets = " octets" if isinstance(value, str | bytes) else ""
            raise InvalidValue(
                f"{definition.name} must be {low:g} to {high:g}{octets}, not {size:g}"
            )
    return value


def _size(definition: ResourceDefinition, value: Value) -> float | None:
    """What a range bounds; None if the type has no range."""
    match value:
        case bool() | ObjLink():
            return None
        case int() | float():
            return value
        case bytes():
            return len(value)
        case str():
            try:
                return len(value.encode())
            except UnicodeEncodeError as error:
                raise InvalidValue(f"{definition.name} must be Unicode text") from error
        case _:
            assert_never(value)


def _article(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeio' else 'a'} {noun}"

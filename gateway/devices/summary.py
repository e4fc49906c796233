"""What of a device stands in one line: its main value, battery and signal. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.events import Resource
from gateway.model import Operations, Path
from gateway.objects.registry import Registry

FIRST_SENSOR_OBJECT, FIRST_IO_OBJECT = 3300, 3200
"""IPSO objects from 3300 on say what they measure; below are plain inputs and outputs, and below
3200 an object is about the device itself.
"""

TEMPERATURE = 3303
"""Of several sensors in one device, what people look for."""

BATTERY_PERCENT, RSSI_DBM = Path(3, 0, 9), Path(4, 0, 2)
UNITS = 5701
"""The resource of an IPSO object in which a device says its unit."""


@dataclass(frozen=True, slots=True)
class Summary:
    """A device in one line; None where it does not say. `unit` is the main value's, for people."""

    main: Resource | None
    unit: str
    battery_percent: int | None
    rssi_dbm: int | None


def summary(resources: Sequence[Resource], registry: Registry) -> Summary:
    """The summary of a device with these resources (in path order)."""
    known = {resource.path: resource for resource in resources}
    main = _main(resources, registry)
    return Summary(
        main,
        unit_of(main.path, known.get(units_of(main.path)), registry) if main else "",
        _integer(known.get(BATTERY_PERCENT)),
        _integer(known.get(RSSI_DBM)),
    )


def units_of(path: Path) -> Path:
    """Where the unit of a resource would stand."""
    return Path(*path.upto(2), UNITS)


def unit_of(path: Path, units: Resource | None, registry: Registry) -> str:
    """The unit of a resource: its definition's, else, of a sensor value, what the device says."""
    definition = registry.resource(path[0], path[2])
    if definition and definition.units:
        return definition.units
    in_units = definition and definition.name.endswith("Value") and path.resource != UNITS
    return str(units.value) if in_units and units and units.value else ""


def _main(resources: Sequence[Resource], registry: Registry) -> Resource | None:
    """The first value that its object must have, of the object that says most."""
    values = (r for r in resources if r.value is not None and _is_mandatory(r.path, registry))
    return min(values, key=lambda r: _rank(r.path.object), default=None)


def _is_mandatory(path: Path, registry: Registry) -> bool:
    definition = registry.resource(path[0], path[2])
    return bool(definition and definition.mandatory and Operations.READ in definition.operations)


def _rank(object_id: int) -> int:
    if object_id == TEMPERATURE:
        return 0
    return 1 + (object_id < FIRST_SENSOR_OBJECT) + (object_id < FIRST_IO_OBJECT)


def _integer(resource: Resource | None) -> int | None:
    value = resource.value if resource else None
    return value if type(value) is int else None

"""Which sensor-data field each resource of a device is: its name, kind, category and unit. Pure.

Names and units are those of the Neuro-Foundation's harmonised interfaces where there is one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, assert_never

from adapters.xmpp.payload import PRIVATE_OBJECTS, UNITS
from gateway.events import Resource
from gateway.model import Operations, Path, ResourceType
from gateway.objects.registry import Registry, ResourceDefinition

Category = Literal["m", "p", "s", "c", "i", "h"]
"""Momentary, peak, status, computed, identity, historical."""

Kind = Literal["b", "dt", "i", "l", "q", "s"]
"""Boolean, dateTime, 32-bit and 64-bit integer, quantity, string."""

_INT32 = 2**31


@dataclass(frozen=True, slots=True)
class Field:
    """A resource under its field's name; `controllable` if it may be set under that name, too."""

    name: str
    kind: Kind
    category: Category
    unit: str
    controllable: bool
    resource: Resource
    definition: ResourceDefinition


@dataclass(frozen=True, slots=True)
class _Harmonised:
    name: str
    category: Category = "m"
    unit: str = ""
    interface: str = ""
    quantity: bool = False


_HARMONISED: Mapping[tuple[int, int], _Harmonised] = {
    (3303, 5700): _Harmonised("Temperature", unit="°C", interface="sensor:temperature"),
    (3304, 5700): _Harmonised("Relative Humidity", unit="%", interface="sensor:humidity"),
    (3301, 5700): _Harmonised("Illuminance", interface="sensor:illuminance"),
    (3315, 5700): _Harmonised("Pressure", interface="sensor:pressure"),
    (3323, 5700): _Harmonised("Pressure", interface="sensor:pressure"),
    (3316, 5700): _Harmonised("Voltage", interface="sensor:voltage"),
    (3317, 5700): _Harmonised("Current", interface="sensor:current"),
    (3330, 5700): _Harmonised("Distance", interface="sensor:distance"),
    (3318, 5700): _Harmonised("Frequency", interface="sensor:frequency"),
    (3332, 5705): _Harmonised("Direction", interface="sensor:direction"),
    (3322, 5700): _Harmonised("Weight", interface="sensor:weight"),
    (3331, 5805): _Harmonised("Energy", interface="meter:electricity"),
    (3328, 5700): _Harmonised("Power"),  # the meter's own field is its energy
    (3305, 5800): _Harmonised("Power"),
    (3302, 5500): _Harmonised("State", "s", interface="security:movement"),
    (3200, 5500): _Harmonised("Digital Input", interface="sensor:digitalInput"),
    (3200, 5501): _Harmonised("Counter", interface="meter:pulseCounter"),
    (3202, 5600): _Harmonised("Analog Input", interface="sensor:analogInput"),
    (3203, 5650): _Harmonised("Analog Output", interface="actuator:analogOutput"),
    (3201, 5550): _Harmonised("Digital Output", interface="actuator:digitalOutput"),
    (3306, 5850): _Harmonised("Digital Output", interface="actuator:digitalOutput"),
    (3311, 5850): _Harmonised("Lamp", interface="actuator:lamp"),
    (3311, 5851): _Harmonised("Dimmer"),  # the published interface names its field Blinds
    (3, 9): _Harmonised("Battery Charge", "s", "%", "identity:battery", quantity=True),
    # The interface network:radio wants a percentage: it is not claimed for dBm.
    (4, 2): _Harmonised("Radio, Signal Strength", "s", "dBm", quantity=True),
    (3, 0): _Harmonised("Manufacturer", "i", interface="identity:manufacturer"),
    (3, 1): _Harmonised("Device ID", "i", interface="identity:deviceId"),
}

_MEASURED = (5700, 5600, 5650, 5705)
_EXTREMES: Mapping[int, tuple[str, Category]] = {
    5601: ("Min", "p"),
    5602: ("Max", "p"),
    5603: ("Min Range", "s"),
    5604: ("Max Range", "s"),
}
_UNIT_TEXTS = {"Cel": "°C", "C": "°C", "%RH": "%", "/100": "%", "%EL": "%"}


def fields(
    resources: Sequence[Resource], registry: Registry, writable: Callable[[Path], bool]
) -> list[Field]:
    """All resources of a device that can be read or set, in path order, each under its own name.

    A name that several would have is given to none of them: each gets object and instance
    appended, so that a name can never come to mean another actuator.
    """
    said = {r.path.upto(2): r.value for r in resources if r.path.resource == UNITS}
    shown = [(r, d) for r in resources if (d := _definition(r, registry))]
    names = Counter(_name(r.path, d) for r, d in shown)
    found: list[Field] = []
    for resource, definition in shown:
        path, name = resource.path, _name(resource.path, definition)
        if names[name] > 1:
            known = registry.object(path.object)
            name = f"{name}, {known.name if known else path.object} {path.instance}"
        controllable = Operations.WRITE in definition.operations and writable(path)
        if controllable or Operations.READ in definition.operations:
            unit = _unit(path, definition, str(said.get(path.upto(2), "")))
            kind, category = _kind(path, definition), _category(path, definition)
            found.append(Field(name, kind, category, unit, controllable, resource, definition))
    return found


def interfaces(known: Iterable[Field]) -> list[str]:
    """The harmonised interfaces that a device fulfils: those whose field has its plain name."""
    named = ((field.name, _harmonised(field.resource.path)) for field in known)
    return sorted({h.interface for name, h in named if h and h.interface and h.name == name})


def _definition(resource: Resource, registry: Registry) -> ResourceDefinition | None:
    path = resource.path
    if len(path) < 3 or path.object in PRIVATE_OBJECTS:
        return None
    definition = registry.resource(path[0], path[2])
    return definition if definition and definition.type is not ResourceType.NONE else None


def _harmonised(path: Path) -> _Harmonised | None:
    return _HARMONISED.get((path[0], path[2]))


def _measured(path: Path) -> _Harmonised | None:
    """What an instance measures, for its extremes."""
    found = (_HARMONISED.get((path[0], resource)) for resource in _MEASURED)
    return next(filter(None, found), None)


def _name(path: Path, definition: ResourceDefinition) -> str:
    name = definition.name
    if harmonised := _harmonised(path):
        name = harmonised.name
    elif path[2] in _EXTREMES and (measured := _measured(path)):
        name = f"{measured.name}, {_EXTREMES[path[2]][0]}"
    return name if path.resource_instance is None else f"{name} {path.resource_instance}"


def _category(path: Path, definition: ResourceDefinition) -> Category:
    if harmonised := _harmonised(path):
        return harmonised.category
    if path[2] in _EXTREMES:
        return _EXTREMES[path[2]][1]
    is_text = definition.type in {ResourceType.STRING, ResourceType.CORELNK}
    if path.object == 3 and is_text:
        return "i"
    return "s" if is_text or path.object in {3, 4} else "m"


def _unit(path: Path, definition: ResourceDefinition, said: str) -> str:
    harmonised = _harmonised(path) or (_measured(path) if path[2] in _EXTREMES else None)
    text = definition.units or (said if definition.type is ResourceType.FLOAT else "")
    if harmonised and harmonised.unit and (not text or _UNIT_TEXTS.get(text)):
        return harmonised.unit
    return _UNIT_TEXTS.get(text, text)


def _kind(path: Path, definition: ResourceDefinition) -> Kind:
    match definition.type:
        case ResourceType.BOOLEAN:
            return "b"
        case ResourceType.FLOAT:
            return "q"
        case ResourceType.TIME:
            return "dt"
        case ResourceType.INTEGER | ResourceType.UNSIGNED:
            if (harmonised := _harmonised(path)) and harmonised.quantity:
                return "q"
            low, high = definition.range or (-(2**63), 2**63)
            return "i" if low >= -_INT32 and high < _INT32 else "l"
        case (
            ResourceType.STRING
            | ResourceType.CORELNK
            | ResourceType.OPAQUE
            | ResourceType.OBJLINK
            | ResourceType.NONE
        ):
            return "s"
        case _:
            assert_never(definition.type)

"""What the gateway says of itself as IPSO objects: /3/0 (Device) and /25 (Gateway 2.0). Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from gateway import __version__
from gateway.events import Device, Resource
from gateway.model import Operations, Path, ResourceType, Value, urn
from gateway.objects.registry import FIRST_PRIVATE, Registry, ResourceDefinition

GATEWAY_OBJECT = 25
"""OMA LwM2M Gateway, version 2.0: one instance a bridged device (Gateway TS 1.1, 6)."""

AVAILABILITY, REASON, SINCE = range(FIRST_PRIVATE, FIRST_PRIVATE + 3)
"""What each instance says beyond OMA's object: the device's state, why it is so, since when."""

_BEYOND = (
    ResourceDefinition(AVAILABILITY, "Availability", Operations.READ, ResourceType.STRING),
    ResourceDefinition(REASON, "Availability Reason", Operations.READ, ResourceType.STRING),
    ResourceDefinition(SINCE, "Availability Since", Operations.READ, ResourceType.TIME),
)


def is_availability(path: Path) -> bool:
    """Whether object 25 says there what a change of the device itself tells at once."""
    return path.object == GATEWAY_OBJECT and len(path) > 2 and path[2] >= FIRST_PRIVATE


def widen(registry: Registry) -> None:
    """Adds what this gateway says beyond OMA's object 25 to a registry that has that."""
    if known := registry.object(GATEWAY_OBJECT):
        beyond = {definition.id: definition for definition in _BEYOND}
        registry.add(replace(known, resources={**known.resources, **beyond}))


def device_object() -> Mapping[Path, Value]:
    """The gateway's own /3/0: manufacturer, model, version, no error, UDP binding."""
    return {
        Path(3, 0, 0): "Border Gateway",
        Path(3, 0, 1): "border-gateway",
        Path(3, 0, 3): __version__,
        Path(3, 0, 11, 0): 0,
        Path(3, 0, 16): "U",
    }


def gateway_object(
    number: int, device: Device, resources: Sequence[Resource], registry: Registry
) -> Mapping[Path, Value]:
    """The /25 instance of a bridged device: its URN, prefix, objects, and availability."""
    instance = Path(GATEWAY_OBJECT, number)
    return {
        Path(*instance, 0): urn(device.id),
        Path(*instance, 1): device.prefix,
        Path(*instance, 3): object_links([r.path for r in resources], registry),
        Path(*instance, AVAILABILITY): device.availability.state.value,
        Path(*instance, REASON): device.availability.reason,
        Path(*instance, SINCE): int(device.availability.since),
    }


def object_links(paths: Sequence[Path], registry: Registry) -> str:
    """The objects and instances of these paths as in a Register payload, `ver` on object links."""
    links: dict[str, None] = {}
    for path in paths:
        definition = registry.object(path.object)
        version = definition.version if definition else "1.0"
        links[f"</{path.object}>" + (f";ver={version}" if version != "1.0" else "")] = None
        links[f"<{path.upto(2)}>"] = None
    return ",".join(links)

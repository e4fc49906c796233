"""What the page is told, as JSON values made of what the port shows. Pure.

A value is `{"text", "number", "at", "restored"}`: `text` as `text/plain` has it (base64 for
opaque), `number` only where it can be plotted, `at` only where the clock was set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from gateway import __version__
from gateway.devices.strangers import Stranger
from gateway.devices.summary import summary, unit_of, units_of
from gateway.events import Device, Resource
from gateway.formats.text import to_text
from gateway.logs import LogLine
from gateway.model import Operations, Path, ResourceType
from gateway.overview import AdapterState, Overview
from gateway.ports import NorthPort

MAX_STRANGERS_SHOWN = 50
"""The latest ones; the command line shows all."""

View = Mapping[str, object]


def overview_view(overview: Overview, now: float, *, may_act: bool) -> View:
    """Adapters, and until when (Unix seconds) devices may join."""
    closes = round(now + overview.join_window_s) if overview.join_window_s else None
    return {
        "version": __version__,
        "mayAct": may_act,
        "adapters": [adapter_view(a) for a in overview.adapters],
        "joinUntil": closes,
        "absent": [_absent(d) for d in overview.absent],
    }


def adapter_view(state: AdapterState) -> View:
    """One adapter."""
    return {
        "name": state.name,
        "state": state.condition.value,
        "reason": state.text,
        "restarts": state.restarts,
        "northbound": state.northbound,
    }


def strangers_view(strangers: Sequence[Stranger]) -> View:
    """Who was seen and is not bridged, the latest first, and how many there are."""
    return {
        "total": len(strangers),
        "latest": [
            {
                "id": s.device,
                "name": s.name,
                "adapter": s.adapter,
                "rssi": s.rssi_dbm,
                "reason": s.reason,
                "at": s.at,
            }
            for s in strangers[:MAX_STRANGERS_SHOWN]
        ],
    }


def device_view(device: Device, port: NorthPort) -> View:
    """One device in one line."""
    line = summary(port.resources(device.id), port.registry)
    main = line.main
    definition = port.registry.resource(main.path[0], main.path[2]) if main else None
    return {
        "id": device.id,
        "prefix": device.prefix,
        "name": device.name,
        "adapter": device.adapter,
        "state": device.availability.state.value,
        "reason": device.availability.reason,
        "since": device.availability.since,
        "seen": device.last_seen,
        "rssi": line.rssi_dbm,
        "battery": line.battery_percent,
        "main": main
        and {
            **value_view(main),
            "path": str(main.path),
            "name": _object_name(main.path, port),
            "type": definition.type.value if definition else "",
            "unit": line.unit,
        },
    }


def tree_view(device: Device, port: NorthPort) -> View:
    """A device's objects, instances and resources, with what the definitions say of them."""
    resources = port.resources(device.id)
    known = {r.path: r for r in resources}
    return {
        "id": device.id,
        "objects": [
            {
                "path": str(Path(*instance)),
                "name": _object_name(Path(*instance), port),
                "resources": [_resource(device, r, known, port) for r in found],
            }
            for instance, found in groupby(resources, lambda r: r.path[:2])
        ],
    }


def value_view(resource: Resource) -> View:
    """The last known value of a resource; `text` is None where there is nothing to read."""
    value = resource.value
    return {
        "text": None if value is None else to_text(value),
        "number": float(value) if isinstance(value, int | float) else None,
        "at": resource.time,
        "restored": resource.restored,
    }


def log_view(lines: Iterable[LogLine]) -> Sequence[View]:
    """Log lines, the oldest first."""
    return [
        {"at": line.at, "level": line.level, "module": line.module, "text": line.text}
        for line in lines
    ]


def _resource(
    device: Device, resource: Resource, known: Mapping[Path, Resource], port: NorthPort
) -> View:
    path = resource.path
    definition = port.registry.resource(path[0], path[2])
    operations = definition.operations if definition else Operations.READ
    enabled = port.writable(device.id, path)
    return {
        **value_view(resource),
        "path": str(path),
        "name": definition.name if definition else "",
        "type": (definition.type if definition else ResourceType.STRING).value,
        "unit": unit_of(path, known.get(units_of(path)), port.registry),
        "operations": "".join(
            letter
            for letter, operation in zip("RWE", Operations, strict=True)
            if operation in operations
        ),
        "range": definition.range if definition else None,
        "writable": enabled and bool(operations & (Operations.WRITE | Operations.EXECUTE)),
    }


def _absent(device: Device) -> View:
    return {"id": device.id, "prefix": device.prefix, "name": device.name}


def _object_name(path: Path, port: NorthPort) -> str:
    definition = port.registry.object(path.object)
    return definition.name if definition else f"Object {path.object}"

"""How devices, resources and strangers look as JSON values to the command line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from gateway.configuration.listen import Listening
from gateway.devices.strangers import Stranger
from gateway.devices.summary import summary, unit_of, units_of
from gateway.events import Device, Resource
from gateway.formats.text import to_plain
from gateway.hub import Hub
from gateway.overview import AdapterState
from gateway.ports import Section

Shape = Mapping[str, object]


def device_shape(hub: Hub, device: Device) -> Shape:
    """A device in one line: who it is, how it is, and the value that it is there for."""
    line = summary(hub.store.resources(device.id), hub.registry)
    return {
        "id": device.id,
        "prefix": device.prefix,
        "name": device.name,
        "adapter": device.adapter,
        "state": device.availability.state.value,
        "reason": device.availability.reason,
        "since": device.availability.since,
        "last_seen": device.last_seen,
        "battery_percent": line.battery_percent,
        "rssi_dbm": line.rssi_dbm,
        "main": resource_shape(hub, device, line.main) if line.main else None,
    }


def resource_shape(hub: Hub, device: Device, resource: Resource) -> Shape:
    """A resource with the name that its definition gives it, and its unit for people."""
    path = resource.path
    definition = hub.registry.resource(path[0], path[2])
    return {
        "path": f"{device.prefix}{path}",
        "name": definition.name if definition else "",
        "type": definition.type.value if definition else "",
        "value": None if resource.value is None else to_plain(resource.value),
        "unit": unit_of(path, hub.store.resource(device.id, units_of(path)), hub.registry),
        "at": resource.at,
        "restored": resource.restored,
        "untimed": resource.untimed,
    }


def adapter_shape(adapter: AdapterState) -> Shape:
    """An adapter: how it is, in one word and in its own words."""
    return {
        "name": adapter.name,
        "condition": adapter.condition.value,
        "status": adapter.text,
        "restarts": adapter.restarts,
        "waiting": adapter.waiting,
        "dropped": adapter.dropped,
    }


def section_shape(section: Section) -> Mapping[str, Any]:
    """What a section says, and where it listens; equal sections have equal shapes."""
    listeners = section.listeners if isinstance(section, Listening) else ()
    shape = {"says": dict(section), "listeners": [asdict(each) for each in listeners]}
    return json.loads(json.dumps(shape, default=repr))  # type: ignore[no-any-return]


def stranger_shape(stranger: Stranger) -> Shape:
    """Who was seen and is not bridged, and why."""
    return {
        "id": stranger.device,
        "name": stranger.name,
        "rssi_dbm": stranger.rssi_dbm,
        "services": stranger.services,
        "adapter": stranger.adapter,
        "reason": stranger.reason,
        "at": stranger.at,
    }

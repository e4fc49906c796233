"""What a pubsub item holds: SenML XML packs of resources, of a device's state and description.

Pure: what is known of a device comes in, XML comes out; it knows neither nodes nor sessions.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from gateway.errors import EncodeError
from gateway.events import Availability, Device, Entry, Resource, State
from gateway.formats.senml import Record, to_xml
from gateway.formats.units import senml_unit
from gateway.model import DeviceId, Operations, Path, ResourceType, Value, urn
from gateway.objects.own_objects import GATEWAY_OBJECT, is_availability
from gateway.objects.registry import Registry, ResourceDefinition

MAX_PACK_BYTES = 32_768
"""Servers drop the connection at about 256 KiB a stanza; more than this is no measurement."""

HISTORY_RECORDS = 50
HISTORY_BYTES = 4_096
"""Of a pack of changes: 3 ms of the event loop, and 0.4 s on a server that allows 10 kB/s."""

Layout = Literal["device", "state", "resource"]
"""What an item of a device's node holds: an object instance, everything, or one resource."""

BRIDGED = GATEWAY_OBJECT
"""The object of which the gateway has an instance for each device."""

STATE = "state"
STATUS = "status"
META = "meta"
GATEWAY_ITEM = "gateway"
ONLINE = "online"
ACCOUNT = "account"
"""Who keeps a directory, in its own item."""

PRIVATE_OBJECTS = frozenset({0, 21, 23})
"""Security, OSCORE and COSE: keys, never shown to a client (LwM2M Core 6.3)."""

UNITS = 5701
"""The resource that says the unit of its instance's numbers."""

_DEPTHS: Mapping[Layout, int] = {"state": 0, "device": 2, "resource": 3}
RADIO_RSSI = Path(4, 0, 2)
_DESCRIPTION = {"manufacturer": Path(3, 0, 0), "model": Path(3, 0, 1), "firmware": Path(3, 0, 3)}
_DBM_TO_DBW = -30

_FRAME_LENGTH = len(to_xml([])) + 30
"""What a pack has besides its records: the element around them, and a time."""


@dataclass(frozen=True, slots=True)
class Pack:
    """An item's payload, its records and as SenML XML, where all names begin with `base`.

    `omitted` are the names of records that it could not take. `past`: they are no last values.
    """

    records: Sequence[Record]
    base: str
    text: str
    omitted: tuple[str, ...] = ()
    past: bool = False

    @property
    def xml(self) -> ET.Element:
        """The payload as an element."""
        return ET.fromstring(self.text)  # noqa: S314  (our own XML)


def item_ids(resources: Iterable[Resource], layout: Layout) -> list[str]:
    """The items that hold a device's values, in path order."""
    shown = (r.path for r in resources if r.path.object not in PRIVATE_OBJECTS)
    return list(dict.fromkeys(item_id(path, layout) for path in shown))


def item_id(path: Path, layout: Layout) -> str:
    """The item that holds a resource: `3303/0`, `3303/0/5700` or `state`.

    Instances of object 25 have an item each in every layout: thousands would fill no `state`.
    """
    depth = 2 if path.object == BRIDGED else _DEPTHS[layout]
    return "/".join(map(str, path[:depth])) or STATE


def is_bridged(item: str) -> bool:
    """Whether an item is about a bridged device, in the gateway's own node (object 25)."""
    return item.startswith(f"{BRIDGED}/")


@lru_cache(4_096)  # the same few items, over and over
def item_scope(item: str) -> Path | None:
    """The path whose resources an item holds; None for all of a device."""
    return None if item == STATE else Path.parse(item)


def concerns(item: str, path: Path) -> bool:
    """Whether an item holds something at, below or above a path."""
    scope = item_scope(item)
    return scope is None or scope.covers(path) or path.covers(scope)


def values(name: str, item: str, resources: Sequence[Resource], registry: Registry) -> Pack | None:
    """The pack of an item; None if there is nothing (more) to be read in it.

    `name` is the device's URN, `resources` are at least those of the object instances that the item
    is about. Time is that of the measurement; the unit is the definition's, else what the device
    says in resource 5701.
    """
    scope = item_scope(item)
    base = f"{name}/{'/'.join(map(str, scope[:2]))}/" if scope else f"{name}/"
    said = {r.path[:2]: r.value for r in resources if r.path.resource == UNITS}
    records = [
        _record(name, resource, definition, said.get(resource.path[:2]))
        for resource in resources
        if (definition := readable(resource, registry))
        and not is_availability(resource.path)
        and (scope.covers(resource.path) if scope else resource.path.object != BRIDGED)
    ]
    return _pack(records, base) if records else None


def history(
    device: DeviceId,
    entries: Iterable[Entry],
    look: Callable[[DeviceId, Path], Resource | None],
    registry: Registry,
    size: tuple[int, int] = (HISTORY_RECORDS, HISTORY_BYTES),
) -> Iterator[tuple[int, Pack]]:
    """Packs of a device's changes in their order, each with the number of its first one.

    `size` is how many records and bytes at most. `look` gives a resource: units are those of now.
    What clients may not see is left out, and what SenML cannot express.
    """
    base = f"{urn(device)}/"
    records: list[Record] = []
    first = length = 0
    for entry in entries:
        resource = Resource(entry.path, entry.value, entry.at)
        if (definition := readable(resource, registry)) is None:
            continue
        said = look(device, Path(*entry.path[:2], UNITS))
        record = _record(urn(device), resource, definition, said.value if said else None)
        own = _length(record)
        if not 0 < own < MAX_PACK_BYTES:
            continue
        if records and (len(records) == size[0] or length + own > size[1]):
            yield first, Pack(records, base, to_xml(records, base))
            records, length = [], 0
        first = first if records else entry.number
        records.append(record)
        length += own - len(base) - _FRAME_LENGTH
    if records:
        yield first, Pack(records, base, to_xml(records, base))


def _record(
    name: str, resource: Resource, definition: ResourceDefinition, said: Value | None
) -> Record:
    """A record of a resource; its unit is the definition's, else what the device says (5701)."""
    value, unit = resource.value, definition.units
    if not unit and definition.type is ResourceType.FLOAT and isinstance(said, str):
        unit = said
    numeric = isinstance(value, int | float) and not isinstance(value, bool)
    known_unit = senml_unit(unit) if numeric and unit else None
    return Record(f"{name}{resource.path}", value, known_unit, resource.time)


def readable(resource: Resource, registry: Registry) -> ResourceDefinition | None:
    """The definition of a resource that clients may see; None for keys and executables."""
    path = resource.path
    if resource.value is None or len(path) < 3 or path.object in PRIVATE_OBJECTS:
        return None
    definition = registry.resource(path[0], path[2])
    return definition if definition and Operations.READ in definition.operations else None


def status(name: str, known: Device | None, rssi_dbm: Value | None, now: float | None) -> Pack:
    """Whether a device can be reached, and why not; None stands for a device that was removed."""
    availability = known.availability if known else Availability(State.OFFLINE, "left", 0.0)
    texts: dict[str, Value | None] = {
        ONLINE: availability.state is State.ONLINE,
        "state": availability.state.value,
        "reason": availability.reason,
        "last_seen": _rounded(known.last_seen) if known else None,
        "clock": None if now else "not set",
    }
    records = _said(name, texts, now)
    if isinstance(rssi_dbm, int | float) and known:
        records.append(Record(f"{name}/rssi", rssi_dbm + _DBM_TO_DBW, "dBW", now))
    return _pack(records, f"{name}/")


def stopped(name: str, device: Device, now: float | None) -> Pack:
    """The status of a device whose gateway stops, or of the gateway."""
    gone = Availability(State.UNKNOWN, "gateway-stop", 0.0)
    texts: dict[str, Value | None] = {
        ONLINE: False,
        "state": gone.state.value,
        "reason": gone.reason,
        "last_seen": _rounded(device.last_seen),
    }
    return _pack(_said(name, texts, now), f"{name}/")


def meta(name: str, device: Device, resources: Sequence[Resource], now: float | None) -> Pack:
    """What a device is: names, manufacturer, model, and its objects as links (RFC 6690).

    Of object 25 there may be thousands of instances: the object stands for them.
    """
    shown = (r.path for r in resources if r.path.object not in PRIVATE_OBJECTS)
    linked = dict.fromkeys(path.upto(1 if path.object == BRIDGED else 2) for path in shown)
    links = ",".join(f"<{path}>" for path in linked)
    texts = _description(device, resources) | {"objects": links}
    return _pack(_said(name, texts, now), f"{name}/")


def directory_entry(
    device: Device, node: str, resources: Sequence[Resource], now: float | None
) -> Pack:
    """A device's item in the directory: what one chooses by; the rest is on the device's node.

    Nothing that changes often is in it, and each record more makes all entries slower (Prosody).
    """
    objects = " ".join(dict.fromkeys(str(r.path.object) for r in resources))
    description = _description(device, resources)
    texts = {name: description[name] for name in ("name", "manufacturer", "model")} | {
        "node": node,
        "objects": objects,
        ONLINE: device.availability.state is State.ONLINE,
    }
    return _pack(_said(urn(device.id), texts, now), f"{urn(device.id)}/")


def said(records: Iterable[Record]) -> str:
    """What a description says, whenever it was made and its device was last heard."""
    return repr([(r.name, r.value) for r in records if not r.name.endswith("/last_seen")])


def gateway_entry(
    gateway: str, node: str, address: str, devices: int, *, online: bool, now: float | None
) -> Pack:
    """The gateway's own item in the directory; refreshed, so that its age shows a dead gateway."""
    texts: dict[str, Value | None] = {
        "node": node,
        ONLINE: online,
        "last_seen": _rounded(now),
        "devices": devices,
        ACCOUNT: address,
    }
    return _pack(_said(gateway, texts, now), f"{gateway}/")


def _description(device: Device, resources: Sequence[Resource]) -> dict[str, Value | None]:
    known = {r.path: r.value for r in resources}
    return {
        "name": device.name or None,
        "prefix": device.prefix,
        "adapter": device.adapter,
        **{name: known.get(path) for name, path in _DESCRIPTION.items()},
    }


def _rounded(at: float | None) -> float | None:
    """Unix seconds to the millisecond, as all times are written."""
    return None if at is None else round(at, 3)


def _said(name: str, texts: dict[str, Value | None], now: float | None) -> list[Record]:
    return [
        Record(f"{name}/{label}", value, None, now)
        for label, value in texts.items()
        if value is not None
    ]


def _pack(records: Sequence[Record], base: str) -> Pack:
    """As many of the records as SenML and the limit allow: the longest ones are left out first."""
    try:
        text = to_xml(records, base)
    except EncodeError:
        return _fitting(records, base)
    if len(text.encode()) > MAX_PACK_BYTES:
        return _fitting(records, base)
    return Pack(records, base, text)


def _fitting(records: Sequence[Record], base: str) -> Pack:
    lengths = {record.name: _length(record) for record in records}
    kept = [record for record in records if lengths[record.name]]
    text = to_xml(kept, base)
    while (excess := len(text.encode()) - MAX_PACK_BYTES) > 0:
        longest = sorted(kept, key=lambda record: lengths[record.name], reverse=True)
        dropped: set[str] = set()
        for record in longest:
            if excess > 0:
                dropped.add(record.name)
                excess -= max(1, lengths[record.name] - len(base) - _FRAME_LENGTH)
        kept = [record for record in kept if record.name not in dropped]
        text = to_xml(kept, base)
    written = {record.name for record in kept}
    omitted = tuple(name for name in lengths if name not in written)
    return Pack(kept, base, text, omitted)


def _length(record: Record) -> int:
    """The bytes of a pack with this record alone; 0 if SenML cannot express it."""
    try:
        return len(to_xml([record]).encode())
    except EncodeError:
        return 0

"""Published items as sensor data of the dialect, for subscribers that read nothing else.

Values get the fields' names that requests know; what is said of a device otherwise (`online`,
`manufacturer`, ...) keeps its label. Reads the port; knows neither nodes nor sessions.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable
from dataclasses import replace

from adapters.xmpp.formats import records
from adapters.xmpp.iot import dialect, readout
from adapters.xmpp.iot.fields import Field, fields
from adapters.xmpp.iot.readout import Node, Query
from adapters.xmpp.payload import Pack
from adapters.xmpp.xmltext import text_of
from gateway.errors import InvalidValue
from gateway.formats.senml import Record
from gateway.formats.text import to_text
from gateway.model import GATEWAY, DeviceId, Path, Value, eui64
from gateway.objects.registry import coerce
from gateway.ports import NorthPort

_URN = "urn:dev:mac:"


class Publication:
    """The format `nf-sd`, under one of the dialect's roots; `gateway` is the gateway's name."""

    def __init__(self, port: NorthPort, root: str, gateway: str) -> None:
        self.namespace = f"{root}:{dialect.SENSOR_DATA}"
        self._port = port
        self._gateway = gateway
        self._devices: dict[str, DeviceId] = {}

    def encode(self, item_id: str, pack: Pack) -> str:
        """The response that holds what a SenML pack says of one device, or of the gateway."""
        said = records(pack.xml)
        name = said[0].name.removeprefix(_URN).partition("/")[0] if said else ""
        device = self._device(name)
        query = Query(item_id, self.namespace, ())
        known = {str(f.resource.path): f for f in self._fields(device)} if device else {}
        values: list[Field] = []
        labels: list[Record] = []
        for record in said:
            path = record.name.removeprefix(_URN).removeprefix(name)
            if field := _with(known.get(path), record):
                values.append(replace(field, category="h") if pack.past else field)
            elif not _is_path(path):
                labels.append(record)
        doubtful = self._port.device_by_id(device) is None if device else False
        id = DeviceId(name) if device in {None, GATEWAY} else device
        answer = readout.response(query, [(Node(id, (), doubtful), values)])
        for record in labels:
            self._add(answer[0], record)
        return text_of(answer)

    def _add(self, node: ET.Element, record: Record) -> None:
        space, value = self.namespace, record.value
        at = dialect.moment_text(record.time or 0.0)
        stamp = next((ts for ts in node if ts.get("v") == at), None)
        if stamp is None:
            stamp = ET.SubElement(node, f"{{{space}}}ts", {"v": at})
        kind = "b" if isinstance(value, bool) else "q" if isinstance(value, int | float) else "s"
        text = str(value).lower() if isinstance(value, bool) else to_text(_present(value))
        label = record.name.rpartition("/")[2]
        attributes = {"n": label, "s": "true", "ar": "true", "v": text}
        attributes |= {"u": record.unit} if record.unit else {}
        ET.SubElement(stamp, f"{{{space}}}{kind}", attributes)

    def _device(self, digits: str) -> DeviceId | None:
        """The device of an EUI-64, or of the gateway's name; None if it is not there any more."""
        if digits == self._gateway:
            return GATEWAY
        if digits not in self._devices:
            self._devices |= {_digits(device.id): device.id for device in self._port.devices()}
        return self._devices.get(digits)

    def _fields(self, device: DeviceId) -> Iterable[Field]:
        port = self._port
        resources = port.resources(device)
        return fields(resources, port.registry, lambda path: port.writable(device, path))


def _with(field: Field | None, record: Record) -> Field | None:
    """A field with the record's value and time instead of the present ones."""
    if field is None or record.value is None:
        return None
    try:
        value = coerce(field.definition, record.value)
    except InvalidValue:
        return None
    resource = replace(field.resource, value=value, at=record.time or field.resource.at)
    return replace(field, resource=resource)


def _is_path(text: str) -> bool:
    try:
        return len(Path.parse(text)) > 0
    except ValueError:
        return False


def _digits(device: DeviceId) -> str:
    try:
        return eui64(device)
    except ValueError:
        return ""


def _present(value: Value | None) -> Value:
    return "" if value is None else value

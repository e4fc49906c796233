"""Sensor data by request: what a `<req/>` asks for, and the `<resp/>` that answers it. Pure.

https://neuro-foundation.io/SensorData.md and SensorDataRequestResponse.md.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from adapters.xmpp.errors import StanzaError
from adapters.xmpp.iot import dialect
from adapters.xmpp.iot.dialect import SENSOR_DATA
from adapters.xmpp.iot.fields import Field
from gateway.errors import EncodeError
from gateway.events import Resource
from gateway.formats.text import to_text
from gateway.model import DeviceId, Value

CATEGORIES = ("m", "p", "s", "c", "i", "h")

MAX_NAMES = 200
"""Field names that one request may list."""

MAX_RESPONSE_LENGTH = 64_000
"""Characters of one `<resp/>`: servers end the connection at about 256 KiB a stanza."""

MAX_VALUE_LENGTH = 16_000
"""Of one field: longer texts are no measurements."""

_MARKUP_LENGTH = 150
"""What XML adds to name, unit and value of a field."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked for; no categories, or no names, stand for all of them.

    `namespace` is the one of sensor data to answer in; `since` and `until` are Unix seconds.
    """

    id: str
    namespace: str
    nodes: tuple[str, ...]
    categories: frozenset[str] = frozenset()
    names: frozenset[str] = frozenset()
    since: float | None = None
    until: float | None = None
    past: bool = False
    """Whether the journal is asked, too: by `h`, or by `all` with `from`."""

    def lists(self, field: Field) -> bool:
        """Whether a field is among those named."""
        return not self.names or field.name in self.names

    def wants(self, field: Field) -> bool:
        """Whether a field with its present value is asked for."""
        at, value = field.resource.at, field.resource.value
        return (
            value is not None
            and (not self.categories or field.category in self.categories)
            and self.lists(field)
            and (self.since is None or at >= self.since)
            and (self.until is None or at <= self.until)
        )


@dataclass(frozen=True, slots=True)
class Node:
    """A device's fields; `doubtful` if the device cannot be reached, so that they may be old."""

    id: DeviceId
    fields: tuple[Field, ...]
    doubtful: bool


def parse(element: ET.Element, now: float) -> Query:
    """The query of a `<req/>` or `<subscribe/>`; StanzaError if it breaks the schema."""
    if "when" in element.attrib and dialect.moment(element.get("when", "")) > now:
        raise StanzaError("feature-not-implemented", "cancel", "readouts cannot be scheduled here")
    space = dialect.namespace(element)
    names = [f.get("n", "") for f in element.findall(f"{{{space}}}f")]
    if len(names) > MAX_NAMES:
        raise dialect.malformed(f"at most {MAX_NAMES} field names at a time")
    everything = dialect.truth(element.get("all", "false"))
    flags = dialect.flags(element, CATEGORIES)
    return Query(
        id=dialect.identity(element),
        namespace=dialect.sibling(space, SENSOR_DATA),
        nodes=dialect.nodes(element),
        categories=frozenset() if everything else flags,
        names=frozenset(names),
        since=_moment(element, "from"),
        until=_moment(element, "to"),
        past="h" in flags or (everything and "from" in element.attrib),
    )


_Part = Sequence[tuple[Node, list[Field]]]


def responses(query: Query, nodes: Iterable[Node]) -> Iterator[ET.Element]:
    """The answer, in as many parts as stanzas need; at least one. Nodes are taken when needed."""
    parts = _parts(query, nodes)
    part = next(parts, None)
    while part is not None:
        following = next(parts, None)
        yield response(query, part, more=following is not None)
        part = following


def notice(namespace: str, name: str, id: str) -> ET.Element:
    """`accepted`, `started` or `done`."""
    return ET.Element(f"{{{namespace}}}{name}", {"id": id})


def _parts(query: Query, nodes: Iterable[Node]) -> Iterator[_Part]:
    part: list[tuple[Node, list[Field]]] = []
    length = 0
    for node in nodes:
        part.append((node, []))
        length += _MARKUP_LENGTH
        for field in filter(query.wants, node.fields):
            length += _length(field)
            if length > MAX_RESPONSE_LENGTH:
                yield part
                part, length = [(node, [])], _length(field)
            part[-1][1].append(field)
    yield part


def response(query: Query, part: _Part, *, more: bool = False) -> ET.Element:
    """One `<resp/>`: nodes with those of their fields that are to be in it."""
    root = notice(query.namespace, "resp", query.id)
    if more:
        root.set("more", "true")
    for node, shown in part:
        element = ET.SubElement(root, f"{{{query.namespace}}}nd", {"id": node.id})
        times: dict[float, list[Field]] = defaultdict(list)
        for field in shown:
            times[round(field.resource.at, 3)].append(field)
        for at in sorted(times):
            stamp = {"v": dialect.moment_text(at)}
            moment = ET.SubElement(element, f"{{{query.namespace}}}ts", stamp)
            moment.extend(_field(query.namespace, f, doubtful=node.doubtful) for f in times[at])
    return root


def _field(namespace: str, field: Field, *, doubtful: bool) -> ET.Element:
    text = _text(field.resource, field.kind)
    if text is None:
        error = ET.Element(f"{{{namespace}}}err")
        error.text = f"{field.name}: the value is too long"
        return error
    attributes = {"n": field.name, field.category: "true", "ar": "true", "v": text}
    attributes |= {"u": field.unit} if field.unit and field.kind == "q" else {}
    attributes |= {"w": "true"} if doubtful or field.resource.restored else {}
    attributes |= {"ctr": "true"} if field.controllable else {}
    element = ET.Element(f"{{{namespace}}}{field.kind}", attributes)
    ET.SubElement(element, f"{{{namespace}}}x", {"path": str(field.resource.path)[1:]})
    return element


def _text(resource: Resource, kind: str) -> str | None:
    """A value as XML Schema writes its kind; None if no field can hold it."""
    value = resource.value
    try:
        match value:
            case None:
                return ""
            case bool():
                return "true" if value else "false"
            case int() if kind == "dt":
                return dialect.moment_text(value)
            case int() if not -(2**63) <= value < 2**63:
                return None
            case _:
                text = to_text(value)
    except (EncodeError, ValueError, OverflowError, OSError):
        return None
    return text if len(text) <= MAX_VALUE_LENGTH else None


def _length(field: Field) -> int:
    value: Value | None = field.resource.value
    size = min(len(value), MAX_VALUE_LENGTH) if isinstance(value, str | bytes) else 24
    return _MARKUP_LENGTH + len(field.name) + len(field.unit) + 6 * size


def _moment(element: ET.Element, name: str) -> float | None:
    text = element.get(name)
    return None if text is None else dialect.moment(text)

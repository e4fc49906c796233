"""Control by request: what a `<set/>` sets, and the form of what can be set. Pure.

https://neuro-foundation.io/ControlParameters.md; parameters are fields that are controllable.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from adapters.xmpp.errors import StanzaError
from adapters.xmpp.forms import form, value_field
from adapters.xmpp.iot import dialect
from adapters.xmpp.iot.fields import Field
from adapters.xmpp.stanzas import FORM, form_values
from gateway.errors import InvalidValue
from gateway.formats.text import from_text, to_text
from gateway.model import ResourceType, Value
from gateway.objects.registry import ResourceDefinition, coerce

LAYOUT = "http://jabber.org/protocol/xdata-layout"
DYNAMIC = "urn:xmpp:xdata:dynamic"

KINDS = frozenset({"b", "cl", "d", "db", "dr", "dt", "e", "i", "l", "s", "t"})
FORM_KIND = ""
"""The kind of a parameter that came in a form: text, to be read as its definition says."""

MAX_PARAMETERS = 100
"""Of one request: more than any device has."""

_ACCEPTED: Mapping[ResourceType, frozenset[str]] = {
    ResourceType.BOOLEAN: frozenset({"b"}),
    ResourceType.FLOAT: frozenset({"db", "i", "l"}),
    ResourceType.INTEGER: frozenset({"db", "i", "l"}),
    ResourceType.UNSIGNED: frozenset({"db", "i", "l"}),
    ResourceType.TIME: frozenset({"dt", "i", "l"}),
    ResourceType.STRING: frozenset({"s", "e", "cl"}),
    ResourceType.CORELNK: frozenset({"s"}),
    ResourceType.OPAQUE: frozenset({"s"}),
    ResourceType.OBJLINK: frozenset({"s"}),
    ResourceType.NONE: frozenset(),
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """A value to be set, as it was written; `kind` is its element's name."""

    name: str
    kind: str
    text: str


def parse_set(element: ET.Element) -> tuple[tuple[str, ...], list[Parameter]]:
    """Nodes and parameters of a `<set/>`; StanzaError if it breaks the schema."""
    space = dialect.namespace(element)
    found: list[Parameter] = []
    for child in element:
        kind = child.tag.removeprefix(f"{{{space}}}")
        if child.tag == f"{{{FORM}}}x":
            values = form_values(child)
            found += [Parameter(n, FORM_KIND, v) for n, v in values.items() if n != "FORM_TYPE"]
        elif kind in KINDS:
            found.append(Parameter(child.get("n", ""), kind, child.get("v", "")))
        elif kind != "nd":
            raise dialect.malformed(f"there is no parameter of the kind {kind}")
    if not 0 < len(found) <= MAX_PARAMETERS:
        raise dialect.malformed(f"1 to {MAX_PARAMETERS} parameters are needed")
    return dialect.nodes(element), found


def value(parameter: Parameter, definition: ResourceDefinition) -> Value:
    """What a parameter sets; InvalidValue if it has the wrong type or is out of range."""
    wanted, text = definition.type, parameter.text
    if parameter.kind not in {FORM_KIND, *_ACCEPTED[wanted]}:
        raise InvalidValue(f"{definition.name} is not set by <{parameter.kind}/>")
    if wanted is ResourceType.BOOLEAN:
        read: Value = _truth(text)
    elif wanted is ResourceType.TIME and not text.lstrip("-").isdecimal():
        read = _seconds(text)
    elif parameter.kind == "db":
        read = from_text(text, ResourceType.FLOAT)
    else:
        read = from_text(text, wanted)
    return coerce(definition, read)


def refusal(namespace: str, name: str, text: str) -> StanzaError:
    """The answer to a parameter that cannot be set (`paramError`)."""
    detail = ET.Element(f"{{{namespace}}}paramError", {"var": name})
    detail.text = text
    return StanzaError("bad-request", "modify", text, detail)


def response(namespace: str, nodes: Iterable[str], names: Iterable[str]) -> ET.Element:
    """Says which parameters of which nodes were set."""
    root = ET.Element(f"{{{namespace}}}resp")
    for node in nodes:
        ET.SubElement(root, f"{{{namespace}}}nd", {"id": node})
    for name in names:
        ET.SubElement(root, f"{{{namespace}}}p", {"n": name})
    return root


def control_form(title: str, nodes: Sequence[Sequence[Field]]) -> ET.Element:
    """The form of the parameters that all nodes have, with the first node's values.

    A field whose values differ says so (`notSame`, XEP-0336).
    """
    first, *others = [{f.name: f for f in fields if f.controllable} for fields in nodes]
    common = {n: f for n, f in first.items() if all(n in other for other in others)}
    root = form(
        title,
        [
            replace(value_field(f.definition, _now(f)), var=name, label=name, required=False)
            for name, f in common.items()
        ],
    )
    page = ET.Element(f"{{{LAYOUT}}}page", {"label": title})
    for name in common:
        ET.SubElement(page, f"{{{LAYOUT}}}fieldref", {"var": name})
    root.insert(1, page)
    for field in root.iter(f"{{{FORM}}}field"):
        name = field.get("var", "")
        if len({_now(known[name]) for known in (first, *others)}) > 1:
            ET.SubElement(field, f"{{{DYNAMIC}}}notSame")
    return root


def _now(field: Field) -> str:
    return "" if field.resource.value is None else to_text(field.resource.value)


def _truth(text: str) -> bool:
    if text.strip().lower() not in {"true", "1", "false", "0"}:
        raise InvalidValue(f"{text!r} is not true or false")
    return text.strip().lower() in {"true", "1"}


def _seconds(text: str) -> int:
    try:
        return int(dialect.moment(text))
    except StanzaError as error:
        raise InvalidValue(error.text) from None

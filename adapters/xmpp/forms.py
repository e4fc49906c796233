"""Data forms (XEP-0004) as people are shown them: to be filled in, or as a table. Pure."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from adapters.xmpp.stanzas import FORM, VALIDATE
from gateway.model import ResourceType
from gateway.objects.registry import ResourceDefinition

_DATATYPES = {
    ResourceType.INTEGER: "xs:long",
    ResourceType.UNSIGNED: "xs:nonNegativeInteger",
    ResourceType.TIME: "xs:long",
    ResourceType.FLOAT: "xs:double",
}


MAX_TABLE_LENGTH = 100_000
"""Servers end the connection at about 256 KiB a stanza; non-ASCII text takes two bytes or more."""

MARKUP_LENGTH = 60
"""What XML adds to each cell."""

MAX_OPTIONS = 200
"""Nobody looks through a longer list: the field is a text then."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a form; `options` are values and their labels, `datatype` as in XEP-0122."""

    var: str
    label: str
    type: str = "text-single"
    value: str = ""
    options: Sequence[tuple[str, str]] = ()
    required: bool = True
    datatype: str = ""
    range: tuple[float, float] | None = None


def value_field(definition: ResourceDefinition, value: str) -> Field:
    """The field to set a resource with, `value` being what it is now."""
    if definition.type is ResourceType.BOOLEAN:
        return Field("value", definition.name, "boolean", value)
    datatype = _DATATYPES.get(definition.type, "")
    bounds = definition.range if datatype else None
    return Field("value", definition.name, value=value, datatype=datatype, range=bounds)


def form(title: str, fields: Iterable[Field]) -> ET.Element:
    """A form to be filled in."""
    root = _titled("form", title)
    for field in fields:
        root.append(_field(field))
    return root


def table(title: str, columns: Mapping[str, str], rows: Iterable[Mapping[str, str]]) -> ET.Element:
    """A table: columns by name with their labels, and what each row has in them.

    Rows are left out from where it would be too long for a stanza.
    """
    length = 0
    root = _titled("result", title)
    reported = ET.SubElement(root, f"{{{FORM}}}reported")
    for var, label in columns.items():
        attributes = {"var": var, "label": label, "type": "text-single"}
        ET.SubElement(reported, f"{{{FORM}}}field", attributes)
    for row in rows:
        length += sum(len(row.get(var, "")) + MARKUP_LENGTH for var in columns)
        if length > MAX_TABLE_LENGTH:
            break
        item = ET.SubElement(root, f"{{{FORM}}}item")
        for var in columns:
            field = ET.SubElement(item, f"{{{FORM}}}field", {"var": var})
            ET.SubElement(field, f"{{{FORM}}}value").text = row.get(var, "")
    return root


def _titled(type: str, title: str) -> ET.Element:
    root = ET.Element(f"{{{FORM}}}x", {"type": type})
    ET.SubElement(root, f"{{{FORM}}}title").text = title
    return root


def _field(field: Field) -> ET.Element:
    crowded = len(field.options) > MAX_OPTIONS
    kind = "text-single" if crowded else field.type
    attributes = {"var": field.var, "label": field.label, "type": kind}
    element = ET.Element(f"{{{FORM}}}field", attributes)
    if field.datatype:
        validate = ET.SubElement(element, f"{{{VALIDATE}}}validate", {"datatype": field.datatype})
        if field.range:
            low, high = (format(bound, "g") for bound in field.range)
            ET.SubElement(validate, f"{{{VALIDATE}}}range", {"min": low, "max": high})
    if field.required:
        ET.SubElement(element, f"{{{FORM}}}required")
    if field.value:
        ET.SubElement(element, f"{{{FORM}}}value").text = field.value
    for value, label in () if crowded else field.options:
        option = ET.SubElement(element, f"{{{FORM}}}option", {"label": label})
        ET.SubElement(option, f"{{{FORM}}}value").text = value
    return element

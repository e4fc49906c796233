"""Object definitions in OMA's DDF files (LWM2M.xsd 1.1): read, checked, added to the registry.

Decides what a usable file is; knows nothing of devices and values.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Set
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from xml.sax import SAXException, SAXParseException
from xml.sax.handler import ContentHandler
from xml.sax.xmlreader import AttributesImpl, Locator

import defusedxml.sax
from defusedxml.common import DefusedXmlException

from gateway.errors import DecodeError, reason
from gateway.model import MAX_ID, Operations, ResourceType, printable
from gateway.objects.registry import OPERATIONS, ObjectDefinition, Registry, ResourceDefinition

MAX_FILE_OCTETS = 1 << 20
"""The largest file read; OMA's largest has 30 kB."""

MAX_FILES = 1_000
"""Files read from one folder; the whole OMA registry has about 500."""

_DEPTH = 5
"""LWM2M, Object, Resources, Item, Name."""

_TYPES = {
    "String": ResourceType.STRING,
    "Integer": ResourceType.INTEGER,
    "Unsigned Integer": ResourceType.UNSIGNED,
    "Float": ResourceType.FLOAT,
    "Boolean": ResourceType.BOOLEAN,
    "Opaque": ResourceType.OPAQUE,
    "Time": ResourceType.TIME,
    "Objlnk": ResourceType.OBJLINK,
    "Corelnk": ResourceType.CORELNK,
    "": ResourceType.NONE,
}
_MULTIPLE = {"Multiple": True, "Single": False}
_MANDATORY = {"Mandatory": True, "Optional": False}
_OBJECT = frozenset(
    {"Name", "ObjectID", "ObjectURN", "MultipleInstances", "Mandatory", "Resources"}
)
_OBJECT_TOO = frozenset({"Description1", "LWM2MVersion", "ObjectVersion", "Description2"})
_ITEM = frozenset(
    {"Name", "Operations", "MultipleInstances", "Mandatory", "Type", "RangeEnumeration", "Units"}
)
_ITEM_TOO = frozenset({"Description"})
_ID = re.compile(r"[0-9]{1,5}")
_VERSION = re.compile(r"[0-9]{1,5}\.[0-9]{1,5}")
_URN = re.compile(r"urn:oma:lwm2m:(?:oma|ext|x):([0-9]+)(?::([0-9.]+))?")
_RANGE = re.compile(r"(-?[0-9]+(?:\.[0-9]+)?)\.\.(-?[0-9]+(?:\.[0-9]+)?)")

_Choice = TypeVar("_Choice")

log = logging.getLogger(__name__)


def parse_ddf(data: bytes) -> ObjectDefinition:
    """The one object that a DDF file defines; DecodeError says the line and the reason."""
    if len(data) > MAX_FILE_OCTETS:
        raise DecodeError(f"larger than {MAX_FILE_OCTETS} octets")
    root = _parse(data)
    if root.tag != "LWM2M":
        raise root.fault(f"expected LWM2M, not {printable(root.tag)}")
    objects = [child for child in root.children if child.tag == "Object"]
    if len(objects) != 1 or len(root.children) != 1:
        raise root.fault("LWM2M must hold one Object and nothing else")
    return _object(objects[0])


def load_folder(folder: Path, registry: Registry) -> list[str]:
    """Adds the objects of all `*.xml` files in `folder`; gives one line for each that is bad.

    A bad file is set aside: its line here names it, the line and the reason; all else goes on.
    Of two files with the same object the first by name counts. Reads files; call it at start.
    """
    faults: list[str] = []
    origin: dict[int, str] = {}
    try:
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".xml")
    except OSError as error:
        files = []
        faults = [
            f"{folder} cannot be read: {reason(error)}; mkdir {folder}, or change [gateway] "
            "definitions"
        ]
    if len(files) > MAX_FILES:
        faults.append(
            f"{folder}: only the first {MAX_FILES} of {len(files)} files are read; take away what "
            "no device here has, or name a smaller folder with [gateway] definitions"
        )
    for path in files[:MAX_FILES]:
        try:
            definition = parse_ddf(_read(path))
            if definition.id in origin:
                first = origin[definition.id]
                raise DecodeError(f"object {definition.id} is defined by {first} already")
        except DecodeError as error:
            faults.append(f"{path} is set aside: {error}")
        else:
            origin[definition.id] = path.name
            registry.add(definition)
    if origin:
        log.info("%s: %d object definitions added", folder, len(origin))
    return faults


def _read(path: Path) -> bytes:
    try:
        if not path.is_file():  # opening a FIFO would wait for its writer
            raise DecodeError("not a regular file")
        with path.open("rb") as file:
            return file.read(MAX_FILE_OCTETS + 1)
    except OSError as error:
        raise DecodeError(f"cannot be read: {reason(error)}") from error


@dataclass(slots=True)
class _Element:
    tag: str
    line: int
    attributes: dict[str, str] = field(default_factory=dict)
    children: list[_Element] = field(default_factory=list)
    pieces: list[str] = field(default_factory=list)

    @property
    def text(self) -> str:
        return "".join(self.pieces).strip()

    def fault(self, reason: str) -> DecodeError:
        return DecodeError(f"line {self.line}: {reason}")

    def parts(self, needed: Set[str], allowed: Set[str]) -> dict[str, _Element]:
        """The children by tag: all of `needed`, perhaps `allowed`, each once, nothing else."""
        parts: dict[str, _Element] = {}
        for child in self.children:
            if child.tag not in needed and child.tag not in allowed:
                raise child.fault(f"{self.tag} cannot hold {printable(child.tag)}")
            if parts.setdefault(child.tag, child) is not child:
                raise child.fault(f"a second {child.tag}")
        if missing := sorted(needed - parts.keys()):
            raise self.fault(f"{self.tag} lacks {', '.join(missing)}")
        return parts


class _TreeBuilder(ContentHandler):
    """Builds the elements with their lines, which ElementTree does not keep."""

    def __init__(self) -> None:
        super().__init__()
        self.top = _Element("", 1)
        self._open = [self.top]
        self._locator: Locator

    def setDocumentLocator(self, locator: Locator) -> None:  # noqa: N802  (SAX's name)
        self._locator = locator

    def startElement(self, name: str, attrs: AttributesImpl) -> None:  # noqa: N802  (SAX's name)
        element = _Element(name, self._locator.getLineNumber() or 0, dict(attrs.items()))
        if len(self._open) > _DEPTH:
            raise element.fault("nested too deeply")
        self._open[-1].children.append(element)
        self._open.append(element)

    def endElement(self, name: str) -> None:  # noqa: N802  (SAX's name)
        self._open.pop()

    def characters(self, content: str) -> None:
        self._open[-1].pieces.append(content)


def _parse(data: bytes) -> _Element:
    builder = _TreeBuilder()
    try:
        defusedxml.sax.parseString(data, builder, forbid_dtd=True)
    except DefusedXmlException as error:
        raise DecodeError("a document type or entities are refused") from error
    except SAXParseException as error:
        raise DecodeError(f"line {error.getLineNumber()}: not XML: {error.getMessage()}") from error
    except (SAXException, ValueError, LookupError) as error:
        raise DecodeError(f"line 1: not XML: {error}") from error
    return builder.top.children[0]


def _object(element: _Element) -> ObjectDefinition:
    parts = element.parts(_OBJECT, _OBJECT_TOO)
    id = _id(parts["ObjectID"], parts["ObjectID"].text)
    version = "1.0"
    if (said := parts.get("ObjectVersion")) and said.text:
        version = said.text
        if not _VERSION.fullmatch(version):
            raise said.fault(f"{printable(version)!r} is not a version like 1.0")
    urn = parts["ObjectURN"].text
    match = _URN.fullmatch(urn)
    if not match or int(match[1]) != id or (match[2] or "1.0") != version:
        raise parts["ObjectURN"].fault(
            f"{printable(urn)!r} is not the URN of object {id} in version {version}"
        )
    _choice(parts["Mandatory"], _MANDATORY)
    resources: dict[int, ResourceDefinition] = {}
    for item in parts["Resources"].children:
        if item.tag != "Item":
            raise item.fault(f"Resources cannot hold {printable(item.tag)}")
        resource = _resource(item)
        if resources.setdefault(resource.id, resource) is not resource:
            raise item.fault(f"a second resource {resource.id}")
    if not resources:
        raise parts["Resources"].fault("no resources")
    return ObjectDefinition(
        id,
        _name(parts["Name"]),
        urn,
        version,
        _choice(parts["MultipleInstances"], _MULTIPLE),
        dict(sorted(resources.items())),
    )


def _resource(item: _Element) -> ResourceDefinition:
    id = _id(item, item.attributes.get("ID", ""))
    parts = item.parts(_ITEM, _ITEM_TOO)
    operations = _choice(parts["Operations"], OPERATIONS)
    type = _choice(parts["Type"], _TYPES)
    multiple = _choice(parts["MultipleInstances"], _MULTIPLE)
    executable = operations is Operations.EXECUTE
    if executable != (type is ResourceType.NONE):
        raise parts["Type"].fault(
            f"resource {id}: executables have no type, and all others have one"
        )
    if executable and multiple:
        raise parts["MultipleInstances"].fault(f"resource {id}: executables are Single")
    return ResourceDefinition(
        id,
        _name(parts["Name"]),
        operations,
        type,
        multiple,
        _choice(parts["Mandatory"], _MANDATORY),
        _range(parts["RangeEnumeration"]),
        parts["Units"].text,
    )


def _id(element: _Element, text: str) -> int:
    if not _ID.fullmatch(text) or int(text) > MAX_ID:
        raise element.fault(f"{printable(text)!r} is not an id from 0 to {MAX_ID}")
    return int(text)


def _name(element: _Element) -> str:
    if name := element.text:
        return name
    raise element.fault("an empty name")


def _choice(element: _Element, table: Mapping[str, _Choice]) -> _Choice:
    try:
        return table[element.text]
    except KeyError:
        wanted = ", ".join(word or "nothing" for word in table)
        said = printable(element.text)
        raise element.fault(f"{element.tag} must be one of {wanted}; not {said!r}") from None


def _range(element: _Element) -> tuple[float, float] | None:
    """Bounds from `a..b`; the other things that authors write here are prose."""
    match = _RANGE.fullmatch(element.text)
    if not match:
        return None
    low, high = (float(bound) if "." in bound else int(bound) for bound in match.groups())
    if low > high:
        raise element.fault(f"the range {match[0]} is empty")
    return low, high

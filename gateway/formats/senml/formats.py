"""SenML packs in JSON, CBOR and XML: how fields are written and read, not what they mean."""

from __future__ import annotations

import base64
import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from typing import assert_never
from xml.sax.saxutils import quoteattr

import defusedxml.ElementTree
from defusedxml.common import DefusedXmlException

from gateway.errors import DecodeError, EncodeError
from gateway.formats import cbor
from gateway.formats.senml.records import NUMBERS, Field, Pack, Record, resolved, unresolved
from gateway.model import printable

NAMESPACE = "urn:ietf:params:xml:ns:senml"

_CBOR_KEYS = {
    "bver": -1, "bn": -2, "bt": -3, "bu": -4, "bv": -5, "bs": -6,
    "n": 0, "u": 1, "v": 2, "vs": 3, "vb": 4, "s": 5, "t": 6, "ut": 7, "vd": 8,
}  # fmt: skip
_CBOR_LABELS = {key: label for label, key in _CBOR_KEYS.items()}
_BASE64URL = re.compile(r"[A-Za-z0-9_-]*")
_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_DOUBLE = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")
_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PLAIN = re.compile(r"[A-Za-z0-9:./_%-]*")
"""Names, numbers and most units: there is nothing to escape in them."""


def to_json(records: Iterable[Record], base_name: str = "") -> bytes:
    """The pack as `application/senml+json`; EncodeError if SenML cannot express it.

    `base_name` begins every record's name and is written once. Times have three decimals; one
    before mid-1978 is that of a clock not yet set, and is left out.
    """
    pack = [
        {label: _base64url(v) if isinstance(v, bytes) else v for label, v in fields.items()}
        for fields in unresolved(records, base_name)
    ]
    try:
        return json.dumps(pack, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError as error:
        raise EncodeError(f"text that is not Unicode: {error.reason}") from error


def to_cbor(records: Iterable[Record], base_name: str = "") -> bytes:
    """The pack as `application/senml+cbor`; otherwise as `to_json`."""
    pack = [
        {_CBOR_KEYS.get(label, label): v for label, v in fields.items()}
        for fields in unresolved(records, base_name)
    ]
    return cbor.encode(pack)


def to_xml(records: Iterable[Record], base_name: str = "") -> str:
    """The pack as `application/senml+xml`; otherwise as `to_json`.

    Most control characters cannot be written in XML at all: EncodeError.
    """
    parts = [f"<sensml xmlns='{NAMESPACE}'>"]
    for fields in unresolved(records, base_name):
        attributes = [f" {label}={_quoted(_xml_text(v))}" for label, v in fields.items()]
        parts.append(f"<senml{''.join(attributes)}/>")
    return "".join([*parts, "</sensml>"])


def from_json(payload: bytes, now: float, pack: Pack = Pack.VALUES) -> list[Record]:
    """The resolved records of `application/senml+json`; relative times count from `now`.

    DecodeError names the record and what is wrong with it.
    """
    try:
        parsed = json.loads(
            payload.decode(), object_pairs_hook=_json_object, parse_constant=_json_constant
        )
    except RecursionError:
        raise DecodeError("the JSON is nested too deeply") from None
    except ValueError as error:
        raise DecodeError(f"not JSON: {error}") from error
    return resolved(parsed, _json_record, now, pack)


def from_cbor(payload: bytes, now: float, pack: Pack = Pack.VALUES) -> list[Record]:
    """The resolved records of `application/senml+cbor`; otherwise as `from_json`."""
    return resolved(cbor.decode(payload), _cbor_record, now, pack)


def from_xml(payload: bytes | str, now: float, pack: Pack = Pack.VALUES) -> list[Record]:
    """The resolved records of `application/senml+xml`; otherwise as `from_json`."""
    try:
        root = defusedxml.ElementTree.fromstring(payload, forbid_dtd=True)
    except DefusedXmlException as error:
        raise DecodeError("XML with a document type or entities is refused") from error
    except (ET.ParseError, ValueError, LookupError) as error:
        raise DecodeError(f"not XML: {error}") from error
    if root.tag != f"{{{NAMESPACE}}}sensml":
        raise DecodeError(f"expected sensml of {NAMESPACE}, not {printable(root.tag)}")
    return resolved(list(root), _xml_record, now, pack)


def _xml_text(value: Field) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case bytes():
            return _base64url(value)
        case str():
            if bad := _NOT_XML.search(value):
                raise EncodeError(f"XML cannot hold the character U+{ord(bad[0]):04X}")
            return value
        case _:
            assert_never(value)


def _quoted(text: str) -> str:
    return f'"{text}"' if _PLAIN.fullmatch(text) else quoteattr(text)


def _base64url(octets: bytes) -> str:
    return base64.urlsafe_b64encode(octets).rstrip(b"=").decode()


def _json_object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        labels = [label for label, _ in pairs]
        twice = next(label for label in labels if labels.count(label) > 1)
        raise DecodeError(f"{printable(twice)!r} stands twice in one object")
    return fields


def _json_constant(name: str) -> None:
    raise DecodeError(f"{name} is not JSON")


def _json_record(item: object) -> dict[str, object]:
    if not isinstance(item, dict):
        raise DecodeError("must be an object")
    if isinstance(text := item.get("vd"), str):
        return item | {"vd": _octets(text)}
    return item


def _cbor_record(item: object) -> dict[str, object]:
    if not isinstance(item, dict):
        raise DecodeError("must be a map")
    fields: dict[str, object] = {}
    for key, content in item.items():
        if type(key) is int:
            fields[_CBOR_LABELS.get(key, str(key))] = content
        elif not isinstance(key, str):
            raise DecodeError("a label must be an integer or a text")
        elif key in _CBOR_KEYS:
            raise DecodeError(f"the label {key!r} must be written as {_CBOR_KEYS[key]}")
        else:
            fields[key] = content
    return fields


def _xml_record(item: object) -> dict[str, object]:
    if not isinstance(item, ET.Element) or item.tag != f"{{{NAMESPACE}}}senml":
        raise DecodeError("must be a senml element")
    fields: dict[str, object] = dict(item.attrib)
    for label, text in item.attrib.items():
        if label in NUMBERS:
            fields[label] = _xml_number(text.strip(" \t\r\n"))
        elif label == "vb":
            fields[label] = {"true": True, "1": True, "false": False, "0": False}.get(text)
        elif label == "vd":
            fields[label] = _octets(text)
    return fields


def _xml_number(text: str) -> int | float | None:
    if _INTEGER.fullmatch(text):
        return int(text)
    return float(text) if _DOUBLE.fullmatch(text) else None


def _octets(text: str) -> bytes:
    if not _BASE64URL.fullmatch(text) or len(text) % 4 == 1:
        raise DecodeError("'vd' must be base64url without padding")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))

"""LwM2M 1.0's JSON (11543, OMA LwM2M Core 7.5.6.1): text to values by path and back. Pure.

A string may be octets in base64: the types are given by whoever decodes.
"""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Mapping
from typing import Any, assert_never

from gateway.errors import DecodeError, EncodeError
from gateway.formats.cbor import INT_RANGE
from gateway.formats.tlv import TypeOf
from gateway.model import ObjLink, Path, ResourceType, Value, printable

_LABELS = ("v", "bv", "sv", "ov")


def from_lwm2m_json(payload: bytes, base: Path, type_of: TypeOf) -> dict[Path, Value]:
    """The newest values of a payload that was asked for with `base`; DecodeError otherwise.

    Where `bn` is missing, names count from `base`.
    """
    try:
        pack = json.loads(payload, parse_constant=_constant)
    except (ValueError, RecursionError) as error:
        raise DecodeError(f"not JSON: {error}") from error
    if not isinstance(pack, dict) or not isinstance(pack.get("e"), list):
        raise DecodeError("expected an object with an array e")
    start = pack.get("bn", f"{base}/")
    if not isinstance(start, str):
        raise DecodeError("bn must be a text")
    values: dict[Path, Value] = {}
    newest: dict[Path, float] = {}
    for entry in pack["e"]:
        if not isinstance(entry, dict):
            raise DecodeError("an entry must be an object")
        path = _path(start, entry.get("n", ""), base)
        at = entry.get("t", 0)
        if isinstance(at, bool) or not isinstance(at, int | float):
            raise DecodeError(f"{path}: t must be a number")
        # Of a history only the end counts here.
        if at >= newest.get(path, -math.inf):
            newest[path] = at
            values[path] = _value(path, entry, type_of(path.upto(3)) if len(path) > 2 else None)
    return values


def to_lwm2m_json(values: Mapping[Path, Value], base: Path) -> bytes:
    """The payload for the path `base`; every value's path lies below it, or is it."""
    start = f"{base}/" if len(base) < 3 else str(base)
    entries = []
    for path, value in sorted(values.items()):
        name = str(path).removeprefix(start).removeprefix("/")
        entries.append(({"n": name} if name else {}) | _labelled(value))
    pack = {"bn": start, "e": entries}
    return json.dumps(pack, ensure_ascii=False, separators=(",", ":")).encode()


def _path(start: str, name: object, base: Path) -> Path:
    if not isinstance(name, str):
        raise DecodeError("n must be a text")
    # Where the slash stands between bn and n does not matter.
    text = f"{start.rstrip('/')}/{name.lstrip('/')}".rstrip("/")
    try:
        path = Path.parse(text)
    except ValueError as error:
        raise DecodeError(str(error)) from None
    if len(path) < 3 or not base.covers(path):
        raise DecodeError(f"{path} is no resource of {base}")
    return path


def _value(path: Path, entry: Mapping[str, Any], type: ResourceType | None) -> Value:
    labels = [label for label in _LABELS if label in entry]
    if len(labels) != 1:
        raise DecodeError(f"{path}: expected one of v, bv, sv, ov")
    match labels[0], entry[labels[0]]:
        case "bv", bool(flag):
            return flag
        case "v", int(number) if not isinstance(number, bool) and number in INT_RANGE:
            return number
        case "v", float(number) if math.isfinite(number):
            return number
        case "sv", str(text):
            return _octets(path, text) if type is ResourceType.OPAQUE else text
        case "ov", str(text):
            try:
                return ObjLink.parse(text)
            except ValueError as error:
                raise DecodeError(f"{path}: {error}") from None
        case label, content:
            raise DecodeError(f"{path}: {label} cannot be {printable(repr(content))}")


def _octets(path: Path, text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except ValueError:
        raise DecodeError(f"{path}: expected base64") from None


def _labelled(value: Value) -> dict[str, Any]:
    match value:
        case bool():
            return {"bv": value}
        case float() if not math.isfinite(value):
            raise EncodeError(f"JSON cannot say {value}")
        case int() | float():
            return {"v": value}
        case str():
            return {"sv": value}
        case bytes():
            return {"sv": base64.b64encode(value).decode()}
        case ObjLink():
            return {"ov": str(value)}
        case _:
            assert_never(value)


def _constant(name: str) -> None:
    raise DecodeError(f"{name} is not JSON")

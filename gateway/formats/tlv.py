"""LwM2M TLV (OMA LwM2M Core 7.5.5): octets to values by path and back. Pure; types are given.

TLV carries no types, so that whoever decodes must say what each resource is.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator, Mapping
from enum import IntEnum
from itertools import groupby
from typing import assert_never

from gateway.errors import DecodeError, EncodeError
from gateway.formats.singles import meant, narrowed
from gateway.model import MAX_ID, ObjLink, Path, ResourceType, Value

TypeOf = Callable[[Path], ResourceType | None]
"""The type of a resource (a path of three ids), None if nothing defines it."""

_LENGTH_IN_TYPE = 8
_MAX_LENGTH = 1 << 24
_INTEGERS = (1, 2, 4, 8)
_FLOATS = {4: ">f", 8: ">d"}


class _Kind(IntEnum):
    OBJECT_INSTANCE = 0
    RESOURCE_INSTANCE = 1
    MULTIPLE_RESOURCE = 2
    RESOURCE = 3


# What may stand in a payload for a path of so many ids, and below each kind.
_TOP = {
    1: {_Kind.OBJECT_INSTANCE},
    2: {_Kind.OBJECT_INSTANCE, _Kind.MULTIPLE_RESOURCE, _Kind.RESOURCE},
    3: {_Kind.MULTIPLE_RESOURCE, _Kind.RESOURCE, _Kind.RESOURCE_INSTANCE},
    4: {_Kind.MULTIPLE_RESOURCE, _Kind.RESOURCE_INSTANCE},
}
_DEPTH = {
    _Kind.OBJECT_INSTANCE: 2,
    _Kind.MULTIPLE_RESOURCE: 3,
    _Kind.RESOURCE: 3,
    _Kind.RESOURCE_INSTANCE: 4,
}


def from_tlv(payload: bytes, base: Path, type_of: TypeOf) -> dict[Path, Value]:
    """The values of a payload that was asked for with the path `base`; DecodeError otherwise.

    What nothing defines comes as octets.
    """
    values: dict[Path, Value] = {}
    for kind, id, content in _entries(payload):
        if kind not in _TOP[len(base)]:
            raise DecodeError(f"{kind.name.lower()} {id} cannot stand in an answer for {base}")
        _place(kind, _below(base, _DEPTH[kind], id), content, type_of, values)
    for path in values:
        if not base.covers(path):
            raise DecodeError(f"{path} is outside of {base}")
    return values


def is_of_instances(payload: bytes) -> bool:
    """Whether a payload for an object names instances; in a Create it need not."""
    return bool(payload) and payload[0] >> 6 == _Kind.OBJECT_INSTANCE


def to_tlv(values: Mapping[Path, Value], base: Path, *, short: bool = False) -> bytes:
    """The payload for the path `base`; every value's path lies below it, or is it.

    Floats are exact, in eight octets where need be. `short` writes four where `from_tlv` reads the
    same number from them: small nodes know no others.
    """
    parts = []
    for instance, of_instance in groupby(sorted(values), key=lambda path: path.upto(2)):
        content = b"".join(
            _resource(resource, {path: values[path] for path in paths}, short)
            for resource, paths in groupby(of_instance, key=lambda path: path.upto(3))
        )
        whole = len(base) == 1
        parts.append(_entry(_Kind.OBJECT_INSTANCE, instance[1], content) if whole else content)
    return b"".join(parts)


def _resource(resource: Path, values: Mapping[Path, Value], short: bool) -> bytes:
    if resource in values:
        return _entry(_Kind.RESOURCE, resource[2], _octets(values[resource], short))
    content = b"".join(
        _entry(_Kind.RESOURCE_INSTANCE, path[3], _octets(value, short))
        for path, value in values.items()
    )
    return _entry(_Kind.MULTIPLE_RESOURCE, resource[2], content)


def _below(base: Path, depth: int, id: int) -> Path:
    """The path of an entry at a depth: the ids of `base` above it, then its own."""
    if len(base) < depth - 1:
        raise DecodeError(f"entry {id} lacks the level above it")
    return Path(*base[: depth - 1], id)


def _place(
    kind: _Kind, path: Path, content: bytes, type_of: TypeOf, values: dict[Path, Value]
) -> None:
    match kind:
        case _Kind.OBJECT_INSTANCE | _Kind.MULTIPLE_RESOURCE:
            is_object = kind is _Kind.OBJECT_INSTANCE
            allowed = _TOP[3] - {_Kind.RESOURCE_INSTANCE} if is_object else _TOP[4] & _LEAF
            for inner, id, octets in _entries(content):
                if inner not in allowed:
                    raise DecodeError(f"{inner.name.lower()} {id} cannot stand within {path}")
                _place(inner, Path(*path, id), octets, type_of, values)
        case _Kind.RESOURCE | _Kind.RESOURCE_INSTANCE:
            if path in values:
                raise DecodeError(f"{path} stands twice")
            try:
                values[path] = _value(content, type_of(path.upto(3)))
            except DecodeError as error:
                raise DecodeError(f"{path}: {error}") from None
        case _:
            assert_never(kind)


_LEAF = {_Kind.RESOURCE_INSTANCE}


def _entries(data: bytes) -> Iterator[tuple[_Kind, int, bytes]]:
    at = 0
    while at < len(data):
        head = data[at]
        id_size, length_size = 1 + (head >> 5 & 1), head >> 3 & 3
        start = at + 1 + id_size + length_size
        if start > len(data):
            raise DecodeError("an entry's header is cut off")
        id = int.from_bytes(data[at + 1 : at + 1 + id_size], "big")
        length = head & 7
        if length_size:
            length = int.from_bytes(data[start - length_size : start], "big")
        at = start + length
        if at > len(data):
            raise DecodeError(f"entry {id} is cut off")
        if id > MAX_ID:
            raise DecodeError(f"{id} is no id")
        yield _Kind(head >> 6), id, data[start:at]


def _entry(kind: _Kind, id: int, content: bytes) -> bytes:
    length = len(content)
    if length >= _MAX_LENGTH:
        raise EncodeError(f"{length} octets are too many for TLV")
    head, wide_id = kind << 6, id > 0xFF
    length_octets = b""
    if length < _LENGTH_IN_TYPE:
        head |= length
    else:
        length_octets = length.to_bytes((length.bit_length() + 7) // 8, "big")
        head |= len(length_octets) << 3
    return bytes((head | wide_id << 5,)) + id.to_bytes(1 + wide_id, "big") + length_octets + content


def _value(content: bytes, type: ResourceType | None) -> Value:
    match type:
        case ResourceType.STRING | ResourceType.CORELNK:
            try:
                return content.decode()
            except UnicodeDecodeError:
                raise DecodeError("the text is not UTF-8") from None
        case ResourceType.INTEGER | ResourceType.TIME | ResourceType.UNSIGNED:
            if len(content) not in _INTEGERS:
                raise DecodeError(f"an integer has 1, 2, 4 or 8 octets, not {len(content)}")
            return int.from_bytes(content, "big", signed=type is not ResourceType.UNSIGNED)
        case ResourceType.FLOAT:
            if len(content) not in _FLOATS:
                raise DecodeError(f"a float has 4 or 8 octets, not {len(content)}")
            number: float = struct.unpack(_FLOATS[len(content)], content)[0]
            if not math.isfinite(number):
                raise DecodeError("the float is no finite number")
            return meant(number) if len(content) == 4 else number
        case ResourceType.BOOLEAN:
            if content not in {b"\0", b"\1"}:
                raise DecodeError("a Boolean is one octet, 0 or 1")
            return content == b"\1"
        case ResourceType.OBJLINK:
            if len(content) != 4:
                raise DecodeError(f"an object link has 4 octets, not {len(content)}")
            return ObjLink(*struct.unpack(">HH", content))
        case ResourceType.OPAQUE | ResourceType.NONE | None:
            return content
        case _:
            assert_never(type)


def _octets(value: Value, short: bool) -> bytes:
    match value:
        case bool():
            return bytes((value,))
        case int():
            return _integer(value)
        case float():
            return _float(value, short)
        case str():
            return value.encode()
        case bytes():
            return value
        case ObjLink():
            return struct.pack(">HH", value.object, value.instance)
        case _:
            assert_never(value)


def _integer(value: int) -> bytes:
    for size in _INTEGERS:
        if -(1 << 8 * size - 1) <= value < 1 << 8 * size - 1:
            return value.to_bytes(size, "big", signed=True)
    if 0 <= value < 1 << 64:
        return value.to_bytes(8, "big")
    raise EncodeError(f"{value} is wider than 64 bits")


def _float(value: float, short: bool) -> bytes:
    try:
        single = narrowed(value)
    except OverflowError:
        return struct.pack(">d", value)
    fits = meant(single) == value and (short or single == value)
    return struct.pack(">f" if fits else ">d", value)

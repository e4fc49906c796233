"""How each content format writes resources and reads values; knows no request and no tree."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from adapters.coap.messages import Code, Format, Refusal
from adapters.coap.tree import parse_ids, split
from gateway.errors import DecodeError, NotAllowed
from gateway.formats import cbor, senml
from gateway.formats.lwm2m_cbor import Node, from_lwm2m_cbor, to_lwm2m_cbor
from gateway.formats.lwm2m_json import from_lwm2m_json
from gateway.formats.text import from_text, to_text
from gateway.formats.tlv import TypeOf, from_tlv, is_of_instances, to_tlv
from gateway.model import Path, ResourceType, Value

COMPOSITE = (Format.SENML_JSON, Format.SENML_CBOR, Format.SENML_XML, Format.LWM2M_CBOR)
"""What can show several devices: each name carries its prefix (LwM2M Gateway 9)."""

PACKS = tuple(sorted((*COMPOSITE, Format.TLV)))
"""What can show any part of one device."""

ONE_VALUE = (Format.TEXT, Format.CBOR, *PACKS)
OCTETS = (Format.TEXT, Format.OPAQUE, Format.CBOR, *PACKS)
"""What can show one resource, and one that is opaque."""

_SINGLE = frozenset({Format.TEXT, Format.OPAQUE, Format.CBOR})


@dataclass(frozen=True, slots=True)
class Item:
    """One resource of a device, or of the gateway itself: no prefix. `at` is Unix seconds.

    A value of None, which only a patch has, deletes.
    """

    prefix: str
    path: Path
    value: Value | None
    unit: str | None = None
    at: float | None = None

    @property
    def name(self) -> str:
        """The path as it stands in SenML names."""
        return f"/{self.prefix}{self.path}" if self.prefix else str(self.path)


Place = tuple[str, Path]
"""What a request's path says: the device's prefix, and the path in the device."""


# --- writing ---


def write(items: Sequence[Item], form: Format, base: Path | None = None) -> bytes:
    """The payload that shows the items, which were asked for with `base`; EncodeError.

    Refusal 4.06 for a format that only requests have.
    """
    if form is Format.TLV and base is not None:
        return to_tlv({item.path: _value(item) for item in items}, base)
    if form not in _WRITERS:
        raise Refusal(Code.NOT_ACCEPTABLE, "accept 110 or 112 here")
    return _WRITERS[form](items)


def _value(item: Item) -> Value:
    assert item.value is not None, "only readable resources are written"  # noqa: S101
    return item.value


def _octets(items: Sequence[Item]) -> bytes:
    value = items[0].value
    return value if isinstance(value, bytes) else b""


def _records(items: Sequence[Item]) -> tuple[list[senml.Record], str]:
    """The items as records, and what the names of all begin with, down to the instance."""
    records = [senml.Record(item.name, item.value, item.unit, item.at) for item in items]
    if len({item.name for item in items}) == 1 < len(items):  # one resource at many times
        return records, items[0].name
    instances = {(item.prefix, item.path.upto(2)) for item in items}
    if len({(prefix, path.object) for prefix, path in instances}) != 1:
        return records, ""
    prefix, path = instances.pop()
    return records, f"{Item(prefix, path.upto(1) if instances else path, None).name}/"


def _lwm2m_cbor(items: Sequence[Item]) -> bytes:
    return to_lwm2m_cbor(Node(item.path, item.value, item.prefix) for item in items)


_WRITERS: Mapping[Format, Callable[[Sequence[Item]], bytes]] = {
    Format.TEXT: lambda items: to_text(_value(items[0])).encode(),
    Format.OPAQUE: _octets,
    Format.CBOR: lambda items: cbor.to_cbor(_value(items[0])),
    Format.SENML_JSON: lambda items: senml.to_json(*_records(items)),
    Format.SENML_CBOR: lambda items: senml.to_cbor(*_records(items)),
    Format.SENML_XML: lambda items: senml.to_xml(*_records(items)).encode(),
    Format.LWM2M_CBOR: _lwm2m_cbor,
}


# --- reading ---


def read(
    payload: bytes, form: Format | None, place: Place, type_of: TypeOf, *, single: bool
) -> list[Item]:
    """What a write to one place asks for, which may lie elsewhere; DecodeError, InvalidValue.

    Refusal 4.15 for a format that cannot hold it. `single` if the place has one value.
    """
    if form is None:
        raise Refusal(Code.BAD_REQUEST, "Content-Format is missing")
    fits = single if form in _SINGLE else form in _READERS
    if not fits or (form is Format.OPAQUE and type_of(place[1]) is not ResourceType.OPAQUE):
        raise Refusal(Code.UNSUPPORTED_CONTENT_FORMAT, "this format cannot hold such a value")
    return _READERS[form](payload, place, type_of)


def read_new(
    payload: bytes, form: Format | None, place: Place, type_of: TypeOf, free: int
) -> list[Item]:
    """What a Create asks for, with instance `free` where it names none; errors as of `read`."""
    if form is Format.LWM2M_CBOR:
        return _from_lwm2m_cbor(payload, type_of, free)
    if form is Format.TLV and not is_of_instances(payload):
        place = place[0], Path(*place[1], free)
    return read(payload, form, place, type_of, single=False)


def read_composite(payload: bytes, form: Format | None, type_of: TypeOf) -> list[Item]:
    """What a Write-Composite asks for; as `read`, but of any device, and it may delete."""
    if form is None:
        raise Refusal(Code.BAD_REQUEST, "Content-Format is missing")
    if form is Format.LWM2M_CBOR:
        return _from_lwm2m_cbor(payload, type_of)
    if form not in _COMPOSITE_READERS:
        raise Refusal(Code.UNSUPPORTED_CONTENT_FORMAT, "send 110, 112, 320, 322 or 11544")
    reader, pack = _COMPOSITE_READERS[form]
    return _from_senml(reader(payload, 0, pack), deletes=pack is senml.Pack.PATCH)


def read_names(payload: bytes, form: Format | None) -> list[tuple[str, Path | None]]:
    """The prefixes and paths that a Read-Composite names, a whole device without path."""
    if form is None:
        raise Refusal(Code.BAD_REQUEST, "Content-Format is missing")
    if form is Format.LWM2M_CBOR:
        nodes = from_lwm2m_cbor(payload)
        if any(node.value is not None for node in nodes):
            raise DecodeError("a fetch holds no values")
        return [(node.prefix, node.path) for node in nodes]
    if form not in _COMPOSITE_READERS:
        raise Refusal(Code.UNSUPPORTED_CONTENT_FORMAT, "send 110, 112, 320, 322 or 11544")
    names = []
    for record in _COMPOSITE_READERS[form][0](payload, 0, senml.Pack.FETCH):
        if record.time is not None or record.unit is not None:
            raise DecodeError(f"{record.name}: ask for names only, not for times or units")
        names.append(_split(record.name.removesuffix("/") or "/"))
    return names


def _split(name: str) -> tuple[str, Path | None]:
    start, *segments = name.split("/")
    if start or not segments:
        raise DecodeError(f"{name} does not begin with a slash")
    if segments == [""]:
        return "", None
    prefix, ids = split(segments)
    try:
        return prefix, parse_ids(ids) if ids else None
    except NotAllowed as error:
        raise DecodeError(f"{name}: {error}") from None


def _from_senml(records: Sequence[senml.Record], *, deletes: bool = False) -> list[Item]:
    items = []
    for record in records:
        if record.time is not None:
            raise DecodeError(f"{record.name}: a write cannot say when")
        if record.value is None and not deletes:
            raise DecodeError(f"{record.name}: no value")
        prefix, path = _split(record.name)
        if path is None or len(path) < 3:
            raise DecodeError(f"{record.name} is not a resource")
        items.append(Item(prefix, path, record.value))
    return items


def _from_lwm2m_cbor(payload: bytes, type_of: TypeOf, free: int | None = None) -> list[Item]:
    items = []
    for node in from_lwm2m_cbor(payload, free):
        if node.value is None or len(node.path) < 3:
            raise DecodeError(f"{node.path}: no value")
        value = cbor.typed(node.value, _type(type_of, node.path))
        items.append(Item(node.prefix, node.path, value))
    return items


def _type(type_of: TypeOf, path: Path) -> ResourceType:
    return type_of(path.upto(3)) or ResourceType.NONE


def _at(place: Place, value: Value) -> list[Item]:
    return [Item(*place, value)]


def _below(place: Place, values: Mapping[Path, Value]) -> list[Item]:
    return [Item(place[0], path, value) for path, value in values.items()]


def _text(payload: bytes) -> str:
    try:
        return payload.decode()
    except UnicodeDecodeError:
        raise DecodeError("the text is not UTF-8") from None


_READERS: Mapping[Format, Callable[[bytes, Place, TypeOf], list[Item]]] = {
    Format.TEXT: lambda p, at, t: _at(at, from_text(_text(p), _type(t, at[1]))),
    Format.OPAQUE: lambda p, at, _: _at(at, p),
    Format.CBOR: lambda p, at, t: _at(at, cbor.typed(cbor.from_cbor(p), _type(t, at[1]))),
    Format.SENML_JSON: lambda p, *_: _from_senml(senml.from_json(p, 0)),
    Format.SENML_CBOR: lambda p, *_: _from_senml(senml.from_cbor(p, 0)),
    Format.SENML_XML: lambda p, *_: _from_senml(senml.from_xml(p, 0)),
    Format.TLV: lambda p, at, t: _below(at, from_tlv(p, at[1], t)),
    Format.LWM2M_JSON: lambda p, at, t: _below(at, from_lwm2m_json(p, at[1], t)),
    Format.LWM2M_CBOR: lambda p, _, t: _from_lwm2m_cbor(p, t),
}

_COMPOSITE_READERS = {
    Format.SENML_JSON: (senml.from_json, senml.Pack.VALUES),
    Format.SENML_CBOR: (senml.from_cbor, senml.Pack.VALUES),
    Format.ETCH_JSON: (senml.from_json, senml.Pack.PATCH),
    Format.ETCH_CBOR: (senml.from_cbor, senml.Pack.PATCH),
}

"""What a SenML pack means (RFC 8428), whatever it is written in; knows no path and no object."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum
from typing import assert_never

from gateway.errors import DecodeError, EncodeError
from gateway.model import ObjLink, Value, printable

VERSION = 10
"""The version that RFC 8428 describes; packs that say a higher one are refused (4.4)."""

RELATIVE_BELOW_S = 2**28
"""Times below this count from now, from here on they are Unix seconds (4.5.3)."""

NUMBERS = frozenset({"bver", "bt", "bv", "bs", "v", "s", "t", "ut"})
"""The labels whose fields are numbers."""

_BASES = frozenset({"bver", "bn", "bt", "bu", "bv", "bs"})
_FETCH = frozenset({"bn", "bt", "bu", "n", "t", "u"})
_INT_RANGE = range(-(2**63), 2**64)
_NAME = re.compile(r"[A-Za-z0-9/][A-Za-z0-9:./_-]*")  # LwM2M's begin with a slash

Field = bool | int | float | str | bytes
"""What stands at a label, before it is written in one of the formats."""


@dataclass(frozen=True, slots=True)
class Record:
    """One resolved record: full name, value, SenML unit, Unix seconds.

    `value` is None in a fetch pack, where a record has only a sum, and where a patch pack deletes;
    `time` is None when the pack gave none.
    """

    name: str
    value: Value | None
    unit: str | None = None
    time: float | None = None


class Pack(Enum):
    """What a pack is for, and so what its records must hold."""

    VALUES = "values"
    """One value in each record (RFC 8428)."""
    FETCH = "fetch"
    """Names without values: what a Read-Composite asks for (RFC 8790, 3.1)."""
    PATCH = "patch"
    """What a Write-Composite sets, or deletes with null (RFC 8790, 3.2); sums are not written."""


def unresolved(records: Iterable[Record], base_name: str) -> list[dict[str, Field]]:
    """The records as labels and fields, in the order in which they are written.

    `vd` holds octets and `vlo` text. EncodeError names the record that SenML cannot express.
    """
    records = list(records)
    times = [_milliseconds(record) for record in records]
    known = [time for time in times if time is not None]
    base_time = 0
    if known and len(known) == len(records):
        # Of different times only the seconds, so that adding floats gives back the very number.
        base_time = known[0] if len(set(known)) == 1 else known[0] // 1000 * 1000
    pack: list[dict[str, Field]] = []
    for record, time in zip(records, times, strict=True):
        fields: dict[str, Field] = {}
        if not pack and base_name:
            fields["bn"] = base_name
        if not pack and base_time:
            fields["bt"] = _seconds(base_time)
        if name := _relative_name(record.name, base_name):
            fields["n"] = name
        if record.unit is not None:
            fields["u"] = record.unit
        label, value = _field(record)
        fields[label] = value
        if time is not None and time != base_time:
            fields["t"] = _seconds(time - base_time)
        pack.append(fields)
    return pack


def _milliseconds(record: Record) -> int | None:
    if record.time is None:
        return None
    if not math.isfinite(record.time * 1000):
        raise EncodeError(f"{record.name}: its time is not a time")
    return round(record.time * 1000) if record.time >= RELATIVE_BELOW_S else None


def _seconds(milliseconds: int) -> int | float:
    whole, rest = divmod(milliseconds, 1000)
    return milliseconds / 1000 if rest else whole


def _relative_name(name: str, base_name: str) -> str:
    if not _NAME.fullmatch(name):
        raise EncodeError(f"{printable(name)!r} cannot be a SenML name")
    if not name.startswith(base_name):
        raise EncodeError(f"{name} does not begin with {base_name}")
    return name.removeprefix(base_name)


def _field(record: Record) -> tuple[str, Field]:
    match record.value:
        case bool():
            return "vb", record.value
        case int():
            if record.value in _INT_RANGE:
                return "v", record.value
            raise EncodeError(f"{record.name}: wider than 64 bits")
        case float():
            if math.isfinite(record.value):
                return "v", record.value
            raise EncodeError(f"{record.name}: SenML cannot say {record.value}")
        case str():
            return "vs", record.value
        case bytes():
            return "vd", record.value
        case ObjLink():
            return "vlo", str(record.value)
        case None:
            raise EncodeError(f"{record.name}: no value")
        case _:
            assert_never(record.value)


@dataclass(slots=True)
class _Fields:
    """The known fields of one record, or the base fields in force, each of its right type."""

    texts: dict[str, str] = field(default_factory=dict)
    numbers: dict[str, int | float] = field(default_factory=dict)
    values: dict[str, Value | None] = field(default_factory=dict)

    def labels(self) -> set[str]:
        return {*self.texts, *self.numbers, *self.values}


def resolved(
    items: object, convert: Callable[[object], Mapping[str, object]], now: float, pack: Pack
) -> list[Record]:
    """The records of a pack (RFC 8428, 4.6), which must be a list of what `convert` understands.

    `convert` gives an item's labels and fields, `vd` as octets; DecodeError names the record.
    """
    if not isinstance(items, list):
        raise DecodeError("a pack is an array of records")
    if pack is not Pack.VALUES and not items:
        raise DecodeError(f"a {pack.value} pack holds at least one record")
    base = _Fields()
    records: list[Record] = []
    for number, item in enumerate(items):
        try:
            fields = convert(item)
            if pack is Pack.FETCH and (odd := fields.keys() - _FETCH):
                raise DecodeError(f"a fetch record cannot hold {printable(min(odd))!r}")
            record = _resolve(_checked(fields, pack), base, now, pack)
        except DecodeError as error:
            raise DecodeError(f"record {number}: {error}") from None
        if record:
            records.append(record)
    return records


def _checked(fields: Mapping[str, object], pack: Pack) -> _Fields:
    checked = _Fields()
    for label, content in fields.items():
        match label, content:
            case (("bn" | "bu" | "n" | "u"), _):
                checked.texts[label] = _text(label, content)
            case "vs", _:
                checked.values[label] = _text(label, content)
            case "vlo", _:
                checked.values[label] = _link(_text(label, content))
            case ("vb", bool(value)) | ("vd", bytes(value)):
                checked.values[label] = value
            case (("vb" | "vd"), _):
                raise DecodeError(
                    f"{label!r} must be {'true, false' if label == 'vb' else 'octets'}"
                )
            case "v", None if pack is Pack.PATCH:
                checked.values[label] = None
            case _ if label in NUMBERS:
                checked.numbers[label] = _number(label, content)
            case _ if label.endswith("_") and pack is not Pack.PATCH:
                raise DecodeError(f"{printable(label)!r} must be understood, and is not")
            case _:
                pass  # an extension that may be ignored
    return checked


def _resolve(fields: _Fields, base: _Fields, now: float, pack: Pack) -> Record | None:
    """The record that `fields` make; None if they only set base fields. `base` is updated."""
    base.texts |= {k: v for k, v in fields.texts.items() if k in _BASES}
    base.numbers |= {k: v for k, v in fields.numbers.items() if k in _BASES}
    version = base.numbers.get("bver", VERSION)
    if version not in range(1, VERSION + 1):
        raise DecodeError(f"SenML version {version} is not known here")
    labels = fields.labels()
    if pack is Pack.VALUES and labels and labels <= _BASES:
        return None
    value = _value(fields, base, pack)
    name = base.texts.get("bn", "") + fields.texts.get("n", "")
    if not _NAME.fullmatch(name):
        raise DecodeError(f"{printable(name)!r} is not a name")
    time: float | None = None
    if "t" in labels or "bt" in base.numbers:
        time = float(_sum(fields, base, "t"))
        time += now if time < RELATIVE_BELOW_S else 0.0
    return Record(name, value, fields.texts.get("u", base.texts.get("bu")), time)


def _value(fields: _Fields, base: _Fields, pack: Pack) -> Value | None:
    values = dict(fields.values)
    if "v" in fields.numbers:
        values["v"] = _sum(fields, base, "v")
    if len(values) > 1:
        raise DecodeError(f"several values: {', '.join(sorted(values))}")
    for value in values.values():
        return value
    match pack:
        case Pack.VALUES if "s" not in fields.numbers and "bs" not in base.numbers:
            raise DecodeError("no value")
        case Pack.FETCH if not {"n", "bn"} & fields.texts.keys():
            raise DecodeError("no name")
        case Pack.PATCH:
            raise DecodeError("no value")
        case _:
            return None


def _sum(fields: _Fields, base: _Fields, label: str) -> int | float:
    own, common = fields.numbers.get(label, 0), base.numbers.get("b" + label, 0)
    if not common:
        return own
    if isinstance(own, int) and isinstance(common, int):
        return _number(label, own + common)
    # In decimals: 1320078429 + 0.1 is the time that was meant, not its nearest float sum.
    return _number(label, float(Decimal(repr(own)) + Decimal(repr(common))))


def _text(label: str, content: object) -> str:
    if not isinstance(content, str):
        raise DecodeError(f"{label!r} must be a text")
    try:
        content.encode()
    except UnicodeEncodeError as error:
        raise DecodeError(f"{label!r} is not Unicode: {error.reason}") from error
    return content


def _number(label: str, content: object) -> int | float:
    """An int as it is if 64 bits hold it, anything else as a finite float."""
    if isinstance(content, Decimal) and -(2**64) < content < 2**64 and content == int(content):
        content = int(content)
    if isinstance(content, int) and not isinstance(content, bool) and content in _INT_RANGE:
        return content
    if isinstance(content, int | float | Decimal) and not isinstance(content, bool):
        try:
            number = float(content)
        except OverflowError:
            number = math.inf
        if math.isfinite(number):
            return number
    raise DecodeError(f"{label!r} must be a finite number")


def _link(text: str) -> ObjLink:
    try:
        return ObjLink.parse(text)
    except ValueError as error:
        raise DecodeError(f"'vlo': {error}") from error

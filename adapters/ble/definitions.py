"""Device definitions for BLE: what a vendor's own characteristics mean as IPSO resources. Pure."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from adapters.ble import sig
from adapters.ble.bipso import Truncated
from adapters.ble.uuids import long_uuid
from gateway.errors import DecodeError, EncodeError
from gateway.formats.singles import meant
from gateway.model import Operations, Path, ResourceType, Value
from gateway.objects.definitions import (
    DefinitionFolder,
    Form,
    Kind,
    Table,
    Target,
    at_resource,
    read_form,
)
from gateway.objects.registry import Registry

MAX_OCTETS = 512
"""Of any characteristic's value (Bluetooth Core 3.F.3.2.9)."""

DEVICE = 3
"""The LwM2M object Device: one instance, for what the device says of itself."""

_Format = Literal[
    "bool", "u8", "i8", "u16", "i16", "u24", "i24", "u32", "i32", "f32", "text", "opaque"
]
_SIZES = {
    "bool": 1, "u8": 1, "i8": 1, "u16": 2, "i16": 2, "u24": 3, "i24": 3, "u32": 4, "i32": 4,
    "f32": 4, "text": 0, "opaque": 0,
}  # fmt: skip
_NUMBERS = {ResourceType.INTEGER, ResourceType.UNSIGNED, ResourceType.FLOAT, ResourceType.TIME}
_FITTING = {
    "bool": {ResourceType.BOOLEAN},
    "text": {ResourceType.STRING},
    "opaque": {ResourceType.OPAQUE},
}
_SHORT = re.compile(r"0x([0-9a-f]{4})")
_LONG = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def _uuid(text: str) -> str:
    text = text.lower()
    if match := _SHORT.fullmatch(text):
        return long_uuid(int(match[1], 16))
    if not _LONG.fullmatch(text):
        raise ValueError('a characteristic is "0xfff1" or a UUID with all its 36 characters')
    return text


def _name(text: str) -> str:
    if not text or "*" in text[:-1]:
        raise ValueError("a name may have one *, at its end")
    return text


_Uuid = Annotated[str, AfterValidator(_uuid)]


class _Match(Table):
    """By what a device is recognised: it has all these characteristics, and this name."""

    characteristics: frozenset[_Uuid] = Field(default=frozenset(), min_length=1)
    name: Annotated[str, AfterValidator(_name)] = "*"


class Row(Target):
    """One field of a characteristic's value and the resource that it is.

    Numbers are little-endian; `text` and `opaque` reach to the end. The bit pattern `unknown`
    says that the device has no value now.
    """

    characteristic: _Uuid
    format: _Format
    at: Annotated[int, Field(ge=0, lt=MAX_OCTETS)] = 0
    unknown: Annotated[int, Field(ge=0)] | None = None
    writable: bool = False

    @model_validator(mode="after")
    def _agrees(self) -> Self:
        if self.is_scaled and self.format in _FITTING:
            raise ValueError(f"{self.format} has no scale and no offset")
        if self.unknown is not None and not self.unknown < 1 << 8 * self.size > 1:
            raise ValueError(f"{self.format} cannot hold the unknown value")
        if self.writable and self.format == "opaque":
            raise ValueError("opaque cannot be written")
        return self

    @property
    def size(self) -> int:
        """The field's octets; 0 if it reaches to the end of the value."""
        return _SIZES[self.format]

    def is_in(self, data: bytes) -> bool:
        """Whether a value is long enough for the field."""
        return len(data) >= self.at + self.size

    def read(self, data: bytes, kind: ResourceType) -> Value | None:
        """The resource's value; None if the device has none now. DecodeError or its Truncated."""
        if not self.is_in(data):
            raise Truncated(str(self.target), None)
        field = data[self.at : self.at + self.size] if self.size else data[self.at :]
        if self.unknown is not None and int.from_bytes(field, "little") == self.unknown:
            return None
        match self.format:
            case "text":
                return sig.plain_text(field)
            case "opaque":
                return field
            case "bool":
                return field != b"\0"
            case "f32":
                number: float = meant(struct.unpack("<f", field)[0])
                if not math.isfinite(number):
                    return None
            case _:
                number = int.from_bytes(field, "little", signed=self.format[0] == "i")
        number = self.scaled(number, kind)
        return float(number) if kind is ResourceType.FLOAT else round(number)

    def write(self, value: Value) -> bytes:
        """The field that says a value, to the nearest that it can hold; EncodeError if none."""
        match self.format, value:
            case "text", str():
                try:
                    return value.encode()
                except UnicodeEncodeError as error:
                    raise EncodeError(f"{self.target} is not Unicode text") from error
            case "bool", bool():
                return bytes([value])
            case "text" | "bool" | "opaque", _:
                pass
            case _, int() | float() if not isinstance(value, bool):
                return self._number(value)
        raise EncodeError(f"{self.target} is {self.format}, not {type(value).__name__}")

    def _number(self, value: float) -> bytes:
        try:
            raw = self.unscaled(value)
            if self.format == "f32" and math.isfinite(raw):
                field = struct.pack("<f", float(raw))
            else:
                field = round(raw).to_bytes(self.size, "little", signed=self.format[0] == "i")
        except (OverflowError, ValueError):
            raise EncodeError(f"{self.target} is beyond what {self.format} can hold") from None
        if self.unknown is not None and int.from_bytes(field, "little") == self.unknown:
            raise EncodeError(f"{self.target} would say that the device has no value")
        return field


class _Form(Form):
    match: _Match
    resource: tuple[Row, ...] = Field(min_length=1, max_length=200)


@dataclass(frozen=True, slots=True)
class Definition:
    """One kind of device: how it is recognised, and what its characteristics mean.

    `types` are those of the rows' targets; `device_name` ends in `*` if any ending will do.
    """

    name: str
    manufacturer: str
    model: str
    characteristics: frozenset[str]
    device_name: str
    rows: tuple[Row, ...]
    types: Mapping[Path, ResourceType]

    @classmethod
    def parse(cls, text: str, registry: Registry) -> Self:
        """The definition in a file; DecodeError holds each fault with its line."""
        content = read_form(text, _Form, registry)
        types: dict[Path, ResourceType] = {}
        for number, row in enumerate(content.resource):
            facts = registry.resource(row.object, row.resource)
            if facts is None or facts.type not in _FITTING.get(row.format, _NUMBERS):
                what = facts.type.value if facts else "unknown"
                place = at_resource(text, number, "format")
                raise DecodeError(f"{place}: {row.target} is {what}, which {row.format} cannot be")
            if row.object == DEVICE and row.instance:
                place = at_resource(text, number, "instance")
                raise DecodeError(f"{place}: a device has one instance of object {DEVICE}, 0")
            if row.writable and Operations.WRITE not in facts.operations:
                place = at_resource(text, number, "writable")
                raise DecodeError(f"{place}: {row.target} ({facts.name}) is never writable")
            types[row.target] = facts.type
        return cls(
            content.name,
            content.manufacturer,
            content.model,
            content.match.characteristics,
            content.match.name,
            content.resource,
            types,
        )

    def fits(self, characteristics: Collection[str], device_name: str) -> bool:
        """Whether a device with these characteristics (long UUIDs) and name is of this kind."""
        wanted = self.device_name
        if wanted.endswith("*"):
            is_named = device_name.startswith(wanted[:-1])
        else:
            is_named = device_name == wanted
        return is_named and self.characteristics <= set(characteristics)


def choose(
    definitions: Iterable[Definition], characteristics: Collection[str], device_name: str
) -> Definition | None:
    """The definition that fits and names most characteristics, then most of the name."""
    fitting = [d for d in definitions if d.fits(characteristics, device_name)]
    return min(
        fitting,
        key=lambda d: (-len(d.characteristics), -len(d.device_name), d.name),
        default=None,
    )


def folder(path: FilePath | None, registry: Registry) -> DefinitionFolder[Definition]:
    """The definitions of BLE devices in the operator's folder."""
    return DefinitionFolder(path, Kind.BLE, lambda text: Definition.parse(text, registry))

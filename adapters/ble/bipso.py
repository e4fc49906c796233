"""The BIPSO codec: one characteristic value to an object instance and back.

Must not know where a value came from, nor what anybody does with it. A frame is
`id u8, flags u8 (u32 for power measurement), mandatory fields, options by ascending flag bit`.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from adapters.ble.characteristics import CHARACTERISTICS, Characteristic, Field, Wire
from adapters.ble.uuids import long_uuid
from gateway.errors import DecodeError, EncodeError
from gateway.formats.singles import meant
from gateway.model import Value

# The bytes of the fixed-length fields; all others are a length byte and what it announces.
_SIZES = {Wire.BOOL: 1, Wire.U8: 1, Wire.U16: 2, Wire.U32: 4, Wire.F32: 4}
_MAX_LENGTH = 255
_MAX_INSTANCE = 255

_OBJECTS = {long_uuid(layout.uuid16): object_id for object_id, layout in CHARACTERISTICS.items()}


@dataclass(frozen=True, slots=True)
class Frame:
    """One decoded value: an instance of an object, its resources by id in wire order.

    Executables are None. `flags` is as received, with bits that the object does not define;
    `trailing` is what followed the last announced field.
    """

    object: int
    id: int
    flags: int
    values: Mapping[int, Value | None]
    trailing: bytes = b""


class Truncated(DecodeError):
    """The value ends within `field`; `complete` holds the fields before it.

    `complete` is None when not even id and flags are whole.
    """

    def __init__(self, field: str, complete: Frame | None) -> None:
        super().__init__(f"truncated in {field}")
        self.field = field
        self.complete = complete


def object_of(uuid: str) -> int | None:
    """The object that a characteristic with this 128-bit UUID carries, or None if not BIPSO."""
    return _OBJECTS.get(uuid.lower())


def uuid_of(object_id: int) -> str:
    """The 128-bit characteristic UUID of an object; EncodeError if BIPSO has none."""
    return long_uuid(_layout(object_id, EncodeError).uuid16)


def decode(object_id: int, data: bytes | bytearray) -> Frame:
    """The frame in a characteristic's value; Truncated, or DecodeError for an unknown object.

    Unknown flag bits, trailing bytes, invalid UTF-8, NaN and infinities are tolerated.
    """
    layout = _layout(object_id, DecodeError)
    data = bytes(data)
    start = 1 + layout.flag_bits // 8
    if len(data) < start:
        raise Truncated("flags" if data else "id", None)
    flags = int.from_bytes(data[1:start], "little")
    values: dict[int, Value | None] = {}
    offset = start
    for field in _announced(layout, flags):
        end = _end(field.wire, data, offset)
        if end > len(data):
            raise Truncated(str(field), Frame(object_id, data[0], flags, values))
        values[field.resource] = _read(field.wire, data[offset:end])
        offset = end
    return Frame(object_id, data[0], flags, values, data[offset:])


def encode(object_id: int, id: int, values: Mapping[int, Value | None]) -> bytes:
    """The characteristic value for instance `id` of an object, flags as the values demand.

    What is None is left out. Writing an executable executes it: its argument is given as bytes,
    empty for none. EncodeError says what the characteristic cannot express.
    """
    layout = _layout(object_id, EncodeError)
    if not 0 <= id <= _MAX_INSTANCE:
        raise EncodeError(f"{layout.name} instance must be 0 to {_MAX_INSTANCE}, not {id}")
    known = {field.resource for field in layout.mandatory + layout.options}
    if unknown := sorted(values.keys() - known):
        raise EncodeError(f"{layout.name} has no resource {', '.join(map(str, unknown))}")
    given = {resource: value for resource, value in values.items() if value is not None}
    if missing := [str(field) for field in layout.mandatory if field.resource not in given]:
        raise EncodeError(f"{layout.name} needs {', '.join(missing)}")
    flags = sum(1 << bit for bit, field in enumerate(layout.options) if field.resource in given)
    if flags >> layout.flag_bits:
        beyond = [str(f) for f in layout.options[layout.flag_bits :] if f.resource in given]
        raise EncodeError(f"{layout.name} has no flag bit for {', '.join(beyond)}")
    parts = [bytes([id]), flags.to_bytes(layout.flag_bits // 8, "little")]
    parts += [_write(field, given[field.resource]) for field in _announced(layout, flags)]
    return b"".join(parts)


def _layout(object_id: int, error: type[DecodeError | EncodeError]) -> Characteristic:
    try:
        return CHARACTERISTICS[object_id]
    except KeyError:
        raise error(f"BIPSO has no characteristic for object {object_id}") from None


def _announced(layout: Characteristic, flags: int) -> Iterator[Field]:
    yield from layout.mandatory
    yield from (field for bit, field in enumerate(layout.options) if flags >> bit & 1)


def _end(wire: Wire, data: bytes, offset: int) -> int:
    """Where the field at `offset` ends, which may be beyond the data."""
    if size := _SIZES.get(wire):
        return offset + size
    return offset + 1 + (data[offset] if offset < len(data) else 0)


def _read(wire: Wire, field: bytes) -> Value | None:
    match wire:
        case Wire.BOOL:
            return field != b"\0"
        case Wire.U8 | Wire.U16 | Wire.U32:
            return int.from_bytes(field, "little")
        case Wire.F32:
            return meant(struct.unpack("<f", field)[0])
        case Wire.TEXT:
            return field[1:].decode(errors="replace")
        case Wire.OPAQUE:
            return field[1:]
        case Wire.EXECUTABLE:
            return None


def _write(field: Field, value: Value) -> bytes:
    match field.wire, value:
        case Wire.BOOL, bool():
            return bytes([value])
        case Wire.U8 | Wire.U16 | Wire.U32, int() if not isinstance(value, bool):
            return _integer(field, value)
        case Wire.F32, int() | float() if not isinstance(value, bool):
            return _float32(field, value)
        case Wire.TEXT, str():
            return _counted(field, _utf8(field, value))
        case Wire.OPAQUE | Wire.EXECUTABLE, bytes():
            return _counted(field, value)
    raise EncodeError(f"{field} is {field.wire.value}, not {type(value).__name__}")


def _integer(field: Field, value: int) -> bytes:
    size = _SIZES[field.wire]
    if not 0 <= value < 1 << 8 * size:
        raise EncodeError(f"{field} must be 0 to {(1 << 8 * size) - 1}")
    return value.to_bytes(size, "little")


def _float32(field: Field, value: float) -> bytes:
    try:
        if math.isfinite(value):
            return struct.pack("<f", value)
    except OverflowError:
        pass
    raise EncodeError(f"{field} must be a finite 32-bit float")


def _utf8(field: Field, value: str) -> bytes:
    try:
        return value.encode()
    except UnicodeEncodeError as error:
        raise EncodeError(f"{field} is not Unicode text: {error.reason}") from error


def _counted(field: Field, content: bytes) -> bytes:
    if len(content) > _MAX_LENGTH:
        raise EncodeError(f"{field} must be at most {_MAX_LENGTH} bytes, not {len(content)}")
    return bytes([len(content)]) + content

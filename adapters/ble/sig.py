"""The Bluetooth SIG's own characteristics as IPSO resources: plain numbers and device names.

Must not know where a value came from. The layouts are those of the GATT Specification Supplement;
all numbers are little-endian integers of a decimal fraction of their unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

from adapters.ble.uuids import long_uuid
from gateway.errors import DecodeError
from gateway.model import Value

_UNITS = 5701
_MAX_TEXT = 128
"""Characters kept of a device's text; its attribute could hold 512 bytes of anything."""


@dataclass(frozen=True, slots=True)
class Number:
    """An integer `format` (`i16`: signed, 16 bits) that counts 10^-`decimals` of the unit.

    The bit pattern `unknown` says that the device has no value now.
    """

    uuid16: int
    name: str
    object: int
    resource: int
    format: str
    decimals: int = 0
    units: str = ""
    unknown: int | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """UTF-8 up to the end of the value, often padded."""

    uuid16: int
    name: str
    object: int
    resource: int


Characteristic = Number | Text

# UUID, name, object and resource, format, decimals, unit (as resource 5701 where there is one).
TABLE: tuple[Characteristic, ...] = (
    Number(0x2A19, "Battery Level", 3, 9, "u8"),
    Number(0x2A6C, "Elevation", 3321, 5700, "i24", 2, "m"),
    Number(0x2A6D, "Pressure", 3315, 5700, "u32", 1, "Pa"),
    Number(0x2A6E, "Temperature", 3303, 5700, "i16", 2, "Cel", unknown=0x8000),
    Number(0x2A6F, "Humidity", 3304, 5700, "u16", 2, "%RH", unknown=0xFFFF),
    Number(0x2A70, "True Wind Speed", 3346, 5700, "u16", 2, "m/s"),
    Number(0x2A71, "True Wind Direction", 3332, 5705, "u16", 2),
    Number(0x2A72, "Apparent Wind Speed", 3346, 5700, "u16", 2, "m/s"),
    Number(0x2A73, "Apparent Wind Direction", 3332, 5705, "u16", 2),
    Number(0x2A76, "UV Index", 3301, 5700, "u8", 0, "UV Index"),
    Number(0x2A77, "Irradiance", 3300, 5700, "u16", 1, "W/m2"),
    Number(0x2A78, "Rainfall", 3300, 5700, "u16", 0, "mm"),
    Number(0x2A7B, "Dew Point", 3303, 5700, "i8", 0, "Cel"),
    Number(0x2AFB, "Illuminance", 3301, 5700, "u24", 2, "lx", unknown=0xFFFFFF),
    Number(0x2B8C, "CO2 Concentration", 3325, 5700, "u16", 0, "ppm", unknown=0xFFFF),
    Text(0x2A24, "Model Number String", 3, 1),
    Text(0x2A25, "Serial Number String", 3, 2),
    Text(0x2A26, "Firmware Revision String", 3, 3),
    Text(0x2A27, "Hardware Revision String", 3, 18),
    Text(0x2A28, "Software Revision String", 3, 19),
    Text(0x2A29, "Manufacturer Name String", 3, 0),
)
"""All characteristics that are known here."""

_CHARACTERISTICS: Mapping[str, Characteristic] = {long_uuid(row.uuid16): row for row in TABLE}


def characteristic_of(uuid: str) -> Characteristic | None:
    """What a characteristic with this 128-bit UUID means, or None if it is not in the table."""
    return _CHARACTERISTICS.get(uuid.lower())


def decode(characteristic: Characteristic, data: bytes | bytearray) -> dict[int, Value]:
    """The resources in a value by id; none if the device says that it has no value now.

    DecodeError if the value is too short; trailing bytes are tolerated.
    """
    match characteristic:
        case Number():
            number = _number(characteristic, data)
            if number is None:
                return {}
            units = {_UNITS: characteristic.units} if characteristic.units else {}
            return {characteristic.resource: number, **units}
        case Text():
            text = plain_text(data)
            return {characteristic.resource: text} if text else {}
        case _:
            assert_never(characteristic)


def _number(row: Number, data: bytes | bytearray) -> int | float | None:
    size = int(row.format[1:]) // 8
    if len(data) < size:
        raise DecodeError(f"{row.name} has {len(data)} bytes instead of {size}")
    if int.from_bytes(data[:size], "little") == row.unknown:
        return None
    raw = int.from_bytes(data[:size], "little", signed=row.format[0] == "i")
    # Division rounds once, so that 2137 hundredths are 21.37; a product with 0.01 is not.
    return raw / 10**row.decimals if row.decimals else raw


def plain_text(data: bytes | bytearray) -> str:
    """UTF-8 without what pads it; whatever is no UTF-8 is replaced."""
    # Fixed-size buffers are padded with NUL, blanks or erased flash, and may hold an older text.
    padding = b"\0\xff \t\r\n"
    content = data.strip(padding).partition(b"\0")[0].rstrip(padding)
    return content.decode(errors="replace")[:_MAX_TEXT]

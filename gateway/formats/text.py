"""One value as `text/plain` (LwM2M Core, appendix C); knows no path and no object."""

from __future__ import annotations

import base64
import math
import re
from decimal import Decimal
from typing import assert_never

from gateway.errors import EncodeError, InvalidValue
from gateway.model import ObjLink, ResourceType, Value, printable

_INTEGER = re.compile(r"-?[0-9]{1,40}")
_FLOAT = re.compile(r"-?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?")

_SPOKEN = {"true": True, "false": False, "on": True, "off": False, "1": True, "0": False}

_WANTED = {
    ResourceType.INTEGER: "a decimal integer",
    ResourceType.UNSIGNED: "a decimal integer",
    ResourceType.TIME: "whole Unix seconds",
    ResourceType.FLOAT: "a decimal number",
    ResourceType.BOOLEAN: "0 or 1",
    ResourceType.OPAQUE: "base64",
    ResourceType.OBJLINK: "an object link like 3303:0",
}


def to_text(value: Value) -> str:
    """The value as text: floats as the shortest decimal without exponent (`21`, `0.00001`).

    EncodeError for NaN and infinity.
    """
    match value:
        case bool():
            return "1" if value else "0"
        case float():
            if not math.isfinite(value):
                raise EncodeError(f"text/plain cannot say {value}")
            return format(Decimal(repr(value + 0.0)), "f").removesuffix(".0")
        case bytes():
            return base64.b64encode(value).decode()
        case int() | str() | ObjLink():
            return str(value)
        case _:
            assert_never(value)


def to_words(value: Value) -> str:
    """As `to_text`; a truth value is on or off, as people say."""
    return ("on" if value else "off") if isinstance(value, bool) else to_text(value)


def to_plain(value: Value) -> bool | float | str:
    """The value as JSON says it: what it has no type for is as in `to_text`."""
    return value if isinstance(value, bool | int | float | str) else to_text(value)


def from_words(text: str, type: ResourceType) -> Value:
    """As `from_text`; a truth value may also be said as people do: true, false, on, off."""
    if type is ResourceType.BOOLEAN:
        if (value := _SPOKEN.get(text.lower())) is None:
            raise InvalidValue(f"{printable(text)!r} is not on or off")
        return value
    return from_text(text, type)


def from_text(text: str, type: ResourceType) -> Value:
    """The value of the wanted type; InvalidValue if the text is anything else.

    Ranges, those of the integer types too, are for `registry.coerce` to check.
    """
    match type:
        case ResourceType.STRING | ResourceType.CORELNK:
            return text
        case ResourceType.INTEGER | ResourceType.UNSIGNED | ResourceType.TIME:
            if _INTEGER.fullmatch(text):
                return int(text)
        case ResourceType.FLOAT:
            if _FLOAT.fullmatch(text) and math.isfinite(number := float(text)):
                return number
        case ResourceType.BOOLEAN:
            if text in {"0", "1"}:
                return text == "1"
        case ResourceType.OPAQUE:
            try:
                return base64.b64decode(text, validate=True)
            except ValueError:
                pass
        case ResourceType.OBJLINK:
            try:
                return ObjLink.parse(text)
            except ValueError:
                pass
        case ResourceType.NONE:
            raise InvalidValue("an executable has no value")
        case _:
            assert_never(type)
    raise InvalidValue(f"{printable(text)!r} is not {_WANTED[type]}")

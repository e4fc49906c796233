"""CBOR items as octets and back, and one value as `application/cbor`; knows no path, no object."""

from __future__ import annotations

import io
import math
import struct
from datetime import datetime
from decimal import Decimal

import cbor2

from gateway.errors import DecodeError, EncodeError, InvalidValue
from gateway.model import ObjLink, ResourceType, Value

MAX_DEPTH = 16
"""Containers within containers: no payload here needs more than six, tags and extensions aside."""

INT_RANGE = range(-(2**63), 2**64)
"""What an Integer or an Unsigned Integer of LwM2M can be."""

_LONGEST_NUMBER = 128
"""Octets: longer ones are beyond every float, and Python works long on them, or refuses to."""

_PLAIN_TAGS = (1, 28, 30, 35, 36, 37, 52, 54, 100, 258, 260, 261, 1004, 43000)
"""Times, which reach further than dates; shared items, which could hold themselves; and what else
cbor2 would make something of: fractions that take for ever, patterns, mails, addresses, sets."""


def encode(item: object) -> bytes:
    """One item as octets, floats in the fewest that keep them exact; EncodeError."""
    try:
        return cbor2.dumps(item, encoders={float: _shortest_float})
    except (cbor2.CBOREncodeError, UnicodeEncodeError) as error:
        raise EncodeError(f"text that is not Unicode: {error}") from error


def decode(payload: bytes) -> object:
    """The one item that the payload is, tags taken off; DecodeError.

    A key that stands twice in one map is refused; arrays that are keys come as tuples.
    """
    stream = io.BytesIO(payload)
    decoder = cbor2.CBORDecoder(
        stream,
        read_size=1,
        max_depth=MAX_DEPTH,
        allow_duplicate_keys=False,
        tag_hook=lambda tag, _: tag.value,
        semantic_decoders={
            **dict.fromkeys(_PLAIN_TAGS, lambda item, _: item),
            2: lambda octets, _: _bignum(octets),
            3: lambda octets, _: -1 - _bignum(octets),
        },
    )
    try:
        item: object = decoder.decode()
    except cbor2.CBORError as error:
        raise DecodeError(f"not CBOR: {error}") from error
    if stream.tell() != len(payload):
        raise DecodeError(f"{len(payload) - stream.tell()} octets after the CBOR item")
    return item


def _bignum(octets: object) -> int:
    if not isinstance(octets, bytes) or len(octets) > _LONGEST_NUMBER:
        raise DecodeError(f"a number has at most {_LONGEST_NUMBER} octets")
    return int.from_bytes(octets, "big")


def to_cbor(value: Value) -> bytes:
    """The value as `application/cbor` (LwM2M Core 7.5.3); EncodeError."""
    return encode(item(value))


def from_cbor(payload: bytes) -> Value:
    """The value in `application/cbor`; a link comes as text, see `typed`. DecodeError."""
    return value(decode(payload))


def item(value: Value) -> object:
    """The value as CBOR shows it (LwM2M Core, appendix C): a link as its text."""
    match value:
        case ObjLink():
            return str(value)
        case float() if not math.isfinite(value):
            raise EncodeError(f"no resource can be {value}")
        case int() if value not in INT_RANGE:
            raise EncodeError("wider than 64 bits")
    return value


def value(item: object) -> Value:
    """The value that an item is; tags tell nothing that the definition does not. DecodeError."""
    match item:
        case bool() | str() | bytes():
            return item
        case int() if item in INT_RANGE:
            return item
        case float() | Decimal() if math.isfinite(item):
            return float(item)
        case datetime():
            seconds = item.timestamp()
            return int(seconds) if seconds.is_integer() else seconds
        case None:
            raise DecodeError("no value")
    raise DecodeError("a value is a text, octets, true, false, or a finite number of 64 bits")


def typed(value: Value, type: ResourceType) -> Value:
    """A link if one is wanted and the text is one, else the value as it is; InvalidValue.

    CBOR does not tell links from texts, only the definition does.
    """
    if type is not ResourceType.OBJLINK or not isinstance(value, str):
        return value
    try:
        return ObjLink.parse(value)
    except ValueError as error:
        raise InvalidValue(str(error)) from None


def _shortest_float(encoder: cbor2.CBOREncoder, number: float) -> None:
    for head, layout in ((b"\xf9", ">e"), (b"\xfa", ">f")):
        try:
            packed = struct.pack(layout, number)
        except OverflowError:
            continue
        if struct.unpack(layout, packed)[0] == number:
            encoder.write(head + packed)
            return
    encoder.write(b"\xfb" + struct.pack(">d", number))

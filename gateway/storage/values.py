"""A value with its type, as text in the database. Pure."""

from __future__ import annotations

import json

from gateway.errors import StateError
from gateway.model import ObjLink, Value


def text_of(value: Value | None) -> str:
    """A value with its type, as it stands in the database."""
    match value:
        case bytes():
            return json.dumps({"opaque": value.hex()})
        case ObjLink():
            return json.dumps({"objlink": [value.object, value.instance]})
        case _:
            return json.dumps(value)


def value_from(text: str) -> Value | None:
    """The inverse of `text_of`; StateError."""
    value = json.loads(text)
    match value:
        case {"opaque": str(digits)}:
            return bytes.fromhex(digits)
        case {"objlink": [int(object_id), int(instance)]}:
            return ObjLink(object_id, instance)
        case None | bool() | int() | float() | str():
            return value
        case _:
            raise StateError(f"not a value: {text}")

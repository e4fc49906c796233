"""The content formats of nodes, and what an answer is; knows no CoAP library."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class Format(IntEnum):
    """Content formats that nodes are asked for or send (IANA CoAP registry)."""

    TEXT = 0
    LINKS = 40
    OPAQUE = 42
    JSON = 50
    CBOR = 60
    SENML_JSON = 110
    SENML_CBOR = 112
    TLV = 11542
    LWM2M_JSON = 11543


@dataclass(frozen=True, slots=True)
class Answer:
    """A success: the content format (None if it was not told) and the payload."""

    content_format: int | None
    payload: bytes

"""What nodes are asked and what they answer, without the CoAP library that carries it."""

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
    LWM2M_CBOR = 11544


@dataclass(frozen=True, slots=True)
class Answer:
    """A success: the content format (None if it was not told) and the payload."""

    content_format: int | None
    payload: bytes


class Method(IntEnum):
    """The request codes in use (RFC 7252 12.1.1)."""

    GET = 1
    POST = 2
    PUT = 3
    DELETE = 4


@dataclass(frozen=True, slots=True)
class Request:
    """What is asked of a node; `path` is the segments of the URI."""

    method: Method
    path: tuple[str, ...]
    accept: int | None = None
    content_format: int | None = None
    payload: bytes = b""

"""What a CoAP request asks and what an answer says, apart from datagrams; knows no resource."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final

from gateway.errors import (
    Asleep,
    Busy,
    CommandError,
    DecodeError,
    DeviceRefused,
    EncodeError,
    GatewayError,
    InvalidValue,
    NotAllowed,
    NotFound,
    TimedOut,
    Unreachable,
    WritesDisabled,
)

BUSY_RETRY_S = 2.0
"""When to try again what was refused as too much at once: a radio command takes about a second."""

DIAGNOSTIC_LIMIT = 256
"""Octets of an error's text in the payload, so that an error always fits one frame or two."""


Peer = tuple[Any, ...]
"""The address of a client, as the socket module has it: host, port, and more for IPv6."""


class Code(IntEnum):
    """The codes of RFC 7252 12.1 and RFC 8132 that this server sends or understands."""

    EMPTY = 0
    GET = 0x01
    POST = 0x02
    PUT = 0x03
    DELETE = 0x04
    FETCH = 0x05
    PATCH = 0x06
    IPATCH = 0x07
    CREATED = 0x41
    DELETED = 0x42
    CHANGED = 0x44
    CONTENT = 0x45
    VALID = 0x43
    CONTINUE = 0x5F
    BAD_REQUEST = 0x80
    UNAUTHORIZED = 0x81
    BAD_OPTION = 0x82
    FORBIDDEN = 0x83
    NOT_FOUND = 0x84
    METHOD_NOT_ALLOWED = 0x85
    NOT_ACCEPTABLE = 0x86
    REQUEST_ENTITY_INCOMPLETE = 0x88
    PRECONDITION_FAILED = 0x8C
    REQUEST_ENTITY_TOO_LARGE = 0x8D
    UNSUPPORTED_CONTENT_FORMAT = 0x8F
    INTERNAL_SERVER_ERROR = 0xA0
    BAD_GATEWAY = 0xA2
    SERVICE_UNAVAILABLE = 0xA3
    GATEWAY_TIMEOUT = 0xA4
    PROXYING_NOT_SUPPORTED = 0xA5


class Format(IntEnum):
    """The content formats that this server reads or writes (LwM2M Transport 7)."""

    TEXT = 0
    LINK = 40
    OPAQUE = 42
    CBOR = 60
    SENML_JSON = 110
    SENML_CBOR = 112
    SENML_XML = 310
    ETCH_JSON = 320
    ETCH_CBOR = 322
    TLV = 11542
    LWM2M_JSON = 11543
    LWM2M_CBOR = 11544


class Option(IntEnum):
    """The options that are read or sent (RFC 7252, 7641, 7959, 7967, 8613, 9175)."""

    IF_MATCH = 1
    URI_HOST = 3
    ETAG = 4
    IF_NONE_MATCH = 5
    OBSERVE = 6
    URI_PORT = 7
    LOCATION_PATH = 8
    OSCORE = 9
    URI_PATH = 11
    CONTENT_FORMAT = 12
    MAX_AGE = 14
    URI_QUERY = 15
    ACCEPT = 17
    BLOCK2 = 23
    BLOCK1 = 27
    SIZE2 = 28
    PROXY_URI = 35
    PROXY_SCHEME = 39
    SIZE1 = 60
    ECHO = 252
    NO_RESPONSE = 258
    REQUEST_TAG = 292


@dataclass(frozen=True, slots=True)
class Block:
    """A Block1 or Block2 option: which block, whether more follow, its size exponent (RFC 7959)."""

    number: int
    more: bool
    exponent: int

    @property
    def size(self) -> int:
        """Octets of a block of this exponent."""
        return 16 << self.exponent

    def pack(self) -> int:
        """The option's number."""
        return self.number << 4 | self.more << 3 | self.exponent


@dataclass(frozen=True, slots=True)
class Request:
    """One request. `peer` is its endpoint, `origin` that for people; `secure` if it may write."""

    code: Code
    path: tuple[str, ...]
    query: tuple[str, ...] = ()
    accept: Format | None = None
    content_format: Format | None = None
    payload: bytes = b""
    observe: int | None = None
    block1: Block | None = None
    block2: Block | None = None
    size1: int | None = None
    wants_size: bool = False
    etags: tuple[bytes, ...] = ()
    if_match: tuple[bytes, ...] = ()
    if_none_match: bool = False
    request_tag: tuple[bytes, ...] = ()
    echo: bytes = b""
    peer: Hashable = None
    origin: str = ""
    secure: bool = True

    @property
    def observes(self) -> bool:
        """Whether it begins or ends an observation, or fetches more of what one began with."""
        return self.observe in {0, 1} or self.later_block

    @property
    def later_block(self) -> bool:
        """Whether it fetches more of a transfer that has begun."""
        return self.block2 is not None and self.block2.number > 0

    @property
    def transfer(self) -> bytes:
        """What all blocks of one transfer have in common (RFC 7959 2.4, RFC 9175 3.3), as a hash.

        So a table of them has a size, however long clients make their requests.
        """
        common = self.peer, self.code, self.path, self.query, self.accept, self.request_tag
        return hashlib.blake2b(repr(common).encode(), digest_size=16).digest()


@dataclass(frozen=True, slots=True)
class Response:
    """One answer, or one notification; `max_age_s` in whole seconds, None means the default, 60."""

    code: Code
    payload: bytes = b""
    format: Format | None = None
    max_age_s: int | None = None
    etag: bytes = b""
    block1: Block | None = None
    block2: Block | None = None
    observe: int | None = None
    size1: int | None = None
    size2: int | None = None
    echo: bytes = b""
    location: tuple[str, ...] = ()

    def options(self) -> Iterator[tuple[int, bytes]]:
        """The options by ascending number, values as octets."""
        if self.etag:
            yield Option.ETAG, self.etag
        if self.observe is not None:
            yield Option.OBSERVE, uint(self.observe)
        for segment in self.location:
            yield Option.LOCATION_PATH, segment.encode()
        if self.format is not None:
            yield Option.CONTENT_FORMAT, uint(self.format)
        if self.max_age_s is not None:
            yield Option.MAX_AGE, uint(self.max_age_s)
        if self.block2 is not None:
            yield Option.BLOCK2, uint(self.block2.pack())
        if self.block1 is not None:
            yield Option.BLOCK1, uint(self.block1.pack())
        if self.size2 is not None:
            yield Option.SIZE2, uint(self.size2)
        if self.size1 is not None:
            yield Option.SIZE1, uint(self.size1)
        if self.echo:
            yield Option.ECHO, self.echo


class Refusal(GatewayError):
    """A request that is answered with an error code; the text becomes the diagnostic payload.

    `size1` is the largest body that would have been taken, where that was the reason.
    """

    def __init__(self, code: Code, text: str = "", *, size1: int | None = None) -> None:
        super().__init__(text)
        self.code: Final = code
        self.size1: Final = size1


_CODES: Final[tuple[tuple[type[GatewayError], Code], ...]] = (
    (NotFound, Code.NOT_FOUND),
    (NotAllowed, Code.METHOD_NOT_ALLOWED),
    (WritesDisabled, Code.FORBIDDEN),
    (InvalidValue, Code.BAD_REQUEST),
    (DecodeError, Code.BAD_REQUEST),
    (EncodeError, Code.NOT_ACCEPTABLE),
    (Busy, Code.SERVICE_UNAVAILABLE),
    (Asleep, Code.SERVICE_UNAVAILABLE),
    (Unreachable, Code.GATEWAY_TIMEOUT),
    (TimedOut, Code.GATEWAY_TIMEOUT),
    (DeviceRefused, Code.BAD_GATEWAY),
    (CommandError, Code.BAD_GATEWAY),
)


def refused(error: GatewayError) -> Response:
    """The answer that tells a client of an error."""
    code = next((c for kind, c in _CODES if isinstance(error, kind)), Code.INTERNAL_SERVER_ERROR)
    max_age_s = size1 = None
    match error:
        case Refusal():
            code, size1 = error.code, error.size1
        case Asleep():
            max_age_s = whole_seconds(error.retry_after_s)
        case Busy():
            max_age_s = whole_seconds(BUSY_RETRY_S)
    text = str(error).encode()[:DIAGNOSTIC_LIMIT].decode(errors="ignore").encode()
    return Response(code, text, max_age_s=max_age_s, size1=size1)


def whole_seconds(duration_s: float) -> int:
    """A duration as Max-Age says it: whole seconds, never negative, 32 bits."""
    return math.floor(min(max(duration_s, 0.0), 0xFFFFFFFF))


def uint(number: int) -> bytes:
    """A number in as few octets as it needs, none for zero (RFC 7252 3.2)."""
    return number.to_bytes((number.bit_length() + 7) // 8, "big")

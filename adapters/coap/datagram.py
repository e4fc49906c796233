"""Datagrams of RFC 7252 and the rules for their options; knows neither sockets nor resources.

Strict where the RFC says that a receiver must reject, forgiving where it must ignore.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass, replace
from enum import IntEnum

from adapters.coap.messages import Block, Code, Format, Option, Refusal, Request
from gateway.errors import DecodeError

LARGEST = 4096
"""Octets of the largest datagram taken: four times the largest block, with room for options."""

MAX_OPTIONS = 64
"""Of one request, since each may cost work; a long path, a query and some ETags are twenty."""


class Type(IntEnum):
    """How a datagram wants to be treated (RFC 7252 3)."""

    CON = 0
    NON = 1
    ACK = 2
    RST = 3


@dataclass(frozen=True, slots=True)
class Datagram:
    """A well-formed datagram; options in the order sent, as (number, octets)."""

    type: Type
    code: int
    mid: int
    token: bytes
    options: tuple[tuple[int, bytes], ...] = ()
    payload: bytes = b""


def encode(message: Datagram) -> bytes:
    """The octets of a datagram; its options must stand by ascending number."""
    return head(message.type, message.code, message.mid, message.token) + encode_tail(
        message.options, message.payload
    )


def head(kind: Type, code: int, mid: int, token: bytes = b"") -> bytes:
    """The first part of a datagram, up to and with the token."""
    return bytes((0x40 | kind << 4 | len(token), code, mid >> 8, mid & 0xFF)) + token


def encode_tail(options: Iterable[tuple[int, bytes]], payload: bytes) -> bytes:
    """What follows the token: options by ascending number, then the payload."""
    parts = []
    last = 0
    for number, value in options:
        delta, delta_more = _nibble(number - last)
        length, length_more = _nibble(len(value))
        parts += [bytes((delta << 4 | length,)), delta_more, length_more, value]
        last = number
    if payload:
        parts += [b"\xff", payload]
    return b"".join(parts)


def _nibble(number: int) -> tuple[int, bytes]:
    if number < 13:
        return number, b""
    if number < 269:
        return 13, bytes((number - 13,))
    return 14, (number - 269).to_bytes(2, "big")


def decode(data: bytes) -> Datagram:
    """The parts of a datagram; DecodeError if it breaks the format (RFC 7252 3)."""
    if len(data) < 4 or data[0] >> 6 != 1:
        raise DecodeError("not CoAP version 1")
    token_length = data[0] & 15
    if token_length > 8:
        raise DecodeError("token longer than 8 octets")
    kind, code, mid = Type(data[0] >> 4 & 3), data[1], data[2] << 8 | data[3]
    if code == Code.EMPTY and len(data) > 4:
        raise DecodeError("something follows an empty message")
    if len(data) < 4 + token_length:
        raise DecodeError("truncated token")
    options, payload = _decode_tail(data, 4 + token_length)
    return Datagram(kind, code, mid, data[4 : 4 + token_length], options, payload)


def _decode_tail(data: bytes, at: int) -> tuple[tuple[tuple[int, bytes], ...], bytes]:
    options: list[tuple[int, bytes]] = []
    number = 0
    while at < len(data):
        first = data[at]
        if first == 0xFF:
            if at + 1 == len(data):
                raise DecodeError("payload marker without payload")
            return tuple(options), data[at + 1 :]
        delta, at = _extended(data, at + 1, first >> 4)
        length, at = _extended(data, at, first & 15)
        number += delta
        if number > 0xFFFF or at + length > len(data):
            raise DecodeError("option out of bounds")
        options.append((number, data[at : at + length]))
        at += length
    return tuple(options), b""


def _extended(data: bytes, at: int, nibble: int) -> tuple[int, int]:
    """The number that a nibble of an option's first octet stands for, and where to read on."""
    if nibble < 13:
        return nibble, at
    extra = nibble - 12
    if nibble == 15 or at + extra > len(data):
        raise DecodeError("broken option header")
    base = 13 if nibble == 13 else 269
    return base + int.from_bytes(data[at : at + extra], "big"), at + extra


# --- options ---

_REPEATABLE: frozenset[int] = frozenset(
    {Option.IF_MATCH, Option.ETAG, Option.URI_PATH, Option.URI_QUERY, Option.REQUEST_TAG}
)
# Elective options that a server may leave unread (Hop-Limit, ...) are not here.
_LENGTHS: dict[int, tuple[int, int]] = {
    Option.IF_MATCH: (0, 8),
    Option.URI_HOST: (1, 255),
    Option.ETAG: (1, 8),
    Option.IF_NONE_MATCH: (0, 0),
    Option.OBSERVE: (0, 3),
    Option.URI_PORT: (0, 2),
    Option.URI_PATH: (0, 255),
    Option.CONTENT_FORMAT: (0, 2),
    Option.URI_QUERY: (0, 255),
    Option.ACCEPT: (0, 2),
    Option.BLOCK2: (0, 3),
    Option.BLOCK1: (0, 3),
    Option.SIZE2: (0, 4),
    Option.PROXY_URI: (1, 1034),
    Option.PROXY_SCHEME: (1, 255),
    Option.SIZE1: (0, 4),
    Option.ECHO: (1, 40),
    Option.NO_RESPONSE: (0, 1),
    Option.REQUEST_TAG: (0, 8),
}


def known_options(options: Iterable[tuple[int, bytes]]) -> dict[int, list[bytes]]:
    """The options that count; Refusal if a critical one cannot be honoured (RFC 7252 5.4).

    An unknown option, one of illegal length and one too many of a kind are all treated alike:
    refused if critical, ignored if elective. More than MAX_OPTIONS are refused.
    """
    known: dict[int, list[bytes]] = {}
    for count, (number, value) in enumerate(options, 1):
        if count > MAX_OPTIONS:
            raise Refusal(Code.BAD_OPTION, f"at most {MAX_OPTIONS} options")
        low, high = _LENGTHS.get(number, (1, 0))
        fits = low <= len(value) <= high and (number not in known or number in _REPEATABLE)
        if fits:
            known.setdefault(number, []).append(value)
        elif number & 1:
            raise Refusal(Code.BAD_OPTION, f"option {number} is not understood")
    if Option.PROXY_URI in known or Option.PROXY_SCHEME in known:
        raise Refusal(Code.PROXYING_NOT_SUPPORTED, "this is no proxy")
    return known


def without_unknown(message: Datagram) -> Datagram:
    """The message without elective options that nobody here knows; itself if it has none.

    aiocoap remembers every option number that it ever saw.
    """
    known = tuple(option for option in message.options if option[0] in _LENGTHS)
    return message if len(known) == len(message.options) else replace(message, options=known)


def unwanted(options: Iterable[tuple[int, bytes]], code: int) -> bool:
    """Whether No-Response says that an answer of this code's class is of no interest (RFC 7967)."""
    value = next((value for number, value in options if number == Option.NO_RESPONSE), b"")
    return len(value) == 1 and bool(value[0] >> (code >> 5) - 1 & 1)


def request(
    code: int,
    options: Iterable[tuple[int, bytes]],
    payload: bytes,
    peer: Hashable = "",
    secure: bool = True,
) -> Request:
    """The request that a datagram (or a TCP message) makes; Refusal if it cannot be one."""
    if not Code.GET <= code <= Code.IPATCH:
        raise Refusal(Code.METHOD_NOT_ALLOWED, "unknown method")
    known = known_options(options)
    _texts(known, Option.URI_HOST)  # whatever it is called: this server has but one name
    return Request(
        code=Code(code),
        path=_texts(known, Option.URI_PATH),
        query=_texts(known, Option.URI_QUERY),
        accept=_format(known, Option.ACCEPT, Code.NOT_ACCEPTABLE),
        content_format=_format(known, Option.CONTENT_FORMAT, Code.UNSUPPORTED_CONTENT_FORMAT),
        payload=payload,
        observe=_number(known, Option.OBSERVE),
        block1=_block(known, Option.BLOCK1),
        block2=_block(known, Option.BLOCK2),
        size1=_number(known, Option.SIZE1),
        wants_size=Option.SIZE2 in known,
        etags=tuple(known.get(Option.ETAG, ())),
        if_match=tuple(known.get(Option.IF_MATCH, ())),
        if_none_match=Option.IF_NONE_MATCH in known,
        request_tag=tuple(known.get(Option.REQUEST_TAG, ())),
        echo=known.get(Option.ECHO, [b""])[0],
        peer=peer,
        secure=secure,
    )


def _texts(known: dict[int, list[bytes]], option: Option) -> tuple[str, ...]:
    try:
        return tuple(value.decode() for value in known.get(option, ()))
    except UnicodeDecodeError:
        raise Refusal(Code.BAD_OPTION, f"option {option} is not UTF-8") from None


def _number(known: dict[int, list[bytes]], option: Option) -> int | None:
    values = known.get(option)
    return int.from_bytes(values[0], "big") if values else None


def _format(known: dict[int, list[bytes]], option: Option, refusal: Code) -> Format | None:
    number = _number(known, option)
    try:
        return None if number is None else Format(number)
    except ValueError:
        raise Refusal(refusal, f"content format {number} is not known here") from None


def _block(known: dict[int, list[bytes]], option: Option) -> Block | None:
    number = _number(known, option)
    if number is None:
        return None
    if number & 7 == 7:
        raise Refusal(Code.BAD_REQUEST, "block size exponent 7 is reserved")
    return Block(number >> 4, bool(number & 8), number & 7)

"""CoAP messages (RFC 7252 3) as a small node writes and reads them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

CON, NON, ACK, RST = range(4)
EMPTY, GET, POST, PUT, DELETE = range(5)
CREATED, DELETED, CHANGED, CONTENT, CONTINUE = 0x41, 0x42, 0x44, 0x45, 0x5F
BAD_REQUEST, NOT_FOUND, METHOD_NOT_ALLOWED, NOT_ACCEPTABLE = 0x80, 0x84, 0x85, 0x86
UNSUPPORTED_FORMAT = 0x8F

OBSERVE, LOCATION_PATH, URI_PATH, CONTENT_FORMAT, URI_QUERY = 6, 8, 11, 12, 15
ACCEPT, BLOCK2, BLOCK1 = 17, 23, 27

BLOCK = 64
"""Octets of a block that fit in one frame."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message; `options` in ascending order of their numbers."""

    type: int
    code: int
    mid: int
    token: bytes = b""
    options: tuple[tuple[int, bytes], ...] = ()
    payload: bytes = b""

    def all(self, number: int) -> list[bytes]:
        """The values of a repeatable option."""
        return [value for n, value in self.options if n == number]

    def uint(self, number: int) -> int | None:
        """The value of an option that is a number."""
        found = self.all(number)
        return int.from_bytes(found[0], "big") if found else None

    @property
    def path(self) -> str:
        """The URI's path."""
        return "/" + "/".join(segment.decode() for segment in self.all(URI_PATH))

    def encode(self) -> bytes:
        """The octets."""
        head = bytes((0x40 | self.type << 4 | len(self.token), self.code))
        parts = [head, self.mid.to_bytes(2, "big"), self.token]
        last = 0
        for number, value in sorted(self.options, key=lambda option: option[0]):
            delta, more_delta = _extended(number - last)
            length, more_length = _extended(len(value))
            parts += [bytes((delta << 4 | length,)), more_delta, more_length, value]
            last = number
        if self.payload:
            parts += [b"\xff", self.payload]
        return b"".join(parts)


def parse(data: bytes) -> Message:
    """The message in a datagram; ValueError or IndexError if there is none."""
    if data[0] >> 6 != 1:
        raise ValueError("another version")
    token_end = 4 + (data[0] & 15)
    options, at, number = [], token_end, 0
    while at < len(data) and data[at] != 0xFF:
        head = data[at]
        delta, at = _read_extended(data, at + 1, head >> 4)
        length, at = _read_extended(data, at, head & 15)
        number += delta
        options.append((number, data[at : at + length]))
        at += length
    mid = int.from_bytes(data[2:4], "big")
    return Message(
        data[0] >> 4 & 3, data[1], mid, data[4:token_end], tuple(options), data[at + 1 :]
    )


def number(value: int) -> bytes:
    """An option's value that is a number."""
    return value.to_bytes((value.bit_length() + 7) // 8, "big")


def path_options(path: str) -> tuple[tuple[int, bytes], ...]:
    """The options of a path and query, such as `/rd?ep=node`."""
    place, _, query = path.partition("?")
    segments = [(URI_PATH, part.encode()) for part in place.split("/") if part]
    return (*segments, *((URI_QUERY, part.encode()) for part in query.split("&") if part))


def _extended(value: int) -> tuple[int, bytes]:
    if value < 13:
        return value, b""
    if value < 269:
        return 13, bytes((value - 13,))
    return 14, (value - 269).to_bytes(2, "big")


def _read_extended(data: bytes, at: int, nibble: int) -> tuple[int, int]:
    match nibble:
        case 13:
            return data[at] + 13, at + 1
        case 14:
            return int.from_bytes(data[at : at + 2], "big") + 269, at + 2
        case 15:
            raise ValueError("a reserved length")
        case _:
            return nibble, at


@dataclass(slots=True, eq=False)
class Observer:
    """Who is told of a resource's changes: address, port, token, wanted format."""

    peer: tuple[bytes, int]
    token: bytes
    path: str
    accept: int | None
    sequence: int = 1
    busy: bool = False
    waiting: list[tuple[int, bytes]] = field(default_factory=list)
    """Format and content of notifications that wait for the acknowledgement of an earlier one."""

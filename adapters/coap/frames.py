"""CoAP messages on a stream (RFC 8323 3, 4): where one ends, and what signals say. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from adapters.coap import datagram
from adapters.coap.datagram import Datagram, Type
from adapters.coap.messages import Code, uint
from gateway.errors import DecodeError

MAX_MESSAGE = 1152
"""Octets of the largest message taken, as announced: a block of 1024 and its options.

It is what RFC 8323 5.3.1 assumes anyway, and bounds what a client can make us keep.
"""

CSM, PING, PONG, RELEASE, ABORT = 0xE1, 0xE2, 0xE3, 0xE4, 0xE5
"""The codes of signalling (RFC 8323 5)."""

_MAX_MESSAGE_SIZE, _BLOCK_WISE, _BAD_CSM_OPTION = 2, 4, 2
_LENGTHS = ((13, 1), (269, 2), (65805, 4))
"""What a length nibble of 13 and more adds to, and how many octets follow it."""


@dataclass(frozen=True, slots=True)
class Message:
    """A message without the ways of UDP: code, token, and everything after the token."""

    code: int
    token: bytes = b""
    tail: bytes = b""

    def as_datagram(self) -> Datagram:
        """Its options and payload; DecodeError if they break the format."""
        return datagram.decode(datagram.head(Type.NON, self.code, 0, self.token) + self.tail)


def from_datagram(octets: bytes) -> Message:
    """What a datagram says, apart from type and message ID."""
    end = 4 + (octets[0] & 15)
    return Message(octets[1], octets[4:end], octets[end:])


def capabilities() -> Message:
    """What each end says first: how long a message may be, and that blocks are understood."""
    options = ((_MAX_MESSAGE_SIZE, uint(MAX_MESSAGE)), (_BLOCK_WISE, b""))
    return Message(CSM, tail=datagram.encode_tail(options, b""))


def abort(reason: str, bad_option: int | None = None) -> Message:
    """The last words to a peer that broke the protocol."""
    options = [] if bad_option is None else [(_BAD_CSM_OPTION, uint(bad_option))]
    return Message(ABORT, tail=datagram.encode_tail(options, reason.encode()))


def encode(message: Message) -> bytes:
    """The message as it goes over TCP."""
    size, nibble, more = len(message.tail), len(message.tail), b""
    if size >= _LENGTHS[0][0]:
        base, octets = max(length for length in _LENGTHS if size >= length[0])
        nibble, more = 12 + octets.bit_length(), (size - base).to_bytes(octets, "big")
    head = bytes((nibble << 4 | len(message.token),)) + more + bytes((message.code,))
    return head + message.token + message.tail


class Reassembly:
    """What has come over TCP and is not yet a whole message: less than the longest one."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def add(self, data: bytes) -> list[Message]:
        """The messages that are whole now; DecodeError if one is too long, or its token is."""
        self._buffer += data
        found: list[Message] = []
        at = 0
        while (bounds := self._bounds(at)) is not None:
            code_at, tail_at, end = bounds
            if end > len(self._buffer):
                break
            code, *token = self._buffer[code_at:tail_at]
            found.append(Message(code, bytes(token), bytes(self._buffer[tail_at:end])))
            at = end
        del self._buffer[:at]
        return found

    def _bounds(self, at: int) -> tuple[int, int, int] | None:
        """Where code, tail and end of the message at a place are; None if too little has come."""
        if at >= len(self._buffer):
            return None
        nibble, token_length = self._buffer[at] >> 4, self._buffer[at] & 15
        if token_length > 8:
            raise DecodeError("token longer than 8 octets")
        base, octets = _LENGTHS[nibble - 13] if nibble >= 13 else (nibble, 0)
        if at + octets >= len(self._buffer):
            return None
        code_at = at + 1 + octets
        size = base + int.from_bytes(self._buffer[at + 1 : code_at], "big")
        tail_at = code_at + 1 + token_length
        if tail_at + size - at > MAX_MESSAGE:
            raise DecodeError(f"message longer than {MAX_MESSAGE} octets")
        return code_at, tail_at, tail_at + size


def encode_web(message: Message) -> bytes:
    """The message as one binary WebSocket message (RFC 8323 4.2): its length is not said."""
    return bytes((len(message.token), message.code)) + message.token + message.tail


def decode_web(data: bytes) -> Message:
    """The message in a binary WebSocket message; DecodeError."""
    if len(data) < 2 or data[0] > 8 or len(data) < 2 + data[0]:
        raise DecodeError("not a CoAP message")
    return Message(data[1], data[2 : 2 + data[0]], data[2 + data[0] :])


def check_signal(message: Datagram) -> int | None:
    """The critical option of a signal that nobody here knows, if there is one."""
    return next((number for number, _ in message.options if number & 1), None)


def is_signal(code: int) -> bool:
    """Whether a code is one of signalling."""
    return code >> 5 == CSM >> 5


def is_request(code: int) -> bool:
    """Whether a code is a method."""
    return Code.EMPTY < code < 32

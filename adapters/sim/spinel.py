"""The RCP's side of Spinel and HDLC-lite, as OpenThread's firmware behaves. Pure.

Written apart from the gateway's own codec, so that each checks the other.
"""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass, field

NOOP, RESET, GET, SET, INSERT, REMOVE, IS, INSERTED, REMOVED = range(9)
OK, INVALID_ARGUMENT, INVALID_STATE, INVALID_COMMAND = 0, 3, 4, 5
PARSE_ERROR, BUSY, PROP_NOT_FOUND, NO_ACK, CCA_FAILURE = 9, 12, 13, 17, 18
POWER_ON = 112
NO_SUCH_ADDRESS = 16384 + 10
MAX_PSDU = 127


class Id(enum.IntEnum):
    """Property numbers."""

    LAST_STATUS = 0
    PROTOCOL_VERSION = 1
    NCP_VERSION = 2
    INTERFACE_TYPE = 3
    CAPS = 5
    HWADDR = 8
    PHY_ENABLED = 0x20
    PHY_CHAN = 0x21
    PHY_TX_POWER = 0x25
    SCAN_STATE = 0x30
    SCAN_MASK = 0x31
    SCAN_PERIOD = 0x32
    LADDR = 0x34
    SADDR = 0x35
    PANID = 0x36
    RAW_STREAM = 0x37
    PROMISCUOUS = 0x38
    SCAN_RESULT = 0x39
    STREAM_DEBUG = 0x70
    STREAM_RAW = 0x71
    API_VERSION = 0xB0
    MIN_HOST_API_VERSION = 0xB1
    RADIO_CAPS = 0x120B
    SRC_MATCH_ENABLED = 0x1303
    SRC_MATCH_SHORT = 0x1304
    SRC_MATCH_EXT = 0x1305


_READ_ONLY = {Id.PROTOCOL_VERSION, Id.NCP_VERSION, Id.INTERFACE_TYPE, Id.CAPS, Id.HWADDR} | {
    Id.API_VERSION,
    Id.MIN_HOST_API_VERSION,
    Id.RADIO_CAPS,
}


def packed(value: int) -> bytes:
    """Little-endian base 128."""
    return bytes((value,)) if value < 128 else bytes((value & 127 | 128,)) + packed(value >> 7)


def unpack(data: bytes) -> tuple[int, bytes]:
    """A packed number and what follows; ValueError if it does not end."""
    value = 0
    for i, octet in enumerate(data[:4]):
        value |= (octet & 127) << 7 * i
        if octet < 128:
            return value, data[i + 1 :]
    raise ValueError("a packed number without end")


def checksum(data: bytes) -> bytes:
    """CRC-16/X-25, bit by bit."""
    crc = 0xFFFF
    for octet in data:
        crc ^= octet
        for _ in range(8):
            crc = crc >> 1 ^ (0x8408 if crc & 1 else 0)
    return (crc ^ 0xFFFF).to_bytes(2, "little")


def hdlc(frame: bytes) -> bytes:
    """The frame on the line."""
    line = bytearray(b"\x7e")
    for octet in frame + checksum(frame):
        line += bytes((0x7D, octet ^ 0x20)) if octet in b"\x7e\x7d\x11\x13\xf8" else bytes((octet,))
    return bytes(line + b"\x7e")


class HdlcReader:
    """Octets in, frames out; what is damaged is left out."""

    def __init__(self) -> None:
        self._frame = bytearray()
        self._escaped = False

    def feed(self, data: bytes) -> list[bytes]:
        """The frames that these octets complete."""
        frames = []
        for octet in data:
            if octet == 0x7E:
                body, check = bytes(self._frame[:-2]), bytes(self._frame[-2:])
                if body and check == checksum(body):
                    frames.append(body)
                self._frame.clear()
                self._escaped = False
            elif octet == 0x7D:
                self._escaped = True
            elif len(self._frame) < 1400:
                self._frame.append(octet ^ 0x20 if self._escaped else octet)
                self._escaped = False
        return frames


@dataclass(frozen=True, slots=True)
class Transmit:
    """The host wants this frame (its two octets of FCS removed) on the air."""

    tid: int
    psdu: bytes
    header_updated: bool


def _defaults(eui64: bytes, version: str) -> dict[int, bytes]:
    return {
        Id.PROTOCOL_VERSION: b"\x04\x03",
        Id.NCP_VERSION: version.encode() + b"\0",
        Id.INTERFACE_TYPE: b"\x03",
        Id.CAPS: b"".join(map(packed, (5, 12, 24, 34, 513, 64, 65))),
        Id.HWADDR: eui64,
        Id.PHY_ENABLED: b"\0",
        Id.PHY_CHAN: b"\x0b",
        Id.PHY_TX_POWER: b"\0",
        Id.SCAN_STATE: b"\0",
        Id.SCAN_MASK: b"",
        Id.SCAN_PERIOD: b"\0\0",
        Id.LADDR: eui64,
        Id.SADDR: b"\xfe\xff",
        Id.PANID: b"\xff\xff",
        Id.RAW_STREAM: b"\0",
        Id.PROMISCUOUS: b"\0",
        Id.API_VERSION: b"\x0b",
        Id.MIN_HOST_API_VERSION: b"\x04",
        Id.RADIO_CAPS: b"\x7f",
        Id.SRC_MATCH_ENABLED: b"\0",
    }


@dataclass
class Responder:
    """What the firmware answers. `send` takes each frame; transmissions go to `transmit`."""

    eui64: bytes
    version: str
    send: Callable[[bytes], None]
    transmit: Callable[[Transmit], None]
    energy: Callable[[int], int] = lambda channel: -90
    restart: Callable[[], None] | None = None
    """What a reset by the host does, if it is more than forgetting everything."""
    in_flight: bool = False
    sleepy: set[bytes] = field(default_factory=set)
    """Neighbours with waiting frames, as the host listed them."""
    values: dict[int, bytes] = field(init=False)

    def __post_init__(self) -> None:
        self.values = _defaults(self.eui64, self.version)

    def flag(self, prop: Id) -> bool:
        """Whether a property is other than zero."""
        return any(self.values[prop])

    def reset(self, reason: int = POWER_ON) -> None:
        """Forgets everything and says so."""
        self.__post_init__()
        self.sleepy.clear()
        self.in_flight = False
        self.status(0, reason)

    def status(self, tid: int, status: int, more: bytes = b"") -> None:
        """Tells LAST_STATUS."""
        self.tell(tid, Id.LAST_STATUS, packed(status) + more)

    def tell(self, tid: int, prop: int, value: bytes, command: int = IS) -> None:
        """Tells a property."""
        self.send(bytes((0x80 | tid, command)) + packed(prop) + value)

    def receive(self, frame: bytes) -> None:
        """Takes a frame from the host."""
        tid = frame[0] & 15
        try:
            command, rest = unpack(frame[1:])
            if command == NOOP:
                self.status(tid, OK)
            elif command == RESET:
                (self.restart or self.reset)()
            elif command in {GET, SET, INSERT, REMOVE}:
                prop, value = unpack(rest)
                self._property(tid, command, prop, value)
            else:
                self.status(tid, INVALID_COMMAND)
        except (ValueError, IndexError):
            self.status(tid, PARSE_ERROR)

    def _property(self, tid: int, command: int, prop: int, value: bytes) -> None:
        if command == GET:
            if prop in self.values:
                self.tell(tid, prop, self.values[prop])
            else:
                self.status(tid, PROP_NOT_FOUND)
        elif prop == Id.STREAM_RAW and command == SET:
            self._transmit(tid, value)
        elif prop in {Id.SRC_MATCH_SHORT, Id.SRC_MATCH_EXT}:
            self._source_match(tid, command, prop, value)
        elif prop not in self.values or prop in _READ_ONLY or command != SET:
            self.status(tid, PROP_NOT_FOUND)
        elif prop != Id.PHY_ENABLED and not self.flag(Id.PHY_ENABLED):
            self.status(tid, INVALID_STATE)
        else:
            self._set(tid, prop, value)

    def _set(self, tid: int, prop: int, value: bytes) -> None:
        if prop == Id.PHY_CHAN and value[0] not in range(11, 27):
            self.status(tid, INVALID_STATE)
        elif prop == Id.SCAN_STATE and len(self.values[Id.SCAN_MASK]) != 1:
            self.status(tid, INVALID_ARGUMENT)
        else:
            self.values[prop] = value
            self.tell(tid, prop, value)
            if prop == Id.SCAN_STATE and value == b"\x02":
                channel = self.values[Id.SCAN_MASK][0]
                level = self.energy(channel).to_bytes(1, "little", signed=True)
                self.tell(0, Id.SCAN_RESULT, bytes((channel,)) + level)
                self.values[prop] = b"\0"
                self.tell(0, Id.SCAN_STATE, b"\0")

    def _source_match(self, tid: int, command: int, prop: int, value: bytes) -> None:
        is_short = prop == Id.SRC_MATCH_SHORT
        size = 2 if is_short else 8
        listed = [value[i : i + size] for i in range(0, len(value), size)]
        addresses = {entry[::-1] if is_short else entry for entry in listed}
        if command == SET:
            self.sleepy = {a for a in self.sleepy if len(a) != size} | addresses
            self.status(tid, OK)
        elif command == INSERT:
            self.sleepy |= addresses
            self.tell(tid, prop, value, INSERTED)
        elif addresses <= self.sleepy:
            self.sleepy -= addresses
            self.tell(tid, prop, value, REMOVED)
        else:
            self.status(tid, NO_SUCH_ADDRESS)

    def _transmit(self, tid: int, value: bytes) -> None:
        size = int.from_bytes(value[:2], "little")
        psdu, metadata = value[2 : 2 + size], value[2 + size :]
        if len(psdu) < size or not 3 <= size <= MAX_PSDU or not metadata:
            self.status(tid, PARSE_ERROR)
        elif not self.flag(Id.PHY_ENABLED):
            self.status(tid, INVALID_STATE)
        elif self.in_flight:
            self.status(tid, BUSY)
        else:
            self.in_flight = True
            self.transmit(Transmit(tid, psdu[:-2], metadata[4:5] == b"\x01"))

    def transmitted(self, request: Transmit, status: int) -> None:
        """Tells how a transmission ended."""
        if not self.in_flight:  # a reset came in between
            return
        self.in_flight = False
        ack = b""
        if status == OK and request.psdu[0] & 0x20:
            ack = b"\x02\x00" + request.psdu[2:3] + b"\0\0"
        metadata = reception(ack, rssi_dbm=-20 if ack else 0, channel=0)
        more = bytes((0, request.header_updated)) + (metadata if status == OK else b"")
        self.status(request.tid, status, more)


def reception(
    frame: bytes,
    *,
    rssi_dbm: int,
    channel: int,
    noise: int = -128,
    lqi: int = 0,
    flags: int = 0,
    timestamp_us: int = 0,
) -> bytes:
    """The value of STREAM_RAW for a frame with its FCS, and its metadata."""
    return (
        len(frame).to_bytes(2, "little")
        + frame
        + rssi_dbm.to_bytes(1, "little", signed=True)
        + noise.to_bytes(1, "little", signed=True)
        + flags.to_bytes(2, "little")
        + b"\x0a\0"
        + bytes((channel, lqi))
        + timestamp_us.to_bytes(8, "little")
        + b"\x01\0\0"
        + b"\x05\0"
        + bytes(5)
    )

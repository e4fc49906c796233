"""The 802.15.4 MAC frame, versions 0 to 2 (IEEE 802.15.4-2006 7.2, -2015 7.2). Pure.

PSDUs come without FCS. Addresses are octets as printed, most significant first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from adapters.lowpan.mac import elements
from adapters.lowpan.mac.drops import Drop, Dropped
from gateway.errors import EncodeError

BROADCAST = b"\xff\xff"
BROADCAST_PAN = 0xFFFF
DATA_REQUEST = 4
"""The command by which a sleepy neighbour asks for what waits for it."""

_TYPE, _VERSION = 0x0007, 12
_SECURED, _PENDING, _ACK_REQUEST = 0x0008, 0x0010, 0x0020
_PAN_COMPRESSION, _NO_SEQUENCE, _ELEMENTS = 0x0040, 0x0100, 0x0200
_DESTINATION_MODE, _SOURCE_MODE = 10, 14
_ADDRESS_SIZE = {0: 0, 2: 2, 3: 8}
_ADDRESS_MODE = {0: 0, 2: 2, 8: 3}


class FrameType(IntEnum):
    """What a frame is."""

    BEACON = 0
    DATA = 1
    ACK = 2
    COMMAND = 3


class KeyIdMode(IntEnum):
    """How a secured frame names its key (7.6.2.2.2)."""

    IMPLICIT = 0
    INDEX = 1
    SOURCE4_INDEX = 2
    SOURCE8_INDEX = 3


@dataclass(frozen=True, slots=True)
class KeyId:
    """The name of a key: nothing, an index, or an index of a key source."""

    mode: KeyIdMode = KeyIdMode.IMPLICIT
    index: int = 0
    source: bytes = b""

    def encode(self) -> bytes:
        """The key identifier field."""
        index = bytes((self.index,)) if self.mode else b""
        return self.source[::-1] + index


@dataclass(frozen=True, slots=True)
class SecurityHeader:
    """The auxiliary security header (7.6.2)."""

    level: int
    frame_counter: int
    key_id: KeyId = KeyId()

    def encode(self) -> bytes:
        """The octets of the header."""
        control = self.level | self.key_id.mode << 3
        return bytes((control,)) + self.frame_counter.to_bytes(4, "little") + self.key_id.encode()


@dataclass(frozen=True, slots=True)
class MacFrame:
    """One frame. `payload` is what follows the MAC header: as sent, if the frame is secured.

    An empty address stands for none. A source PAN that was left out because it is the
    destination's is filled in.
    """

    type: FrameType
    destination: bytes = b""
    source: bytes = b""
    destination_pan: int | None = None
    source_pan: int | None = None
    sequence: int | None = None
    version: int = 1
    frame_pending: bool = False
    ack_request: bool = False
    security: SecurityHeader | None = None
    payload: bytes = b""
    header: bytes = field(default=b"", compare=False, repr=False)
    """The MAC header as it was received, header elements included (it is authenticated)."""
    payload_elements: bool = False
    """Payload elements stand before the payload proper (version 2)."""


class _Cursor:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.at = 0

    def take(self, size: int) -> bytes:
        """The next octets, turned from on-air order to printed order."""
        piece = self.data[self.at : self.at + size]
        if len(piece) < size:
            raise Dropped(Drop.TRUNCATED)
        self.at += size
        return piece[::-1]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")


def decode(psdu: bytes) -> MacFrame:
    """The frame in a PSDU; raises Dropped."""
    cursor = _Cursor(psdu)
    control = cursor.number(2)
    version = control >> _VERSION & 3
    try:
        frame_type = FrameType(control & _TYPE)
    except ValueError:
        raise Dropped(Drop.FRAME_TYPE) from None
    if version > 2:
        raise Dropped(Drop.FRAME_VERSION)
    has_sequence = version < 2 or not control & _NO_SEQUENCE
    sequence = cursor.number(1) if has_sequence else None
    destination_pan, destination, source_pan, source = _addresses(cursor, control, version)
    security = _security(cursor, version) if control & _SECURED else None
    payload_elements = False
    if version == 2 and control & _ELEMENTS:
        cursor.at, payload_elements = elements.skip_header(psdu, cursor.at)
    return MacFrame(
        frame_type,
        destination,
        source,
        destination_pan,
        source_pan,
        sequence,
        version,
        bool(control & _PENDING),
        bool(control & _ACK_REQUEST),
        security,
        psdu[cursor.at :],
        psdu[: cursor.at],
        payload_elements,
    )


def encode(frame: MacFrame) -> bytes:
    """The PSDU of a frame of version 0 or 1; the PAN is compressed where both are the same."""
    if frame.version > 1 or frame.sequence is None or frame.payload_elements:
        raise EncodeError("frames of version 2 are not sent")
    compressed = (
        bool(frame.destination and frame.source) and frame.destination_pan == frame.source_pan
    )
    control = (
        frame.type
        | (_SECURED if frame.security else 0)
        | (_PENDING if frame.frame_pending else 0)
        | (_ACK_REQUEST if frame.ack_request else 0)
        | (_PAN_COMPRESSION if compressed else 0)
        | _ADDRESS_MODE[len(frame.destination)] << _DESTINATION_MODE
        | frame.version << _VERSION
        | _ADDRESS_MODE[len(frame.source)] << _SOURCE_MODE
    )
    return (
        control.to_bytes(2, "little")
        + bytes((frame.sequence,))
        + _address(frame.destination_pan, frame.destination)
        + _address(None if compressed else frame.source_pan, frame.source)
        + (frame.security.encode() if frame.security else b"")
        + frame.payload
    )


def open_payload_size(frame: MacFrame) -> int:
    """How much of the payload is never encrypted (7.6.3.2): all fields but data, up to 2006."""
    if frame.version > 1:
        return 0
    match frame.type:
        case FrameType.COMMAND:
            size = 1
        case FrameType.BEACON:
            size = _beacon_fields(frame.payload)
        case _:
            size = 0
    if size > len(frame.payload):
        raise Dropped(Drop.TRUNCATED)
    return size


def _addresses(
    cursor: _Cursor, control: int, version: int
) -> tuple[int | None, bytes, int | None, bytes]:
    modes = control >> _DESTINATION_MODE & 3, control >> _SOURCE_MODE & 3
    if 1 in modes:
        raise Dropped(Drop.ADDRESSING)
    to_size, from_size = _ADDRESS_SIZE[modes[0]], _ADDRESS_SIZE[modes[1]]
    compressed = bool(control & _PAN_COMPRESSION)
    if version < 2:
        if compressed and not (to_size and from_size):
            raise Dropped(Drop.ADDRESSING)
        present = PanPresence(bool(to_size), bool(from_size) and not compressed)
    else:
        present = _presence_2015(to_size, from_size, compressed)
    destination_pan = cursor.number(2) if present.destination else None
    destination = cursor.take(to_size)
    source_pan = cursor.number(2) if present.source else None
    source = cursor.take(from_size)
    if source and source_pan is None:
        source_pan = destination_pan
    return destination_pan, destination, source_pan, source


@dataclass(frozen=True, slots=True)
class PanPresence:
    """Which PAN ids stand in a header."""

    destination: bool
    source: bool


def _presence_2015(to_size: int, from_size: int, compressed: bool) -> PanPresence:
    """IEEE 802.15.4-2015, table 7-2."""
    if not to_size and not from_size:
        return PanPresence(compressed, False)
    if not from_size:
        return PanPresence(not compressed, False)
    if not to_size:
        return PanPresence(False, not compressed)
    if to_size == from_size == 8:
        return PanPresence(not compressed, False)
    return PanPresence(True, not compressed)


def _security(cursor: _Cursor, version: int) -> SecurityHeader:
    if version == 0:  # the header of 2003 had another form
        raise Dropped(Drop.SECURITY_HEADER)
    control = cursor.number(1)
    if control & 0xE0:  # suppressed counter, nonce from the slot number, reserved
        raise Dropped(Drop.SECURITY_HEADER)
    counter = cursor.number(4)
    mode = KeyIdMode(control >> 3 & 3)
    source = cursor.take({KeyIdMode.SOURCE4_INDEX: 4, KeyIdMode.SOURCE8_INDEX: 8}.get(mode, 0))
    index = cursor.number(1) if mode else 0
    return SecurityHeader(control & 7, counter, KeyId(mode, index, source))


def _address(pan: int | None, address: bytes) -> bytes:
    if not address:
        return b""
    return (b"" if pan is None else pan.to_bytes(2, "little")) + address[::-1]


def _beacon_fields(payload: bytes) -> int:
    """Superframe, guaranteed slots and pending addresses (7.2.2.1)."""
    cursor = _Cursor(payload)
    cursor.take(2)
    if slots := cursor.number(1) & 7:
        cursor.take(1 + 3 * slots)
    pending = cursor.number(1)
    cursor.take(2 * (pending & 7) + 8 * (pending >> 4 & 7))
    return cursor.at

"""Spinel, the language of OpenThread RCPs: frames, fields, properties. No order of events here.

Reading is lenient: older firmware leaves out fields at the end, newer firmware adds some.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum, IntFlag

from adapters.lowpan.phy import FCS_SIZE, PSDU_LIMIT
from gateway.errors import DecodeError, EncodeError

MAX_PACKED = 2_097_151
"""The largest packed integer of three octets; Spinel uses none longer."""

RESET_REASONS = range(112, 128)
"""LAST_STATUS values that say: the RCP has restarted and forgotten everything."""

_PATTERN, _PATTERN_MASK, _TID_MASK = 0x80, 0xC0, 0x0F
_RSSI_UNKNOWN = 127
_LQI_UNKNOWN = 0


class Command(IntEnum):
    """What a frame asks or tells."""

    NOOP = 0
    RESET = 1
    GET = 2
    SET = 3
    INSERT = 4
    REMOVE = 5
    IS = 6
    INSERTED = 7
    REMOVED = 8


class ResetKind(IntEnum):
    """How much of the RCP restarts."""

    PLATFORM = 1
    STACK = 2


class Property(IntEnum):
    """The properties that a radio-only host needs."""

    LAST_STATUS = 0x00
    PROTOCOL_VERSION = 0x01
    NCP_VERSION = 0x02
    CAPS = 0x05
    HWADDR = 0x08
    PHY_ENABLED = 0x20
    PHY_CHAN = 0x21
    PHY_TX_POWER = 0x25
    MAC_SCAN_STATE = 0x30
    MAC_SCAN_MASK = 0x31
    MAC_SCAN_PERIOD = 0x32
    MAC_15_4_LADDR = 0x34
    MAC_15_4_SADDR = 0x35
    MAC_15_4_PANID = 0x36
    MAC_RAW_STREAM_ENABLED = 0x37
    MAC_PROMISCUOUS_MODE = 0x38
    MAC_ENERGY_SCAN_RESULT = 0x39
    STREAM_DEBUG = 0x70
    STREAM_RAW = 0x71
    RCP_API_VERSION = 0xB0
    RCP_MIN_HOST_API_VERSION = 0xB1
    RADIO_CAPS = 0x120B
    SRC_MATCH_ENABLED = 0x1303
    SRC_MATCH_SHORT = 0x1304
    SRC_MATCH_EXT = 0x1305


class Status(IntEnum):
    """The values of LAST_STATUS that are told apart."""

    OK = 0
    INVALID_ARGUMENT = 3
    INVALID_STATE = 4
    NOMEM = 11
    BUSY = 12
    PROP_NOT_FOUND = 13
    NO_ACK = 17
    CCA_FAILURE = 18


class Capability(IntEnum):
    """The entries of CAPS that matter here."""

    CONFIG_RADIO = 34
    RCP_API_VERSION = 64
    RCP_MIN_HOST_API_VERSION = 65
    MAC_RAW = 513


class RxFlags(IntFlag):
    """The flags of a received frame."""

    TRANSMITTED = 0x0001
    BAD_FCS = 0x0004
    DUPLICATE = 0x0008
    ACKED_WITH_PENDING = 0x0010


@dataclass(frozen=True, slots=True)
class Frame:
    """One Spinel frame. `property` is None for NOOP and RESET; unknown numbers are kept."""

    tid: int
    command: int
    property: int | None = None
    value: bytes = b""


@dataclass(frozen=True, slots=True)
class Reception:
    """A STREAM_RAW frame from the air, its last two octets (FCS or not) removed; see RxFlags."""

    psdu: bytes
    rssi_dbm: int | None = None
    flags: int = 0
    channel: int | None = None
    lqi: int | None = None
    timestamp_us: int | None = None
    error: int = 0


@dataclass(frozen=True, slots=True)
class Transmission:
    """The end of a transmission, as LAST_STATUS tells it."""

    status: int
    frame_pending: bool = False


class Fields:
    """Reads one field after another; DecodeError when the frame ends too early."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def __len__(self) -> int:
        return len(self._data) - self._at

    def take(self, size: int) -> bytes:
        """The next `size` octets."""
        piece = self._data[self._at : self._at + size]
        if len(piece) < size:
            raise DecodeError(f"Spinel field of {size} octets, {len(piece)} left")
        self._at += size
        return piece

    def rest(self) -> bytes:
        """All that is left (`D`)."""
        return self.take(len(self))

    def unsigned(self, size: int) -> int:
        """A little-endian unsigned integer (`C`, `S`, `L`, `X`, `b`)."""
        return int.from_bytes(self.take(size), "little")

    def signed(self) -> int:
        """A signed octet (`c`)."""
        return int.from_bytes(self.take(1), "little", signed=True)

    def packed(self) -> int:
        """A packed unsigned integer (`i`)."""
        value = 0
        for shift in (0, 7, 14):
            octet = self.unsigned(1)
            value |= (octet & 0x7F) << shift
            if octet < 0x80:
                return value
        raise DecodeError("Spinel packed integer of more than three octets")

    def sized(self) -> bytes:
        """Octets with their length before them (`d`, `t`)."""
        return self.take(self.unsigned(2))


def packed(value: int) -> bytes:
    """The packed form of an unsigned integer."""
    if not 0 <= value <= MAX_PACKED:
        raise EncodeError(f"{value} does not fit a Spinel packed integer")
    octets = bytearray()
    while value >= 0x80:
        octets.append(value & 0x7F | 0x80)
        value >>= 7
    octets.append(value)
    return bytes(octets)


def encode(frame: Frame) -> bytes:
    """The octets of a frame for interface 0."""
    if not 0 <= frame.tid <= _TID_MASK:
        raise EncodeError(f"Spinel transaction {frame.tid} is not one of 0 to 15")
    key = b"" if frame.property is None else packed(frame.property)
    return bytes((_PATTERN | frame.tid,)) + packed(frame.command) + key + frame.value


def decode(data: bytes) -> Frame:
    """The frame in `data`."""
    fields = Fields(data)
    header = fields.unsigned(1)
    if header & _PATTERN_MASK != _PATTERN:
        raise DecodeError(f"not a Spinel header: {header:#04x}")
    tid, command = header & _TID_MASK, fields.packed()
    if command in {Command.NOOP, Command.RESET}:
        return Frame(tid, command, None, fields.rest())
    return Frame(tid, command, fields.packed(), fields.rest())


def reset(kind: ResetKind) -> bytes:
    """The frame that restarts the RCP."""
    return encode(Frame(0, Command.RESET, None, bytes((kind,))))


def stream_raw(psdu: bytes, channel: int, *, csma_backoffs: int = 4, retries: int = 3) -> bytes:
    """The value of STREAM_RAW that transmits `psdu` (without FCS).

    Header and security are declared as finished, or an RCP that can secure frames by itself
    would put its own frame counter into ours.
    """
    if not 1 <= len(psdu) <= PSDU_LIMIT:
        raise EncodeError(f"a frame has 1 to {PSDU_LIMIT} octets, not {len(psdu)}")
    frame = psdu + bytes(FCS_SIZE)  # a placeholder
    csma, header_updated, is_retransmission, security_processed = 1, 1, 0, 1
    delay_us = delay_base_us = bytes(4)
    return (
        len(frame).to_bytes(2, "little")
        + frame
        + bytes((channel, csma_backoffs, retries, csma))
        + bytes((header_updated, is_retransmission, security_processed))
        + delay_us
        + delay_base_us
        + bytes((channel,))
    )


def reception(value: bytes) -> Reception:
    """The value of a STREAM_RAW that the RCP sent by itself.

    The FCS is not checked: the RCP has done it, and several radios put RSSI and LQI in its place.
    """
    fields = Fields(value)
    psdu = fields.sized()[:-FCS_SIZE]
    rssi = fields.signed() if fields else _RSSI_UNKNOWN
    if fields:
        fields.signed()  # noise floor
    flags = fields.unsigned(2) if fields else 0
    phy = Fields(fields.sized()) if fields else Fields(b"")
    channel = phy.unsigned(1) if phy else None
    lqi = phy.unsigned(1) if phy else _LQI_UNKNOWN
    timestamp_us = phy.unsigned(8) if len(phy) >= 8 else None
    failure = Fields(fields.sized()) if fields else Fields(b"")
    return Reception(
        psdu,
        None if rssi == _RSSI_UNKNOWN else rssi,
        flags,
        channel,
        None if lqi == _LQI_UNKNOWN else lqi,
        timestamp_us,
        failure.packed() if failure else 0,
    )


def transmission(value: bytes) -> Transmission:
    """The value of the LAST_STATUS that answers a transmission."""
    fields = Fields(value)
    status = fields.packed()
    return Transmission(status, bool(fields and fields.unsigned(1)))


def status_name(status: int) -> str:
    """A status for people: `NO_ACK`, else its number."""
    try:
        return Status(status).name
    except ValueError:
        return f"status {status}"


def text(value: bytes) -> str:
    """A NUL-terminated text (`U`), whatever its octets."""
    return value.split(b"\0", 1)[0].decode("utf-8", "replace")

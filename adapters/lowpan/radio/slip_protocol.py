"""What is said to a slip-radio (Contiki-NG `slip-radio`, Zephyr `wpan_serial`) and what it says.

There is no checksum and no framing of types: control texts and frames from the air are told
apart by their first two octets, which as a frame control field would be reserved combinations.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from adapters.lowpan.phy import PSDU_LIMIT
from adapters.lowpan.radio.interface import TxResult
from gateway.errors import DecodeError, EncodeError

ASK_ADDRESS = b"?M"

SEQUENCES = 16
"""Transmissions are numbered 0 to 15: the radio keeps as many."""

PARAMETER_CHANNEL = 1
PARAMETER_PAN_ID = 2
PARAMETER_TX_POWER = 5

_RESULTS = {
    1: TxResult.CHANNEL_BUSY,
    2: TxResult.NO_ACK,
    3: TxResult.CHANNEL_BUSY,  # Contiki-NG's "deferred"
    6: TxResult.QUEUE_FULL,
    # Zephyr sends a negative errno as one octet.
    256 - 16: TxResult.CHANNEL_BUSY,  # EBUSY
    256 - 35: TxResult.NO_ACK,  # ENOMSG of newlib
    256 - 80: TxResult.NO_ACK,  # ENOMSG of Zephyr's own C library
}
_ACK_REQUEST = 0x20
_TEXT = re.compile(rb"[\t\n\r -~]*")
_TEXT_FIRST = b"?E\r"
_HEX_ADDRESS = re.compile(rb"!M[0-9A-Fa-f]{16}")


@dataclass(frozen=True, slots=True)
class Address:
    """The radio's EUI-64, most significant octet first."""

    eui64: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """A transmission has ended: its number, how, and after how many attempts."""

    sequence: int
    status: int
    attempts: int


@dataclass(frozen=True, slots=True)
class Parameter:
    """The value of a radio parameter."""

    number: int
    value: int


@dataclass(frozen=True, slots=True)
class Text:
    """A complaint or debug line, unsanitised."""

    text: str


@dataclass(frozen=True, slots=True)
class Reception:
    """A frame from the air without FCS."""

    psdu: bytes


Message = Address | Report | Parameter | Text | Reception


def decode(packet: bytes) -> Message:
    """What the radio says. Octets after a control message are ignored (Zephyr adds one)."""
    kind, body = packet[:2], packet[2:]
    if _HEX_ADDRESS.fullmatch(packet):
        raise DecodeError("the address comes as text: a border-router mote, not a slip-radio")
    match kind:
        case b"!M" if len(body) >= 8:
            return Address(body[:8])
        case b"!R" if len(body) >= 3:
            return Report(*body[:3])
        case b"!V" if len(body) >= 4:
            return Parameter(
                int.from_bytes(body[:2], "big"), int.from_bytes(body[2:4], "big", signed=True)
            )
        case b"!M" | b"!R" | b"!V":
            raise DecodeError(f"a truncated {kind.decode()} message")
    if packet[:1] in _TEXT_FIRST or _TEXT.fullmatch(packet):
        return Text(packet.decode("ascii", "replace").strip())
    if len(packet) > PSDU_LIMIT:
        raise DecodeError(f"a frame of {len(packet)} octets")
    return Reception(packet)


def transmit(sequence: int, psdu: bytes) -> bytes:
    """The request to send a frame (without FCS), without attributes.

    The numbers of attributes depend on how the firmware was built, and a frame with one that
    it does not know is dropped without a report.
    """
    if not 1 <= len(psdu) <= PSDU_LIMIT:
        raise EncodeError(f"a frame has 1 to {PSDU_LIMIT} octets, not {len(psdu)}")
    return b"!S" + bytes((sequence, 0)) + psdu


def set_parameter(number: int, value: int) -> bytes:
    """The request to set a radio parameter (Contiki-NG only); there is no answer."""
    return b"!V" + number.to_bytes(2, "big") + (value & 0xFFFF).to_bytes(2, "big")


def set_channel(channel: int) -> tuple[bytes, bytes]:
    """The requests to set the channel, one for each dialect; there is no answer."""
    return set_parameter(PARAMETER_CHANNEL, channel), b"!C" + bytes((channel,))


def result(report: Report, psdu: bytes) -> TxResult:
    """What a report on `psdu` means, in either dialect."""
    if report.status == 0:
        return TxResult.ACKED if psdu[0] & _ACK_REQUEST else TxResult.SENT
    return _RESULTS.get(report.status, TxResult.REFUSED)

"""ZEP version 2: an 802.15.4 frame in a UDP datagram, as RIOT's native nodes send them. Pure."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from adapters.lowpan.crc import fcs
from adapters.lowpan.phy import FCS_SIZE, PSDU_LIMIT
from gateway.errors import DecodeError, EncodeError

_PREAMBLE, _VERSION = b"EX", 2
_DATA, _ACK, _HELLO = 1, 2, 0xFF
_LQI_MODE, _LQI = 1, 0xFF
_NTP_EPOCH_S = 2_208_988_800
_HEADER = struct.Struct(">2sBBBHBBIII10sB")
"""Preamble, version, type, channel, device, LQI mode, LQI, NTP seconds and fraction, sequence,
reserved, length of the frame with its FCS."""


@dataclass(frozen=True, slots=True)
class ZepFrame:
    """A frame from the air, its FCS checked and removed."""

    psdu: bytes
    channel: int
    device: int
    lqi: int | None
    sequence: int


def encode(psdu: bytes, channel: int, device: int, sequence: int, at: float) -> bytes:
    """The datagram for a frame without FCS; `at` is Unix seconds."""
    if not 1 <= len(psdu) <= PSDU_LIMIT:
        raise EncodeError(f"a frame has 1 to {PSDU_LIMIT} octets, not {len(psdu)}")
    frame = psdu + fcs(psdu)
    return _header(_DATA, channel, device, sequence, at, size=len(frame)) + frame


def hello(channel: int, device: int, sequence: int, at: float) -> bytes:
    """The datagram by which a node joins RIOT's dispatcher before it has anything to say."""
    return _header(_HELLO, channel, device, sequence, at, reserved=b"HELLO")


def decode(datagram: bytes) -> ZepFrame | None:
    """The frame in a datagram; None for one that carries no frame. Octets behind it are ignored."""
    if len(datagram) < 4 or datagram[:2] != _PREAMBLE:
        raise DecodeError("not a ZEP datagram")
    if datagram[2] != _VERSION:
        raise DecodeError(f"ZEP version {datagram[2]}, not {_VERSION}")
    if datagram[3] != _DATA:
        return None
    if len(datagram) < _HEADER.size:
        raise DecodeError("a truncated ZEP header")
    _, _, _, channel, device, lqi_mode, lqi, _, _, sequence, _, size = _HEADER.unpack_from(datagram)
    frame = datagram[_HEADER.size : _HEADER.size + size]
    if len(frame) < size or not FCS_SIZE < size <= PSDU_LIMIT + FCS_SIZE:
        raise DecodeError(f"a ZEP frame of {size} octets, {len(frame)} there")
    psdu = frame[:-FCS_SIZE]
    if frame[-FCS_SIZE:] != fcs(psdu):
        raise DecodeError("a ZEP frame with a wrong FCS")
    return ZepFrame(psdu, channel, device, lqi if lqi_mode else None, sequence)


def _header(
    kind: int,
    channel: int,
    device: int,
    sequence: int,
    at: float,
    *,
    reserved: bytes = b"",
    size: int = 0,
) -> bytes:
    seconds, fraction = divmod(at, 1)
    return _HEADER.pack(
        _PREAMBLE,
        _VERSION,
        kind,
        channel,
        device,
        _LQI_MODE,
        _LQI,
        (int(seconds) + _NTP_EPOCH_S) & 0xFFFFFFFF,
        int(fraction * 2**32),
        sequence & 0xFFFFFFFF,
        reserved,
        size,
    )

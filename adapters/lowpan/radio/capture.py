"""Frames as a capture that Wireshark opens: pcap, link type 195 (802.15.4 with FCS). Pure."""

from __future__ import annotations

import struct
from typing import BinaryIO

from adapters.lowpan.crc import fcs

SIZE_LIMIT = 64 * 2**20
"""Octets of one capture: about half a million frames; a forgotten one must not fill the disk."""

_FILE_HEADER = struct.Struct("<IHHiIII")
_RECORD_HEADER = struct.Struct("<IIII")
_MAGIC, _VERSION, _SNAP_LENGTH = 0xA1B2C3D4, (2, 4), 127
_LINKTYPE_IEEE802_15_4_WITHFCS = 195


def file_header() -> bytes:
    """What a capture begins with."""
    return _FILE_HEADER.pack(_MAGIC, *_VERSION, 0, 0, _SNAP_LENGTH, _LINKTYPE_IEEE802_15_4_WITHFCS)


def record(psdu: bytes, at: float) -> bytes:
    """One frame (without FCS, which is added); `at` is Unix seconds."""
    frame = psdu + fcs(psdu)
    total_us = round(at * 1_000_000)
    seconds, microseconds = divmod(total_us, 1_000_000)
    return _RECORD_HEADER.pack(seconds, microseconds, len(frame), len(frame)) + frame


class Capture:
    """Writes frames into an open binary stream until the limit is reached, each at once."""

    def __init__(self, stream: BinaryIO, limit: int = SIZE_LIMIT) -> None:
        self._stream = stream
        self._left = limit
        self._write(file_header())

    def add(self, psdu: bytes, at: float) -> bool:
        """Adds a frame; False if the capture is full."""
        return self._write(record(psdu, at))

    def _write(self, data: bytes) -> bool:
        if len(data) > self._left:
            return False
        self._left -= len(data)
        self._stream.write(data)
        self._stream.flush()
        return True

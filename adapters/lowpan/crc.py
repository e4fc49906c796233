"""CRC-16 with the reflected polynomial 0x8408, as HDLC-lite and 802.15.4 use it."""

import binascii

_REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))


def crc16(data: bytes, initial: int = 0) -> int:
    """The CRC of `data`; `initial` must be 0 or 0xFFFF, which read the same in both directions."""
    register = binascii.crc_hqx(data.translate(_REVERSED), initial)
    return _REVERSED[register & 0xFF] << 8 | _REVERSED[register >> 8]


def fcs(psdu: bytes) -> bytes:
    """The two octets that end a frame on the air (CRC-16/KERMIT, low octet first)."""
    return crc16(psdu).to_bytes(2, "little")

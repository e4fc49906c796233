"""CCM* of 802.15.4 (2006, annex B) with a length field of two octets, for every MIC size from 0.

Written on the block cipher since the library's AESCCM knows neither encryption without MIC nor
the MIC of RIOT; the tests hold it against AESCCM where that one goes.
"""

from __future__ import annotations

from enum import Enum

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

NONCE_SIZE = 13
KEY_SIZE = 16

_BLOCK = 16
_COUNTER_FLAGS = b"\x01"  # L - 1


class MicQuirk(Enum):
    """How a network computes its MIC."""

    NONE = "none"
    RIOT = "riot"
    """RIOT forgets to shift the MIC's size within the first block's flags."""


class Ccm:
    """CCM* for one frame: its key and nonce."""

    def __init__(self, key: bytes, nonce: bytes, quirk: MicQuirk = MicQuirk.NONE) -> None:
        self._key = algorithms.AES(key)
        self._nonce = nonce
        self._quirk = quirk

    def mic(self, data: bytes, message: bytes, size: int) -> bytes:
        """The MIC over authenticated data and plain message, not yet encrypted."""
        if not size:
            return b""
        size_code = (size - 2) // 2
        flags = size_code << 3 | 1 if self._quirk is MicQuirk.NONE else size_code | 1
        if data:
            flags |= 0x40
        first = bytes((flags,)) + self._nonce + len(message).to_bytes(2, "big")
        prefixed = len(data).to_bytes(2, "big") + data if data else b""
        cbc = Cipher(self._key, modes.CBC(bytes(_BLOCK))).encryptor()
        chain = cbc.update(first + _padded(prefixed) + _padded(message)) + cbc.finalize()
        return chain[-_BLOCK:][:size]

    def crypt(self, mic: bytes, message: bytes) -> tuple[bytes, bytes]:
        """MIC and message encrypted, or decrypted: with a key stream both are the same."""
        stream = Cipher(self._key, modes.CTR(_COUNTER_FLAGS + self._nonce + bytes(2))).encryptor()
        mask = stream.update(bytes(_BLOCK))
        text = stream.update(message) + stream.finalize()
        return bytes(a ^ b for a, b in zip(mic, mask, strict=False)), text


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _BLOCK)

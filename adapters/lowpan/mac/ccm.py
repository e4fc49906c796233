"""CCM* of 802.15.4 (2006, annex B) with a length field of two octets, for every MIC size from 0.

The library's AESCCM does what it can, which is fast; it knows neither encryption without MIC nor
the MIC of RIOT. These are made of the block cipher here.
"""

from __future__ import annotations

from enum import Enum
from functools import lru_cache

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from cryptography.hazmat.primitives.constant_time import bytes_eq

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
    """CCM* for one frame: its key and nonce, and how many octets its MIC has."""

    def __init__(
        self, key: bytes, nonce: bytes, size: int, quirk: MicQuirk = MicQuirk.NONE
    ) -> None:
        self._key = key
        self._nonce = nonce
        self._size = size
        self._library = _library(key, size) if size and quirk is MicQuirk.NONE else None

    def seal(self, data: bytes, message: bytes) -> bytes:
        """The message encrypted, and behind it the MIC over the data and the message."""
        if self._library:
            return self._library.encrypt(self._nonce, message, data)
        mic, text = self._crypt(self._mic_of_riot(data, message), message)
        return text + mic

    def unseal(self, data: bytes, sealed: bytes) -> bytes | None:
        """The message of what `seal` has made, which has room for a MIC; None if that is wrong."""
        if self._library:
            try:
                return self._library.decrypt(self._nonce, sealed, data)
            except InvalidTag:
                return None
        end = len(sealed) - self._size
        mic, message = self._crypt(sealed[end:], sealed[:end])
        return message if bytes_eq(mic, self._mic_of_riot(data, message)) else None

    def _mic_of_riot(self, data: bytes, message: bytes) -> bytes:
        """The MIC, not yet encrypted; empty where there is none."""
        if not self._size:
            return b""
        flags = (self._size - 2) // 2 | 1
        if data:
            flags |= 0x40
        first = bytes((flags,)) + self._nonce + len(message).to_bytes(2, "big")
        prefixed = len(data).to_bytes(2, "big") + data if data else b""
        cbc = Cipher(algorithms.AES(self._key), modes.CBC(bytes(_BLOCK))).encryptor()
        chain = cbc.update(first + _padded(prefixed) + _padded(message)) + cbc.finalize()
        return chain[-_BLOCK:][: self._size]

    def _crypt(self, mic: bytes, message: bytes) -> tuple[bytes, bytes]:
        """MIC and message encrypted, or decrypted: with a key stream both are the same."""
        start = modes.CTR(_COUNTER_FLAGS + self._nonce + bytes(2))
        stream = Cipher(algorithms.AES(self._key), start).encryptor()
        mask = stream.update(bytes(_BLOCK))
        text = stream.update(message) + stream.finalize()
        return bytes(a ^ b for a, b in zip(mic, mask, strict=False)), text


@lru_cache(maxsize=16)  # a network has one key, two while it changes
def _library(key: bytes, size: int) -> AESCCM:
    return AESCCM(key, tag_length=size)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _BLOCK)

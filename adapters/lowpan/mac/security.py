"""Securing and unsecuring one frame (IEEE 802.15.4-2006 7.5.8); keys and counters are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from adapters.lowpan.mac import ccm
from adapters.lowpan.mac.ccm import MicQuirk
from adapters.lowpan.mac.drops import Drop, Dropped
from adapters.lowpan.mac.frame import (
    KeyId,
    KeyIdMode,
    MacFrame,
    SecurityHeader,
    encode,
    open_payload_size,
)

MIC_SIZES = (0, 4, 8, 16)
"""Octets, by the lower two bits of the level."""

ENCRYPTED = 4
"""The bit of the level that says: the payload is encrypted."""

LAST_COUNTER = 0xFFFFFFFF
"""A key whose counter has come here is used up."""


@dataclass(frozen=True, slots=True)
class LinkSecurity:
    """How a network secures its frames. `keys` may hold more keys for receiving."""

    level: int
    key: bytes = field(repr=False)
    key_id: KeyId = field(default_factory=KeyId)
    required: bool = True
    """Frames in clear are dropped."""
    quirk: MicQuirk = MicQuirk.NONE
    keys: Mapping[KeyId, bytes] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not 1 <= self.level <= 7:
            raise ValueError(f"the security level is 1 to 7, not {self.level}")
        if any(len(key) != ccm.KEY_SIZE for key in (self.key, *self.keys.values())):
            raise ValueError(f"a link key has {ccm.KEY_SIZE} octets")
        if self.key_id.mode not in {KeyIdMode.IMPLICIT, KeyIdMode.INDEX}:
            raise ValueError("key ids with a source are understood, but not sent")

    def find_key(self, key_id: KeyId) -> bytes:
        """The key of that name; raises Dropped."""
        key = self.key if key_id == self.key_id else self.keys.get(key_id)
        if key is None:
            raise Dropped(Drop.UNKNOWN_KEY)
        return key

    def is_too_weak(self, level: int) -> bool:
        """Whether a level protects less than the network's own, in whichever respect."""
        return (level & ENCRYPTED) < (self.level & ENCRYPTED) or (level & 3) < (self.level & 3)


def overhead(security: LinkSecurity) -> int:
    """Octets that security adds to a frame."""
    header = SecurityHeader(security.level, 0, security.key_id).encode()
    return len(header) + MIC_SIZES[security.level & 3]


def nonce(eui64: bytes, header: SecurityHeader) -> bytes:
    """The nonce: the sender's EUI-64 even where the frame has a short address."""
    return eui64 + header.frame_counter.to_bytes(4, "big") + bytes((header.level,))


def secure(frame: MacFrame, eui64: bytes, key: bytes, quirk: MicQuirk = MicQuirk.NONE) -> bytes:
    """The PSDU of a frame whose payload is clear and whose security header is set."""
    if frame.security is None:
        raise ValueError("the frame has no security header")
    private = frame.payload[open_payload_size(frame) :]
    header = encode(frame).removesuffix(private)
    cipher = _cipher(frame.security, eui64, key, quirk)
    if frame.security.level & ENCRYPTED:
        return header + cipher.seal(header, private)
    return header + private + cipher.seal(header + private, b"")


def unsecure(frame: MacFrame, eui64: bytes, key: bytes, quirk: MicQuirk = MicQuirk.NONE) -> bytes:
    """The clear payload of a received frame; raises Dropped if it is not what its sender sent."""
    if frame.security is None or not frame.security.level:
        return frame.payload
    open_size = open_payload_size(frame)
    header = frame.header + frame.payload[:open_size]
    end = len(frame.payload) - MIC_SIZES[frame.security.level & 3]
    if end < open_size:
        raise Dropped(Drop.TRUNCATED)
    cipher = _cipher(frame.security, eui64, key, quirk)
    if frame.security.level & ENCRYPTED:
        private = cipher.unseal(header, frame.payload[open_size:])
    else:
        private = frame.payload[open_size:end]
        if cipher.unseal(header + private, frame.payload[end:]) is None:
            private = None
    if private is None:
        raise Dropped(Drop.MIC)
    return frame.payload[:open_size] + private


def _cipher(header: SecurityHeader, eui64: bytes, key: bytes, quirk: MicQuirk) -> ccm.Ccm:
    return ccm.Ccm(key, nonce(eui64, header), MIC_SIZES[header.level & 3], quirk)

"""Contexts of header compression: prefixes that both ends know (RFC 6282 3.1.1)."""

from collections.abc import Mapping
from dataclasses import dataclass

CONTEXT_IDS = 16
"""Context identifiers are four bits."""


@dataclass(frozen=True, slots=True)
class Context:
    """A prefix of `length` bits in 16 octets; the bits behind it are zero."""

    prefix: bytes
    length: int = 64

    def __post_init__(self) -> None:
        if len(self.prefix) != 16 or not 0 <= self.length <= 128:
            raise ValueError(f"not a prefix in 16 octets: {self.prefix.hex()}/{self.length}")
        if int.from_bytes(self.prefix, "big") & self._behind:
            raise ValueError(f"bits are set behind {self.prefix.hex()}/{self.length}")

    @property
    def _behind(self) -> int:
        return (1 << (128 - self.length)) - 1

    def address(self, iid: bytes) -> bytes:
        """The address of an interface identifier; bits that the prefix covers always win."""
        if self.length <= 64:
            return self.prefix[:8] + iid
        own = int.from_bytes(iid, "big") & self._behind
        return (int.from_bytes(self.prefix, "big") | own).to_bytes(16, "big")


Contexts = Mapping[int, Context]
"""The contexts in use by their identifier, 0 to 15."""

LINK_LOCAL = Context(bytes.fromhex("fe80") + bytes(14))
"""What stateless compression elides."""

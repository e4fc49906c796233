"""What the network layer asks of the MAC: link addresses and a received frame. Knows no format.

A link address is 8 octets (EUI-64) or 2 (short), in the order in which it is printed.
"""

from dataclasses import dataclass

BROADCAST = b"\xff\xff"
"""The short address of everyone; all IPv6 multicast goes here (802.15.4 has no other)."""

SHORT_IID = bytes.fromhex("000000fffe00")
"""What precedes a short address in its interface identifier (RFC 6282 3.2.2, without PAN)."""


@dataclass(frozen=True, slots=True)
class LinkFrame:
    """A data frame that the MAC has checked, decrypted and freed of repetitions."""

    source: bytes
    destination: bytes
    payload: bytes
    rssi_dbm: int | None = None
    lqi: int | None = None


def interface_id(address: bytes) -> bytes:
    """The interface identifier of a link address."""
    if len(address) == 8:
        return bytes((address[0] ^ 2,)) + address[1:]
    return SHORT_IID + address


def link_address(iid: bytes) -> bytes:
    """The link address of which `interface_id` makes this identifier."""
    if iid.startswith(SHORT_IID):
        return iid[6:]
    return bytes((iid[0] ^ 2,)) + iid[1:]

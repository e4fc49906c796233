"""IPv6 addresses as 16 octets: the well-known ones, what kind one is, and their text."""

from ipaddress import AddressValueError, IPv6Address

UNSPECIFIED = bytes(16)
LINK_LOCAL_PREFIX = bytes.fromhex("fe80000000000000")
ALL_NODES = bytes.fromhex("ff020000000000000000000000000001")
ALL_ROUTERS = bytes.fromhex("ff020000000000000000000000000002")
ALL_RPL_NODES = bytes.fromhex("ff02000000000000000000000000001a")
_SOLICITED_NODE = bytes.fromhex("ff0200000000000000000001ff")


def is_multicast(address: bytes) -> bool:
    """Whether an address is of a group."""
    return address[0] == 0xFF


def is_link_local(address: bytes) -> bool:
    """Whether an address is fe80::/64, the only link-local prefix in use."""
    return address[:8] == LINK_LOCAL_PREFIX


def link_local(iid: bytes) -> bytes:
    """The link-local address of an interface identifier."""
    return LINK_LOCAL_PREFIX + iid


def solicited_node(address: bytes) -> bytes:
    """The group in which an address is asked for (RFC 4291 2.7.1)."""
    return _SOLICITED_NODE + address[13:]


def text(address: bytes) -> str:
    """The address as people write it."""
    return str(IPv6Address(address))


def parse(text: str) -> bytes:
    """The address that people wrote; ValueError otherwise."""
    try:
        return IPv6Address(text).packed
    except AddressValueError:
        raise ValueError(f"not an IPv6 address: {text!r}") from None

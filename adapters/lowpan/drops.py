"""Names every reason for which something from the air goes no further; each is a counter."""

from enum import StrEnum

from gateway.errors import DecodeError


class Drop(StrEnum):
    """The counter of a drop; the shell shows it with its own prefix."""

    # 6LoWPAN dispatch
    EMPTY = "frame_empty"
    OVERSIZED = "frame_oversized"
    NOT_LOWPAN = "dispatch_not_lowpan"
    UNKNOWN_DISPATCH = "dispatch_unknown"
    HC1 = "dispatch_hc1"
    MESH = "dispatch_mesh_under"
    RECOVERABLE_FRAGMENT = "dispatch_recoverable_fragment"
    PAGE = "dispatch_page"
    CRITICAL_6LORH = "dispatch_critical_6lorh"
    # Header compression
    TRUNCATED = "iphc_truncated"
    RESERVED = "iphc_reserved"
    CONTEXT_UNKNOWN = "iphc_context_unknown"
    NHC = "nhc_unknown"
    NHC_LENGTH = "nhc_length"
    UDP_CHECKSUM_ELIDED = "nhc_udp_checksum_elided"
    # Fragments
    FRAGMENT_MALFORMED = "fragment_malformed"
    FRAGMENT_SIZE = "fragment_size"
    FRAGMENT_OVERLAP = "fragment_overlap"
    REASSEMBLY_TIMEOUT = "reassembly_timeout"
    REASSEMBLY_EVICTED = "reassembly_evicted"
    # IPv6
    IPV6_MALFORMED = "ipv6_malformed"
    IPV6_SOURCE = "ipv6_source"
    IPV6_NOT_FOR_US = "ipv6_not_for_us"
    IPV6_FRAGMENT = "ipv6_fragment"
    IPV6_OPTION = "ipv6_option"
    IPV6_ROUTING = "ipv6_routing"
    IPV6_NEXT_HEADER = "ipv6_next_header"
    UDP_MALFORMED = "udp_malformed"
    UDP_CHECKSUM = "udp_checksum"
    UDP_PORT = "udp_port_closed"
    ICMPV6_MALFORMED = "icmpv6_malformed"
    ICMPV6_CHECKSUM = "icmpv6_checksum"
    ICMPV6_TYPE = "icmpv6_type"
    # Neighbour discovery
    ND_MALFORMED = "nd_malformed"
    ND_HOP_LIMIT = "nd_hop_limit"
    ND_OTHER_TARGET = "nd_other_target"
    ND_OUTSIDE_PREFIX = "nd_outside_prefix"
    ND_DUPLICATE = "nd_duplicate_address"
    FOREIGN_ROUTER = "nd_foreign_router"
    # RPL
    RPL_MALFORMED = "rpl_malformed"
    RPL_CODE = "rpl_code"
    RPL_SOURCE = "rpl_source"
    RPL_INSTANCE = "rpl_instance"
    RPL_OUTSIDE_PREFIX = "rpl_outside_prefix"
    RPL_LOOP = "rpl_loop"
    FOREIGN_ROOT = "rpl_foreign_root"
    # Limits
    RATE_LIMITED = "rate_limited"
    NEIGHBOURS_FULL = "neighbours_full"
    ADDRESSES_FULL = "addresses_full"
    ROUTES_FULL = "routes_full"
    RESOLUTIONS_FULL = "resolutions_full"
    NO_ROUTE = "no_route"
    TOO_LONG = "headers_too_long"
    UNRESOLVED = "unresolved"


class Dropped(DecodeError):
    """Something received, or an answer to it, goes no further; `reason` names the counter."""

    def __init__(self, reason: Drop, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else str(reason))
        self.reason = reason


class Refused(Dropped):
    """A drop of which the sender is told: the ICMPv6 error's type, code and pointer."""

    def __init__(self, reason: Drop, type: int, code: int, pointer: int = 0) -> None:
        super().__init__(reason)
        self.type = type
        self.code = code
        self.pointer = pointer

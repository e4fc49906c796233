"""Obeys a received packet's extension headers as its destination does (RFC 8200 4)."""

from __future__ import annotations

from adapters.lowpan.drops import Drop, Dropped, Refused
from adapters.lowpan.ipv6.icmpv6 import PARAMETER_PROBLEM, UNKNOWN_OPTION
from adapters.lowpan.ipv6.options import RPL, RplOption, options, parse_rpl
from adapters.lowpan.ipv6.packet import FRAGMENT, HEADER, HOP_BY_HOP, MOBILITY, ROUTING, Packet

_ERRONEOUS = 0
"""Code of a parameter problem."""
_SKIP = 0
"""What an unknown option's two highest bits ask for; 1 is to be silent about the drop."""
_SILENT = 1


def obey(packet: Packet) -> RplOption | None:
    """What the packet says about its way through the mesh, if it does; raises Dropped."""
    found = None
    at = HEADER
    for extension in packet.extensions:
        match extension.number:
            case n if n == ROUTING:
                if extension.body[1]:
                    raise Refused(Drop.IPV6_ROUTING, PARAMETER_PROBLEM, _ERRONEOUS, at + 2)
            case n if n == FRAGMENT:
                raise Dropped(Drop.IPV6_FRAGMENT)
            case n if n == MOBILITY:
                raise Dropped(Drop.IPV6_NEXT_HEADER, "mobility")
            case number:
                for offset, type, data in options(extension.body):
                    if type in RPL and number == HOP_BY_HOP:
                        found = parse_rpl(data)
                    elif type >> 6 == _SILENT:
                        raise Dropped(Drop.IPV6_OPTION, f"{type:#04x}")
                    elif type >> 6 != _SKIP:
                        pointer = at + 2 + offset
                        raise Refused(Drop.IPV6_OPTION, PARAMETER_PROBLEM, UNKNOWN_OPTION, pointer)
        at += 2 + len(extension.body)
    return found


def next_header_at(packet: Packet) -> int:
    """Where the datagram names the number of its payload."""
    before = packet.extensions[:-1]
    if not packet.extensions:
        return 6
    return HEADER + sum(2 + len(extension.body) for extension in before)

"""An ICMPv6 message that discovery or routing wants to be sent."""

from dataclasses import dataclass

from adapters.lowpan.ipv6.icmpv6 import Message


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A message with its addresses; `link` is None where the packet has to be routed."""

    source: bytes
    destination: bytes
    message: Message
    hop_limit: int
    link: bytes | None = None

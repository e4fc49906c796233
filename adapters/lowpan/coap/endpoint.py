"""aiocoap over the mesh's UDP: the one module that knows how aiocoap is put together inside.

Addresses are 16 octets; datagrams go to a `Sender` and come from `received`.
"""

from __future__ import annotations

import errno
import logging
from collections.abc import Callable
from typing import Any

import aiocoap
from aiocoap import error, interfaces
from aiocoap.messagemanager import MessageManager
from aiocoap.tokenmanager import TokenManager

from adapters.lowpan.effects import UdpReceived, Undeliverable
from adapters.lowpan.ipv6 import address as ipv6
from gateway.errors import EncodeError
from gateway.model import printable

PORT = 5683

BLOCK_SIZE_EXPONENT = 2
"""Blocks of 64 octets: what one frame takes beside its headers."""

Sender = Callable[[tuple[bytes, int], bytes, bytes | None], None]
"""Sends to an address and port, from one of our addresses or from whichever fits."""

log = logging.getLogger(__name__)


class Peer(interfaces.EndpointAddress):  # type: ignore[misc]
    """A node's address and port; `local` is the address of ours at which it spoke to us."""

    scheme = "coap"
    is_multicast = False
    is_multicast_locally = False
    maximum_block_size_exp = BLOCK_SIZE_EXPONENT
    maximum_payload_size = 16 << BLOCK_SIZE_EXPONENT

    def __init__(self, address: bytes, port: int = PORT, local: bytes | None = None) -> None:
        self.address = address
        self.port = port
        self.local = local

    def __hash__(self) -> int:
        return hash((self.address, self.port))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Peer) and (self.address, self.port) == (other.address, other.port)

    def __repr__(self) -> str:
        return self.hostinfo

    @property
    def hostinfo(self) -> str:
        """The address as in a URI."""
        host = f"[{ipv6.text(self.address)}]"
        return host if self.port == PORT else f"{host}:{self.port}"

    @property
    def hostinfo_local(self) -> str:
        """Our address as in a URI."""
        return f"[{ipv6.text(self.local)}]" if self.local else "[::]"

    @property
    def uri_base(self) -> str:
        """What a path of the node is appended to."""
        return f"coap://{self.hostinfo}"

    @property
    def uri_base_local(self) -> str:
        """What a path of ours is appended to."""
        return f"coap://{self.hostinfo_local}"

    @property
    def blockwise_key(self) -> object:
        """What tells the transfers of nodes apart."""
        return (self.address, self.port)


class Endpoint(interfaces.MessageInterface):  # type: ignore[misc]
    """A CoAP client and server in the mesh; ask through `context`, serve `site`."""

    def __init__(self, sender: Sender, site: Any) -> None:
        self.context = aiocoap.Context(serversite=site, loggername="aiocoap.lowpan")
        self._sender = sender
        tokens = TokenManager(self.context)
        self._messages: MessageManager | None = MessageManager(tokens)
        self._messages.message_interface = self
        tokens.token_interface = self._messages
        self.context.request_interfaces.append(tokens)

    def received(self, datagram: UdpReceived) -> None:
        """Takes a datagram; what is no CoAP message is dropped."""
        peer = Peer(datagram.source, datagram.source_port, datagram.destination)
        try:
            message = aiocoap.Message.decode(datagram.data, peer)
        except (error.UnparsableMessage, ValueError) as fault:  # ValueError: not UTF-8
            log.debug("%s sends what is no CoAP: %s", peer, printable(str(fault)))
            return
        if self._messages is not None:
            self._messages.dispatch_message(message)

    def undeliverable(self, what: Undeliverable) -> None:
        """Ends what waits for an answer of a node that cannot be reached."""
        if self._messages is not None:
            peer = Peer(what.destination, what.destination_port)
            self._messages.dispatch_error(OSError(errno.EHOSTUNREACH, what.reason), peer)

    # --- what aiocoap calls -------------------------------------------------------------------

    def send(self, message: aiocoap.Message) -> None:
        peer: Peer = message.remote
        try:
            self._sender((peer.address, peer.port), message.encode(), peer.local)
        except EncodeError as fault:
            log.warning("a message to %s is not sent: %s", peer, fault)

    async def recognize_remote(self, remote: object) -> bool:
        return isinstance(remote, Peer)

    async def determine_remote(self, message: aiocoap.Message) -> None:
        return None

    async def shutdown(self) -> None:
        self._messages = None

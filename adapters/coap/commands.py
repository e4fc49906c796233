"""Requests that wait for a device: through aiocoap, which acknowledges, repeats, deduplicates.

Only requests and acknowledgements that were checked come here; reads and observers never do.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import replace

from aiocoap import Context, Message, interfaces
from aiocoap.messagemanager import MessageManager
from aiocoap.numbers.constants import TransportTuning
from aiocoap.numbers.optionnumbers import OptionNumber
from aiocoap.pipe import Pipe
from aiocoap.tokenmanager import TokenManager

from adapters.coap import datagram, history
from adapters.coap.datagram import Datagram
from adapters.coap.messages import Code, Peer, Refusal, Response, refused
from adapters.coap.observer import UPPER_HALF
from adapters.coap.secured import Options, Unprotected, options_of
from adapters.coap.server import Server
from adapters.coap.udp import UdpSocket, peer_name

LIBRARY = "adapters.coap.aiocoap"
logging.getLogger(LIBRARY).setLevel(logging.ERROR)  # below that peers set its pace

REMEMBERED = 24_576
"""Answers kept for repetitions, a third of what must not be done twice; 2 kB each, 50 MB.

Three times that where uvloop is used and requests have kilobytes: its timers lie between them.
"""

EVERY_CLASS = 0x1A
"""The No-Response value for an answer that is not to be sent (RFC 7967 2.1)."""


class Once(TransportTuning):  # type: ignore[misc]
    """For what must not be done twice: remembered as long as RFC 7252 4.8.2 says."""

    EXCHANGE_LIFETIME = 247.0


class Again(TransportTuning):  # type: ignore[misc]
    """For what may be done twice (RFC 7252 4.5): until the second repetition, to spare a radio."""

    EXCHANGE_LIFETIME = 10.0


class Recent:
    """What was added in the last `lifetime_s`, at most `limit` of it."""

    def __init__(self, lifetime_s: float, limit: int) -> None:
        self._lifetime_s = lifetime_s
        self._limit = limit
        self._ends: OrderedDict[Hashable, float] = OrderedDict()

    def holds(self, key: Hashable, now: float) -> bool:
        """Whether the key was added lately."""
        while self._ends and next(iter(self._ends.values())) <= now:
            self._ends.popitem(last=False)
        return key in self._ends

    def add(self, key: Hashable, now: float) -> bool:
        """Adds a key that it does not hold; False if there is no room."""
        if len(self._ends) >= self._limit:
            return False
        self._ends[key] = now + self._lifetime_s
        return True

    def discard(self, key: Hashable) -> None:
        """Forgets a key before its time."""
        self._ends.pop(key, None)


class Address(interfaces.EndpointAddress):  # type: ignore[misc]
    """A peer as aiocoap wants it. `waiting` for what answers; `said` it this under a key."""

    scheme = "coap"
    is_multicast = False
    is_multicast_locally = False

    def __init__(
        self, socket: UdpSocket, peer: Peer, waiting: Recent, said: Unprotected | None = None
    ) -> None:
        self.socket = socket
        self.peer = peer
        self.waiting = waiting
        self.said = said

    def __hash__(self) -> int:
        return hash(self.peer)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Address) and (self.peer, self.socket) == (other.peer, other.socket)

    def __repr__(self) -> str:
        return self.hostinfo

    @property
    def hostinfo(self) -> str:
        return peer_name(self.peer)

    @property
    def hostinfo_local(self) -> str:
        return self.socket.name

    @property
    def uri_base(self) -> str:
        return f"coap://{self.hostinfo}"

    @property
    def uri_base_local(self) -> str:
        return f"coap://{self.hostinfo_local}"

    @property
    def blockwise_key(self) -> Peer:
        return self.peer


class Commands(interfaces.MessageInterface):  # type: ignore[misc]
    """One socket's way into aiocoap and back; `send` takes octets and peer."""

    def __init__(
        self, context: Context, socket: UdpSocket, send: Callable[[bytes, Peer], None]
    ) -> None:
        self._socket = socket
        self._send = send
        self._once = Recent(Once.EXCHANGE_LIFETIME, REMEMBERED // 3)
        self._again = Recent(Again.EXCHANGE_LIFETIME, 2 * REMEMBERED // 3)
        self._waiting = Recent(Once.EXCHANGE_LIFETIME, REMEMBERED)
        tokens = TokenManager(context)
        self._manager = MessageManager(tokens)
        self._manager.message_interface = self
        self._manager.message_id |= UPPER_HALF
        tokens.token_interface = self._manager
        context.request_interfaces.append(tokens)

    def knows(self, message: Datagram, peer: Peer, now: float) -> bool:
        """Whether a request is the repetition of one that was passed on."""
        recent = self._once if message.code == Code.POST else self._again
        return recent.holds((peer, message.mid), now)

    def take(
        self,
        message: Datagram,
        data: bytes,
        peer: Peer,
        now: float,
        said: Unprotected | None = None,
    ) -> str:
        """Passes a request on; or the reason why not, if there is too much to do."""
        once = message.code == Code.POST
        recent = self._once if once else self._again
        key, reply = (peer, message.mid), (peer, message.token)
        if not recent.holds(key, now):
            if self._waiting.holds(reply, now):  # aiocoap would drop the earlier one
                return "a command with this token is under way"
            if not recent.add(key, now) or not self._waiting.add(reply, now):
                return "too many commands of late"
        known = datagram.without_unknown(message)
        octets = data if known is message else datagram.encode(known)
        request = Message.decode(octets, Address(self._socket, peer, self._waiting, said))
        request.transport_tuning = Once() if once else Again()
        self._manager.dispatch_message(request)
        return ""

    def conclude(self, data: bytes, peer: Peer) -> None:
        """Passes an ACK or RST on that is not an observer's."""
        address = Address(self._socket, peer, self._waiting)
        self._manager.dispatch_message(Message.decode(data, address))

    # --- what aiocoap calls ---

    def send(self, message: Message) -> None:
        self._manager.message_id |= UPPER_HALF
        self._send(message.encode(), message.remote.peer)
        message.request = None  # the answer is kept for repetitions, what was asked need not be

    async def recognize_remote(self, remote: object) -> bool:
        return isinstance(remote, Address) and remote.socket is self._socket

    async def determine_remote(self, message: Message) -> None:
        """This server asks nobody anything."""

    async def shutdown(self) -> None:
        self._socket.close()


class Site:
    """What aiocoap asks for answers: one object for the whole tree."""

    def __init__(self, server: Server) -> None:
        self._server = server

    async def render_to_pipe(self, pipe: Pipe) -> None:
        """Answers one request."""
        outer, remote = pipe.request, pipe.request.remote
        said = getattr(remote, "said", None)
        options = said.options if said else options_of(outer)
        try:
            if said:
                response = await self._respond(said.code, options, said.payload, remote)
            else:
                response = await self._respond(int(outer.code), options, outer.payload, remote)
        finally:
            if isinstance(remote, Address):
                remote.waiting.discard((remote.peer, outer.token))
        message = Message(code=int(response.code), payload=response.payload)
        for number, value in response.options():
            message.opt.add_option(OptionNumber(number).create_option(decode=value))
        if said:
            message = said.protect(message)
            remote.said = None
        if datagram.unwanted(options, response.code):
            message.opt.no_response = EVERY_CLASS
        pipe.add_response(message, is_last=True)

    async def _respond(
        self,
        code: int,
        options: Options,
        payload: bytes,
        remote: interfaces.EndpointAddress,
    ) -> Response:
        try:
            request = datagram.request(code, options, payload)
        except Refusal as error:
            return refused(error)
        local = isinstance(remote, Address) and remote.socket.local
        said = getattr(remote, "said", None)
        request = replace(
            request,
            peer=getattr(remote, "peer", remote),  # as the listener has it, who sends the rest
            origin=f"{said.client} at {remote.hostinfo}" if said else remote.hostinfo,
            secure=local or said is not None,
        )
        if request.code == Code.GET and not history.asked(request):
            return self._server.read(request)
        return await self._server.command(request)

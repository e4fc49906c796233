"""Clients that are connected (RFC 8323): what they ask and are told, whatever carries it.

Answers and notifications are the same as over UDP. The stream itself is reliable, so that there
is nothing to acknowledge or to repeat; a client that goes takes its observations with it.
"""

from __future__ import annotations

import asyncio
import ipaddress
import logging
import socket
from collections.abc import Callable
from dataclasses import replace

from adapters.coap import datagram, frames, history
from adapters.coap.datagram import Datagram, Type
from adapters.coap.frames import Message
from adapters.coap.messages import Code, Peer, Request, Response, refused
from adapters.coap.notifier import Notifier
from adapters.coap.observe import Observers
from adapters.coap.server import Server, check_secure
from adapters.coap.udp import is_loopback, peer_name
from gateway.errors import Busy, DecodeError, GatewayError
from gateway.ports import NorthPort

log = logging.getLogger(__name__)

MAX_CLIENTS = 400
"""Connections to one address: with the others below the usual limit of 1,024 descriptors."""

MAX_CLIENTS_PER_HOST = 100
"""Of another machine, so that none takes all; a proxy on this one may."""

MAX_COMMANDS = 16
"""Commands of one client that wait for devices at the same time."""

MAX_BACKLOG = 256 * 1024
"""Octets that wait for a client who reads too slowly; then it is cut off."""

GREETING_S = 10.0
"""A client that has not said by then what it can is none."""

IDLE_S = 600.0
"""A client that observes nothing and asks nothing for so long is not kept."""

LOOK_S = 5.0
"""How often the two above are looked for."""

KEEPALIVE = {
    "TCP_KEEPIDLE": 60,
    "TCP_KEEPINTVL": 20,
    "TCP_KEEPCNT": 3,
    "TCP_USER_TIMEOUT": 120_000,
}
"""A client that vanished without a word while it observes is noticed after two minutes, as is one
that takes nothing of what waits for it: it could never be closed."""


class Streams:
    """The connected clients of one address; `local` if none can come from the network."""

    def __init__(
        self,
        kind: str,
        bound: socket.socket,
        server: Server,
        port: NorthPort,
        observers: Observers,
    ) -> None:
        address = bound.getsockname()
        self.name = f"{kind} {peer_name(address)}"
        self.host: str = address[0]
        self.local = ipaddress.ip_address(self.host).is_loopback
        self.notifier = Notifier(server, port, observers, self._notify)
        self.server = server
        self.port = port
        self._streams: dict[Peer, Stream] = {}
        self._commands: set[asyncio.Task[None]] = set()

    def join(
        self, peer: Peer, send: Callable[[Message], None], close: Callable[[], None]
    ) -> Stream | None:
        """A new client, to which `send` sends; None if there are too many."""
        neighbours = sum(other[0] == peer[0] for other in self._streams)
        is_crowd = neighbours >= MAX_CLIENTS_PER_HOST and not is_loopback(peer)
        if len(self._streams) >= MAX_CLIENTS or is_crowd:
            self.port.count("coap_clients_refused")
            return None
        stream = self._streams[peer] = Stream(self, peer, send, close)
        send(frames.capabilities())
        return stream

    def leave(self, stream: Stream) -> None:
        """A client is gone."""
        self._streams.pop(stream.peer, None)
        self.notifier.observers.unreachable(stream.peer)

    def run(self, stream: Stream, message: Datagram, request: Request) -> None:
        """Has what takes a while carried out, also if the client does not wait for the answer."""
        task = asyncio.create_task(stream.carry_out(message, request))
        self._commands.add(task)
        task.add_done_callback(self._commands.discard)

    async def keep_clean(self) -> None:
        """Closes what is idle, until cancelled; then everything."""
        try:
            while True:
                await asyncio.sleep(LOOK_S)
                now = asyncio.get_running_loop().time()
                for stream in list(self._streams.values()):
                    stream.close_if_idle(now, observing=self.notifier.observers.has(stream.peer))
        finally:
            for task in self._commands:
                task.cancel()
            for stream in list(self._streams.values()):
                stream.release()

    def _notify(self, octets: bytes, peer: Peer) -> None:
        """Sends a notification; what a stream has taken counts as acknowledged."""
        if stream := self._streams.get(peer):
            stream.send(frames.from_datagram(octets))
        if octets[0] >> 4 & 3 == Type.CON:
            self.notifier.conclude(peer, octets[2] << 8 | octets[3], reset=False)


class Stream:
    """One connected client."""

    def __init__(
        self,
        streams: Streams,
        peer: Peer,
        send: Callable[[Message], None],
        close: Callable[[], None],
    ) -> None:
        self.peer = peer
        self.send = send
        self._close = close
        self._streams = streams
        self._loop = asyncio.get_running_loop()
        self._heard_at = self._loop.time()
        self._greeted = False
        self._commands = 0

    def take(self, message: Message) -> None:
        """Takes what the client says; after a breach of the protocol it is closed."""
        self._heard_at = self._loop.time()
        try:
            understood = message.as_datagram()
        except DecodeError as error:
            self.abort(str(error))
            return
        if frames.is_signal(message.code):
            self._signal(understood)
        elif not self._greeted:
            self.abort("say first what you can (7.01)")
        elif frames.is_request(message.code):
            self._serve(understood)  # nobody is asked anything here, so nothing else is expected

    def abort(self, reason: str, bad_option: int | None = None) -> None:
        """Closes after a breach of the protocol."""
        self._streams.port.count("coap_malformed")
        log.debug("%s is cut off: %s", peer_name(self.peer), reason)
        self.send(frames.abort(reason, bad_option))
        self._close()

    def release(self) -> None:
        """Closes in peace."""
        self.send(Message(frames.RELEASE))
        self._close()

    def close_if_idle(self, now: float, *, observing: bool) -> None:
        """Closes a client that does not greet, or that has nothing to do here."""
        silent_s = now - self._heard_at
        if silent_s > IDLE_S and not observing and not self._commands:
            self.release()
        elif silent_s > GREETING_S and not self._greeted:
            self.abort("nothing was said")

    def _signal(self, message: Datagram) -> None:
        if (unknown := frames.check_signal(message)) is not None:
            self.abort("unknown option", unknown if message.code == frames.CSM else None)
        elif message.code == frames.CSM:
            self._greeted = True
        elif message.code == frames.PING:
            self.send(Message(frames.PONG, message.token))
        elif message.code in {frames.RELEASE, frames.ABORT}:
            self._close()

    def _serve(self, message: Datagram) -> None:
        try:
            request = self._request(message)
            check_secure(request)
        except GatewayError as error:
            self._answer(message, refused(error))
            return
        at_once = request.code == Code.GET and not history.asked(request)
        if at_once or (request.code == Code.FETCH and not request.block1):
            response = self._streams.server.read(request)
            response = self._streams.notifier.observe(request, response, message.token, self.peer)
            self._answer(message, response)
        elif self._commands >= MAX_COMMANDS:
            self._answer(message, refused(Busy(f"{MAX_COMMANDS} commands are under way")))
        else:
            self._streams.run(self, message, request)

    def _request(self, message: Datagram) -> Request:
        request = datagram.request(
            message.code, message.options, message.payload, self.peer, self._streams.local
        )
        return replace(request, origin=peer_name(self.peer))

    async def carry_out(self, message: Datagram, request: Request) -> None:
        """Carries out a command, or asks the journal, and answers."""
        server = self._streams.server
        do = server.history if history.asked(request) else server.command
        self._commands += 1
        try:
            self._answer(message, await do(request))
        finally:
            self._commands -= 1

    def _answer(self, message: Datagram, response: Response) -> None:
        if not datagram.unwanted(message.options, response.code):
            tail = datagram.encode_tail(response.options(), response.payload)
            self.send(Message(response.code, message.token, tail))

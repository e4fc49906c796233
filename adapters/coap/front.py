"""A UDP listener: reads are answered here at once, commands go through aiocoap's message layer.

Every datagram is checked before anything else sees it. A GET that was asked before in the same
words is answered from prepared octets: about 4 us of Python, where aiocoap takes 300.
"""

from __future__ import annotations

import asyncio
import logging
import math
import secrets
from dataclasses import replace

from aiocoap import Context

from adapters.coap import datagram, history
from adapters.coap.blocks import narrowed
from adapters.coap.commands import Commands
from adapters.coap.datagram import Datagram, Type
from adapters.coap.messages import Code, Peer, Refusal, Request, Response, refused
from adapters.coap.notifier import Notifier
from adapters.coap.observe import Observers
from adapters.coap.observer import UPPER_HALF
from adapters.coap.prepared import PreparedAnswers
from adapters.coap.secured import Keys, Recovery, is_protected, options_of
from adapters.coap.server import Server, check_secure
from adapters.coap.udp import UdpSocket, is_loopback, peer_name
from adapters.coap.verified import AMPLIFICATION, Verified
from gateway.errors import Busy, DecodeError, GatewayError
from gateway.ports import NorthPort

log = logging.getLogger(__name__)

DRAIN = 128
"""Datagrams read in one turn of the event loop: enough to be quick, little enough to be fair."""

_ANSWERS = {0x40 | t: 0x60 | t for t in range(9)} | {0x50 | t: 0x50 | t for t in range(9)}
"""First octet of a CON or NON request (with its token length): that of the answer."""

OBSERVE_OCTETS = 4
"""What the Observe option adds to an answer."""

ECHO_OCTETS = 10
"""What a challenge adds to an answer."""

_RST = 0x70
_CONCLUSIONS = frozenset({b"\x60\x00", b"\x70\x00"})
"""The first octets of an empty ACK and of a RST; two more make it whole."""


class Front:
    """One socket between clients, the tree and aiocoap, from its making until `stop`."""

    def __init__(
        self,
        socket: UdpSocket,
        server: Server,
        port: NorthPort,
        observers: Observers,
        context: Context,
        *,
        keys: Keys | None = None,
    ) -> None:
        self.socket = socket
        self.notifier = Notifier(server, port, observers, self.send)
        self._server = server
        self._port = port
        self._commands = Commands(context, socket, self.send)
        self._loop = asyncio.get_running_loop()
        self._keys = keys
        self._prepared = PreparedAnswers()
        self._verified = Verified(secrets.token_bytes(16))
        self._loop.add_reader(socket.fileno(), self._readable)

    def stop(self) -> None:
        """Hears nothing any more; the socket closes when aiocoap's context shuts down."""
        self._loop.remove_reader(self.socket.fileno())

    # --- datagrams in ---

    def _readable(self) -> None:
        receive = self.socket.receive
        for read in range(DRAIN):
            try:
                data, peer = receive(datagram.LARGEST + 1)
            except BlockingIOError:
                if read == 0:  # woken, but not by a datagram
                    self._hear_error()
                return
            except OSError:
                self._hear_error()
            else:
                self._take(data, peer)

    def _hear_error(self) -> None:
        self._drop_unreachable()
        self._loop.remove_reader(self.socket.fileno())  # libuv would not look at it any more
        self._loop.add_reader(self.socket.fileno(), self._readable)

    def _take(self, data: bytes, peer: Peer) -> None:
        if len(data) == 4 and data[:2] in _CONCLUSIONS:
            self._conclude(data, peer)
        elif not self._answer_again(data, peer):
            self._examine(data, peer)

    def _answer_again(self, data: bytes, peer: Peer) -> bool:
        """Answers a GET from prepared octets; False if there are none that hold."""
        if len(data) <= 4 or data[1] != Code.GET or data[0] not in _ANSWERS:
            return False
        options_at = 4 + (data[0] & 15)
        prepared = self._prepared.get(data[options_at:])
        if prepared is None or not prepared.holds(self._loop.time()):
            return False
        octets = _head_of_content(data) + data[4:options_at] + prepared.tail
        if len(octets) > AMPLIFICATION * len(data) and len(octets) > self._room(data, peer):
            return False
        self.send(octets, peer)
        return True

    def _examine(self, data: bytes, peer: Peer) -> None:
        try:
            message = datagram.decode(data)
        except DecodeError as error:
            self._port.count("coap_malformed")
            log.debug("%s sends no CoAP: %s", peer_name(peer), error)
            if len(data) >= 4 and data[0] >> 4 == 4:  # version 1, confirmable
                self.send(datagram.head(Type.RST, Code.EMPTY, _mid(data)), peer)
            return
        if message.type in {Type.ACK, Type.RST}:  # not empty: they answer what nobody asked
            return
        if 0 < message.code < 32:
            self._serve(message, data, peer)
        elif message.type is Type.CON:  # a ping, a response to nothing, a reserved code
            self.send(datagram.head(Type.RST, Code.EMPTY, message.mid), peer)

    def _serve(self, message: Datagram, data: bytes, peer: Peer) -> None:
        room = self._room(data, peer)
        if self._keys and is_protected(message.options):
            self._serve_protected(self._keys, message, data, peer, room)
            return
        try:
            if len(data) > datagram.LARGEST:
                raise Refusal(Code.REQUEST_ENTITY_TOO_LARGE, "send it in blocks")
            request = datagram.request(
                message.code, message.options, message.payload, peer, self.socket.local
            )
            check_secure(request)
        except GatewayError as error:
            self._refuse(message, refused(error), peer, room)
            return
        if request.echo and room < math.inf:
            self._verified.take(peer, request.echo, self._loop.time())
            room = self._room(data, peer)
        at_once = request.code == Code.GET and not history.asked(request)
        if at_once or (request.code == Code.FETCH and not request.block1):
            response = self._read(request, message, peer, room)
            tail = self._answer(message, response, peer)
            if request.code == Code.GET and tail:
                self._prepare(request, response, data, tail)
        elif room < math.inf:  # nobody can tell yet how long the answer becomes
            self._answer(message, self._challenge(peer), peer)
        elif reason := self._commands.take(message, data, peer, self._loop.time()):
            self._port.count("coap_commands_refused")
            self._answer(message, refused(Busy(reason)), peer)

    def _serve_protected(
        self, keys: Keys, message: Datagram, data: bytes, peer: Peer, room: float
    ) -> None:
        """Serves a request under OSCORE: whoever has the key is believed, whatever it asks."""
        now = self._loop.time()
        said = None
        try:
            if not self._commands.knows(message, peer, now):
                said = keys.take(message)
        except Refusal as error:
            self._refuse(message, refused(error), peer, room)
            return
        except Recovery as recovery:
            answer = recovery.answer
            tail = datagram.encode_tail(options_of(answer), answer.payload)
            self.send(_head(message, int(answer.code)) + tail, peer)
            return
        if reason := self._commands.take(message, data, peer, now, said):
            self._port.count("coap_commands_refused")
            self._answer(message, refused(Busy(reason)), peer)

    def _refuse(self, message: Datagram, response: Response, peer: Peer, room: float) -> None:
        if message.type is Type.NON and response.code == Code.BAD_OPTION:  # RFC 7252 5.4.1
            self.send(datagram.head(Type.RST, Code.EMPTY, message.mid), peer)
            return
        if _size(message, response) > room:
            response = replace(response, payload=b"")
        self._answer(message, response, peer)

    def _read(self, request: Request, message: Datagram, peer: Peer, room: float) -> Response:
        """Answers a read, and begins the observation that it asks for."""
        if room < math.inf:
            return self._read_for_stranger(request, message, peer, room)
        return self.notifier.observe(request, self._server.read(request), message.token, peer)

    def _read_for_stranger(
        self, request: Request, message: Datagram, peer: Peer, room: float
    ) -> Response:
        """Answers a read in at most `room` octets if there is a way, else by a challenge.

        Where an observation begins there is to be room for its first notification, too. What takes
        long is not made for whom nobody has seen.
        """
        if self._server.takes_long(request):
            return self._challenge(peer)
        response = self._server.read(request)
        size = _size(message, response)
        excess = size - (room / 2 - OBSERVE_OCTETS if request.observe == 0 else room)
        if excess > 0:
            if response.code >= Code.BAD_REQUEST:
                return replace(response, payload=b"")
            narrow = narrowed(request, len(response.payload) - excess - ECHO_OCTETS)
            long = request.block2 is None and response.block2 is not None
            if long or narrow is None:  # or more small blocks than anybody has patience for
                return self._challenge(peer)
            request = narrow
            response = replace(self._server.read(request), echo=self._challenge(peer).echo)
            size = _size(message, response)
        credit = room - size - OBSERVE_OCTETS
        return self.notifier.observe(request, response, message.token, peer, credit=credit)

    def _answer(self, message: Datagram, response: Response, peer: Peer) -> bytes:
        """Sends an answer unless it is unwanted (RFC 7967); what was sent after the token."""
        if not datagram.unwanted(message.options, response.code):
            tail = datagram.encode_tail(response.options(), response.payload)
            self.send(_head(message, response.code) + tail, peer)
            return tail
        if message.type is Type.CON:
            self.send(datagram.head(Type.ACK, Code.EMPTY, message.mid), peer)
        return b""

    # --- whom to believe ---

    def _room(self, data: bytes, peer: Peer) -> float:
        """How many octets may answer these: few, if the sender's address may be forged."""
        if self.socket.local or is_loopback(peer):  # the kernel takes such from nowhere else
            return math.inf
        self._verified.expire(self._loop.time())
        return math.inf if peer in self._verified else AMPLIFICATION * len(data)

    def _challenge(self, peer: Peer) -> Response:
        self._port.count("coap_challenges")
        echo = self._verified.challenge(peer, self._loop.time())
        return Response(Code.UNAUTHORIZED, echo=echo)

    def _prepare(self, request: Request, response: Response, data: bytes, tail: bytes) -> None:
        if response.code != Code.CONTENT or response.block2 or request.observe is not None:
            return
        if source := self._server.source(request):
            self._prepared.keep(data[4 + (data[0] & 15) :], source, tail, self._loop.time())

    def _conclude(self, data: bytes, peer: Peer) -> None:
        """Takes an empty ACK or RST: of a notification, or of a command's late answer."""
        if not self.notifier.conclude(peer, _mid(data), reset=data[0] == _RST):
            self._commands.conclude(data, peer)

    # --- datagrams out ---

    def send(self, octets: bytes, peer: Peer) -> None:
        """Sends, or loses the datagram as a network may."""
        for _ in range(2):
            try:
                self.socket.send(octets, peer)
            except BlockingIOError:
                self._port.count("coap_send_buffer_full")
            except OSError:  # Linux reports the last peer's ICMP error here, to whomever is next
                self._drop_unreachable()
                continue
            return

    def _drop_unreachable(self) -> None:
        for peer in self.socket.unreachable():
            self.notifier.observers.unreachable(peer)


def _head(message: Datagram, code: int) -> bytes:
    """The head of the answer to a message."""
    if message.type is Type.NON:  # no ID of ours: theirs is as unique, and costs no state
        return datagram.head(Type.NON, code, message.mid | UPPER_HALF, message.token)
    return datagram.head(Type.ACK, code, message.mid, message.token)


def _head_of_content(data: bytes) -> bytes:
    """Type, code and message ID of the 2.05 answer to a GET; as `_head`, but quicker."""
    high = data[2] | (data[0] & 0x10) << 3  # NON: an ID of the upper half
    return bytes((_ANSWERS[data[0]], Code.CONTENT, high, data[3]))


def _size(message: Datagram, response: Response) -> int:
    """Octets of the answer to a message."""
    tail = datagram.encode_tail(response.options(), response.payload)
    return 4 + len(message.token) + len(tail)


def _mid(data: bytes) -> int:
    return data[2] << 8 | data[3]

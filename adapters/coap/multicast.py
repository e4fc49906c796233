"""Is found by multicast: hears the "All CoAP Nodes" groups of one interface (RFC 7252 8, 12.8).

Everybody on the link is asked at once and the address of who asks may be forged. So there is no
answer but to a GET of the links with a filter that selects some: after a while, from the address
that serves unicast, and not longer than any other answer to a stranger. The rest of the list is
fetched from there.
"""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import Iterable
from functools import partial

from adapters.coap import datagram, links
from adapters.coap.blocks import narrowed
from adapters.coap.datagram import Datagram, Type
from adapters.coap.front import Front
from adapters.coap.messages import Code, Peer, Refusal, Request, Response
from adapters.coap.observer import UPPER_HALF
from adapters.coap.server import WELL_KNOWN_CORE, Server
from adapters.coap.udp import GroupSocket
from adapters.coap.verified import AMPLIFICATION
from gateway.errors import DecodeError
from gateway.ports import NorthPort

log = logging.getLogger(__name__)

LEISURE_S = 5.0
"""Answers are spread over this time, lest those of all nodes come at once (RFC 7252 8.2)."""

WAITING = 64
"""Answers that wait for their moment; further ones are not given."""


class Discovery:
    """One interface, from its making until `stop`; `fronts` are those that answer."""

    def __init__(
        self, interface: str, fronts: Iterable[Front], server: Server, port: NorthPort
    ) -> None:
        self._interface = interface
        self._fronts = {(f.socket.family, f.socket.port): f for f in fronts}.values()
        self._server = server
        self._port = port
        self._loop = asyncio.get_running_loop()
        self._groups: dict[Front, GroupSocket] = {}
        self._waiting: dict[Peer, asyncio.TimerHandle] = {}
        self._index = 0
        self._told = ""
        self.look()

    def stop(self) -> None:
        """Hears nothing any more, and says nothing."""
        for timer in self._waiting.values():
            timer.cancel()
        self._waiting.clear()
        self._leave()

    def look(self) -> None:
        """Looks whether the interface has come, gone, or become another one, and tries again what
        it did not allow: at boot it may be there before it is up.
        """
        index = _index(self._interface)
        if index != self._index:
            self._leave()
            self._index = index
        problem = self._join(index) if index else "there is no such interface now"
        heard = ", ".join(group.name for group in self._groups.values())
        self._tell(f"{heard or 'not possible now'}{problem and f' ({problem})'}", problem)

    def _join(self, index: int) -> str:
        """Joins where it has not yet; says why it could not."""
        problem = ""
        for front in self._fronts:
            if front in self._groups:
                continue
            try:
                group = self._groups[front] = GroupSocket(front.socket, index)
            except OSError as error:
                problem = error.strerror or str(error)
            else:
                self._loop.add_reader(group.fileno(), self._readable, group, front)
        return problem

    def _tell(self, state: str, problem: str) -> None:
        """Logs how it is, once until that is otherwise."""
        if state != self._told:
            self._told = state
            level = logging.WARNING if problem else logging.INFO
            log.log(level, "multicast discovery on %s: %s", self._interface, state)

    def _leave(self) -> None:
        for group in self._groups.values():
            self._loop.remove_reader(group.fileno())
            group.close()
        self._groups.clear()

    def _readable(self, group: GroupSocket, front: Front) -> None:
        try:
            data, peer = group.receive(datagram.LARGEST + 1)
        except OSError:
            return
        asked = understood(data)
        if asked is None or peer in self._waiting:
            return
        if len(self._waiting) >= WAITING:
            self._port.count("coap_multicast_unanswered")
            return
        leisure_s = random.uniform(0, LEISURE_S)  # noqa: S311  (it spreads load, it hides nothing)
        answer = partial(self._answer, front, asked, len(data), peer)
        self._waiting[peer] = self._loop.call_later(leisure_s, answer)

    def _answer(self, front: Front, asked: Datagram, length: int, peer: Peer) -> None:
        del self._waiting[peer]
        request = datagram.request(asked.code, asked.options, asked.payload, peer, secure=False)
        octets = self._octets(asked, request, AMPLIFICATION * length)
        if octets:
            front.send(octets, peer)

    def _octets(self, asked: Datagram, request: Request, room: int) -> bytes:
        """The answer, in blocks so small that it fits; nothing if there is none."""
        response = self._server.read(request)
        octets = _encoded(asked, response)
        if len(octets) > room:
            narrow = narrowed(request, len(response.payload) - (len(octets) - room))
            if narrow is None:
                return b""
            octets = _encoded(asked, self._server.read(narrow))
        return octets if response.code == Code.CONTENT and response.payload else b""


def understood(data: bytes) -> Datagram | None:
    """The datagram, if it is of the kind that is answered: a GET of some links, not confirmable."""
    try:
        message = datagram.decode(data)
        if message.type is not Type.NON or datagram.unwanted(message.options, Code.CONTENT):
            return None
        request = datagram.request(message.code, message.options, message.payload)
    except (DecodeError, Refusal):
        return None
    asks = request.code == Code.GET and request.path == WELL_KNOWN_CORE
    return message if asks and links.filters(request.query) else None


def _encoded(asked: Datagram, response: Response) -> bytes:
    head = datagram.head(Type.NON, response.code, asked.mid | UPPER_HALF, asked.token)
    return head + datagram.encode_tail(response.options(), response.payload)


def _index(interface: str) -> int:
    """The number of an interface, 0 if it is not there."""
    try:
        return socket.if_nametoindex(interface)
    except OSError:
        return 0

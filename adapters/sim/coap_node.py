"""The CoAP server and client of a virtual node: confirmable notifications, 64-octet blocks.

It sends and receives datagrams by callables, and knows no network below.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from adapters.sim import coap
from adapters.sim.coap import Message, Observer

Peer = tuple[bytes, int]

PORT = 5683
ANSWERS_KEPT = 32
"""Answers that are given again when their request comes again."""
MAX_OBSERVERS = 8


@dataclass(frozen=True, slots=True)
class Content:
    """What a resource answers: a response code, a content format where it has one, octets."""

    code: int
    format: int | None = None
    payload: bytes = b""


class Resources(Protocol):
    """What the node serves. Paths are as in the URI, without query."""

    def get(self, path: str, accept: int | None) -> Content:
        """The resource's representation."""

    def write(self, path: str, method: int, content_format: int | None, payload: bytes) -> Content:
        """Obeys a PUT or POST."""

    def observable(self, path: str) -> bool:
        """Whether observers are told of its changes."""


class CoapNode:
    """One node's endpoint. `ack_timeout_s` is for requests and notifications of its own."""

    def __init__(
        self, send: Callable[[Peer, bytes], None], resources: Resources, ack_timeout_s: float
    ) -> None:
        self._send = send
        self._resources = resources
        self._ack_timeout_s = ack_timeout_s
        self._answers: OrderedDict[tuple[Peer, int], bytes] = OrderedDict()
        self._observers: list[Observer] = []
        self._waiting: dict[int, asyncio.Future[Message]] = {}
        self._responses: dict[bytes, asyncio.Future[Message]] = {}
        self._next = 1
        self._notified = asyncio.Event()
        self._uploads: dict[str, bytearray] = {}

    async def run(self) -> None:
        """Sends notifications until cancelled: each observer's one after the other."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._notified.clear()
                for observer in self._observers:
                    if observer.waiting and not observer.busy:
                        observer.busy = True
                        tasks.create_task(self._drain(observer))
                await self._notified.wait()

    @property
    def observers(self) -> int:
        """How many observations there are."""
        return len(self._observers)

    def forget(self) -> None:
        """Forgets whom to tell, as a restart does."""
        self._observers.clear()

    def changed(self, path: str) -> None:
        """Tells the observers of a resource its new representation."""
        for observer in self._observers:
            if observer.path == path:
                content = self._resources.get(path, observer.accept)
                observer.waiting.append((content.format or 0, content.payload))
        self._notified.set()

    def received(self, peer: Peer, data: bytes) -> None:
        """Takes a datagram."""
        try:
            message = coap.parse(data)
        except (ValueError, IndexError):
            return
        if message.type in (coap.ACK, coap.RST):
            waiting = self._waiting.get(message.mid)
            if waiting and not waiting.done():
                waiting.set_result(message)
            self._respond(message)
        elif message.code >= coap.CREATED:
            self._acknowledge(peer, message)
            self._respond(message)
        elif message.code:
            self._request(peer, message)

    async def request(
        self,
        peer: Peer,
        method: int,
        path: str,
        content_format: int | None = None,
        payload: bytes = b"",
    ) -> Message:
        """The answer to a confirmable request; TimeoutError if there is none."""
        token = self._number()
        options = list(coap.path_options(path))
        if content_format is not None:
            options.append((coap.CONTENT_FORMAT, coap.number(content_format)))
        message = Message(
            coap.CON, method, token, token.to_bytes(2, "big"), tuple(options), payload
        )
        response: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._responses[message.token] = response
        try:
            answer = await self._deliver(peer, message)
            if answer.code:
                return answer
            async with asyncio.timeout(self._ack_timeout_s * 16):
                return await response
        finally:
            del self._responses[message.token]

    # --- inside -------------------------------------------------------------------------------

    def _number(self) -> int:
        self._next = self._next % 0xFFFF + 1
        return self._next

    def _respond(self, message: Message) -> None:
        response = self._responses.get(message.token)
        if message.code and response and not response.done():
            response.set_result(message)

    def _acknowledge(self, peer: Peer, message: Message) -> None:
        if message.type == coap.CON:
            self._send(peer, Message(coap.ACK, coap.EMPTY, message.mid).encode())

    async def _deliver(self, peer: Peer, message: Message) -> Message:
        """Sends a confirmable message again and again; the acknowledgement or reset."""
        done: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
        self._waiting[message.mid] = done
        timeout_s = self._ack_timeout_s
        try:
            for _ in range(8):
                self._send(peer, message.encode())
                try:
                    async with asyncio.timeout(timeout_s):
                        return await asyncio.shield(done)
                except TimeoutError:
                    timeout_s = min(timeout_s * 2, 8.0)
            raise TimeoutError
        finally:
            del self._waiting[message.mid]
            done.cancel()

    async def _drain(self, observer: Observer) -> None:
        while observer.waiting and observer in self._observers:
            content_format, payload = observer.waiting.pop(0)
            observer.sequence += 1
            options = (
                (coap.OBSERVE, coap.number(observer.sequence)),
                (coap.CONTENT_FORMAT, coap.number(content_format)),
            )
            mid = self._number()
            message = Message(coap.CON, coap.CONTENT, mid, observer.token, options, payload)
            try:
                answer = await self._deliver(observer.peer, message)
            except TimeoutError:
                answer = None
            if (answer is None or answer.type == coap.RST) and observer in self._observers:
                self._observers.remove(observer)
        observer.busy = False

    def _request(self, peer: Peer, message: Message) -> None:
        key = peer, message.mid
        if key in self._answers:
            self._send(peer, self._answers[key])
            return
        answer = self._answer(peer, message)
        type = coap.ACK if message.type == coap.CON else coap.NON
        data = replace(answer, type=type, mid=message.mid, token=message.token).encode()
        self._answers[key] = data
        if len(self._answers) > ANSWERS_KEPT:
            self._answers.popitem(last=False)
        self._send(peer, data)

    def _answer(self, peer: Peer, message: Message) -> Message:
        if message.code == coap.GET:
            content = self._resources.get(message.path, message.uint(coap.ACCEPT))
            observing = content.code == coap.CONTENT and self._observe(peer, message)
            return self._in_blocks(message, content, observing)
        return self._write(message)

    def _write(self, message: Message) -> Message:
        block = message.uint(coap.BLOCK1)
        payload = message.payload
        options: tuple[tuple[int, bytes], ...] = ()
        if block is not None:
            upload = self._uploads.setdefault(message.path, bytearray())
            del upload[(block >> 4) * (16 << (block & 7)) :]
            upload += payload
            payload = bytes(upload)
            options = ((coap.BLOCK1, coap.number(block)),)
            if block & 8:
                return Message(0, coap.CONTINUE, 0, options=options)
            del self._uploads[message.path]
        content = self._resources.write(
            message.path, message.code, message.uint(coap.CONTENT_FORMAT), payload
        )
        return Message(0, content.code, 0, options=options, payload=content.payload)

    def _observe(self, peer: Peer, message: Message) -> bool:
        wanted = message.uint(coap.OBSERVE)
        if wanted is None or not self._resources.observable(message.path):
            return False
        same = [o for o in self._observers if (o.peer, o.token) == (peer, message.token)]
        for observer in same:
            self._observers.remove(observer)
        if wanted or len(self._observers) >= MAX_OBSERVERS:
            return False
        accept = message.uint(coap.ACCEPT)
        self._observers.append(Observer(peer, message.token, message.path, accept))
        return True

    def _in_blocks(self, message: Message, content: Content, observing: bool) -> Message:
        asked = message.uint(coap.BLOCK2) or 0
        size = min(16 << (asked & 7), coap.BLOCK) if message.uint(coap.BLOCK2) else coap.BLOCK
        start = (asked >> 4) * (16 << (asked & 7))
        options: list[tuple[int, bytes]] = []
        if observing:
            options.append((coap.OBSERVE, coap.number(1)))
        if content.format is not None:
            options.append((coap.CONTENT_FORMAT, coap.number(content.format)))
        payload = content.payload[start : start + size]
        if len(content.payload) > size:
            more = start + size < len(content.payload)
            exponent = size.bit_length() - 5
            options.append((coap.BLOCK2, coap.number(start // size << 4 | more << 3 | exponent)))
        return Message(0, content.code, 0, options=tuple(options), payload=payload)

"""Asks nodes: one request at a time each, timeouts by distance, answers as values or errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import aiocoap
from aiocoap import Code, error
from aiocoap.numbers.constants import TransportTuning

from adapters.lowpan.coap.endpoint import BLOCK_SIZE_EXPONENT, Endpoint, Peer
from adapters.lowpan.coap.formats import Answer, Method, Request
from gateway.errors import (
    CommandError,
    DeviceRefused,
    InvalidValue,
    NotAllowed,
    NotFound,
    TimedOut,
    Unreachable,
)
from gateway.model import printable

MAX_RETRANSMIT = 4
RANDOM_FACTOR = 1.5
"""RFC 7252 4.8."""


class UnacceptableError(DeviceRefused):
    """The node does not speak the format that was asked for or sent (4.06, 4.15)."""


_ERRORS: dict[Code, type[CommandError]] = {
    Code.BAD_REQUEST: InvalidValue,
    Code.NOT_FOUND: NotFound,
    Code.METHOD_NOT_ALLOWED: NotAllowed,
    Code.NOT_ACCEPTABLE: UnacceptableError,
    Code.UNSUPPORTED_CONTENT_FORMAT: UnacceptableError,
    Code.BAD_OPTION: UnacceptableError,  # nodes without Accept refuse the option itself
}


class Client:
    """Requests to nodes; `hops` tells how far an address is, None where that is not known.

    `trouble` is why nothing can be reached at the moment, empty if there is no such reason.
    """

    def __init__(
        self,
        endpoint: Endpoint,
        hops: Callable[[bytes], int | None],
        trouble: Callable[[], str],
        ack_timeout_s: float,
    ) -> None:
        self._endpoint = endpoint
        self._hops = hops
        self.trouble = trouble
        self._ack_timeout_s = ack_timeout_s

    async def ask(self, peer: Peer, request: Request) -> Answer:
        """The node's answer, complete; raises a CommandError for everything else."""
        message = self._message(peer, request)
        pending = self._endpoint.context.request(message)
        return await self._answer(peer, request, pending.response, message.transport_tuning)

    @asynccontextmanager
    async def observe(
        self, peer: Peer, request: Request
    ) -> AsyncIterator[tuple[Answer, AsyncIterator[Answer] | None]]:
        """The present answer and those that follow, newest wins; None where it will not tell."""
        message = self._message(peer, request, observe=0)
        pending = self._endpoint.context.request(message)
        try:
            first = await self._answer(peer, request, pending.response, message.transport_tuning)
            if pending.observation.cancelled:
                yield first, None
            else:
                yield first, self._notifications(peer, request, pending.observation)
        finally:
            if not pending.observation.cancelled:
                pending.observation.cancel()

    async def _notifications(
        self, peer: Peer, request: Request, observation: AsyncIterator[aiocoap.Message]
    ) -> AsyncIterator[Answer]:
        try:
            async for message in observation:
                yield _checked(peer, request, message)
        except error.Error as fault:
            raise _translated(peer, fault) from fault

    async def _answer(
        self,
        peer: Peer,
        request: Request,
        response: asyncio.Future[aiocoap.Message],
        tuning: TransportTuning,
    ) -> Answer:
        # An acknowledged request may still never be answered; aiocoap would wait for ever.
        limit_s = tuning.MAX_TRANSMIT_WAIT * 2
        try:
            async with asyncio.timeout(limit_s):
                return _checked(peer, request, await response)
        except TimeoutError:
            raise TimedOut(f"{peer} acknowledged, but did not answer") from None
        except error.Error as fault:
            if trouble := self.trouble():
                raise Unreachable(trouble) from fault
            raise _translated(peer, fault) from fault

    def _message(self, peer: Peer, request: Request, observe: int | None = None) -> aiocoap.Message:
        tuning = TransportTuning()
        hops = self._hops(peer.address)
        tuning.ACK_TIMEOUT = self._ack_timeout_s * (1 if hops in (None, 1) else 2)
        tuning.ACK_RANDOM_FACTOR = RANDOM_FACTOR
        tuning.MAX_RETRANSMIT = MAX_RETRANSMIT
        message = aiocoap.Message(
            code=Code(request.method),
            uri_path=request.path,
            payload=request.payload,
            transport_tuning=tuning,
            observe=observe,
        )
        message.opt.accept = request.accept
        message.opt.content_format = request.content_format
        if request.method is Method.GET:
            message.opt.block2 = (0, False, BLOCK_SIZE_EXPONENT)
        message.remote = peer
        return message


def _checked(peer: Peer, request: Request, message: aiocoap.Message) -> Answer:
    if message.code.is_successful():
        content_format = message.opt.content_format
        return Answer(None if content_format is None else int(content_format), message.payload)
    what = f"{request.method.name} /{'/'.join(request.path)}"
    text = f"{peer} answers {message.code.dotted} to {what}"
    if message.payload:
        text += f": {printable(message.payload.decode(errors='replace'))}"
    raise _ERRORS.get(message.code, DeviceRefused)(text)


def _translated(peer: Peer, fault: error.Error) -> CommandError:
    match fault:
        case error.ConRetransmitsExceeded():
            return TimedOut(f"{peer} did not answer, asked {MAX_RETRANSMIT + 1} times")
        case error.MessageError():
            return DeviceRefused(f"{peer} refuses the message")
        case error.NetworkError(__cause__=OSError(strerror=str(reason))):
            return Unreachable(f"{peer} cannot be reached: {reason}")
        case error.LibraryShutdown():
            return Unreachable(f"{peer} cannot be reached: the adapter stops")
        case error.NetworkError():
            return Unreachable(f"{peer} cannot be reached: {fault}")
        case _:
            return DeviceRefused(f"{peer} answers against the rules of CoAP: {fault}")

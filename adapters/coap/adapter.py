"""The CoAP server: opens the listeners, and tells observers what the hub announces."""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections.abc import Iterable, Sequence
from socket import SOCK_DGRAM
from typing import Annotated, assert_never

from aiocoap import Context
from pydantic import Field

from adapters.coap.commands import LIBRARY, Site
from adapters.coap.front import Front
from adapters.coap.observe import Observer, Observers
from adapters.coap.server import Server
from adapters.coap.udp import UdpSocket
from gateway.checks import Finding, listener
from gateway.errors import AdapterError
from gateway.events import Change, DeviceChanged, Event, Removed
from gateway.listen import Listen, parse_listen
from gateway.ports import NorthPort, Section
from gateway.registry import Registry

log = logging.getLogger(__name__)

NUMBERS_PER_S = 64
"""Observe numbers begin with the clock, so that they rise over a restart too (RFC 7641 4.4)."""

_NO_SUCH_ADDRESS = frozenset({errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})
"""This machine lacks the address, IPv6 perhaps: no reason to give up the others."""


class CoapSection(Section):
    """The CoAP server: clients read, write and observe the devices at coap://ADDRESS/PREFIX/..."""

    enabled_by_default = True

    listen: Annotated[tuple[Listen, ...], Field(min_length=1)] = ("127.0.0.1:5683", "[::1]:5683")
    """Where to listen. Whoever reaches an address can read; only this machine can write:
    "0.0.0.0:5683" and "[::]:5683" let the whole network read."""

    max_observers: Annotated[int, Field(ge=0, le=100_000)] = 10_000
    """Observations on each address, 0.8 kB of memory each; further ones are plain reads."""

    max_observers_per_client: Annotated[int, Field(ge=0, le=100_000)] = 1_000
    """Observations of one client (address and port), so that none takes all."""


class Coap:
    """The adapter: see its section for what it offers."""

    Config = CoapSection

    def __init__(self, config: CoapSection, port: NorthPort) -> None:
        self._config = config
        self._port = port
        self._server = Server(port)

    @staticmethod
    async def check(section: CoapSection, _: Registry) -> Sequence[Finding]:
        """Whether each address is free."""
        return [listener("coap", *parse_listen(text), SOCK_DGRAM) for text in section.listen]

    async def run(self) -> None:
        """Serves until cancelled."""
        context = Context(serversite=Site(self._server), loggername=LIBRARY)
        fronts = self._open(context)
        self._port.status(_describe([front.socket for front in fronts]))
        try:
            async with asyncio.TaskGroup() as tasks:
                for front in fronts:
                    tasks.create_task(front.notifier.keep_telling())
                await self._tell(fronts)
        finally:
            for front in fronts:
                front.stop()
            await context.shutdown()

    def _open(self, context: Context) -> list[Front]:
        fronts = []
        for socket in self._bind():
            observers = Observers(
                self._config.max_observers,
                self._config.max_observers_per_client,
                int(time.time() * NUMBERS_PER_S),
            )
            fronts.append(Front(socket, self._server, self._port, observers, context))
        return fronts

    def _bind(self) -> list[UdpSocket]:
        sockets: list[UdpSocket] = []
        problem = ""
        for listen in self._config.listen:
            try:
                sockets.append(UdpSocket(*parse_listen(listen)))
            except OSError as error:
                problem = f"cannot listen on {listen}: {error.strerror}"
                if error.errno not in _NO_SUCH_ADDRESS:
                    break
                log.warning("%s", problem)
        else:
            if sockets:
                return sockets
        for socket in sockets:
            socket.close()
        raise AdapterError(problem)

    async def _tell(self, fronts: Iterable[Front]) -> None:
        while True:
            events = [await self._port.outbox.take(), *self._port.outbox.take_all()]
            for event in events:
                if not isinstance(event, Change):
                    self._server.forget_links(event.device)
                if isinstance(event, Removed):
                    self._server.attached.forget(event.device, event.path)
            for front in fronts:
                observers = front.notifier.observers
                concerned = (o for event in events for o in _concerned(observers, event))
                await front.notifier.tell(list(dict.fromkeys(concerned)))


def _concerned(observers: Observers, event: Event) -> Iterable[Observer]:
    match event:
        case Change():
            return observers.at(event.device, event.path)
        case Removed():
            return observers.around(event.device, event.path)
        case DeviceChanged():
            return ()
        case _:
            assert_never(event)


def _describe(sockets: Iterable[UdpSocket]) -> str:
    names = " and ".join(socket.name for socket in sockets)
    if all(socket.local for socket in sockets):
        return f"listens on {names}, for this machine only; [coap] listen opens it to the network"
    return f"listens on {names}; whoever reaches these can read, only this machine can write"

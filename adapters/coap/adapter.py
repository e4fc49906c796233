"""The CoAP server: opens the listeners, and tells observers what the hub announces."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import socket
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Protocol, Self, assert_never

from aiocoap import Context
from pydantic import AfterValidator, Field, model_validator

from adapters.coap.commands import LIBRARY, Site
from adapters.coap.front import Front
from adapters.coap.multicast import Discovery
from adapters.coap.notifier import Notifier
from adapters.coap.observe import Observers
from adapters.coap.observer import Observer
from adapters.coap.secured import Keys
from adapters.coap.server import Server
from adapters.coap.streams import Streams
from adapters.coap.tcp import Tcp
from adapters.coap.udp import UdpSocket
from gateway.configuration.checks import Finding, Severity, secret_file
from gateway.configuration.listen import (
    Listen,
    Listener,
    keep_looking,
    listening,
    open_all,
    parse_listen,
    places,
    require_one,
)
from gateway.events import Change, DeviceChanged, Event, Removed
from gateway.objects.registry import Registry
from gateway.ports import NorthPort, Section

if TYPE_CHECKING:
    from adapters.coap.oscore import Contexts

NUMBERS_PER_S = 16_384
"""Observe numbers begin with the clock, so that they rise over a restart too (RFC 7641 4.4).

Faster than changes can be told, and slow enough for 128 s to be less than half of the 24 bits.
"""


def _check_websockets(listen: tuple[str, ...]) -> tuple[str, ...]:
    if listen and find_spec("websockets") is None:
        raise ValueError("needs a library: pip install 'border-gateway[ws]'")
    return listen


def _check_oscore(folder: Path | None) -> Path | None:
    if folder and find_spec("filelock") is None:
        raise ValueError("needs a library: pip install 'border-gateway[oscore]'")
    return folder


class CoapSection(Section):
    """The CoAP server: clients read, write and observe the devices at coap://ADDRESS/PREFIX/..."""

    enabled_by_default = True

    listen: Annotated[tuple[Listen, ...], Field(min_length=1)] = ("127.0.0.1:5683", "[::1]:5683")
    """Where to listen. "0.0.0.0:5683" and "[::]:5683" let the whole network read; to write
    there takes a key (oscore). Without one only this machine can, over a loopback address listed
    here: name the network's address beside it, since 0.0.0.0 would take its port."""

    listen_tcp: tuple[Listen, ...] = Field((), examples=[["127.0.0.1:5683", "[::1]:5683"]])
    """Where to serve CoAP over TCP (coap+tcp://), for networks that do not let UDP through."""

    listen_ws: Annotated[
        tuple[Listen, ...],
        AfterValidator(_check_websockets),
    ] = Field((), examples=[["127.0.0.1:8683"]])
    """Where to serve CoAP over WebSockets (coap+ws://), for browsers."""

    max_observers: Annotated[int, Field(ge=0, le=100_000)] = 10_000
    """Observations on each address, 0.8 kB of memory each, 2 kB with conditions; further ones
    are plain reads. An Observe-Composite counts once for each name and each kilobyte begun."""

    # at most 30,000: each may hold one of 32,768 message IDs
    max_observers_per_client: Annotated[int, Field(ge=0, le=30_000)] = 1_000
    """Observations of one client (address and port), so that none takes all."""

    oscore: Annotated[Path | None, AfterValidator(_check_oscore)] = Field(
        None, examples=["/var/lib/border-gateway/oscore"]
    )
    """A folder with an OSCORE context for each client that may write over `listen` from other
    machines, what `writable` allows; see docs/coap.md. The gateway keeps counters in it."""

    multicast: tuple[Annotated[str, Field(min_length=1, max_length=15)], ...] = ()
    """Interfaces, such as "eth0", on which clients find the gateway by multicast (224.0.1.187,
    [ff02::fd]) with a GET of /.well-known/core that has a filter; needs an open `listen`."""

    @property
    def listeners(self) -> Sequence[Listener]:
        """Where clients reach the server."""
        return [
            *(Listener("listen", "udp", listen) for listen in self.listen),
            *(Listener("listen_tcp", "tcp", listen) for listen in self.listen_tcp),
            *(Listener("listen_ws", "tcp", listen) for listen in self.listen_ws),
        ]

    @model_validator(mode="after")
    def _check_reachable(self) -> Self:
        hosts = (parse_listen(listen)[0] for listen in self.listen)
        if self.multicast and all(ipaddress.ip_address(host).is_loopback for host in hosts):
            raise ValueError(
                "multicast finds what this machine alone can reach; open listen to the network"
            )
        return self


class Listening(Protocol):
    """A listener whose clients are connected; `run` lasts until it is cancelled."""

    streams: Streams

    def __init__(
        self, bound: socket.socket, server: Server, port: NorthPort, observers: Observers
    ) -> None: ...

    async def run(self) -> None:
        """Accepts and serves clients."""

    def close(self) -> None:
        """Gives the address back, where it does not run."""


class Coap:
    """The adapter: see its section for what it offers."""

    Config = CoapSection

    def __init__(self, config: CoapSection, port: NorthPort) -> None:
        self._config = config
        self._port = port
        self._server = Server(port)

    @staticmethod
    async def check(section: CoapSection, _: Registry) -> Sequence[Finding]:
        """Whether interfaces are there, and OSCORE's keys nobody else's."""
        keys = sorted(section.oscore.glob("*/*.json")) if section.oscore else ()
        interfaces = {name for _, name in socket.if_nameindex()}
        return [
            *(finding for file in keys for finding in secret_file("coap", file)),
            *(Finding(Severity.ERROR, "coap", text) for text in _faults(section.oscore)),
            *(
                Finding(Severity.WARNING, "coap", _absent(name))
                for name in section.multicast
                if name not in interfaces
            ),
        ]

    async def run(self) -> None:
        """Serves until cancelled."""
        with contextlib.ExitStack() as stack:
            folder = self._config.oscore
            keys = stack.enter_context(contextlib.closing(_contexts(folder))) if folder else None
            await self._serve(keys)

    async def _serve(self, keys: Keys | None) -> None:
        config = self._config
        require_one([*config.listen, *config.listen_tcp, *config.listen_ws])
        context = Context(serversite=Site(self._server), loggername=LIBRARY)
        fronts = self._open(context, keys)
        reachable = [front for front in fronts if not front.socket.local]
        discoveries = [
            Discovery(interface, reachable, self._server, self._port)
            for interface in config.multicast
        ]
        try:
            connected = self._open_streams()
            notifiers = [f.notifier for f in fronts] + [c.streams.notifier for c in connected]
            sockets: list[UdpSocket | Streams] = [f.socket for f in fronts]
            sockets += [c.streams for c in connected]
            look = partial(self._look, discoveries, sockets, keys)
            look()
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._server.directory.keep_ready())
                tasks.create_task(keep_looking(look))
                for each in connected:
                    tasks.create_task(each.run())
                for notifier in notifiers:
                    tasks.create_task(notifier.keep_telling())
                await self._tell(notifiers)
        finally:
            for discovery in discoveries:
                discovery.stop()
            for front in fronts:
                front.stop()
            await context.shutdown()

    def _look(
        self,
        discoveries: Iterable[Discovery],
        sockets: Collection[UdpSocket | Streams],
        keys: Keys | None,
    ) -> None:
        """Shows where the adapter is reached now; interfaces and addresses come and go."""
        for discovery in discoveries:
            discovery.look()
        text, well = _describe(sockets, keys)
        self._port.status(text, well=well)

    def _open(self, context: Context, keys: Keys | None) -> list[Front]:
        bound = open_all([(text, UdpSocket) for text in self._config.listen])
        return [
            Front(each, self._server, self._port, self._observers(), context, keys=keys)
            for each in bound
        ]

    def _open_streams(self) -> list[Listening]:
        makers: list[tuple[str, type[Listening]]] = [(t, Tcp) for t in self._config.listen_tcp]
        if self._config.listen_ws:
            from adapters.coap.websocket import WebSocket

            makers += [(text, WebSocket) for text in self._config.listen_ws]

        def opener(kind: type[Listening]) -> Callable[[str, int], Listening]:
            return lambda host, port: kind(
                listening(host, port), self._server, self._port, self._observers()
            )

        return open_all([(text, opener(kind)) for text, kind in makers])

    def _observers(self) -> Observers:
        return Observers(
            self._config.max_observers,
            self._config.max_observers_per_client,
            int(time.time() * NUMBERS_PER_S),
        )

    async def _tell(self, notifiers: Iterable[Notifier]) -> None:
        while True:
            events = [await self._port.outbox.take(), *self._port.outbox.take_all()]
            for event in events:
                if not isinstance(event, Change):
                    self._server.directory.forget(event.device)
                if isinstance(event, Removed):
                    self._server.attached.forget(event.device, event.path)
            for notifier in notifiers:
                concerned = (o for event in events for o in _concerned(notifier.observers, event))
                await notifier.tell(list(dict.fromkeys(concerned)))


def _absent(interface: str) -> str:
    return (
        f"there is no interface {interface} now: clients find the gateway there once there is "
        "(ip link shows them); else take it out of [coap] multicast"
    )


def _contexts(folder: Path) -> Contexts:
    from adapters.coap.oscore import Contexts

    return Contexts(folder)


def _faults(folder: Path | None) -> Iterable[str]:
    if folder is None:
        return ()
    from adapters.coap.oscore import faults

    return faults(folder)


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


def _describe(sockets: Collection[UdpSocket | Streams], keys: Keys | None) -> tuple[str, bool]:
    """One line for the operator, and whether all is well."""
    names, well = places({socket.name: socket.host for socket in sockets})
    if all(socket.local for socket in sockets):
        who = "for this machine only; [coap] listen opens it to the network"
        return f"listens on {names}, {who}", well
    writers = [f"this machine over {socket.name}" for socket in sockets if socket.local]
    writers += ["who has a key"] if keys else []
    who = " and ".join(writers) or "nobody"
    return f"listens on {names}; whoever reaches these can read, {who} can write", well

"""What the gateway serves in the mesh: LwM2M registration and a resource directory for it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence

import aiocoap
from aiocoap import Code, resource

from adapters.lowpan.coap.endpoint import Peer
from adapters.lowpan.coap.formats import Format
from adapters.lowpan.devices.registrations import (
    LWM2M_VERSIONS,
    Registration,
    Registrations,
    base_port,
    query_parameters,
)
from adapters.lowpan.ipv6 import address as ipv6
from gateway.errors import CommandError, DecodeError
from gateway.formats import linkformat
from gateway.formats.linkformat import Link
from gateway.model import printable

MAX_PAYLOAD = 8192
"""Octets of a registration's links: twice the longest list that was met."""

MAX_ASKED = 16
"""Nodes whose links are fetched at the same time, while their registration waits."""

LINKS = b'</rd>;rt="core.rd";ct=40,</.well-known/rd>;rt="core.rd";ct=40'
"""Our own `/.well-known/core`: enough for RFC 9176's discovery."""

log = logging.getLogger(__name__)

Asker = Callable[[Peer], Awaitable[Sequence[Link]]]


class Directory:
    """The resources of the mesh's server. `key_of` tells whose an address is."""

    def __init__(
        self,
        registrations: Registrations,
        key_of: Callable[[Peer], bytes],
        links_of: Asker,
        changed: Callable[[Registration, Peer], None],
        removed: Callable[[Registration], None],
    ) -> None:
        self.registrations = registrations
        self.key_of = key_of
        self.links_of = links_of
        self.changed = changed
        self.removed = removed

    def site(self) -> resource.Site:
        """The tree that aiocoap serves."""
        site = resource.Site()
        site.add_resource([".well-known", "core"], _Core(self))
        site.add_resource([".well-known", "rd"], _Simple(self))
        site.add_resource(["rd"], _Register(self))
        site.add_resource(["rd"], _Registered(self))  # what is below
        return site

    def register(self, request: aiocoap.Message, links: Sequence[Link]) -> Registration:
        """Takes a registration; raises DecodeError."""
        parameters = query_parameters(request.opt.uri_query)
        peer: Peer = request.remote
        port = base_port(parameters, ipv6.text(peer.address), peer.port)
        key, now = self.key_of(peer), asyncio.get_running_loop().time()
        earlier = self.registrations.of(key)
        taken = self.registrations.register(key, parameters, links, now)
        kind = f"LwM2M {taken.lwm2m}" if taken.lwm2m else "the resource directory"
        is_news = not earlier or (earlier.endpoint, earlier.lwm2m) != (taken.endpoint, taken.lwm2m)
        log.log(
            logging.INFO if is_news else logging.DEBUG,
            *("%s registers as %s by %s", peer, printable(taken.endpoint) or "(none)", kind),
        )
        self.changed(taken, Peer(peer.address, port, peer.local))
        return taken


class _Simple(resource.Resource):  # type: ignore[misc]
    """Simple registration (RFC 9176 5.1): the links are fetched before the answer."""

    def __init__(self, directory: Directory) -> None:
        super().__init__()
        self._directory = directory
        self._asked: set[Peer] = set()

    async def render_post(self, request: aiocoap.Message) -> aiocoap.Message:
        peer: Peer = request.remote
        if peer in self._asked or len(self._asked) >= MAX_ASKED:
            return _refusal(Code.SERVICE_UNAVAILABLE, "one after the other")
        self._asked.add(peer)
        try:
            return await self._register(request)
        finally:
            self._asked.discard(peer)

    async def _register(self, request: aiocoap.Message) -> aiocoap.Message:
        try:
            links = await self._directory.links_of(request.remote)
            self._directory.register(request, links)
        except DecodeError as error:
            return _refusal(Code.BAD_REQUEST, error)
        except CommandError as error:
            return _refusal(Code.BAD_GATEWAY, error)
        return aiocoap.Message(code=Code.CHANGED)


class _Core(_Simple):
    """Our links; before RFC 9176, simple registrations were sent here."""

    async def render_get(self, request: aiocoap.Message) -> aiocoap.Message:
        return aiocoap.Message(payload=LINKS, content_format=int(Format.LINKS))


class _Register(resource.Resource):  # type: ignore[misc]
    """`/rd`: LwM2M's registrations and the directory's are told apart by `lwm2m`."""

    def __init__(self, directory: Directory) -> None:
        super().__init__()
        self._directory = directory

    async def render_post(self, request: aiocoap.Message) -> aiocoap.Message:
        parameters = query_parameters(request.opt.uri_query)
        version = parameters.get("lwm2m")
        if version is not None and version not in LWM2M_VERSIONS:
            known = ", ".join(LWM2M_VERSIONS)
            return _refusal(Code.PRECONDITION_FAILED, f"versions known here: {known}")
        try:
            if version is None and not parameters.get("ep"):
                raise DecodeError("ep is missing")
            taken = self._directory.register(request, _links(request))
        except DecodeError as error:
            return _refusal(Code.BAD_REQUEST, error)
        return aiocoap.Message(code=Code.CREATED, location_path=taken.location)


class _Registered(resource.Resource, resource.PathCapable):  # type: ignore[misc]
    """`/rd/{number}`: one registration, for the node that made it."""

    def __init__(self, directory: Directory) -> None:
        super().__init__()
        self._directory = directory

    async def render_post(self, request: aiocoap.Message) -> aiocoap.Message:
        directory, peer = self._directory, request.remote
        now = asyncio.get_running_loop().time()
        try:
            links = _links(request) if request.payload else None
            parameters = query_parameters(request.opt.uri_query)
            known = directory.registrations.update(
                _number(request), directory.key_of(peer), parameters, links, now
            )
        except DecodeError as error:
            return _refusal(Code.BAD_REQUEST, error)
        if known is None:
            return aiocoap.Message(code=Code.NOT_FOUND)
        if links is not None:
            directory.changed(known, peer)
        return aiocoap.Message(code=Code.CHANGED)

    async def render_delete(self, request: aiocoap.Message) -> aiocoap.Message:
        directory = self._directory
        gone = directory.registrations.remove(_number(request), directory.key_of(request.remote))
        if gone is None:
            return aiocoap.Message(code=Code.NOT_FOUND)
        directory.removed(gone)
        return aiocoap.Message(code=Code.DELETED)


def _number(request: aiocoap.Message) -> int:
    segments = request.opt.uri_path
    text = segments[0] if len(segments) == 1 else ""
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else -1


def _links(request: aiocoap.Message) -> list[Link]:
    if len(request.payload) > MAX_PAYLOAD:
        raise DecodeError(f"more than {MAX_PAYLOAD} octets of links")
    try:
        return linkformat.parse(request.payload.decode())
    except UnicodeDecodeError:
        raise DecodeError("links are text in UTF-8") from None


def _refusal(code: Code, reason: object) -> aiocoap.Message:
    return aiocoap.Message(code=code, payload=str(reason).encode())

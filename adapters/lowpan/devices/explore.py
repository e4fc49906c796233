"""Finds out what a node has and what it speaks, by asking it as little as possible."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

from adapters.lowpan.coap.client import Client
from adapters.lowpan.coap.endpoint import Peer
from adapters.lowpan.coap.formats import Format, Method, Request
from adapters.lowpan.devices.content import STRUCTURED
from adapters.lowpan.devices.definitions import Definition, choose
from adapters.lowpan.devices.layout import Layout, read_layout
from adapters.lowpan.devices.plan import IpsoTree, Plan, Source, Values, defined_plan
from adapters.lowpan.devices.registrations import Registration
from gateway.errors import (
    CommandError,
    DecodeError,
    DeviceRefused,
    NotAllowed,
    NotFound,
    TimedOut,
    Unreachable,
)
from gateway.formats import linkformat
from gateway.formats.linkformat import Link
from gateway.model import DeviceId, Operations, Path, Value, printable
from gateway.objects.definitions import DefinitionFolder
from gateway.objects.registry import Registry

WELL_KNOWN = (".well-known", "core")

MAX_ASKED = 64
"""Resources that are read one by one when a node is explored; a minute on a busy channel."""

log = logging.getLogger(__name__)


class Explorer:
    """Explores nodes, with the object definitions and the operator's device definitions."""

    def __init__(
        self, client: Client, registry: Registry, folder: DefinitionFolder[Definition]
    ) -> None:
        self._client = client
        self._registry = registry
        self._folder = folder

    async def links(self, peer: Peer, path: Sequence[str] = WELL_KNOWN) -> list[Link]:
        """The links that a node gives at a path; raises a CommandError."""
        answer = await self._client.ask(peer, Request(Method.GET, tuple(path), Format.LINKS))
        try:
            return linkformat.parse(answer.payload.decode())
        except (UnicodeDecodeError, DecodeError) as error:
            raise DeviceRefused(f"{peer} gives broken links: {error}") from None

    async def explore(
        self, peer: Peer, registration: Registration | None, device: DeviceId
    ) -> tuple[Plan, Values]:
        """How to follow a node, and its first values; raises a CommandError."""
        is_lwm2m = registration is not None and bool(registration.lwm2m)
        links = list(registration.links) if registration else []
        layout = read_layout(links, lwm2m=is_lwm2m)
        if layout is None and not is_lwm2m and not links:
            links = await self.links(peer)
            layout = read_layout(links)
        if layout is not None:
            return await _Exploration(self, peer, IpsoTree(layout, self._registry)).run()
        if definition := choose(self._folder.definitions, links):
            log.info("%s is a %s", device, definition.name)
            return await self._defined(peer, defined_plan(definition, links, self._registry))
        shown = printable(", ".join(link.target for link in links), 200)
        raise DeviceRefused(
            f"it shows no IPSO objects, and no device definition fits its paths: {shown or 'none'}"
        )

    async def _defined(self, peer: Peer, plan: Plan) -> tuple[Plan, Values]:
        """The plan without those of its sources that this node does not have."""
        values: dict[Path, tuple[Value | None, float]] = {}
        sources: list[Source] = []
        for source in plan.sources[:MAX_ASKED]:
            with suppress(NotFound, NotAllowed):
                if found := await self.ask(peer, source):
                    values |= found.values
                sources.append(source)
        return replace(plan, sources=tuple(sources)), values

    async def ask(self, peer: Peer, source: Source) -> _Found | None:
        """What a source shows; None if the node refuses or cannot be understood.

        Raises NotFound and NotAllowed where there is nothing to be read at all.
        """
        try:
            answer = await self._client.ask(peer, source.request)
            return _Found(source.read(answer, time.time()), answer.content_format)
        except (TimedOut, Unreachable, NotFound, NotAllowed):
            raise
        except (CommandError, DecodeError) as error:
            log.debug("%s: %s is not read: %s", peer, source.base, error)
            return None


@dataclass(frozen=True, slots=True)
class _Found:
    values: Values
    content_format: int | None


class _Exploration:
    """One node's IPSO tree, instance by instance."""

    def __init__(self, explorer: Explorer, peer: Peer, tree: IpsoTree) -> None:
        self._explorer = explorer
        self._peer = peer
        self._tree = tree
        self._format: Format | None = None
        self._only_single = False
        self._sources: list[Source] = []
        self._executables: list[Path] = []
        self._values: dict[Path, tuple[Value | None, float]] = {}

    async def run(self) -> tuple[Plan, Values]:
        """Reads every instance once."""
        layout = self._tree.layout
        for instance in layout.instances:
            listed = [p for p in layout.resources if p.upto(2) == instance]
            if not await self._structured(instance):
                listed = listed or await self._discovered(instance)
                await self._single(listed or self._tree.expected(instance))
            elif not listed:
                listed = await self._discovered(instance)
            self._executables += [p for p in listed if self._tree.can(p, Operations.EXECUTE)]
        watched = self._tree.watched(self._values)
        bases = {source.base for source in watched}
        polled = [source for source in self._sources if source.base not in bases]
        plan = self._tree.plan([*polled, *watched], self._executables, self._format)
        return plan, self._values

    async def _structured(self, instance: Path) -> bool:
        """Reads a whole instance in the best format that the node speaks; whether it does."""
        if self._only_single:
            return False
        for wanted in self._candidates(self._tree.layout):
            source = self._tree.instance(instance, wanted)
            try:
                found = await self._explorer.ask(self._peer, source)
            except (NotFound, NotAllowed):
                return False
            if found is not None:
                # Some nodes answer in a format of their own choice, whatever they are asked for.
                spoken = [f for f in STRUCTURED if f == found.content_format]
                self._format = spoken[0] if spoken else wanted
                self._sources.append(source)
                self._values |= found.values
                return True
        self._only_single = self._format is None
        return False

    def _candidates(self, layout: Layout) -> list[Format]:
        if self._format is not None:
            return [self._format]
        named = [f for f in STRUCTURED if f in layout.formats]
        return named or list(STRUCTURED)

    async def _discovered(self, instance: Path) -> list[Path]:
        """The resources of an instance as LwM2M's Discover tells them."""
        path = (*self._tree.layout.root, *map(str, instance))
        try:
            links = await self._explorer.links(self._peer, path)
        except (TimedOut, Unreachable):
            raise
        except CommandError as error:
            log.debug("%s: %s", self._peer, error)
            return []
        # Discover's links count from the object tree, with the root or without it.
        found = read_layout(links, lwm2m=True)
        return [p for p in found.resources if p.upto(2) == instance] if found else []

    async def _single(self, resources: list[Path]) -> None:
        """Reads resources one by one."""
        readable = [p for p in resources if self._tree.can(p, Operations.READ)]
        for source in map(self._tree.resource, readable[:MAX_ASKED]):
            try:
                found = await self._explorer.ask(self._peer, source)
            except (NotFound, NotAllowed):
                continue
            if found is not None:
                self._sources.append(source)
                self._values |= found.values

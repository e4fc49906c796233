"""Answers requests from the object tree: reads at once, commands when the device has answered.

One for all listeners; knows no datagram and no socket.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial

from adapters.coap import changes, composite, content, formats, history, links, tree
from adapters.coap.attributes import NONE, Attached, Attributes, in_force, requested
from adapters.coap.blocks import Downloads, Uploads, tagged, tagged_format
from adapters.coap.directory import LINKS_MAX_AGE_S, Directory
from adapters.coap.messages import (
    Code,
    Format,
    Refusal,
    Request,
    Response,
    refused,
    whole_seconds,
)
from adapters.coap.observer import Observed
from adapters.coap.tree import Target
from gateway.errors import GatewayError, InvalidValue, NotAllowed, NotFound, WritesDisabled
from gateway.events import Device, Resource
from gateway.model import GATEWAY, DeviceId, Operations, Path
from gateway.ports import NorthPort
from gateway.readings.journal import whole_moments

WELL_KNOWN_CORE = (".well-known", "core")

MANY_RESOURCES = 128
"""To show more at once takes more than a millisecond, and in most formats more than a block."""

MANY_NAMES_OCTETS = 512
"""Of a composite's names: to look up more takes as long."""

_CHANGING = frozenset({Code.PUT, Code.POST, Code.DELETE})

_DEPTH = re.compile(r"depth=([0-3])")


class Server:
    """What all listeners of the adapter share: the tree, the links, the transfers under way."""

    def __init__(self, port: NorthPort, wall: Callable[[], float] = time.time) -> None:
        self._wall = wall
        self.attached = Attached()
        self.watchers: list[Callable[[DeviceId, Path], None]] = []
        self._port = port
        self.directory = Directory(port)
        self._downloads = Downloads()
        self._uploads = Uploads()

    # --- reading ---

    def read(self, request: Request, form: Format | None = None) -> Response:
        """Answers a GET or a FETCH; in this format, whatever it accepts, where one is given."""
        whole = self._downloads.resume(request)
        if whole is None:
            try:
                whole = tagged(self._content(request, form))
            except GatewayError as error:
                whole = refused(error)
        return self._on_conditions(request, whole)

    def takes_long(self, request: Request) -> bool:
        """Whether a GET or a FETCH takes milliseconds to answer, as far as a look can tell."""
        if request.path == WELL_KNOWN_CORE:
            return not self.directory.is_at_hand(request)
        if len(request.payload) > MANY_NAMES_OCTETS:
            return True
        try:
            named = self.targets(request)
        except GatewayError:
            return False
        return sum(len(self._port.resources(*each)) for each in named) > MANY_RESOURCES

    async def history(self, request: Request) -> Response:
        """Answers a GET of the past, from the journal."""
        whole = self._downloads.resume(request)
        if whole is None:
            try:
                whole = tagged(await self._past(request))
            except GatewayError as error:
                whole = refused(error)
        return self._on_conditions(request, whole)

    def _on_conditions(self, request: Request, whole: Response) -> Response:
        """The answer, if what the request says of ETags holds for it."""
        try:
            self._check_preconditions(request, whole.etag)
            return self._shown(request, whole)
        except GatewayError as error:
            return refused(error)

    def _shown(self, request: Request, whole: Response) -> Response:
        if whole.etag in request.etags and not request.later_block:
            return replace(whole, code=Code.VALID, payload=b"", format=None)
        return self._downloads.cut(request, whole)

    def _content(self, request: Request, form: Format | None) -> Response:
        if request.code == Code.FETCH:
            return self._read_composite(request, form)
        if request.path == WELL_KNOWN_CORE:
            return self.directory.answer(request)
        if form is None and request.accept is Format.LINK:
            return self._discover(request)
        target = tree.locate(self._port, request.path)
        resources = tree.readable(self._port, target)
        max_age_s = self._max_age_s(target.device.id, resources)
        if request.observes:
            max_age_s = _within(max_age_s, self._rule(request, target, resources))
        elif request.query:
            raise InvalidValue("query parameters are for an Observe")
        form = content.choose(request.accept if form is None else form, target, resources)
        payload = formats.write(self._items(target.device, resources), form, target.path)
        return Response(Code.CONTENT, payload, form, max_age_s=max_age_s)

    async def _past(self, request: Request) -> Response:
        target = tree.locate(self._port, request.path)
        if target.device.id == GATEWAY:
            raise NotFound("of the gateway itself no history is kept")
        tree.readable(self._port, target)
        if request.observe == 0:
            raise InvalidValue("the past cannot be observed")
        start, end = history.period(request.query, self._wall())
        form = history.choose(request.accept)
        entries = await self._port.history(target.device.id, target.path, start, end)
        resources = [
            Resource(entry.path, entry.value, entry.at)
            for entry in whole_moments(entries, history.MAX_RECORDS)
            if tree.allows(self._port.registry, entry.path, Operations.READ)
        ]
        payload = formats.write(self._items(target.device, resources), form)
        return Response(Code.CONTENT, payload, form, max_age_s=0)

    def _read_composite(self, request: Request, form: Format | None) -> Response:
        if request.path:
            raise Refusal(Code.METHOD_NOT_ALLOWED, "fetch from the root")
        if request.query and not request.observes:
            raise InvalidValue("query parameters are for an Observe")
        rule = self.rule(request)
        form = composite.choose(request.accept) if form is None else form
        items: list[formats.Item] = []
        max_ages_s: list[int] = []
        for device, resources in composite.readable(self._port, self.targets(request)):
            items += self._items(device, resources)
            if resources:
                max_ages_s.append(self._max_age_s(device.id, resources))
        max_age_s = _within(min(max_ages_s, default=0), rule)
        return Response(Code.CONTENT, formats.write(items, form), form, max_age_s=max_age_s)

    def source(self, request: Request) -> Callable[[], object] | None:
        """A quick call that gives something else once a GET would show something else."""
        if request.path == WELL_KNOWN_CORE or request.accept is Format.LINK:
            return None
        target = tree.locate(self._port, request.path)
        here = (target.device.id, target.path)
        look = self._port.resource if self._port.resource(*here) else self._port.resources
        return partial(look, *here)

    def _items(self, device: Device, resources: Sequence[Resource]) -> list[formats.Item]:
        units = {}
        for instance in {resource.path.upto(2) for resource in resources}:
            path = Path(*instance, content.SENSOR_UNITS)
            named = self._port.resource(device.id, path)
            if named and isinstance(named.value, str):
                units[instance] = named.value
        return content.items(device, resources, units, self._port.registry)

    def _max_age_s(self, device: DeviceId, resources: Iterable[Resource]) -> int:
        return min(
            (whole_seconds(self._port.max_age_s(device, r.path)) for r in resources), default=0
        )

    def _check_preconditions(self, request: Request, shown: bytes = b"") -> None:
        """Raises 4.12 unless If-Match and If-None-Match hold (RFC 7252 5.10.8).

        `shown` is the ETag of the answer to the request itself, if that is a read.
        """
        etags = set(request.if_match)
        if etags and not (shown and shown in etags) and not self._matches(request, etags):
            raise Refusal(Code.PRECONDITION_FAILED, "it is not what If-Match says")
        if request.if_none_match and self._exists(request):
            raise Refusal(Code.PRECONDITION_FAILED, "it exists")

    def _exists(self, request: Request) -> bool:
        if request.path in {(), WELL_KNOWN_CORE}:
            return True
        try:
            return bool(tree.existing(self._port, tree.locate(self._port, request.path)))
        except NotFound:
            return False

    def _matches(self, request: Request, etags: set[bytes]) -> bool:
        """Whether one is the ETag of what a GET shows now in some format; empty is that of all."""
        if b"" in etags:
            return self._exists(request)
        return any(self._etag(request, form) in etags for form in set(map(tagged_format, etags)))

    def _etag(self, request: Request, form: int) -> bytes:
        """The ETag of what a GET shows now in a format; empty where it shows nothing."""
        try:
            return tagged(self._content(Request(Code.GET, request.path), Format(form))).etag
        except (GatewayError, ValueError):
            return b""

    # --- observing ---

    def targets(self, request: Request) -> Sequence[Observed]:
        """What an Observe that was answered observes."""
        if request.code == Code.FETCH:
            return composite.targets(self._port, request)
        target = tree.locate(self._port, request.path)
        return [(target.device.id, target.path)]

    def join(self, request: Request, etag: bytes) -> None:
        """Lets an observer fetch the rest of a body whose first block is sent to several."""
        self._downloads.join(request, etag)

    def rule(self, request: Request) -> Attributes:
        """What is in force for an Observe: what its query asks for, else what is attached."""
        if request.code == Code.FETCH:
            return in_force(requested(request.query, None) or NONE)
        target = tree.locate(self._port, request.path)
        return self._rule(request, target, tree.readable(self._port, target))

    def _rule(self, request: Request, target: Target, resources: Sequence[Resource]) -> Attributes:
        one = content.single(target, resources)
        definition = tree.define(self._port.registry, target.path)
        rule = requested(request.query, content.kind(definition, one.value) if one else None)
        if rule is None:
            rule = self.attached.effective(target.device.id, target.path)
        return in_force(rule if one else rule.of_several())

    # --- discovery ---

    def _discover(self, request: Request) -> Response:
        """Answers LwM2M's Discover of an object, an instance or a resource."""
        target = tree.locate(self._port, request.path)
        if target.path.resource_instance is not None:
            raise NotAllowed("discover an object, an instance or a resource")
        depth = None
        for parameter in request.query:
            match = _DEPTH.fullmatch(parameter)
            if match is None or depth is not None:
                raise InvalidValue("a discover knows depth=0 to depth=3")
            depth = int(match[1])
        resources = tree.existing(self._port, target)
        found = links.discover(target, resources, self.attached, self._port.registry, depth)
        payload = ",".join(map(str, found)).encode()
        return Response(Code.CONTENT, payload, Format.LINK, max_age_s=LINKS_MAX_AGE_S)

    # --- commands ---

    async def command(self, request: Request) -> Response:
        """Answers what takes its time: all but a GET of the present; returns when it is done."""
        if history.asked(request):
            return await self.history(request)
        try:
            check_secure(request)
            whole = self._uploads.add(request)
            if whole is None:
                return Response(Code.CONTINUE, block1=request.block1)
            answer = await self._carry_out(whole)
        except WritesDisabled as error:  # whatever the block
            return refused(error)
        except GatewayError as error:
            answer = refused(error)
        return replace(answer, block1=request.block1)

    async def _carry_out(self, request: Request) -> Response:
        if request.code == Code.FETCH:  # it came in blocks
            return self.read(replace(request, block1=None))
        self._check_preconditions(request)
        if request.code == Code.IPATCH and not request.path:
            return await changes.write_composite(self._port, request)
        if request.path in {(), WELL_KNOWN_CORE} or request.code not in _CHANGING:
            raise Refusal(Code.METHOD_NOT_ALLOWED)
        target = tree.locate(self._port, request.path)
        if request.code == Code.DELETE:
            return await changes.delete(self._port, request, target)
        if request.code == Code.POST and len(target.path) == 1:
            return await changes.create(self._port, request, target)
        if request.code == Code.PUT and request.query and not _has_content(request):
            return self._write_attributes(request, target)
        command = (
            changes.execute(self._port, request, target)
            if changes.is_execute(self._port, request, target)
            else changes.write(self._port, request, target)
        )
        await self._port.execute(command)
        return Response(Code.CHANGED)

    def _write_attributes(self, request: Request, target: Target) -> Response:
        resources = tree.readable(self._port, target)
        kind = None
        if target.path.resource is not None:
            definition = tree.define(self._port.registry, target.path)
            kind = content.kind(definition, resources[0].value)
        self.attached.write(target.device.id, target.path, request.query, kind)
        for watcher in self.watchers:
            watcher(target.device.id, target.path)
        return Response(Code.CHANGED)


def check_secure(request: Request) -> None:
    """Raises WritesDisabled where a request would change something, and must not here."""
    if request.code not in {Code.GET, Code.FETCH} and not request.secure:
        raise WritesDisabled("writing and executing need a secured transport here")


def _has_content(request: Request) -> bool:
    return request.content_format is not None or bool(request.payload)


def _within(max_age_s: int, rule: Attributes) -> int:
    """A Max-Age, but not longer than the next notification takes (conditional-attributes-12)."""
    return min(max_age_s, whole_seconds(rule.pmax)) if rule.pmax else max_age_s

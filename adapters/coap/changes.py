"""What changes a device, by LwM2M's operations (LwM2M Core 6.3): asked of the gateway's port."""

from __future__ import annotations

import itertools

from adapters.coap import composite, content, tree
from adapters.coap.messages import Code, Request, Response
from adapters.coap.tree import Target
from gateway.errors import InvalidValue
from gateway.events import Create, Delete, Execute, Write
from gateway.model import Path
from gateway.ports import NorthPort


async def create(port: NorthPort, request: Request, target: Target) -> Response:
    """Answers LwM2M's Create of an instance, under the id that it names or the next free one."""
    _check_query(request)
    taken = {r.path[1] for r in port.resources(target.device.id, target.path)}
    free = next(number for number in itertools.count() if number not in taken)
    path, values = content.parse_new(
        request.payload, request.content_format, target, port.registry, free
    )
    origin = f"coap {request.origin}"
    await port.execute(Create(target.device.id, path, values, origin))
    name = Target(target.device, path).name
    return Response(Code.CREATED, location=tuple(name.split("/")[1:]))


async def delete(port: NorthPort, request: Request, target: Target) -> Response:
    """Answers LwM2M's Delete."""
    _check_query(request)
    await port.execute(Delete(target.device.id, target.path, f"coap {request.origin}"))
    return Response(Code.DELETED)


async def write_composite(port: NorthPort, request: Request) -> Response:
    """Answers LwM2M's Write-Composite."""
    _check_query(request)
    parts = composite.parts(port, request)
    await composite.write(port, parts, f"coap {request.origin}")
    return Response(Code.CHANGED)


def is_execute(port: NorthPort, request: Request, target: Target) -> bool:
    """Whether a POST executes its target; to an array it may write."""
    writes = tree.is_array(port, target) and not content.may_execute(request.content_format)
    return request.code == Code.POST and len(target.path) >= 3 and not writes


def execute(port: NorthPort, request: Request, target: Target) -> Execute:
    """The Execute that a POST asks for; raises what stands against it."""
    tree.check_execute(port, target)
    _check_query(request)
    arguments = content.arguments(request.payload, request.content_format)
    return Execute(target.device.id, target.path, f"coap {request.origin}", arguments)


def write(port: NorthPort, request: Request, target: Target) -> Write:
    """The Write that a PUT or a POST asks for; raises what stands against it."""
    tree.check_write(port, target)
    _check_query(request)
    current = tree.existing(port, target)
    values = content.parse(request.payload, request.content_format, target, port.registry, current)
    written = tree.writes(port, target, values)
    removed = frozenset[Path]()
    if request.code == Code.PUT:
        removed = tree.replaced(port, target, written)
    return Write(target.device.id, written, f"coap {request.origin}", removed)


def _check_query(request: Request) -> None:
    if request.query:
        raise InvalidValue("query parameters are not understood here")

"""CoRE Link Format (RFC 6690) of what the gateway serves; pure, knows no request."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from functools import lru_cache
from urllib.parse import unquote

from adapters.coap import formats
from adapters.coap.attributes import Attached, Attributes
from adapters.coap.messages import Format
from adapters.coap.tree import PRIVATE_OBJECTS, Target, allows, define, root
from gateway.events import Device, Resource
from gateway.model import Operations, Path, ResourceType, printable
from gateway.objects.registry import Registry, ResourceDefinition

FIRST_NON_CORE = 1024
"""Objects below this always say their version: what LwM2M implies differs by its release."""

MEMO = 1_024
"""Attributes kept by kind of link: devices of one model share them, in time and in memory."""

_LISTS = frozenset({"rt", "if", "rel", "rev", "ct"})
_UNQUOTED = {"ver", "dim", *(field.name for field in fields(Attributes))}  # as LwM2M has them
_VERSION = re.compile(r":\d+\.\d+$")


LinkAttributes = tuple[tuple[str, str | None], ...]
"""Names and values in order; an attribute without value has None."""

Filters = tuple[tuple[str, str], ...]
"""Names and wanted values of a query, in an order of their own."""


@dataclass(frozen=True, slots=True)
class Link:
    """A target and its attributes."""

    href: str
    attributes: LinkAttributes = ()

    def __str__(self) -> str:
        return f"<{self.href}>{_text(self.attributes)}"


@lru_cache(MEMO)
def _text(attributes: LinkAttributes) -> str:
    return "".join(_attribute(*pair) for pair in attributes)


def _attribute(name: str, value: str | None) -> str:
    if value is None:
        return f";{name}"
    if name in _UNQUOTED:
        return f";{name}={value}"
    escaped = value.replace("\\", "\\\\").replace('"', '\\"')
    return f';{name}="{escaped}"'


def _matches(text: str, wanted: str) -> bool:
    return text.startswith(wanted[:-1]) if wanted.endswith("*") else text == wanted


def filters(query: Sequence[str]) -> Filters:
    """The filters of a query, each once; what is not `name=value` is none."""
    parts = (parameter.partition("=") for parameter in query)
    return tuple(sorted({(name, unquote(wanted)) for name, equals, wanted in parts if equals}))


def selector(wanted: Filters) -> Callable[[Link], bool]:
    """Tells whether all filters select a link (RFC 6690 4.1); a trailing `*` is for anything.

    Devices of one model share their attributes, so these are looked at once.
    """
    hrefs = [value for name, value in wanted if name == "href"]
    others = [(name, value) for name, value in wanted if name != "href"]
    known: dict[LinkAttributes, bool] = {}

    def selects(link: Link) -> bool:
        if not all(_matches(link.href, href) for href in hrefs):
            return False
        if (fits := known.get(link.attributes)) is None:
            fits = all(_have(link.attributes, *other) for other in others)
            known[link.attributes] = fits
        return fits

    return selects


def may_select(wanted: Filters, text: str) -> bool:
    """Whether links may be selected whose text this is; False saves looking at them."""
    values = (value.removesuffix("*") for _, value in wanted)
    return all(value in text or "\\" in value or '"' in value for value in values)


def _have(attributes: LinkAttributes, name: str, wanted: str) -> bool:
    return any(
        _matches(part, wanted)
        for key, value in attributes
        if key == name
        for part in (value.split() if value and name in _LISTS else [value or ""])
    )


def describe(device: Device, resources: Sequence[Resource], registry: Registry) -> Iterator[Link]:
    """The links of a device: its root, then each object, instance and resource in path order."""
    base = root(device)
    title = (("title", printable(device.name)),) if device.name else ()
    yield Link(base or "/", (("rt", "oma.lwm2m"), *title, ("ct", _numbers(formats.PACKS))))
    last: tuple[int, ...] = ()
    for path, several in _paths(resources):
        if path[:1] != last[:1]:
            yield Link(f"{base}/{path[0]}", _version(registry, path[0]))
        if path[:2] != last[:2]:
            yield Link(f"{base}/{path[0]}/{path[1]}", _instance(registry, path[0]))
        yield Link(f"{base}{path}", _resource(registry, path[0], path[2], several))
        last = path


def discover(
    target: Target,
    resources: Iterable[Resource],
    attached: Attached,
    registry: Registry,
    depth: int | None = None,
) -> Iterator[Link]:
    """What a Discover of the target shows: itself and the tree below it (LwM2M Core 6.3.2).

    The links have no prefix (Gateway 8.3.1). The target shows what attributes are in force for it,
    the others what is attached to them. `depth` in levels; None is down to the resources, and to
    the instances of one resource.
    """
    top, device = target.path, target.device.id
    if depth is None:
        depth = 2 if len(top) == 1 else 1
    paths = [resource.path for resource in resources]
    dimensions = Counter(path.upto(3) for path in paths if len(path) == 4)
    levels = range(len(top), len(top) + depth + 1)
    for path in dict.fromkeys(p.upto(n) for p in paths for n in levels if n <= len(p)):
        version = _version(registry, path.object) if len(path) == 1 else ()
        dimension = (("dim", str(dimensions[path])),) if path in dimensions else ()
        in_force = attached.effective if path == top else attached.at
        yield Link(str(path), (*version, *dimension, *in_force(device, path).parameters()))


def _paths(resources: Iterable[Resource]) -> Iterator[tuple[Path, bool]]:
    """Each resource that clients may know of, once, and whether it has resource instances."""
    seen: dict[Path, bool] = {}
    for resource in resources:
        if resource.path[0] not in PRIVATE_OBJECTS:
            seen[resource.path.upto(3)] = len(resource.path) == 4
    yield from seen.items()


@lru_cache(MEMO)
def _version(registry: Registry, object_id: int) -> tuple[tuple[str, str], ...]:
    definition = registry.object(object_id)
    if definition is None or (definition.version == "1.0" and object_id >= FIRST_NON_CORE):
        return ()
    return (("ver", definition.version),)


def _type(registry: Registry, object_id: int) -> tuple[tuple[str, str], ...]:
    definition = registry.object(object_id)
    return (("rt", _VERSION.sub("", definition.urn)),) if definition else ()


@lru_cache(MEMO)
def _instance(registry: Registry, object_id: int) -> LinkAttributes:
    return (
        *_type(registry, object_id),
        ("if", "core.b"),
        ("ct", _numbers(formats.PACKS)),
        ("obs", None),
    )


@lru_cache(MEMO)
def _resource(
    registry: Registry, object_id: int, resource_id: int, several: bool
) -> LinkAttributes:
    path = Path(object_id, 0, resource_id)
    definition = define(registry, path)
    interface: tuple[str, str | None] = ("if", _interface(definition))
    attributes: LinkAttributes = (*_type(registry, path.object), interface)
    if definition and definition.operations in {Operations.EXECUTE, Operations.NONE}:
        return attributes
    possible: tuple[Format, ...] = formats.ONE_VALUE
    if several:
        possible = formats.PACKS
    elif definition and definition.type is ResourceType.OPAQUE:
        possible = formats.OCTETS
    attributes = (*attributes, ("ct", _numbers(possible)))
    return (*attributes, ("obs", None)) if allows(registry, path, Operations.READ) else attributes


def _interface(definition: ResourceDefinition | None) -> str:
    """The CoRE interface (draft-ietf-core-interfaces): sensor, actuator or parameter.

    What an object must have is what it is for, so a mandatory resource is the sensor or the
    actuator, and an optional one a parameter.
    """
    if definition is None:
        return "core.s"
    if Operations.EXECUTE in definition.operations:
        return "core.a"
    if Operations.WRITE in definition.operations:
        return "core.a" if definition.mandatory else "core.p"
    return "core.s" if definition.mandatory else "core.rp"


def _numbers(possible: Iterable[Format]) -> str:
    return " ".join(str(int(form)) for form in possible)

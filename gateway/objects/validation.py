"""Holds what a server exposes against the object definitions; values in, findings out. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum

from gateway.errors import DecodeError, InvalidValue
from gateway.formats import linkformat
from gateway.formats.linkformat import Link
from gateway.model import Operations, Path, Value, check_prefix, printable
from gateway.objects.registry import (
    FIRST_PRIVATE,
    FIRST_REUSABLE,
    Registry,
    ResourceDefinition,
    coerce,
)

FIRST_NON_CORE = 1024
"""Below this the version that `ver` left out means depends on the release of LwM2M."""

GATEWAY_OBJECT, PREFIX, DEVICE_OBJECTS = 25, 1, 3
"""The OMA gateway object 2.0, and what it says of a device."""

_URN = re.compile(r"urn:oma:lwm2m:(?:oma|ext|x):([0-9]{1,9})(?::[0-9.]+)?")
_NUMBER = re.compile(r"[0-9]{1,9}")
_READ_ONLY_INTERFACES = frozenset({"core.s", "core.rp"})
_BOUNDS = ((5603, 5604, (5700, 5601, 5602)), (5519, 5520, (5500, 5700)))
"""An instance's own lowest and highest possible value, and what lies between (IPSO)."""


class Kind(Enum):
    """What can be wrong."""

    UNKNOWN_OBJECT = "unknown object"
    UNKNOWN_RESOURCE = "unknown resource"
    MISSING = "missing"
    WRONG_TYPE = "wrong type"
    OUT_OF_RANGE = "out of range"
    WRONG_OPERATION = "wrong operation"
    WRONG_CARDINALITY = "wrong cardinality"
    WRONG_LINK = "wrong link"
    UNREADABLE = "unreadable"


@dataclass(frozen=True, slots=True)
class Finding:
    """One deviation, and where it is: the path as it stands in the server's URIs."""

    path: str
    kind: Kind
    text: str


class Probe(Enum):
    """How a GET of a resource was answered, where it brought no value that can be judged."""

    ABSENT = "4.04"
    NOT_ALLOWED = "4.05"
    ANSWERED = "2.05"
    UNCLEAR = "another answer"


@dataclass(frozen=True, slots=True)
class Tree:
    """What one device shows, or the server itself (prefix ""); paths are without the prefix.

    `values` are as its payload had them, not yet of the type that the definition wants; `faults`
    tell by URI path what could not be understood at all.
    """

    prefix: str = ""
    links: Mapping[Path, Link] = field(default_factory=dict)
    values: Mapping[Path, Value] = field(default_factory=dict)
    probes: Mapping[Path, Probe] = field(default_factory=dict)
    faults: Mapping[str, str] = field(default_factory=dict)

    def name(self, path: Path) -> str:
        """The path as it stands in URIs."""
        return f"/{self.prefix}{path}" if self.prefix else str(path)

    def paths(self) -> Sequence[Path]:
        """Everything that is there, in path order; what is linked but was not found is not."""
        there = {p for p, probe in self.probes.items() if probe is not Probe.ABSENT}
        linked = {p for p in self.links if self.probes.get(p) is not Probe.ABSENT}
        return sorted({*linked, *self.values, *there})


def check(tree: Tree, registry: Registry) -> list[Finding]:
    """Every deviation of one tree, in path order."""
    found = [finding for rule in _RULES for finding in rule(tree, registry)]
    return sorted(dict.fromkeys(found), key=lambda f: (_order(f.path), f.kind.value))


def check_server(trees: Sequence[Tree], registry: Registry) -> list[Finding]:
    """Every deviation of a server and of the devices behind it."""
    found = [finding for tree in trees for finding in check(tree, registry)]
    found += check_gateway(trees, registry)
    if not any(tree.paths() for tree in trees):
        found.append(Finding("/", Kind.MISSING, "no IPSO or LwM2M object is shown"))
    return found


def check_gateway(trees: Iterable[Tree], registry: Registry) -> Iterator[Finding]:
    """Whether object 25 says of each device what the device shows (LwM2M Gateway 6)."""
    by_prefix = {tree.prefix: tree for tree in trees}
    own = by_prefix.get("", Tree())
    named = dict[str, int]()
    for path, prefix in own.values.items():
        if path[0] == GATEWAY_OBJECT and path[2:] == (PREFIX,) and isinstance(prefix, str):
            named[prefix] = path[1]
            yield from _gateway_instance(own, path.upto(2), prefix, by_prefix.get(prefix))
    if named:
        for prefix in by_prefix.keys() - {"", *named}:
            text = f"no instance of object {GATEWAY_OBJECT} names this device"
            yield Finding(f"/{prefix}", Kind.MISSING, text)


def needed(tree: Tree, registry: Registry) -> list[Path]:
    """What only a GET can tell: mandatory and linked resources without a value, executables."""
    instances = {p.upto(2) for p in tree.paths() if len(p) > 1}
    wanted = {p.upto(3) for p in tree.links if len(p) > 2}
    for instance in instances:
        definition = registry.object(instance.object)
        resources = definition.resources.values() if definition else ()
        wanted |= {Path(*instance, r.id) for r in resources if r.mandatory}
    known = {p.upto(3) for p in tree.values}
    return sorted(wanted - known - tree.probes.keys())


# --- the rules ---


def _faults(tree: Tree, registry: Registry) -> Iterator[Finding]:
    for name, text in tree.faults.items():
        yield Finding(name, Kind.UNREADABLE, text)


def _ids(tree: Tree, registry: Registry) -> Iterator[Finding]:
    for path in tree.paths():
        definition = registry.object(path.object)
        if definition is None:
            text = "no definition has this object; --definitions reads a vendor's"
            yield Finding(tree.name(path.upto(1)), Kind.UNKNOWN_OBJECT, text)
            continue
        version = tree.links[path].attributes.get("ver") if path in tree.links else None
        if version not in {None, definition.version} and len(path) < 3:
            text = f"version {printable(str(version))}: held against {definition.version}"
            yield Finding(tree.name(path.upto(1)), Kind.UNKNOWN_OBJECT, text)
        if len(path) > 2 and path[2] < FIRST_PRIVATE and path[2] not in definition.resources:
            text = f"{definition.name} {definition.version} has no resource {path[2]}"
            if path[2] >= FIRST_REUSABLE and (meant := registry.resource(path[0], path[2])):
                text += f" ({meant.name})"
            yield Finding(tree.name(path.upto(3)), Kind.UNKNOWN_RESOURCE, text)


def _completeness(tree: Tree, registry: Registry) -> Iterator[Finding]:
    there = {path.upto(3) for path in tree.paths() if len(path) > 2}
    for instance in dict.fromkeys(p.upto(2) for p in tree.paths() if len(p) > 1):
        definition = registry.object(instance.object)
        for resource in definition.resources.values() if definition else ():
            path = Path(*instance, resource.id)
            if resource.mandatory and path not in there:
                yield Finding(tree.name(path), Kind.MISSING, f"{resource.name} is mandatory")
    for path in tree.links:
        if tree.probes.get(path) is Probe.ABSENT:
            yield Finding(tree.name(path), Kind.MISSING, "a link leads here, but 4.04 is answered")


def _types(tree: Tree, registry: Registry) -> Iterator[Finding]:
    for path, value in tree.values.items():
        definition = _defined(registry, path)
        if definition is None or not definition.operations:
            continue
        try:
            coerce(replace(definition, range=None), value)
        except InvalidValue as error:
            yield Finding(tree.name(path), Kind.WRONG_TYPE, f"{error}, not {_shown(value)}")
            continue
        try:
            coerce(definition, value)
        except InvalidValue as error:
            yield Finding(tree.name(path), Kind.OUT_OF_RANGE, str(error))


def _own_ranges(tree: Tree, registry: Registry) -> Iterator[Finding]:
    for instance in dict.fromkeys(path.upto(2) for path in tree.values):
        for lowest, highest, between in _BOUNDS:
            low, high = (_number(tree, Path(*instance, r)) for r in (lowest, highest))
            if low is not None and high is not None and low > high:
                text = f"the lowest possible value, {low:g}, is above the highest, {high:g}"
                yield Finding(tree.name(instance), Kind.OUT_OF_RANGE, text)
                continue
            for resource in between:
                path = Path(*instance, resource)
                value = _number(tree, path)
                if value is None:
                    continue
                if (low is not None and value < low) or (high is not None and value > high):
                    text = f"{value:g} is outside what {lowest} and {highest} of the instance say"
                    yield Finding(tree.name(path), Kind.OUT_OF_RANGE, text)


def _operations(tree: Tree, registry: Registry) -> Iterator[Finding]:
    for path, probe in tree.probes.items():
        definition = _defined(registry, path)
        if definition is None:
            continue
        can_read = Operations.READ in definition.operations
        if can_read and probe is Probe.NOT_ALLOWED:
            text = f"{definition.name} is readable, but a GET is answered with 4.05"
            yield Finding(tree.name(path), Kind.WRONG_OPERATION, text)
        elif not can_read and probe is Probe.ANSWERED:
            text = f"{definition.name} cannot be read, but a GET is answered with 2.05"
            yield Finding(tree.name(path), Kind.WRONG_OPERATION, text)
        elif can_read and probe is Probe.UNCLEAR:
            yield Finding(tree.name(path), Kind.UNREADABLE, f"{definition.name} cannot be read")
    for path in tree.values:
        definition = _defined(registry, path)
        if definition and Operations.READ not in definition.operations:
            text = f"{definition.name} is not readable, but is shown"
            yield Finding(tree.name(path), Kind.WRONG_OPERATION, text)


def _cardinality(tree: Tree, registry: Registry) -> Iterator[Finding]:
    paths = tree.paths()
    for instance in dict.fromkeys(p.upto(2) for p in paths if len(p) > 1):
        definition = registry.object(instance.object)
        if definition and not definition.multiple and instance[1]:
            text = f"{definition.name} is a single object: its only instance is 0"
            yield Finding(tree.name(instance), Kind.WRONG_CARDINALITY, text)
    for path in paths:
        resource = _defined(registry, path)
        if resource and not resource.multiple and len(path) == 4:
            text = f"{resource.name} is single, but has resource instances"
            yield Finding(tree.name(path), Kind.WRONG_CARDINALITY, text)
        if resource and resource.multiple and len(path) == 3 and path in tree.values:
            text = f"{resource.name} is multiple, but has no resource instances"
            yield Finding(tree.name(path), Kind.WRONG_CARDINALITY, text)


def _links(tree: Tree, registry: Registry) -> Iterator[Finding]:
    for path, link in tree.links.items():
        for text in _wrong_attributes(tree, path, link.attributes, registry):
            yield Finding(tree.name(path), Kind.WRONG_LINK, text)
    for object_id in dict.fromkeys(path.object for path in tree.links):
        definition = registry.object(object_id)
        needs = definition and (object_id >= FIRST_NON_CORE or object_id == GATEWAY_OBJECT)
        if definition and needs and definition.version != "1.0":
            links = [link for p, link in tree.links.items() if len(p) < 3 and p[0] == object_id]
            if not any("ver" in link.attributes for link in links):
                text = f"no ver={definition.version} on the object's link, so it reads as 1.0"
                yield Finding(tree.name(Path(object_id)), Kind.WRONG_LINK, text)


def _wrong_attributes(
    tree: Tree, path: Path, attributes: Mapping[str, str], registry: Registry
) -> Iterator[str]:
    if "ver" in attributes and len(path) > 2:
        yield "ver belongs on the object's link"
    for type in attributes.get("rt", "").split():
        match = _URN.fullmatch(type)
        if match and int(match[1]) != path.object:
            yield f"rt names object {match[1]}"
    for number in attributes.get("ct", "").split():
        if not _NUMBER.fullmatch(number) or int(number) > 0xFFFF:
            yield f"ct holds {printable(number)!r}, which is no content format"
    if (dimension := attributes.get("dim")) is not None:
        there = sum(len(p) == 4 and path.covers(p) for p in tree.values)
        if len(path) != 3 or not _NUMBER.fullmatch(dimension) or there not in {0, int(dimension)}:
            yield f"dim is {printable(dimension)}, but there are {there} resource instances"
    resource = _defined(registry, path)
    if resource is None or len(path) != 3:
        return
    if "obs" in attributes and Operations.READ not in resource.operations:
        yield f"obs, but {resource.name} cannot be read"
    interfaces = set(attributes.get("if", "").split())
    if interfaces & _READ_ONLY_INTERFACES and Operations.READ not in resource.operations:
        yield f"if says that it is read, but {resource.name} cannot be"
    changes = Operations.WRITE | Operations.EXECUTE
    if interfaces & {"core.a", "core.p"} and not resource.operations & changes:
        yield f"if says that it is set, but {resource.name} is read-only"


_RULES: Sequence[Callable[[Tree, Registry], Iterable[Finding]]] = (
    *(_faults, _ids, _completeness, _types, _own_ranges),
    *(_operations, _cardinality, _links),
)


def _gateway_instance(
    own: Tree, instance: Path, prefix: str, device: Tree | None
) -> Iterator[Finding]:
    try:
        check_prefix(prefix)
    except ValueError as error:
        yield Finding(own.name(Path(*instance, PREFIX)), Kind.WRONG_TYPE, str(error))
    path = Path(*instance, DEVICE_OBJECTS)
    text = own.values.get(path)
    if not isinstance(text, str):
        return  # missing, or of a wrong type: told elsewhere
    try:
        said = _instances(linkformat.parse(text))
    except (DecodeError, ValueError) as error:
        yield Finding(own.name(path), Kind.WRONG_LINK, str(error))
        return
    shown = {p.upto(2) for p in device.paths() if len(p) > 1} if device else set()
    for missing in sorted(shown - said):
        yield Finding(own.name(path), Kind.MISSING, f"it does not name /{prefix}{missing}")
    for extra in sorted(said - shown):
        yield Finding(own.name(path), Kind.WRONG_LINK, f"/{prefix}{extra} does not exist")


def _instances(links: Iterable[Link]) -> set[Path]:
    """The object instances that links name; ValueError for what is no path, such as a prefix."""
    paths = [Path.parse(link.target) for link in links if link.target != "/"]
    return {path for path in paths if len(path) == 2}


def _defined(registry: Registry, path: Path) -> ResourceDefinition | None:
    """What the object itself defines; what it does not is told once, as unknown."""
    definition = registry.object(path.object)
    return definition.resources.get(path[2]) if definition and len(path) > 2 else None


def _number(tree: Tree, path: Path) -> float | None:
    value = tree.values.get(path)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _shown(value: Value) -> str:
    return printable(repr(value), 40)


def _order(name: str) -> tuple[object, ...]:
    """Paths by their numbers, the server's own first."""
    segments = name.strip("/").split("/")
    prefix = "" if _NUMBER.fullmatch(segments[0]) else segments.pop(0)
    return prefix, *(int(s) if _NUMBER.fullmatch(s) else -1 for s in segments)

"""How a node is followed: what to ask, what to watch, and how to write. Pure.

A plan is made from the node's own IPSO tree, or from a device definition.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from adapters.lowpan.coap.formats import Answer, Format, Method, Request
from adapters.lowpan.devices.content import Reader
from adapters.lowpan.devices.definitions import Definition
from adapters.lowpan.devices.definitions import Mapping as ResourceMapping
from adapters.lowpan.devices.layout import Layout
from gateway.errors import NotFound
from gateway.formats.linkformat import Link
from gateway.model import Operations, Path, Value
from gateway.objects.registry import Registry

FIRST_SENSOR = 1024
"""Objects below are LwM2M's own (device, location, ...), and change seldom."""

MAX_OBSERVED = 8
"""Observations of one node: more than small nodes hold."""

Values = Mapping[Path, tuple[Value | None, float]]
"""Values by path, each with its time in Unix seconds; None for what can only be executed."""


@dataclass(frozen=True, slots=True)
class Source:
    """Something to GET: an object instance or one resource; `read` may raise DecodeError."""

    base: Path
    uri: tuple[str, ...]
    accept: int | None
    observe: bool
    read: Callable[[Answer, float], Values]

    @property
    def request(self) -> Request:
        """What to ask."""
        return Request(Method.GET, self.uri, self.accept)


@dataclass(frozen=True, slots=True)
class Plan:
    """`sources` in the order in which they are asked; `fixed` values that are never asked for.

    `writes` make the request that sets a value, in a format; `executes` that which runs a
    resource. `readback` finds the source that shows one resource.
    """

    sources: tuple[Source, ...]
    writes: Callable[[Path, Value, Format], Request]
    executes: Callable[[Path, str], Request]
    readback: Callable[[Path], Source]
    fixed: Mapping[Path, Value | None] = field(default_factory=dict)
    format: Format | None = None
    """The structured format that the node speaks."""
    creates: Callable[[Path, Mapping[Path, Value]], Request] | None = None
    deletes: Callable[[Path], Request] | None = None
    """Make the request that creates or deletes; None where a definition says what there is."""


class IpsoTree:
    """Makes the plan of a node that has IPSO objects of its own."""

    def __init__(self, layout: Layout, registry: Registry) -> None:
        self.layout = layout
        self._registry = registry
        self._reader = Reader(registry, layout.root)

    def instance(self, instance: Path, accept: Format | None) -> Source:
        """The source of a whole instance."""
        return self._source(instance, accept, observe=False)

    def resource(self, path: Path) -> Source:
        """The source of one resource, in whatever format the node likes best for it."""
        return self._source(path, None, observe=False)

    def expected(self, instance: Path) -> list[Path]:
        """What an instance must have, by its definition."""
        definition = self._registry.object(instance.object)
        if definition is None:
            return []
        return [Path(*instance, r.id) for r in definition.resources.values() if r.mandatory]

    def can(self, path: Path, operation: Operations) -> bool:
        """Whether the definition of a resource has an operation; unknown ones can be read."""
        definition = self._registry.resource(path[0], path[2])
        if definition is None:
            return operation is Operations.READ
        return operation in definition.operations

    def watched(self, found: Mapping[Path, object]) -> list[Source]:
        """The resources of those that were found which the node may report by itself."""
        told = [p for p in found if p.upto(3) in self.layout.observable]
        if not self.layout.observable:
            told = [p for p in found if self._is_reading(p)]
        paths = list(dict.fromkeys(path.upto(3) for path in told))
        return [self._source(path, None, observe=True) for path in paths[:MAX_OBSERVED]]

    def plan(
        self, sources: list[Source], executables: list[Path], structured: Format | None
    ) -> Plan:
        """The plan, once it is known what the node answers."""
        return Plan(
            tuple(sources),
            self._write,
            self._execute,
            self.resource,
            dict.fromkeys(executables),
            structured,
            lambda path, values: self._create(path, values, structured),
            self._delete,
        )

    def _is_reading(self, path: Path) -> bool:
        definition = self._registry.resource(path[0], path[2])
        return bool(path.object >= FIRST_SENSOR and definition and definition.mandatory)

    def _source(self, base: Path, accept: Format | None, *, observe: bool) -> Source:
        def read(answer: Answer, now: float) -> Values:
            return self._reader.read(answer, base, now)

        return Source(base, self._uri(base), accept, observe, read)

    def _uri(self, path: Path) -> tuple[str, ...]:
        return (*self.layout.root, *map(str, path))

    def _write(self, path: Path, value: Value, to: Format) -> Request:
        payload = self._reader.write({path: value}, path, to)
        return Request(Method.PUT, self._uri(path), content_format=to, payload=payload)

    def _create(
        self, path: Path, values: Mapping[Path, Value], structured: Format | None
    ) -> Request:
        spoken = structured or Format.TLV
        payload = self._reader.write(values, path.upto(1), spoken)
        uri = self._uri(path.upto(1))
        return Request(Method.POST, uri, content_format=spoken, payload=payload)

    def _delete(self, path: Path) -> Request:
        return Request(Method.DELETE, self._uri(path))

    def _execute(self, path: Path, arguments: str) -> Request:
        text = Format.TEXT if arguments else None
        return Request(
            Method.POST, self._uri(path), content_format=text, payload=arguments.encode()
        )


def defined_plan(definition: Definition, links: list[Link], registry: Registry) -> Plan:
    """The plan of a node whose paths a definition explains."""
    observable = {link.target for link in links if "obs" in link.attributes}
    by_target = {mapping.target: mapping for mapping in definition.mappings}
    fixed: dict[Path, Value | None] = {}
    if definition.manufacturer:
        fixed[Path(3, 0, 0)] = definition.manufacturer
    if definition.model:
        fixed[Path(3, 0, 1)] = definition.model
    sources = []
    for path, mapping in by_target.items():
        facts = registry.resource(path[0], path[2])
        if facts and Operations.READ in facts.operations:
            wanted = mapping.path in observable if mapping.observe is None else mapping.observe
            sources.append(_mapped(mapping, registry, observe=wanted))
        else:
            fixed[path] = None

    def mapping_of(path: Path) -> ResourceMapping:
        if path not in by_target:
            raise NotFound(f"the definition {definition.name!r} has no {path}")
        return by_target[path]

    def write(path: Path, value: Value, _: Format) -> Request:
        mapping = mapping_of(path)
        method = Method.PUT if mapping.method == "PUT" else Method.POST
        payload = mapping.write(value)
        return Request(method, mapping.uri, content_format=mapping.accept, payload=payload)

    def execute(path: Path, arguments: str) -> Request:
        return Request(Method.POST, mapping_of(path).uri, payload=arguments.encode())

    def readback(path: Path) -> Source:
        return _mapped(mapping_of(path), registry, observe=False)

    return Plan(tuple(sources), write, execute, readback, fixed)


def _mapped(mapping: ResourceMapping, registry: Registry, *, observe: bool) -> Source:
    facts = registry.resource(mapping.object, mapping.resource)
    kind = facts.type if facts else None

    def read(answer: Answer, now: float) -> Values:
        return {mapping.target: (mapping.read(answer, kind), now)}

    return Source(mapping.target, mapping.uri, None, observe, read)

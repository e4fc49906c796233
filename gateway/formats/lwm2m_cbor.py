"""LwM2M CBOR (LwM2M Core 7.5.4, Gateway 9): values by path in one map; knows no definition."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gateway.errors import DecodeError, EncodeError
from gateway.formats import cbor
from gateway.model import MAX_ID, Path, Value, printable

NO_INSTANCE = 65535
"""Where an instance id stands: the receiver of a Create is to choose one."""


@dataclass(frozen=True, slots=True)
class Node:
    """One resource or resource instance of a device, or of the gateway itself: no prefix.

    `value` is None for CBOR's null; a link comes as text, see `cbor.typed`.
    """

    path: Path
    value: Value | None
    prefix: str = ""


def to_lwm2m_cbor(nodes: Iterable[Node]) -> bytes:
    """The nodes as `application/vnd.oma.lwm2m+cbor`; EncodeError if a path stands twice.

    The ids that all nodes of an object share are one key, as in OMA's examples.
    """
    objects: dict[tuple[str, int], list[Node]] = {}
    for node in nodes:
        objects.setdefault((node.prefix, node.path.object), []).append(node)
    top: dict[object, object] = {}
    for (prefix, _), members in objects.items():
        shared = _shared([node.path for node in members])
        key = (prefix, *shared) if prefix else shared
        top[key if len(key) > 1 else key[0]] = _branch(members, len(shared))
    return cbor.encode(top)


def _shared(paths: Sequence[Path]) -> tuple[int, ...]:
    low, high = min(paths), max(paths)
    depth = 0
    while depth < min(len(low), len(high)) and low[depth] == high[depth]:
        depth += 1
    return low[:depth]


def _branch(nodes: Sequence[Node], depth: int) -> object:
    """What stands below the first `depth` ids, which all nodes share."""
    branches: dict[int, list[Node]] = {}
    for node in nodes:
        if len(node.path) == depth:
            if len(nodes) > 1:
                raise EncodeError(f"{node.path} stands twice, or has parts and a value")
            return None if node.value is None else cbor.item(node.value)
        branches.setdefault(node.path[depth], []).append(node)
    return {key: _branch(members, depth + 1) for key, members in branches.items()}


def from_lwm2m_cbor(payload: bytes, new_instance: int | None = None) -> list[Node]:
    """The nodes of `application/vnd.oma.lwm2m+cbor` in their order; DecodeError.

    `new_instance` is for a Create: the instance id of what comes without one.
    """
    top = cbor.decode(payload)
    if not isinstance(top, Mapping):
        raise DecodeError("LwM2M CBOR is a map")
    nodes: dict[tuple[str, Path], Node] = {}
    for prefix, ids, item in _leaves(top, "", ()):
        path = _path(ids, new_instance)
        if (prefix, path) in nodes:
            raise DecodeError(f"{path} stands twice")
        try:
            value = None if item is None else cbor.value(item)
        except DecodeError as error:
            raise DecodeError(f"{path}: {error}") from None
        if value is not None and len(path) < 3:
            raise DecodeError(f"{path} cannot have a value")
        nodes[prefix, path] = Node(path, value, prefix)
    return list(nodes.values())


def _leaves(
    branch: Mapping[object, object], prefix: str, ids: tuple[int, ...]
) -> Iterator[tuple[str, tuple[int, ...], object]]:
    for key, item in branch.items():
        parts: tuple[object, ...] = key if isinstance(key, tuple) else (key,)
        name = prefix
        if parts and isinstance(parts[0], str) and not prefix and not ids:
            name, parts = parts[0], parts[1:]
            if not name:
                raise DecodeError("a prefix cannot be empty")
        elif not parts:
            raise DecodeError("a key cannot be empty")
        longer = (*ids, *(_id(part) for part in parts))
        if isinstance(item, Mapping) and len(longer) < 4:
            yield from _leaves(item, name, longer)
        elif longer:
            yield name, longer, item
        else:
            raise DecodeError(f"a path is missing after {printable(name)!r}")


def _id(part: object) -> int:
    if type(part) is int and 0 <= part <= NO_INSTANCE:
        return part
    raise DecodeError(f"a key is an id up to {MAX_ID} or an array of ids, after a prefix if any")


def _path(ids: tuple[int, ...], new_instance: int | None) -> Path:
    if new_instance is not None and ids[1:2] == (NO_INSTANCE,):
        ids = (ids[0], new_instance, *ids[2:])
    try:
        return Path(*ids)
    except ValueError as error:
        raise DecodeError(str(error)) from None

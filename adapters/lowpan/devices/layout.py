"""What a node has, by its links: object instances and resources below a root. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit

from gateway.formats.linkformat import Link
from gateway.model import MAX_ID, Path

NOT_BRIDGED = frozenset({0, 1, 2, 21, 23, 25, 26})
"""Security, servers, access control and gateways: the node's own business with its server."""

LWM2M_TYPE = "oma.lwm2m"
"""The resource type of the link to the root of an LwM2M tree (Core 6.2.1.1)."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Object instances (paths of two ids), and the resources that have links of their own.

    `root` is the segments before the object id. `observable` is what is said to be; `formats` are
    the content formats that links name.
    """

    root: tuple[str, ...]
    instances: tuple[Path, ...]
    resources: Mapping[Path, Link] = field(default_factory=dict)
    observable: frozenset[Path] = frozenset()
    formats: frozenset[int] = frozenset()


def read_layout(links: Iterable[Link], *, lwm2m: bool = False) -> Layout | None:
    """What IPSO objects the links show; None if they show none.

    Where several roots hold objects, that with most wins. With `lwm2m` the links are from an
    LwM2M registration, where an object may stand alone.
    """
    links = list(links)
    found = [(root, path, link) for link in links for root, path in _place(link.target)]
    declared = [tuple(_segments(k.target)) for k in links if LWM2M_TYPE in _types(k)]
    found = [entry for entry in found if entry[1].object not in NOT_BRIDGED]
    found = [entry for entry in found if len(entry[1]) > 1 or lwm2m or entry[0] in declared]
    if not found:
        return None
    roots = Counter(root for root, _, _ in found)
    root = next((r for r in declared if r in roots), max(roots, key=lambda r: roots[r]))
    mine = [(path, link) for place, path, link in found if place == root]
    named = {path.upto(3): link for path, link in mine if len(path) > 2}
    return Layout(
        root,
        tuple(dict.fromkeys(path.upto(2) for path, _ in mine if len(path) > 1)),
        named,
        frozenset(path for path, link in mine if "obs" in link.attributes),
        frozenset(n for link in links for n in _formats(link)),
    )


def _place(target: str) -> Iterator[tuple[tuple[str, ...], Path]]:
    """The root and the path in a link's target, if it ends in ids."""
    segments = _segments(target)
    start = len(segments)
    while start and _is_id(segments[start - 1]):
        start -= 1
    ids = segments[start:]
    if 1 <= len(ids) <= 4:
        yield tuple(segments[:start]), Path(*map(int, ids))


def _segments(target: str) -> list[str]:
    try:
        path = urlsplit(target).path
    except ValueError:
        return []
    return [unquote(segment) for segment in path.split("/") if segment]


def _is_id(segment: str) -> bool:
    digits = segment.isascii() and segment.isdecimal() and len(segment) <= 5
    return digits and int(segment) <= MAX_ID


def _types(link: Link) -> list[str]:
    return link.attributes.get("rt", "").split()


def _formats(link: Link) -> Iterator[int]:
    for text in link.attributes.get("ct", "").split():
        if text.isascii() and text.isdecimal() and len(text) <= 5:
            yield int(text)

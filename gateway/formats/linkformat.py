"""Reads CoRE Link Format (RFC 6690) as nodes write it, with the faults of the field. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from gateway.errors import DecodeError
from gateway.model import printable

MAX_LINKS = 1_000
"""Of one document: as many as a device may have resources."""

_TARGET = re.compile(r"\s*<([^<>]*)>")
_ATTRIBUTE = re.compile(r'\s*;\s*([^\s=;,"<>]+)(?:\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s;,"<>]*)))?')
_SEPARATOR = re.compile(r"\s*(,|$)")
_ESCAPED = re.compile(r"\\(.)")


@dataclass(frozen=True, slots=True)
class Link:
    """A target and its attributes; one without value has an empty text."""

    target: str
    attributes: Mapping[str, str] = field(default_factory=dict)


def parse(text: str, limit: int = MAX_LINKS) -> list[Link]:
    """The links of a document; of a repeated attribute the first. DecodeError names the place.

    Spaces around separators and a trailing slash of a target are forgiven.
    """
    links: list[Link] = []
    at = 0
    while at < len(text.rstrip()):
        target = _TARGET.match(text, at)
        if target is None:
            raise DecodeError(f"not link format at {printable(text[at : at + 20])!r}")
        at = target.end()
        attributes: dict[str, str] = {}
        while attribute := _ATTRIBUTE.match(text, at):
            quoted, plain = attribute[2], attribute[3]
            value = _ESCAPED.sub(r"\1", quoted) if quoted is not None else plain or ""
            attributes.setdefault(attribute[1], value)
            at = attribute.end()
        separator = _SEPARATOR.match(text, at)
        if separator is None:
            raise DecodeError(f"not link format at {printable(text[at : at + 20])!r}")
        at = separator.end()
        if len(links) >= limit:
            raise DecodeError(f"more than {limit} links")
        href = target[1]
        links.append(Link(href.rstrip("/") or "/" if href else "", attributes))
    return links

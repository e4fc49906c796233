"""Device definitions: TOML files that say what a node's own paths mean as IPSO resources. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field

from adapters.lowpan.coap.formats import Answer, Format
from gateway.errors import DecodeError, EncodeError, InvalidValue
from gateway.formats.cbor import from_cbor
from gateway.formats.linkformat import Link
from gateway.formats.text import from_text, to_text
from gateway.model import ResourceType, Value, printable
from gateway.objects.definitions import DefinitionFolder, Form, Kind, Table, Target, read_form
from gateway.objects.registry import Registry

_NUMBERS = {ResourceType.INTEGER, ResourceType.UNSIGNED, ResourceType.FLOAT, ResourceType.TIME}
_TRUE, _FALSE = {"1", "true", "on", "yes"}, {"0", "false", "off", "no"}
_FORMATS = {"text": Format.TEXT, "json": Format.JSON, "cbor": Format.CBOR}


def _compiled(value: object) -> re.Pattern[str]:
    try:
        pattern = re.compile(str(value))
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    if pattern.groups != 1:
        raise ValueError("a pattern has exactly one group, around the value")
    return pattern


_UriPath = Annotated[str, Field(pattern=r"^(/[^/?#]+)+$")]


class _Match(Table):
    """By what a node is recognised: all these paths are in its `/.well-known/core`."""

    paths: tuple[_UriPath, ...] = Field(min_length=1)


class Mapping(Target):
    """One path of the node and the resource that it is."""

    path: _UriPath
    format: Literal["text", "json", "cbor"] = "text"
    field: str | None = None
    pattern: Annotated[re.Pattern[str], BeforeValidator(_compiled)] | None = None
    observe: bool | None = None
    method: Literal["PUT", "POST"] = "PUT"

    @property
    def uri(self) -> tuple[str, ...]:
        """The path's segments."""
        return tuple(self.path.split("/")[1:])

    def read(self, answer: Answer, kind: ResourceType | None) -> Value:
        """The value in an answer; DecodeError says what is wrong with it."""
        value = self._plain(answer)
        if kind in _NUMBERS:
            return self._number(value, kind)
        if kind is ResourceType.BOOLEAN:
            word = str(value).strip().lower()
            if word not in _TRUE | _FALSE:
                raise DecodeError(f"{self.path}: {printable(word)!r} is neither on nor off")
            return word in _TRUE
        return value if isinstance(value, bytes) else str(value).strip()

    def write(self, value: Value) -> bytes:
        """The payload that sets the resource; EncodeError where the mapping has no way back."""
        if self.pattern or self.field:
            raise EncodeError(f"{self.path} is mapped for reading only")
        if isinstance(value, int | float) and not isinstance(value, bool):
            value = self.unscaled(value)
        match self.format:
            case "text":
                return to_text(value).encode()
            case "json":
                return json.dumps(value if not isinstance(value, bytes) else value.hex()).encode()
            case "cbor":
                raise EncodeError(f"{self.path}: CBOR is read only")

    @property
    def accept(self) -> Format:
        """The content format of the path."""
        return _FORMATS[self.format]

    def _plain(self, answer: Answer) -> Value:
        if self.format == "cbor":
            return from_cbor(answer.payload)
        try:
            text = answer.payload.decode().strip("\0")
        except UnicodeDecodeError:
            raise DecodeError(f"{self.path} is no text in UTF-8") from None
        if self.format == "json":
            return self._json(text)
        if self.pattern is None:
            return text
        match = self.pattern.search(text)
        if match is None or match[1] is None:
            raise DecodeError(f"{self.path}: the pattern fits nowhere in {printable(text)!r}")
        return match[1]

    def _json(self, text: str) -> Value:
        try:
            value = json.loads(text)
            for key in self.field.split(".") if self.field else ():
                value = value[int(key) if isinstance(value, list) else key]
        except (ValueError, KeyError, IndexError, TypeError, RecursionError):
            raise DecodeError(f"{self.path}: no {self.field or 'JSON'} in the answer") from None
        if not isinstance(value, bool | int | float | str):
            raise DecodeError(f"{self.path}: {self.field or 'the answer'} is no plain value")
        return value

    def _number(self, value: Value, kind: ResourceType | None) -> Value:
        if isinstance(value, str):
            try:
                wider = ResourceType.FLOAT if self.is_scaled else kind or ResourceType.FLOAT
                value = from_text(value.strip(), wider)
            except InvalidValue as error:
                raise DecodeError(f"{self.path}: {error}") from None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise DecodeError(f"{self.path}: {printable(repr(value))} is no number")
        return self.scaled(value, kind)


class _Form(Form):
    match: _Match
    resource: tuple[Mapping, ...] = Field(min_length=1, max_length=200)


@dataclass(frozen=True, slots=True)
class Definition:
    """One kind of node: how it is recognised and what its paths mean."""

    name: str
    manufacturer: str
    model: str
    paths: frozenset[str]
    mappings: tuple[Mapping, ...]

    @classmethod
    def parse(cls, text: str, registry: Registry) -> Self:
        """The definition in a file; DecodeError holds each fault with its line."""
        content = read_form(text, _Form, registry)
        return cls(
            content.name,
            content.manufacturer,
            content.model,
            frozenset(content.match.paths),
            content.resource,
        )

    def fits(self, links: Iterable[Link]) -> bool:
        """Whether a node with these links is of this kind."""
        return self.paths <= {link.target for link in links}


def folder(path: FilePath | None, registry: Registry) -> DefinitionFolder[Definition]:
    """The definitions of CoAP nodes in the operator's folder."""
    return DefinitionFolder(path, Kind.COAP, lambda text: Definition.parse(text, registry))


def choose(definitions: Iterable[Definition], links: Sequence[Link]) -> Definition | None:
    """The definition that fits and names most paths; by name where several do."""
    fitting = [definition for definition in definitions if definition.fits(links)]
    return min(fitting, key=lambda d: (-len(d.paths), d.name), default=None)

"""Device definitions: TOML files that say what a node's own paths mean as IPSO resources. Pure."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from adapters.lowpan.coap.formats import Answer, Format
from adapters.lowpan.devices.content import simple_cbor
from gateway.errors import DecodeError, EncodeError, InvalidValue
from gateway.linkformat import Link
from gateway.model import MAX_ID, Path, ResourceType, Value, printable
from gateway.registry import Registry
from gateway.text import from_text, to_text

_NUMBERS = {ResourceType.INTEGER, ResourceType.UNSIGNED, ResourceType.FLOAT, ResourceType.TIME}
_TRUE, _FALSE = {"1", "true", "on", "yes"}, {"0", "false", "off", "no"}
_FORMATS = {"text": Format.TEXT, "json": Format.JSON, "cbor": Format.CBOR}
_HEADER = re.compile(r"\s*\[+\s*([A-Za-z_]+)\s*\]+")


def _compiled(value: object) -> re.Pattern[str]:
    try:
        pattern = re.compile(str(value))
    except re.error as error:
        raise ValueError(f"not a regular expression: {error}") from None
    if pattern.groups != 1:
        raise ValueError("a pattern has exactly one group, around the value")
    return pattern


_Id = Annotated[int, Field(ge=0, le=MAX_ID)]
_UriPath = Annotated[str, Field(pattern=r"^(/[^/?#]+)+$")]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class _Match(_Table):
    """By what a node is recognised: all these paths are in its `/.well-known/core`."""

    paths: tuple[_UriPath, ...] = Field(min_length=1)


class Mapping(_Table):
    """One path of the node and the resource that it is."""

    path: _UriPath
    object: _Id
    instance: _Id = 0
    resource: _Id
    format: Literal["text", "json", "cbor"] = "text"
    field: str | None = None
    pattern: Annotated[re.Pattern[str], BeforeValidator(_compiled)] | None = None
    scale: float = 1.0
    offset: float = 0.0
    observe: bool | None = None
    method: Literal["PUT", "POST"] = "PUT"

    @property
    def target(self) -> Path:
        """The resource."""
        return Path(self.object, self.instance, self.resource)

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
        if isinstance(value, int | float) and not isinstance(value, bool) and self._scaled:
            value = (value - self.offset) / self.scale
            value = int(value) if value.is_integer() else value
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

    @property
    def _scaled(self) -> bool:
        return (self.scale, self.offset) != (1.0, 0.0)

    def _plain(self, answer: Answer) -> Value:
        if self.format == "cbor":
            return simple_cbor(answer.payload)
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
                wider = ResourceType.FLOAT if self._scaled else kind or ResourceType.FLOAT
                value = from_text(value.strip(), wider)
            except InvalidValue as error:
                raise DecodeError(f"{self.path}: {error}") from None
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise DecodeError(f"{self.path}: {printable(repr(value))} is no number")
        if not self._scaled:
            return value
        # Through text, so that 215 * 0.1 is 21.5.
        scaled = float(f"{value * self.scale + self.offset:.12g}")
        return scaled if kind is ResourceType.FLOAT else round(scaled)


class _File(_Table):
    name: Annotated[str, Field(min_length=1, max_length=64)]
    manufacturer: str = ""
    model: str = ""
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
        try:
            content = _File.model_validate(tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise DecodeError(f"not TOML: {error}") from None
        except ValidationError as error:
            faults = (
                f"{_where(text, item['loc'])}: {_lowered(item['msg'])}" for item in error.errors()
            )
            raise DecodeError("; ".join(faults)) from None
        for number, mapping in enumerate(content.resource):
            if registry.resource(mapping.object, mapping.resource) is None:
                where = _where(text, ("resource", number, "resource"))
                raise DecodeError(f"{where}: nothing defines {mapping.target}")
        targets = [mapping.target for mapping in content.resource]
        for number, target in enumerate(targets):
            if target in targets[:number]:
                where = _where(text, ("resource", number, "resource"))
                raise DecodeError(f"{where}: {target} stands twice")
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


def choose(definitions: Iterable[Definition], links: Sequence[Link]) -> Definition | None:
    """The definition that fits and names most paths; by name where several do."""
    fitting = [definition for definition in definitions if definition.fits(links)]
    return min(fitting, key=lambda d: (-len(d.paths), d.name), default=None)


def _lowered(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


def _where(text: str, place: Sequence[int | str]) -> str:
    """`line 12 (resource.scale)` for the place of a fault."""
    keys = [str(key) for key in place]
    table, number = keys[0], int(place[1]) if len(place) > 1 and isinstance(place[1], int) else 0
    key = next((k for k in reversed(keys) if not k.isdecimal()), table)
    inside, seen, start = len(place) == 1, -1, 1
    for line, content in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(content):
            is_table = header[1] == table
            seen += is_table
            inside = is_table and seen == number
            start = line if inside else start
        elif inside and re.match(rf"\s*{re.escape(key)}\s*=", content):
            start = line
            break
    return f"line {start} ({'.'.join(k for k in keys if not k.isdecimal())})"

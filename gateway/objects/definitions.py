"""Device definitions: what their TOML files have in common, and the operator's folder of them.

A file says what things of a device's own are as IPSO resources. How it names such a thing, and how
a value is written there, is the adapters' to know.
"""

from __future__ import annotations

import logging
import math
import re
import tomllib
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path as FilePath
from typing import Annotated, Any, Generic, Protocol, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from gateway.errors import DecodeError, reason
from gateway.model import MAX_ID, Path, ResourceType
from gateway.objects.registry import Registry

MAX_FILES = 500
"""More kinds of devices than one gateway meets."""

MAX_OCTETS = 256 * 1024
"""Of one file; beyond it, it is no definition."""

log = logging.getLogger(__name__)

_HEADER = re.compile(r"\s*\[+\s*([A-Za-z_]+)\s*\]+")
_Stamp = tuple[int, int]


class Kind(Enum):
    """What a file describes, told by the keys of its `[match]`."""

    COAP = frozenset({"paths"})
    BLE = frozenset({"characteristics", "name"})


def _not_zero(scale: float) -> float:
    if scale == 0:
        raise ValueError("a scale of 0 has no way back")
    return scale


_Id = Annotated[int, Field(ge=0, le=MAX_ID)]
_Finite = Annotated[float, Field(allow_inf_nan=False)]


class Table(BaseModel):
    """A table of a file; an unknown key is a fault."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


class Target(Table):
    """One `[[resource]]`: which resource it is, and what its number is multiplied with there."""

    object: _Id
    instance: _Id = 0
    resource: _Id
    scale: Annotated[_Finite, AfterValidator(_not_zero)] = 1.0
    offset: _Finite = 0.0

    @property
    def target(self) -> Path:
        """The resource."""
        return Path(self.object, self.instance, self.resource)

    @property
    def is_scaled(self) -> bool:
        """Whether the device's number is another one than the resource's."""
        return (self.scale, self.offset) != (1.0, 0.0)

    def scaled(self, number: float, kind: ResourceType | None) -> float:
        """The resource's number for the device's; DecodeError if it is beyond all bounds."""
        if not self.is_scaled:
            return number
        try:
            # Through text, so that 215 * 0.1 is 21.5.
            scaled = float(f"{number * self.scale + self.offset:.12g}")
        except OverflowError:
            scaled = math.inf
        if not math.isfinite(scaled):
            raise DecodeError(f"{self.target}: the number is too large")
        return scaled if kind is ResourceType.FLOAT else round(scaled)

    def unscaled(self, number: float) -> float:
        """The device's number for the resource's, an integer where it is one."""
        if not self.is_scaled:
            return number
        raw = float(f"{(number - self.offset) / self.scale:.12g}")
        return int(raw) if raw.is_integer() else raw


class Form(Table):
    """A whole file; adapters add `match` and say what a resource is for them."""

    name: Annotated[str, Field(min_length=1, max_length=64)]
    manufacturer: str = ""
    model: str = ""
    resource: tuple[Target, ...] = Field(min_length=1, max_length=200)


class _Named(Protocol):
    @property
    def name(self) -> str: ...


F = TypeVar("F", bound=Form)
D = TypeVar("D", bound=_Named)


def kind_of(text: str) -> Kind:
    """What a file describes; DecodeError if it does not tell."""
    match = _toml(text).get("match")
    keys = set(match) if isinstance(match, dict) else set()
    kinds = [kind for kind in Kind if kind.value & keys]
    if len(kinds) != 1:
        raise DecodeError(
            f"{where(text, ('match',))}: a definition has either paths (a CoAP node) "
            "or characteristics, name or both (a BLE device)"
        )
    return kinds[0]


def read_form(text: str, form: type[F], registry: Registry) -> F:
    """The content of a file; DecodeError holds each fault with its line."""
    try:
        content = form.model_validate(_toml(text))
    except ValidationError as error:
        faults = (f"{where(text, item['loc'])}: {_lowered(item['msg'])}" for item in error.errors())
        raise DecodeError("; ".join(faults)) from None
    targets: set[Path] = set()
    for number, resource in enumerate(content.resource):
        target = resource.target
        if registry.resource(target[0], target[2]) is None:
            raise DecodeError(f"{at_resource(text, number)}: nothing defines {target}")
        if target in targets:
            raise DecodeError(f"{at_resource(text, number)}: {target} stands twice")
        targets.add(target)
    return content


def at_resource(text: str, number: int, key: str = "resource") -> str:
    """`line 12 (resource.scale)` for a key of the file's n-th `[[resource]]`, from 0."""
    return where(text, ("resource", number, key))


def where(text: str, place: Sequence[int | str]) -> str:
    """`line 12 (resource.scale)` for the place of a fault."""
    keys = [str(key) for key in place]
    if not keys:
        return "line 1"
    table, number = keys[0], int(place[1]) if len(place) > 1 and isinstance(place[1], int) else 0
    key = next((k for k in reversed(keys[1:]) if not k.isdecimal()), "" if keys[1:] else table)
    inside, seen, start = len(place) == 1, -1, 1
    for line, content in enumerate(text.splitlines(), 1):
        if header := _HEADER.match(content):
            is_table = header[1] == table
            seen += is_table
            inside = is_table and seen == number
            start = line if inside else start
        elif inside and key and re.match(rf"\s*{re.escape(key)}\s*=", content):
            start = line
            break
    return f"line {start} ({'.'.join(k for k in keys if not k.isdecimal())})"


def _toml(text: str) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise DecodeError(f"not TOML: {error}") from None


def _lowered(message: str) -> str:
    message = message.removeprefix("Value error, ")
    return message[:1].lower() + message[1:]


class DefinitionFolder(Generic[D]):
    """The definitions of a kind in `folder`, read again when something in it changes.

    `parse` makes a definition of a file's text, or raises DecodeError. A file that cannot be used
    is set aside: what it said before stays in force. Files of another kind are left alone.
    """

    def __init__(self, folder: FilePath | None, kind: Kind, parse: Callable[[str], D]) -> None:
        self._folder = folder
        self._kind = kind
        self._parse = parse
        self._stamps: dict[FilePath, _Stamp] = {}
        self._definitions: dict[FilePath, D] = {}
        self._unreadable = ""
        self._faults: dict[FilePath, str] = {}

    @property
    def faults(self) -> list[str]:
        """What cannot be used now, and why."""
        return [*filter(None, [self._unreadable]), *self._faults.values()]

    @property
    def definitions(self) -> list[D]:
        """What is in force."""
        return [self._definitions[file] for file in sorted(self._definitions)]

    def refresh(self) -> bool:
        """Reads what has changed; whether the definitions in force are others now."""
        if self._folder is None:
            return False
        try:
            found = {
                file: (status.st_mtime_ns, status.st_size)
                for file in sorted(self._folder.glob("*.toml"))[:MAX_FILES]
                if (status := file.stat())
            }
            self._folder.stat()
        except OSError as error:
            self._complain(
                f"{self._folder} cannot be read: {reason(error)}; mkdir {self._folder}, or change "
                "the key definitions"
            )
            return False
        self._unreadable = ""
        before = dict(self._definitions)
        for file in self._stamps.keys() - found.keys():
            self._definitions.pop(file, None)
            self._faults.pop(file, None)
        for file, stamp in found.items():
            if self._stamps.get(file) != stamp:
                self._read(file)
        self._stamps = found
        return self._definitions != before

    def _read(self, file: FilePath) -> None:
        self._faults.pop(file, None)
        try:
            data = file.read_bytes()
            if len(data) > MAX_OCTETS:
                raise DecodeError(f"longer than {MAX_OCTETS} octets")
            text = data.decode()
            definition = self._parse(text) if kind_of(text) is self._kind else None
        except (OSError, UnicodeDecodeError, DecodeError) as error:
            kept = "; what it said before stays in force" if file in self._definitions else ""
            self._faults[file] = f"{file} is set aside: {reason(error)}{kept}"
            log.error("%s", self._faults[file])
            return
        if definition is None:
            self._definitions.pop(file, None)
        else:
            log.info("%s: %s", file, definition.name)
            self._definitions[file] = definition

    def _complain(self, text: str) -> None:
        if text != self._unreadable:
            self._unreadable = text
            log.error("%s", text)

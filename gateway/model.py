"""The words of the object tree: device identities, paths, values. Pure, and at the bottom."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from enum import Enum, Flag, auto
from functools import lru_cache
from typing import NewType, Self

DeviceId = NewType("DeviceId", str)
"""`ble:aa-bb-cc-dd-ee-ff` or `lowpan:00124b0001020304`; stable for life."""

GATEWAY = DeviceId("gateway")
"""The gateway itself: a device without prefix, holding /3/0 and /25."""

MAX_ID = 65534
"""The highest object, instance or resource id; 65535 means "none" (LwM2M Core 7.3)."""

RESERVED_PREFIXES = frozenset({"rd", "bs", "dp", "bspack", ".well-known"})
_PREFIX = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,31}")
_OBJLINK = re.compile(r"([0-9]{1,8}):([0-9]{1,8})")
_BLE = re.compile(r"ble:([0-9a-f]{2}(?:-[0-9a-f]{2}){5})")
_EUI64 = re.compile(r"[a-z]+:([0-9a-f]{16})")


@dataclass(frozen=True, slots=True)
class ObjLink:
    """A reference to an object instance; 65535:65535 is null."""

    object: int
    instance: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """The link in `3303:0`; null also as `FFFF:FFFF`, as OMA writes it; else ValueError."""
        if text.upper() == "FFFF:FFFF":
            return cls(0xFFFF, 0xFFFF)
        match = _OBJLINK.fullmatch(text)
        if not match or max(ids := (int(match[1]), int(match[2]))) > 0xFFFF:
            raise ValueError("expected two ids up to 65535, like 3303:0")
        return cls(*ids)

    def __str__(self) -> str:
        return f"{self.object}:{self.instance}"


Value = bool | int | float | str | bytes | ObjLink
"""What a resource can hold. Time is an int of Unix seconds, Corelnk a str."""


class ResourceType(Enum):
    """The data types of LwM2M Core, appendix C; NONE is an executable."""

    STRING = "string"
    INTEGER = "integer"
    UNSIGNED = "unsigned"
    FLOAT = "float"
    BOOLEAN = "boolean"
    OPAQUE = "opaque"
    TIME = "time"
    OBJLINK = "objlink"
    CORELNK = "corelnk"
    NONE = "none"


class Operations(Flag):
    """What a definition allows with a resource; none at all means bootstrap only."""

    NONE = 0
    READ = auto()
    WRITE = auto()
    EXECUTE = auto()


class Path(tuple[int, ...]):
    """`/object[/instance[/resource[/resource instance]]]`: a hashable, ordered tuple of ids."""

    __slots__ = ()

    def __new__(cls, *ids: int) -> Self:
        if not 1 <= len(ids) <= 4 or not all(0 <= i <= MAX_ID for i in ids):
            raise ValueError(f"not a path of one to four ids from 0 to {MAX_ID}: {ids}")
        return super().__new__(cls, ids)

    @classmethod
    def parse(cls, text: str) -> Self:
        """The path in `3303/0/5700`, with or without leading slash; ValueError otherwise."""
        segments = text.removeprefix("/").split("/")
        if not all(s.isascii() and s.isdecimal() and len(s) <= 5 for s in segments):
            raise ValueError(f"not a path like /3303/0/5700: {text!r}")
        return cls(*map(int, segments))

    @property
    def object(self) -> int:
        """The object id."""
        return self[0]

    @property
    def instance(self) -> int | None:
        """The object instance id, if the path goes that deep."""
        return self[1] if len(self) > 1 else None

    @property
    def resource(self) -> int | None:
        """The resource id, if the path goes that deep."""
        return self[2] if len(self) > 2 else None

    @property
    def resource_instance(self) -> int | None:
        """The resource instance id, if the path goes that deep."""
        return self[3] if len(self) > 3 else None

    def covers(self, other: Path) -> bool:
        """Whether `other` is this path or lies below it."""
        return other[: len(self)] == tuple(self)

    def upto(self, depth: int) -> Path:
        """The path's first `depth` ids."""
        return self if len(self) <= depth else Path(*self[:depth])

    def __str__(self) -> str:
        return "/" + "/".join(map(str, self))

    __repr__ = __str__


@lru_cache(4_096)  # the name of nodes, and of each record that a device has
def eui64(device: DeviceId) -> str:
    """The device's EUI-64 as 16 hex digits; a 48-bit address gets `fffe` inserted (RFC 9542)."""
    if match := _BLE.fullmatch(device):
        digits = match[1].replace("-", "")
        return f"{digits[:6]}fffe{digits[6:]}"
    if match := _EUI64.fullmatch(device):
        return match[1]
    raise ValueError(f"not a device identity: {device!r}")


def urn(device: DeviceId) -> str:
    """The device's URN (RFC 9039), `urn:dev:mac:` and its EUI-64."""
    return f"urn:dev:mac:{eui64(device)}"


def parse_device_id(text: str) -> DeviceId:
    """The identity in `text`, letter case and colons forgiven; ValueError otherwise."""
    scheme, _, address = text.strip().lower().partition(":")
    digits = re.sub(r"[:-]", "", address)
    if re.fullmatch(r"[0-9a-f]{12}", digits) and scheme == "ble":
        return DeviceId("ble:" + "-".join(digits[i : i + 2] for i in range(0, 12, 2)))
    if re.fullmatch(r"[0-9a-f]{16}", digits) and scheme in {"lowpan", "sim"}:
        return DeviceId(f"{scheme}:{digits}")
    raise ValueError("expected ble:aa-bb-cc-dd-ee-ff or lowpan:00124b0001020304")


def check_prefix(text: str) -> str:
    """`text` if it can be a device's first path segment; ValueError says why not."""
    if text.lower() in RESERVED_PREFIXES:
        raise ValueError(f"{text!r} has a meaning of its own in CoAP; choose another prefix")
    if not _PREFIX.fullmatch(text):
        raise ValueError("a prefix is a letter, then up to 31 of A-Z a-z 0-9 _ . -")
    return text


def printable(text: str, limit: int = 64) -> str:
    """Text from a device made safe for a log line: no control characters, at most `limit` long."""
    clean = "".join("?" if unicodedata.category(c)[0] in "CZ" and c != " " else c for c in text)
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"

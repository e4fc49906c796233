"""Patterns of the configuration: which resources, and which devices, a rule means. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase

from gateway.events import Sighting
from gateway.model import Path, parse_device_id, printable

BLUETOOTH_BASE = "-0000-1000-8000-00805f9b34fb"
"""A short service UUID is the beginning of this one (Bluetooth Core 3.B.2.5.1)."""


@dataclass(frozen=True, slots=True)
class PathPattern:
    """A path whose ids may be None, which is any; it covers all that lies below it."""

    ids: tuple[int | None, ...]

    @classmethod
    def parse(cls, text: str) -> PathPattern:
        """The pattern in `3303/*/5700`; ValueError otherwise."""
        ids = Path.parse(text.replace("*", "0"))
        marks = text.removeprefix("/").split("/")
        if any("*" in mark and mark != "*" for mark in marks):
            raise ValueError(f"* stands for a whole id, as in 3303/*/5700: {text!r}")
        return cls(tuple(None if m == "*" else i for m, i in zip(marks, ids, strict=True)))

    def __str__(self) -> str:
        return "/".join("*" if i is None else str(i) for i in self.ids)

    def covers(self, path: Path) -> bool:
        """Whether `path` is what is meant, or lies below it."""
        return len(path) >= len(self.ids) and all(
            mine is None or mine == its for mine, its in zip(self.ids, path, strict=False)
        )


@dataclass(frozen=True, slots=True)
class DevicePattern:
    """What a sighting must have, all of it; None is anything. `id` and `name` take * and ?.

    `id` is spelled as identities are, `service` as 128 bits in lower case.
    """

    id: str | None = None
    name: str | None = None
    service: str | None = None
    adapter: str | None = None

    def __str__(self) -> str:
        keys = ("id", "name", "service", "adapter")
        return ", ".join(f"{k} = {v!r}" for k in keys if (v := getattr(self, k)) is not None)

    def fits(self, adapter: str, sighting: Sighting) -> bool:
        """Whether what `adapter` has seen is meant. A name is compared without letter case."""
        return (
            self.adapter in (None, adapter)
            and (self.id is None or fnmatchcase(sighting.device, self.id))
            and (self.service is None or self.service in sighting.services)
            and (self.name is None or _named(sighting, self.name))
        )


def _named(sighting: Sighting, pattern: str) -> bool:
    return fnmatchcase(printable(sighting.name).casefold(), pattern.casefold())


def parse_id_pattern(text: str) -> str:
    """A pattern of identities as they are spelled; ValueError where it can fit none."""
    scheme, _, address = text.strip().lower().partition(":")
    if scheme == "ble":
        address = address.replace(":", "-")
    elif scheme in ("lowpan", "sim"):
        address = re.sub("[:-]", "", address)
    else:
        address = ""
    if not re.fullmatch("[0-9a-f?*-]+", address):
        raise ValueError('expected the beginning of an identity, such as "ble:00-24-be-*"')
    if not set("*?") & set(address):
        try:
            return parse_device_id(f"{scheme}:{address}")
        except ValueError:
            raise ValueError(f'not a whole identity; its beginning is "{text}*"') from None
    return f"{scheme}:{address}"


def parse_service(text: str) -> str:
    """The 128-bit UUID in lower case of a service, of which 16 or 32 bits may be given."""
    uuid = text.strip().lower().removeprefix("0x")
    if re.fullmatch("[0-9a-f]{4}|[0-9a-f]{8}", uuid):
        return uuid.rjust(8, "0") + BLUETOOTH_BASE
    if re.fullmatch("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", uuid):
        return uuid
    raise ValueError('expected a service UUID such as "181a", or one of 128 bits')

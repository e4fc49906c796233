"""Every device and its last values: the only state in memory. Pure; no rules, no clock."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence

from gateway.errors import NotFound
from gateway.events import Device, Reading, Resource
from gateway.model import GATEWAY, DeviceId, Path

MAX_DEVICES = 10_000
"""More than ten radios can carry; a bound against identities that a peer makes up."""

MAX_RESOURCES = 1_000
"""Resources of one device: ten times the richest known one, and at most 400 kB. The gateway's own
are not bounded by this, but by the number of devices."""


class _Entry:
    __slots__ = ("device", "order", "resources")

    def __init__(self, device: Device) -> None:
        self.device = device
        self.resources: dict[Path, Resource] = {}
        self.order: list[Path] | None = []

    def sorted_paths(self) -> list[Path]:
        if self.order is None:
            self.order = sorted(self.resources)
        return self.order


class Store:
    """Devices by identity and by prefix, each with its resources in path order."""

    def __init__(self) -> None:
        self._entries: dict[DeviceId, _Entry] = {}
        self._by_prefix: dict[str, DeviceId] = {}

    def __contains__(self, device: object) -> bool:
        return device in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def put(self, device: Device) -> None:
        """Adds a device, or replaces what is known of it."""
        entry = self._entries.get(device.id)
        if entry is None:
            self._entries[device.id] = _Entry(device)
        else:
            del self._by_prefix[entry.device.prefix]
            entry.device = device
        self._by_prefix[device.prefix] = device.id

    def remove(self, device: DeviceId) -> None:
        """Forgets a device and its resources."""
        entry = self._entries.pop(device)
        del self._by_prefix[entry.device.prefix]

    def devices(self) -> Sequence[Device]:
        """Every device, in the order in which they came."""
        return [entry.device for entry in self._entries.values()]

    def device(self, device: DeviceId) -> Device | None:
        """The device of an identity."""
        entry = self._entries.get(device)
        return entry.device if entry else None

    def by_prefix(self, prefix: str) -> Device | None:
        """The device behind a prefix."""
        device = self._by_prefix.get(prefix)
        return None if device is None else self._entries[device].device

    def require(self, device: DeviceId) -> Device:
        """The device of an identity; NotFound if there is none."""
        if found := self.device(device):
            return found
        raise NotFound(f"no device {device}")

    def resource(self, device: DeviceId, path: Path) -> Resource | None:
        """One resource of a device."""
        entry = self._entries.get(device)
        return entry.resources.get(path) if entry else None

    def resources(self, device: DeviceId, under: Path | None = None) -> Sequence[Resource]:
        """The device's resources at and below `under`, in path order."""
        entry = self._entries.get(device)
        if entry is None:
            return []
        return [entry.resources[path] for path in _below(entry.sorted_paths(), under)]

    def apply(self, reading: Reading, *, restored: bool = False, untimed: bool = False) -> bool:
        """Takes a reading as the newest value; False where the device has too many resources."""
        entry = self._entries[reading.device]
        known = entry.resources.get(reading.path)
        if known is None:
            if len(entry.resources) >= MAX_RESOURCES and reading.device != GATEWAY:
                return False
            entry.order = None
        path = known.path if known else reading.path  # one object, though each reading brings one
        entry.resources[path] = Resource(path, reading.value, reading.at, restored, untimed)
        return True

    def withdraw(self, device: DeviceId, under: Path) -> Sequence[Path]:
        """Forgets the resources at and below `under`; gives their paths."""
        entry = self._entries[device]
        gone = list(_below(entry.sorted_paths(), under))
        for path in gone:
            del entry.resources[path]
        entry.order = None
        return gone


def _below(paths: list[Path], under: Path | None) -> Iterable[Path]:
    """Paths sort with their prefix, so all below one path stand together."""
    if under is None:
        return paths
    first = bisect_left(paths, under)
    behind = bisect_left(paths, (*under[:-1], under[-1] + 1), lo=first)
    return paths[first:behind]

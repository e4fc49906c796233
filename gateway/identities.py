"""Who is who: prefixes and instance numbers, assigned once and kept for ever. No clock, no disk."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.errors import StateError
from gateway.events import Device, Resource
from gateway.model import GATEWAY, DeviceId
from gateway.policy import Rules

log = logging.getLogger(__name__)


class Memory(Protocol):
    """What is kept for ever. Each call is on disk when it returns."""

    def remember_device(self, device: Device, *, joined: bool) -> None:
        """Keeps a device's prefix, name, adapter, and whether it joined through the window."""

    def remember_instance(self, device: DeviceId, object_id: int, key: str, number: int) -> None:
        """Keeps which instance number a device's `key` has."""

    def forget_device(self, device: DeviceId) -> None:
        """Drops everything about a device."""

    def recall(self, adapter: str, key: str) -> bytes | None:
        """What an adapter has remembered under a key."""

    def remember(self, adapter: str, key: str, data: bytes) -> None:
        """Keeps data of an adapter."""


@dataclass(frozen=True, slots=True)
class Remembered:
    """A device as an earlier life of the gateway left it; `instances` by (object, key)."""

    device: DeviceId
    prefix: str
    name: str
    adapter: str
    joined: bool
    last_seen: float | None
    instances: Mapping[tuple[int, str], int]
    resources: Sequence[Resource]


class Identities:
    """The numbers and names that devices have been given, also of devices not bridged now."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._instances: dict[DeviceId, dict[tuple[int, str], int]] = {}
        self._joined: set[DeviceId] = set()
        self._dormant: dict[DeviceId, Remembered] = {}

    def restore(self, remembered: Iterable[Remembered], rules: Rules) -> Sequence[Remembered]:
        """Takes over what an earlier life kept; gives the devices that are still admitted.

        A device that is listed no more is not bridged, but its prefix stays its own.
        """
        admitted: list[Remembered] = []
        for known in remembered:
            self._instances[known.device] = dict(known.instances)
            if known.joined:
                self._joined.add(known.device)
            if known.joined or rules.of(known.device).listed:
                admitted.append(known)
            elif known.device != GATEWAY:
                self._dormant[known.device] = known
        return admitted

    def keep(self, device: Device, *, joined: bool = False) -> Remembered | None:
        """Keeps a device for ever; gives what was kept of it before. StateError if it cannot."""
        joined = joined or device.id in self._joined
        self._memory.remember_device(device, joined=joined)
        if joined:
            self._joined.add(device.id)
        return self._dormant.pop(device.id, None)

    def forget(self, device: DeviceId) -> None:
        """Drops everything about a device."""
        self._memory.forget_device(device)
        self._instances.pop(device, None)
        self._joined.discard(device)

    def prefix(self, device: DeviceId, rules: Rules, taken: Iterable[str]) -> str:
        """The prefix of a device that joins: its earlier one, the configured one, or a new one."""
        if known := self._dormant.get(device):
            return known.prefix
        owned = {*taken, *(known.prefix for known in self._dormant.values())}
        wanted = rules.of(device).prefix
        if wanted is not None and wanted not in owned:
            return wanted
        reserved = owned | {rule.prefix for rule in rules.devices.values() if rule.prefix}
        number = next(n for n in range(1, len(reserved) + 2) if f"d{n}" not in reserved)
        if wanted is not None:
            log.error("%s: prefix %s is taken; it is /d%d instead", device, wanted, number)
        return f"d{number}"

    def sleeping_owner(self, prefix: str) -> DeviceId | None:
        """The device that is not bridged now and owns a prefix."""
        return next((k.device for k in self._dormant.values() if k.prefix == prefix), None)

    def instance(self, device: DeviceId, object_id: int, key: str, preferred: int) -> int:
        """The number of what an adapter calls `key`: the preferred one, or the lowest free."""
        numbers = self._instances.setdefault(device, {})
        if (object_id, key) in numbers:
            return numbers[object_id, key]
        taken = {n for (o, _), n in numbers.items() if o == object_id}
        number = preferred
        if number in taken:
            number = next(n for n in range(len(taken) + 1) if n not in taken)
        try:
            self._memory.remember_instance(device, object_id, key, number)
        except StateError as error:
            log.error("%s: instance %d may move after a restart: %s", device, number, error)
        numbers[object_id, key] = number
        return number

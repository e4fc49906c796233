"""Who is who: prefixes and instance numbers, assigned once and kept for ever. No clock, no disk."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from typing import Protocol

from gateway.errors import StateError
from gateway.events import Availability, Device, Resource, Sighting, State
from gateway.model import GATEWAY, MAX_ID, DeviceId
from gateway.policy import Rules

log = logging.getLogger(__name__)

NUMBERS = 0
"""The object under which prefixes' numbers stand among the gateway's own instances, and so in every
backup and spare: Security, which the gateway does not have.
"""

_NOWHERE = Availability(State.UNKNOWN, "", 0.0)


class Memory(Protocol):
    """What is kept for ever. Each call is on disk when it returns."""

    def remember_device(self, device: Device, *, joined: bool) -> None:
        """Keeps a device's prefix, name, adapter, and whether it joined through the window."""

    def remember_instance(self, device: DeviceId, object_id: int, key: str, number: int) -> None:
        """Keeps which instance number a device's `key` has."""

    def forget_device(self, device: DeviceId) -> None:
        """Drops everything about a device; the gateway's own instances stay."""

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

    def as_device(self, availability: Availability) -> Device:
        """The device as it is bridged again."""
        return Device(
            self.device, self.prefix, self.name, self.adapter, availability, self.last_seen
        )


def clashes(rules: Rules, owners: Mapping[str, DeviceId]) -> Mapping[DeviceId, str]:
    """A sentence for each device that is to have a prefix which belongs to another one."""
    return {
        device: f"{device} cannot have prefix {rule.prefix}, which belongs to {owner}: choose "
        f"another one, or free it with: border-gateway forget {owner}"
        for device, rule in rules.devices.items()
        if rule.prefix and (owner := owners.get(rule.prefix, device)) != device
    }


class Identities:
    """The numbers and names that devices have been given, also of devices not bridged now."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self._instances: dict[DeviceId, dict[tuple[int, str], int]] = {}
        self._joined: set[DeviceId] = set()
        self._dormant: dict[DeviceId, Remembered] = {}

    def restore(self, remembered: Iterable[Remembered], rules: Rules) -> Sequence[Remembered]:
        """Takes over what an earlier life kept; gives the devices that are still admitted.

        A device that is listed no more is not bridged, but its prefix stays its own. One whose
        prefix was changed in the configuration comes with the new one, where nobody has that.
        """
        admitted: list[Remembered] = []
        everybody = list(remembered)
        self._instances = {known.device: dict(known.instances) for known in everybody}
        numbered = self._numbers()
        for known in everybody:
            if known.device not in numbered:  # given by an older version, or lost with a bad disk
                self._claim(known.device, known.prefix)
            if known.joined:
                self._joined.add(known.device)
            if self.is_admitted(known.device, known.adapter, rules):
                admitted.append(known)
            elif known.device != GATEWAY:
                self._dormant[known.device] = known
        return self._renamed(admitted, rules)

    def keep(self, device: Device, *, joined: bool = False) -> Remembered | None:
        """Keeps a device for ever; gives what was kept of it before. StateError if it cannot."""
        joined = joined or device.id in self._joined
        self._memory.remember_device(device, joined=joined)
        self._claim(device.id, device.prefix)
        if joined:
            self._joined.add(device.id)
        return self._dormant.pop(device.id, None)

    def forget(self, device: DeviceId) -> None:
        """Drops everything about a device, except that the number of its prefix is taken."""
        self._memory.forget_device(device)
        self._dormant.pop(device, None)
        self._instances.pop(device, None)
        self._joined.discard(device)

    def prefix(self, device: DeviceId, rules: Rules, taken: Iterable[str]) -> str:
        """The prefix of a device that joins: its earlier one, the configured one, or a new one,
        whose number no other device ever had.
        """
        if known := self._dormant.get(device):
            return known.prefix
        owned = {*taken, *(known.prefix for known in self._dormant.values())}
        wanted = rules.of(device).prefix
        if wanted is not None and wanted not in owned:
            return wanted
        reserved = owned | {rule.prefix for rule in rules.devices.values() if rule.prefix}
        numbers = self._numbers()
        taken_numbers = set(numbers.values())
        own = [numbers[device]] if device in numbers else []  # of before it was forgotten
        unused = (n for n in count(1) if n not in taken_numbers)
        number = next(n for n in chain(own, unused) if f"d{n}" not in reserved)
        if wanted is not None:
            log.error("%s: prefix %s is taken; it is /d%d instead", device, wanted, number)
        return f"d{number}"

    def _numbers(self) -> Mapping[str, int]:
        """The numbers that prefixes ever had, most of them by the device that had it."""
        own = self._instances.get(GATEWAY, {})
        return {key: number for (object_id, key), number in own.items() if object_id == NUMBERS}

    def _claim(self, device: DeviceId, prefix: str) -> None:
        """Has the number of a prefix such as d7 be the device's for ever."""
        number = int(prefix[1:]) if re.fullmatch(r"d[1-9]\d{0,4}", prefix) else 0
        if not 0 < number <= MAX_ID:
            return
        numbers = self._numbers()
        if number not in numbers.values():
            self.instance(GATEWAY, NUMBERS, prefix if device in numbers else device, number)

    def is_admitted(self, device: DeviceId, adapter: str, rules: Rules) -> bool:
        """Whether the device is listed, or has joined for good and is not blocked."""
        return rules.of(device).listed or (
            device in self._joined and not rules.blocker(adapter, Sighting(device))
        )

    def has_joined(self, device: DeviceId) -> bool:
        """Whether the device once joined for good."""
        return device in self._joined

    def retire(self, known: Device, resources: Sequence[Resource]) -> None:
        """The device is not bridged any more, but its prefix stays its own."""
        numbers = self._instances.get(known.id, {})
        self._dormant[known.id] = Remembered(
            known.id, known.prefix, known.name, known.adapter, False, known.last_seen,
            numbers, resources,
        )  # fmt: skip

    @property
    def dormant_count(self) -> int:
        """How many devices are not bridged now, but have a prefix."""
        return len(self._dormant)

    @property
    def dormant(self) -> Mapping[str, DeviceId]:
        """By prefix, the devices that are not bridged now, but keep it."""
        return {known.prefix: device for device, known in self._dormant.items()}

    def is_dormant(self, device: DeviceId) -> bool:
        """Whether the device is not bridged now, but has a prefix."""
        return device in self._dormant

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

    def _renamed(self, admitted: Sequence[Remembered], rules: Rules) -> Sequence[Remembered]:
        """The devices with the prefixes that the configuration asks for, if these are free."""
        devices = {known.device: known for known in admitted}
        owners = {known.prefix: known.device for known in (*admitted, *self._dormant.values())}
        wanted = {d: p for d in devices if (p := rules.of(d).prefix) and p != devices[d].prefix}
        while device := next((d for d, prefix in wanted.items() if prefix not in owners), None):
            old, prefix = devices[device], wanted.pop(device)
            new = replace(old, prefix=prefix)
            try:
                self._memory.remember_device(new.as_device(_NOWHERE), joined=new.joined)
            except StateError as error:
                log.error("%s keeps prefix %s for now: %s", device, old.prefix, error)
                continue
            devices[device] = new
            del owners[old.prefix]
            owners[prefix] = device
        for device, prefix in wanted.items():
            log.error(
                "%s keeps prefix %s: %s, which the configuration asks for, belongs to %s; "
                "choose another one, or free it with: border-gateway forget %s",
                device, devices[device].prefix, prefix, owners[prefix], owners[prefix],
            )  # fmt: skip
        return list(devices.values())

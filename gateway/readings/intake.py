"""Which readings become values, and how: scaled, hidden, or dropped, counted and told."""

from __future__ import annotations

import logging
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from gateway.errors import GatewayError, InvalidValue
from gateway.events import Reading
from gateway.model import DeviceId, Path, ResourceType
from gateway.objects.registry import WHOLE, Registry, coerce
from gateway.policy import AS_IT_IS, Rules
from gateway.store import MAX_RESOURCES

log = logging.getLogger(__name__)

MAX_DROPS_TOLD = 100
"""Log lines about dropped resources in one life: a device that makes them up fills no disk."""


SCALABLE = (ResourceType.FLOAT, *WHOLE)


class Unfit(GatewayError):
    """No definition allows the reading; `counter` counts such ones."""

    def __init__(self, counter: str, reason: str) -> None:
        super().__init__(reason)
        self.counter = counter


class Intake:
    """Takes readings as the rules and the object definitions want; `counters` what it drops.

    What a device said of a resource that is hidden or scaled is kept, for the day on which the
    configuration changes.
    """

    def __init__(
        self, registry: Registry, rules: Callable[[], Rules], counters: Counter[str]
    ) -> None:
        self._registry = registry
        self._rules = rules
        self._counters = counters
        self._raw: dict[DeviceId, dict[Path, Reading]] = {}
        self._told: set[tuple[str, int, int]] = set()

    def taken(self, reading: Reading) -> Reading | None:
        """What a device said, as clients are shown it; None if it is dropped or hidden."""
        try:
            return self._treated(reading)
        except Unfit as unfit:
            self.drop(unfit.counter, reading, str(unfit))
            return None

    def raw(self, device: DeviceId) -> Mapping[Path, Reading]:
        """What a device said last of its resources that are hidden or scaled."""
        return self._raw.get(device, {})

    def forget(self, device: DeviceId, under: Path | None = None) -> None:
        """Drops what was kept of a device, or of what it has at and below a path."""
        kept = self._raw.pop(device, {})
        if under and (rest := {p: r for p, r in kept.items() if not under.covers(p)}):
            self._raw[device] = rest

    def checked(self, reading: Reading) -> Reading:
        """The reading with its value as the definition wants it; Unfit if that cannot be."""
        path = reading.path
        definition = self._registry.resource(path[0], path[2]) if len(path) > 2 else None
        if definition is None:
            raise Unfit(
                "readings_undefined", "nothing defines it; put the vendor's object "
                "definition into the folder that [gateway] definitions names",
            )  # fmt: skip
        if definition.multiple != (len(path) == 4):
            wanted = "with" if definition.multiple else "without"
            raise Unfit("readings_misplaced", f"it is defined {wanted} resource instances")
        if not math.isfinite(reading.at):
            raise Unfit("readings_invalid", f"its time is {reading.at}")
        if reading.value is None:
            return reading
        try:
            return replace(reading, value=coerce(definition, reading.value))
        except InvalidValue as error:
            raise Unfit("readings_invalid", str(error)) from None

    def drop(self, counter: str, reading: Reading, reason: str) -> None:
        """Counts a dropped reading; its reason is told once a resource."""
        self._counters[counter] += 1
        resource = counter, reading.path[0], reading.path[2] if len(reading.path) > 2 else -1
        if resource not in self._told and len(self._told) < MAX_DROPS_TOLD:
            self._told.add(resource)
            log.warning("%s: %s is dropped: %s", reading.device, reading.path, reason)

    def _treated(self, reading: Reading) -> Reading | None:
        device, path = reading.device, reading.path
        treatment = self._rules().treatment(device, path)
        if treatment == AS_IT_IS:
            return self.checked(reading)
        kept = self._raw.setdefault(device, {})
        if path in kept or len(kept) < MAX_RESOURCES:
            kept[path] = reading
        if treatment.hidden:
            return None
        definition = self._registry.resource(path[0], path[2]) if len(path) > 2 else None
        if definition and definition.type in SCALABLE and reading.value is not None:
            value = treatment.shown(reading.value, whole=definition.type in WHOLE)
            reading = replace(reading, value=value)
        return self.checked(reading)

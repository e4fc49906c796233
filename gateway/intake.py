"""Which readings become values: those that a definition allows. The others are counted and told."""

from __future__ import annotations

import logging
import math
from collections import Counter
from dataclasses import replace

from gateway.errors import InvalidValue
from gateway.events import Reading
from gateway.registry import Registry, coerce

log = logging.getLogger(__name__)

MAX_DROPS_TOLD = 100
"""Log lines about dropped resources in one life: a device that makes them up fills no disk."""


class Intake:
    """Checks readings against the object definitions; `counters` counts what it drops."""

    def __init__(self, registry: Registry, counters: Counter[str]) -> None:
        self._registry = registry
        self._counters = counters
        self._told: set[tuple[str, int, int]] = set()

    def checked(self, reading: Reading) -> Reading | None:
        """The reading with its value as the definition wants it; None if it is dropped."""
        path = reading.path
        definition = self._registry.resource(path[0], path[2]) if len(path) > 2 else None
        if definition is None:
            self.drop(
                "readings_undefined", reading, "nothing defines it; put the vendor's object "
                "definition into the folder that [gateway] definitions names",
            )  # fmt: skip
            return None
        if definition.multiple != (len(path) == 4):
            wanted = "with" if definition.multiple else "without"
            self.drop("readings_misplaced", reading, f"it is defined {wanted} resource instances")
            return None
        try:
            if not math.isfinite(reading.at):
                raise InvalidValue(f"its time is {reading.at}")
            if reading.value is None:
                return reading
            return replace(reading, value=coerce(definition, reading.value))
        except InvalidValue as error:
            self._counters["readings_invalid"] += 1
            log.debug("%s: %s is dropped: %s", reading.device, path, error)
            return None

    def drop(self, counter: str, reading: Reading, reason: str) -> None:
        """Counts a dropped reading; its reason is told once a resource."""
        self._counters[counter] += 1
        resource = counter, reading.path[0], reading.path[2] if len(reading.path) > 2 else -1
        if resource not in self._told and len(self._told) < MAX_DROPS_TOLD:
            self._told.add(resource)
            log.warning("%s: %s is dropped: %s", reading.device, reading.path, reason)

"""When a reading is told: compared with what was told last. Pure; time is an argument."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gateway.model import DeviceId, Path, Value
from gateway.policy import ReportRule


@dataclass(frozen=True, slots=True)
class _Told:
    value: Value | None
    at: float


class Reporter:
    """Decides which readings become changes, compared with what was last *told*.

    A change inside the minimum interval is held back and due when the interval ends, so the
    newest value is always told in the end; also when it went back, since a server may have shown
    what was held, together with a neighbour. One entry a resource: bounded by the store.
    """

    def __init__(self) -> None:
        self._told: dict[DeviceId, dict[Path, _Told]] = {}
        self._held: dict[tuple[DeviceId, Path], float] = {}

    def decide(
        self, device: DeviceId, path: Path, value: Value | None, rule: ReportRule, now: float
    ) -> bool:
        """Whether the reading is worth telling now (monotonic seconds)."""
        told = self._told.setdefault(device, {}).get(path)
        if told is None:
            self.told(device, path, value, now)
            return True
        differs = _differs(told.value, value, rule.deadband)
        if differs and now - told.at < rule.min_interval_s:
            self._held[device, path] = told.at + rule.min_interval_s
            return False
        if not differs and ((device, path) in self._held or now - told.at < rule.max_interval_s):
            return False
        self.told(device, path, value, now)
        return True

    def due(self, now: float) -> list[tuple[DeviceId, Path]]:
        """The held-back resources whose interval has ended; tell their newest values now."""
        return [key for key, at in self._held.items() if at <= now]

    def told(self, device: DeviceId, path: Path, value: Value | None, now: float) -> None:
        """Notes that a value was told."""
        self._told.setdefault(device, {})[path] = _Told(value, now)
        self._held.pop((device, path), None)

    def forget(self, device: DeviceId, paths: Mapping[Path, object] | None = None) -> None:
        """Drops what is known of these paths of a device, or of all."""
        told = self._told.pop(device, {})
        kept = {p: t for p, t in told.items() if paths is not None and p not in paths}
        if kept:
            self._told[device] = kept
        for path in told.keys() - kept.keys():
            self._held.pop((device, path), None)


def _differs(told: Value | None, value: Value | None, deadband: float) -> bool:
    if deadband and isinstance(told, float) and isinstance(value, float):
        return abs(value - told) > deadband
    return told != value

"""The operator's rules, as pure deciders: who joins, what is worth telling. Time is an argument."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from gateway.events import Cause
from gateway.model import DeviceId, Path, Value

MAX_JOIN_WINDOW_S = 3600.0
"""A join window longer than an hour is one that somebody forgot to close."""

RESTLESS = frozenset(
    Path.parse(text)
    for text in ("3/0/10", "3/0/13", "4/0/2", "4/0/3", "4/0/6", "4/0/11", "7/0/2", "7/0/3")
)
"""Free memory, clock, signal and traffic differ each time they are measured."""

RESTLESS_S = 30.0
"""They are told this often at most, so that they drown nothing; reading gives the newest."""

MAX_NAME = 64
"""Characters of the name that people give a device: a column of a table."""


@dataclass(frozen=True, slots=True)
class ReportRule:
    """When a reading is told to clients. A deadband of 0 tells every difference."""

    deadband: float = 0.0
    min_interval_s: float = 0.0
    max_interval_s: float = 300.0


@dataclass(frozen=True, slots=True)
class DeviceRule:
    """What the configuration says of one device. A writable path covers what lies below it."""

    listed: bool = False
    prefix: str | None = None
    name: str | None = None
    writable: bool | tuple[Path, ...] = False
    report: ReportRule | None = None

    def allows_writing(self, path: Path) -> bool:
        """Whether writing and executing at `path` is enabled."""
        if isinstance(self.writable, bool):
            return self.writable
        return any(allowed.covers(path) for allowed in self.writable)


UNLISTED = DeviceRule()


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything that the configuration says about devices. `max_age_s`: see CoAP's Max-Age."""

    devices: Mapping[DeviceId, DeviceRule] = field(default_factory=dict)
    report: ReportRule = ReportRule()
    max_age_s: float = 60.0

    def of(self, device: DeviceId) -> DeviceRule:
        """The device's own rule, or one that allows nothing."""
        return self.devices.get(device, UNLISTED)

    def report_rule(self, device: DeviceId, path: Path) -> ReportRule:
        """The device's report rule, or the general one; a calm one for what never rests."""
        rule = self.of(device).report or self.report
        if path in RESTLESS and rule.min_interval_s < RESTLESS_S:
            return replace(rule, min_interval_s=RESTLESS_S)
        return rule


class JoinWindow:
    """The time in which devices that are not listed may join. It closes by itself."""

    def __init__(self) -> None:
        self._closes_at = 0.0

    def open(self, duration_s: float, now: float) -> None:
        """Opens for a duration from `now` (monotonic seconds); 0 closes."""
        self._closes_at = now + min(duration_s, MAX_JOIN_WINDOW_S) if duration_s > 0 else 0.0

    def remaining_s(self, now: float) -> float:
        """Seconds until it closes; 0 if it is closed."""
        return max(0.0, self._closes_at - now)


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
    ) -> Cause | None:
        """Why the reading is worth telling now (monotonic seconds), or None."""
        told = self._told.setdefault(device, {}).get(path)
        if told is None:
            self.told(device, path, value, now)
            return Cause.VALUE
        differs = _differs(told.value, value, rule.deadband)
        if differs and now - told.at < rule.min_interval_s:
            self._held[device, path] = told.at + rule.min_interval_s
            return None
        if not differs and ((device, path) in self._held or now - told.at < rule.max_interval_s):
            return None
        self.told(device, path, value, now)
        return Cause.VALUE if differs else Cause.HEARTBEAT

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

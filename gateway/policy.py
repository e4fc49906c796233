"""The operator's rules, as values: who joins, what is told, how a resource is treated. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from gateway.events import Sighting
from gateway.model import GATEWAY, DeviceId, Path, Value, printable
from gateway.objects.restless import RESTLESS
from gateway.patterns import DevicePattern, PathPattern

MAX_JOIN_WINDOW_S = 3600.0
"""A join window longer than an hour is one that somebody forgot to close."""

RESTLESS_S = 30.0
"""What never rests is told this often at most, to drown nothing; reading gives the newest."""

MAX_NAME = 64
"""Characters of the name that people give a device: a column of a table."""


def check_name(text: str) -> str:
    """The text, if people may name a device so; ValueError otherwise."""
    if len(text) > MAX_NAME or printable(text, MAX_NAME) != text:
        raise ValueError(f"a name is up to {MAX_NAME} printable characters")
    return text


@dataclass(frozen=True, slots=True)
class ReportRule:
    """When a reading is told to clients. A deadband of 0 tells every difference."""

    deadband: float = 0.0
    min_interval_s: float = 0.0
    max_interval_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Patience:
    """How long devices may be silent before they count as offline, by their kind."""

    powered_s: float = 0.0
    sleepy_s: float = 90_000.0
    beacon_s: float = 195.0


@dataclass(frozen=True, slots=True)
class ReportOverride:
    """A report rule in part: None leaves what is more general as it is."""

    deadband: float | None = None
    min_interval_s: float | None = None
    max_interval_s: float | None = None

    def over(self, rule: ReportRule) -> ReportRule:
        """The general rule with what this one says otherwise."""
        if self is AS_GENERAL:
            return rule
        return ReportRule(
            rule.deadband if self.deadband is None else self.deadband,
            rule.min_interval_s if self.min_interval_s is None else self.min_interval_s,
            rule.max_interval_s if self.max_interval_s is None else self.max_interval_s,
        )


AS_GENERAL = ReportOverride()


@dataclass(frozen=True, slots=True)
class ResourceRule:
    """What the configuration says of resources; None leaves what is more general as it is."""

    pattern: PathPattern
    report: ReportOverride = AS_GENERAL
    scale: float | None = None
    offset: float | None = None
    hidden: bool | None = None


@dataclass(frozen=True, slots=True)
class Treatment:
    """How the value of a resource is changed between device and clients, if it is shown at all."""

    scale: float = 1.0
    offset: float = 0.0
    hidden: bool = False

    def shown(self, value: Value, *, whole: bool) -> Value:
        """A device's number as clients see it; a whole number where `whole`."""
        return _number(value, lambda number: number * self.scale + self.offset, whole=whole)

    def raw(self, value: Value, *, whole: bool) -> Value:
        """The inverse of `shown`: what the device is to be told."""
        return _number(value, lambda number: (number - self.offset) / self.scale, whole=whole)


AS_IT_IS = Treatment()

SCALED_WITH = dict.fromkeys((5601, 5602, 5603, 5604), 5700)
"""A sensor's measured extremes and its range are in the unit of its value."""


@dataclass(frozen=True, slots=True)
class DeviceRule:
    """What the configuration says of one device. A writable path covers what lies below it."""

    listed: bool = False
    prefix: str | None = None
    name: str | None = None
    writable: bool | tuple[Path | PathPattern, ...] = False
    report: ReportOverride = AS_GENERAL
    resources: tuple[ResourceRule, ...] = ()
    timeout_s: float | None = None

    def allows_writing(self, path: Path) -> bool:
        """Whether writing and executing at `path` is enabled."""
        if isinstance(self.writable, bool):
            return self.writable
        return any(allowed.covers(path) for allowed in self.writable)


UNLISTED = DeviceRule()


MAX_FOUND = 100_000
"""Resources whose rules are remembered, some 20 MB: more than most gateways have."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Everything that the configuration says about devices. `max_age_s`: see CoAP's Max-Age.

    What is said of a device's resource counts before what is said of the device, that before what
    is said of a resource in general; among equals, the first that says something.
    """

    devices: Mapping[DeviceId, DeviceRule] = field(default_factory=dict)
    report: ReportRule = ReportRule()
    max_age_s: float = 60.0
    resources: tuple[ResourceRule, ...] = ()
    admit: tuple[DevicePattern, ...] = ()
    block: tuple[DevicePattern, ...] = ()
    patience: Patience = Patience()
    _found: dict[tuple[DeviceId, Path], tuple[ReportRule, Treatment]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )

    def admits(self, adapter: str, sighting: Sighting) -> bool:
        """Whether a device that looks like this may join by itself."""
        return any(pattern.fits(adapter, sighting) for pattern in self.admit)

    def blocker(self, adapter: str, sighting: Sighting) -> DevicePattern | None:
        """What keeps a device that looks like this from being bridged; never one that is listed."""
        if not self.block or self.of(sighting.device).listed:
            return None
        return next((p for p in self.block if p.fits(adapter, sighting)), None)

    def of(self, device: DeviceId) -> DeviceRule:
        """The device's own rule, or one that allows nothing."""
        return self.devices.get(device, UNLISTED)

    def report_rule(self, device: DeviceId, path: Path) -> ReportRule:
        """When changes of a resource are told; a calm rule for what never rests."""
        return self._of_resource(device, path)[0]

    def treatment(self, device: DeviceId, path: Path) -> Treatment:
        """How a resource's value is changed on its way."""
        return self._of_resource(device, path)[1]

    def _of_resource(self, device: DeviceId, path: Path) -> tuple[ReportRule, Treatment]:
        if not (self.resources or self.of(device).resources):
            return self._report_rule(device, path), AS_IT_IS
        if found := self._found.get((device, path)):
            return found
        if len(self._found) >= MAX_FOUND:
            self._found.clear()
        found = self._report_rule(device, path), self._treatment(device, path)
        self._found[device, path] = found
        return found

    def _report_rule(self, device: DeviceId, path: Path) -> ReportRule:
        own, rule = self.of(device), self.report
        for general in reversed(self.resources):
            if general.pattern.covers(path):
                rule = general.report.over(rule)
        rule = own.report.over(rule)
        for special in reversed(own.resources):
            if special.pattern.covers(path):
                rule = special.report.over(rule)
        if path in RESTLESS and rule.min_interval_s < RESTLESS_S:
            return replace(rule, min_interval_s=RESTLESS_S)
        return rule

    def _treatment(self, device: DeviceId, path: Path) -> Treatment:
        if device == GATEWAY:
            return AS_IT_IS
        every = (*self.of(device).resources, *self.resources)
        rules = [rule for rule in every if rule.pattern.covers(path)]
        scaling = [rule for rule in rules if rule.scale is not None or rule.offset is not None]
        if not scaling and len(path) == 3 and path[2] in SCALED_WITH:
            value = self._treatment(device, Path(path[0], path[1], SCALED_WITH[path[2]]))
        else:
            value = Treatment(
                next((r.scale for r in scaling if r.scale is not None), 1.0),
                next((r.offset for r in scaling if r.offset is not None), 0.0),
            )
        hidden = next((r.hidden for r in rules if r.hidden is not None), False)
        return Treatment(value.scale, value.offset, hidden)


@dataclass(frozen=True, slots=True)
class Retention:
    """How long changes are kept in the journal, and at most how many; 0 entries keep no journal."""

    age_s: float = 7 * 86_400.0
    entries: int = 1_000_000


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


def _number(value: Value, change: Callable[[float], float], *, whole: bool) -> Value:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    changed = change(value)
    if whole and math.isfinite(changed):
        return round(changed)
    return float(f"{changed:.12g}")  # 21.3 times 0.1 is 2.13, not 2.1300000000000003

"""When an observer is notified of what (LwM2M Core 6.4.2, conditional-attributes-12).

One observation's state, fed with samples and the time; knows no path, no message, no timer. Every
condition compares with the value that was last reported, not with the sample before: slow drift
is seen. An edge alone is between two samples.
"""

from __future__ import annotations

import math

from adapters.coap.attributes import Attributes
from gateway.model import Value

Compared = Value | tuple[object, ...]
"""The value of what is observed; of several resources, all their values."""


class Conditions:
    """What one observer was told, and whether it must be told more.

    `rule` is what is in force for it (`attributes.in_force`). `value` was just reported, by the
    answer that began the observation. What is to be told counts as sent at that moment.
    """

    __slots__ = (
        "_evaluated", "_evaluated_at", "_fresh", "_pending", "_reported", "_reported_at",
        "_sample", "rule",
    )  # fmt: skip

    def __init__(self, rule: Attributes, value: Compared, now: float) -> None:
        self.rule = rule
        self._evaluated_at = now
        self.reported(value, now)

    def sample(self, value: Compared, now: float) -> bool:
        """Takes a new value; whether to send it now. If not, `next_deadline` may have moved."""
        self._sample = value
        self._fresh = True
        return self.due(now)

    def due(self, now: float) -> bool:
        """Whether to send the newest value because it has become time."""
        rule = self.rule
        ripe = self._fresh and now >= self._evaluated_at + (rule.epmin or 0)
        if ripe or (rule.epmax and now >= self._evaluated_at + rule.epmax):
            self._pending = self._reason()
            self._evaluated = self._sample
            self._evaluated_at = now
            self._fresh = False
        overdue = bool(rule.pmax) and now >= self._reported_at + (rule.pmax or 0)
        if overdue or (self._pending and now >= self._allowed_at()):
            self.reported(self._sample, now)
            return True
        return False

    def next_deadline(self) -> float:
        """When `due` has something to do, unless a sample comes before; infinite if never."""
        rule = self.rule
        deadline = math.inf
        if rule.pmax:
            deadline = min(deadline, self._reported_at + rule.pmax)
        if self._pending:
            deadline = min(deadline, self._allowed_at())
        if self._fresh:
            deadline = min(deadline, self._evaluated_at + (rule.epmin or 0))
        if rule.epmax:
            deadline = min(deadline, self._evaluated_at + rule.epmax)
        return deadline

    def reported(self, value: Compared, now: float) -> None:
        """Takes note of what was sent, where that was not the moment of a Notify."""
        self._reported = self._sample = self._evaluated = value
        self._reported_at = now
        self._pending = self._fresh = False

    def change(self, rule: Attributes, now: float) -> bool:
        """Puts other attributes in force at once; the times that passed count (Core 7.3.2)."""
        self.rule = rule
        self._fresh = True
        return self.due(now)

    def _allowed_at(self) -> float:
        return self._reported_at + (self.rule.pmin or 0)

    def _reason(self) -> bool:
        """Whether the newest sample is to be reported, now or when pmin is over."""
        rule, value, last = self.rule, self._sample, self._reported
        if rule.edge is not None:
            return value == rule.edge and (self._pending or value != self._evaluated)
        if rule.gt is None and rule.lt is None and rule.st is None:
            return value != last
        if not isinstance(value, int | float) or not isinstance(last, int | float):
            return False
        if math.isnan(value):
            return False
        if rule.st is not None and _at_least(abs(value - last), rule.st):
            return True
        if rule.band:
            return _in_band(rule, value)
        above = rule.gt is not None and (value > rule.gt) != (last > rule.gt)
        below = rule.lt is not None and (value < rule.lt) != (last < rule.lt)
        return above or below


def _at_least(step: float, limit: float) -> bool:
    """Whether a step is as large as the limit: from 20.3 to 20.4 is 0.1, though not to a float."""
    return step >= limit or math.isclose(step, limit)


def _in_band(rule: Attributes, value: float) -> bool:
    """Whether a value is one to tell of (conditional-attributes-12, 3.5.4).

    lt alone bounds the band from below, gt alone from above; with gt above lt, it is outside.
    """
    if rule.gt is None or rule.lt is None:
        return (rule.lt is None or value >= rule.lt) and (rule.gt is None or value <= rule.gt)
    if rule.gt <= rule.lt:
        return rule.gt <= value <= rule.lt
    return value < rule.lt or value > rule.gt

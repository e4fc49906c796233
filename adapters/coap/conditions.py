"""When an observer is notified of what (LwM2M Core 6.4.2, conditional-attributes-12, RFC 7641 4.5).

One observation's state, fed with samples and the time; knows no path, no message, no timer. Every
condition compares with the value that was last reported, not with the sample before: slow drift
is seen. An edge alone is between two samples.
"""

from __future__ import annotations

import math
from enum import Enum

from adapters.coap.attributes import Attributes
from gateway.model import Value

CONFIRM_EVERY_S = 86_400.0
"""An observer that confirmed nothing for this long is asked, even if nothing changed."""


class Notify(Enum):
    """How to send the newest value."""

    NON = "non-confirmable"
    CON = "confirmable"


class Conditions:
    """What one observer was told, and whether it must be told more.

    `rule` is what is in force for it (`attributes.in_force`). `value` was just reported, by the
    answer that began the observation; it is None, as every sample is, where several resources are
    observed: then each sample is a change of any of them. Every Notify that is returned counts as
    sent at that moment.
    """

    __slots__ = (
        "_confirmed_at", "_evaluated", "_evaluated_at", "_fresh", "_pending", "_reported",
        "_reported_at", "_sample", "rule",
    )  # fmt: skip

    def __init__(self, rule: Attributes, value: Value | None, now: float) -> None:
        self.rule = rule
        self._evaluated_at = self._confirmed_at = now
        self.reported(value, now, confirmable=False)

    def sample(self, value: Value | None, now: float) -> Notify | None:
        """Takes a new value; whether to send it now. If not, `next_deadline` may have moved."""
        self._sample = value
        self._fresh = True
        return self.due(now)

    def due(self, now: float) -> Notify | None:
        """Whether to send the newest value because it has become time."""
        rule = self.rule
        ripe = self._fresh and now >= self._evaluated_at + (rule.epmin or 0)
        if ripe or (rule.epmax and now >= self._evaluated_at + rule.epmax):
            self._pending = self._reason()
            self._evaluated = self._sample
            self._evaluated_at = now
            self._fresh = False
        if (
            (self._pending and now >= self._allowed_at())
            or (rule.pmax and now >= self._reported_at + rule.pmax)
            or now >= self._confirm_at()
        ):
            confirmable = bool(rule.con) or now >= self._confirmed_at + CONFIRM_EVERY_S
            self.reported(self._sample, now, confirmable=confirmable)
            return Notify.CON if confirmable else Notify.NON
        return None

    def next_deadline(self) -> float:
        """When `due` has something to do, unless a sample comes before."""
        rule = self.rule
        deadline = self._confirm_at()
        if rule.pmax:
            deadline = min(deadline, self._reported_at + rule.pmax)
        if self._pending:
            deadline = min(deadline, self._allowed_at())
        if self._fresh:
            deadline = min(deadline, self._evaluated_at + (rule.epmin or 0))
        if rule.epmax:
            deadline = min(deadline, self._evaluated_at + rule.epmax)
        return deadline

    def reported(self, value: Value | None, now: float, *, confirmable: bool) -> None:
        """Takes note of what was sent, where that was not the moment of a Notify."""
        self._reported = self._sample = self._evaluated = value
        self._reported_at = now
        self._pending = self._fresh = False
        if confirmable:
            self._confirmed_at = now

    def change(self, rule: Attributes, now: float) -> Notify | None:
        """Puts other attributes in force at once; the times that passed count (Core 7.3.2)."""
        self.rule = rule
        if self._sample is not None:
            self._fresh = True
        return self.due(now)

    def _allowed_at(self) -> float:
        return self._reported_at + (self.rule.pmin or 0)

    def _confirm_at(self) -> float:
        """When to ask whether the observer is still there."""
        return max(self._confirmed_at + CONFIRM_EVERY_S, self._allowed_at())

    def _reason(self) -> bool:
        """Whether the newest sample is to be reported, now or when pmin is over."""
        rule, value, last = self.rule, self._sample, self._reported
        if value is None:
            return self._pending or self._fresh
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

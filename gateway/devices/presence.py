"""How long a device may be silent before it counts as gone: by its kind, or as it has taught. Pure.

Times are monotonic seconds. A device is attended while its adapter keeps in touch with it; others
are only heard, as a beacon is.
"""

from __future__ import annotations

from dataclasses import dataclass

from gateway.events import State
from gateway.policy import Patience

LEARNED_FROM = 16
"""Gaps between two signs of life from which a device's interval is learned."""

SLACK = 2.5
"""Intervals that may pass: one advertisement in three is lost easily."""

SHORTEST_S = 30.0
"""Less silence says nothing: the radio listens on one channel at a time, and to others too."""

SAME_SIGN_S, LONGEST_GAP_S = 0.5, 3_600.0
"""A shorter gap is between parts of one sign of life, a longer one is an absence."""


@dataclass(slots=True)
class Presence:
    """What is known of one device; `failure` says why it was not reached since it was."""

    heard_at: float
    reached_at: float
    interval_s: float = 0.0
    sleeps: bool = False
    is_attended: bool = False
    failure: str = ""
    _gaps: int = 0
    _longest_s: float = 0.0
    _second_s: float = 0.0

    def heard(self, now: float) -> None:
        """The device has given a sign of life."""
        gap_s, self.heard_at = now - self.heard_at, now
        if self.is_attended or not SAME_SIGN_S <= gap_s <= LONGEST_GAP_S:
            return
        self._second_s = max(self._second_s, min(gap_s, self._longest_s))
        self._longest_s = max(self._longest_s, gap_s)
        self._gaps += 1
        if self._gaps == LEARNED_FROM:  # the longest may have been an absence
            self.interval_s = self._second_s
            self._gaps, self._longest_s, self._second_s = 0, 0.0, 0.0

    def reached(self, now: float) -> None:
        """The device has answered, or said a value."""
        self.heard(now)
        self.reached_at, self.failure, self.sleeps = now, "", False

    def overdue(
        self, state: State, patience: Patience, own_s: float | None, now: float, started: float
    ) -> str:
        """Why a device in this state counts as offline now; empty while it does not.

        `own_s` is the device's own limit, `started` when the gateway began to listen.
        """
        silent_s = now - self.heard_at
        match state:
            case State.ONLINE if self.failure:
                limit_s = patience.powered_s if own_s is None else own_s
                return self.failure if now - self.reached_at >= limit_s else ""
            case State.ONLINE if not self.is_attended:
                limit_s = self._heard_limit_s(patience) if own_s is None else own_s
            case State.ASLEEP:
                limit_s = patience.sleepy_s if own_s is None else own_s
            case State.UNKNOWN:
                usual_s = patience.sleepy_s if self.sleeps else self._heard_limit_s(patience)
                limit_s = usual_s if own_s is None else own_s
                if now - started < min(limit_s, patience.beacon_s):
                    return ""
            case _:
                return ""
        if silent_s < limit_s:
            return ""
        usual = f", usually every {_about(self.interval_s)}" if self.interval_s else ""
        return f"not heard for {_about(silent_s)}{usual}"

    def _heard_limit_s(self, patience: Patience) -> float:
        learned_s = SLACK * max(self.interval_s, self._second_s)
        return max(learned_s, SHORTEST_S if self.interval_s else patience.beacon_s)


def _about(seconds: float) -> str:
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"

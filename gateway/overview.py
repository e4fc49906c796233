"""How the gateway is, as an operator sees it at one moment: values only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from gateway.devices.strangers import Stranger
from gateway.events import Device, State
from gateway.model import printable

STATE = "state"
"""What the state database is called among the adapters, where it stands while it is not well."""

LONGEST_LINE = 1000
"""Characters of `in_a_line`: systemd takes 4096 octets in a message."""


class Condition(Enum):
    """How an adapter is; degraded if it runs but lacks what it needs, failed until it restarts."""

    STARTING = "starting"
    RUNNING = "running"
    DEGRADED = "degraded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class AdapterState:
    """An adapter: how it is and why, in its own words, and how often it was started anew.

    `waiting` and `dropped` are events of its outbox; 0 where it is one towards devices.
    """

    name: str
    northbound: bool
    condition: Condition
    text: str
    restarts: int
    waiting: int = 0
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Overview:
    """Everything but the devices. `absent` are listed and were never seen; strangers, latest first,
    were seen and are not bridged; `unsaved` changes are in the journal, but not on disk yet.
    """

    adapters: Sequence[AdapterState]
    absent: Sequence[Device]
    strangers: Sequence[Stranger]
    counters: Mapping[str, int]
    join_window_s: float
    unsaved: int = 0


def in_a_line(overview: Overview, devices: Sequence[Device]) -> str:
    """How many adapters are well and devices online, and what is not well and why."""
    adapters = [a for a in overview.adapters if a.name != STATE]
    known = [*devices, *overview.absent]
    counted = {
        "radios": [a.condition is Condition.RUNNING for a in adapters if not a.northbound],
        "servers": [a.condition is Condition.RUNNING for a in adapters if a.northbound],
        "devices online": [d.availability.state is State.ONLINE for d in known],
    }
    counts = (f"{sum(well)}/{len(well)} {what}" for what, well in counted.items() if well)
    ill = (
        f"{a.name} ({a.condition.value}): {a.text.removeprefix(f'{a.condition.value}: ')}"
        for a in overview.adapters
        if a.condition is not Condition.RUNNING
    )
    return printable("; ".join([", ".join(counts), *ill]), LONGEST_LINE)

"""Who was seen and is not bridged, and why: kept for the operator to look at. Pure; no clock."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from gateway.events import Sighting
from gateway.model import DeviceId, printable

MAX_STRANGERS = 1_000
"""More than a person reads through; the latest ones are kept."""


@dataclass(frozen=True, slots=True)
class Stranger:
    """A device that was seen and is not bridged, and why; `at` in Unix seconds."""

    device: DeviceId
    name: str
    rssi_dbm: int | None
    adapter: str
    reason: str
    at: float


class Strangers(OrderedDict[DeviceId, Stranger]):
    """The latest strangers, the last one seen at the end."""

    def note(self, adapter: str, sighting: Sighting, reason: str, at: float) -> bool:
        """Keeps why a device is not bridged; True if that is news."""
        device = sighting.device
        known = self.get(device)
        name = printable(sighting.name)
        self[device] = Stranger(device, name, sighting.rssi_dbm, adapter, reason, at)
        self.move_to_end(device)
        if len(self) > MAX_STRANGERS:
            self.popitem(last=False)
        return known is None or known.reason != reason

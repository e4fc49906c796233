"""Who was seen and is not bridged, and why: kept for the operator to look at. Pure; no clock."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace

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
    services: tuple[str, ...]
    adapter: str
    reason: str
    at: float


MAX_SERVICES = 20
"""UUIDs that are kept of one device: more than fit into an advertisement of the first kind."""


class Strangers(OrderedDict[DeviceId, Stranger]):
    """The latest strangers, the last one seen at the end."""

    def complete(self, sighting: Sighting) -> Sighting:
        """The sighting with what earlier ones told: not every advertisement holds everything."""
        if not (known := self.get(sighting.device)):
            return replace(sighting, services=sighting.services[:MAX_SERVICES])
        services = dict.fromkeys((*sighting.services, *known.services))
        return replace(
            sighting,
            name=sighting.name or known.name,
            services=tuple(services)[:MAX_SERVICES],
        )

    def note(self, adapter: str, sighting: Sighting, reason: str, at: float) -> bool:
        """Keeps why a device is not bridged; True if that is news."""
        known, device = self.get(sighting.device), sighting.device
        self[device] = Stranger(
            device, printable(sighting.name), sighting.rssi_dbm, sighting.services,
            adapter, reason, at,
        )  # fmt: skip
        self.move_to_end(device)
        if len(self) > MAX_STRANGERS:
            self.popitem(last=False)
        return known is None or known.reason != reason

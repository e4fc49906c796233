"""Who may join: the decision and its reason, and the prefix of who does. The hub does the rest."""

from __future__ import annotations

import logging
from collections.abc import Callable

from gateway.devices.identities import Identities, Remembered
from gateway.devices.strangers import Strangers
from gateway.errors import StateError
from gateway.events import Availability, Device, Sighting, State
from gateway.model import DeviceId, printable
from gateway.policy import JoinWindow, Rules
from gateway.store import MAX_DEVICES, Store

log = logging.getLogger(__name__)


class Admission:
    """Decides about devices that are not bridged, and keeps why they are not: `strangers`."""

    def __init__(
        self,
        store: Store,
        identities: Identities,
        rules: Callable[[], Rules],
        wall: Callable[[], float],
        monotonic: Callable[[], float],
    ) -> None:
        self.join_window = JoinWindow()
        self.strangers = Strangers()
        self._store = store
        self._identities = identities
        self._rules = rules
        self._wall = wall
        self._monotonic = monotonic

    def permit(self, duration_s: float) -> None:
        """Lets devices that are not listed join for a while; 0 closes the window."""
        self.join_window.open(duration_s, self._monotonic())
        if remaining_s := self.remaining_s():
            log.info("devices may join for %.0f s", remaining_s)
        else:
            log.info("the join window is closed")

    def remaining_s(self) -> float:
        """Seconds until the join window closes; 0 if it is closed."""
        return self.join_window.remaining_s(self._monotonic())

    def admit(self, adapter: str, sighting: Sighting) -> tuple[Device, Remembered | None] | None:
        """The device if it joins now, kept on disk, and what was known of it earlier.

        Where it may not join, it is noted as a stranger.
        """
        rules, device = self._rules(), sighting.device
        sighting = self.strangers.complete(sighting)
        if rules.of(device).listed:
            return self._join(adapter, sighting, for_good=False)
        if blocker := rules.blocker(adapter, sighting):
            self.note(adapter, sighting, f"[[block]] keeps it out: {blocker}")
            return None
        if (
            self._identities.has_joined(device)
            or rules.admits(adapter, sighting)
            or self.remaining_s()
        ):
            return self._join(adapter, sighting, for_good=True)
        no_pattern = "no [[admit]] fits, " if rules.admit else ""
        self.note(adapter, sighting, f"not listed, {no_pattern}and the join window is closed")
        return None

    def blocks(self, adapter: str, sighting: Sighting) -> bool:
        """Whether a device that has joined must go, now that it looks like this; then noted."""
        if not (blocker := self._rules().blocker(adapter, sighting)):
            return False
        self.note(adapter, sighting, f"[[block]] keeps it out: {blocker}")
        return True

    def refuse(self, adapter: str, device: DeviceId, reason: str) -> None:
        """Notes why a device that was seen is not bridged."""
        self.note(adapter, self.strangers.complete(Sighting(device)), reason)

    def note(self, adapter: str, sighting: Sighting, reason: str) -> bool:
        """Notes a stranger; True if the reason is news."""
        return self.strangers.note(adapter, sighting, reason, self._wall())

    def _join(
        self, adapter: str, sighting: Sighting, *, for_good: bool
    ) -> tuple[Device, Remembered | None] | None:
        bridged = len(self._store) - 1  # the gateway itself is one more
        dormant = self._identities.dormant_count
        is_new = not self._identities.is_dormant(sighting.device)
        if is_new and bridged + dormant >= MAX_DEVICES:
            reason = (
                f"the gateway has {MAX_DEVICES} devices already, {dormant} of them not bridged "
                "now; border-gateway forget makes room"
            )
            self._turn_away(adapter, sighting, reason)
            return None
        rules, now = self._rules(), self._wall()
        taken = [device.prefix for device in self._store.devices()]
        device = Device(
            sighting.device,
            self._identities.prefix(sighting.device, rules, taken),
            rules.of(sighting.device).name or printable(sighting.name),
            adapter,
            Availability(State.UNKNOWN, "found; nothing read yet", now),
            now,
        )
        try:
            earlier = self._identities.keep(device, joined=for_good)
        except StateError as error:
            self._turn_away(adapter, sighting, f"its prefix cannot be kept: {error}")
            return None
        self.strangers.pop(device.id, None)
        log.info("%s (%s) joins as /%s", device.id, device.name or "no name", device.prefix)
        return device, earlier

    def _turn_away(self, adapter: str, sighting: Sighting, reason: str) -> None:
        if self.note(adapter, sighting, reason):  # not a line each time it is heard
            log.error("%s cannot join: %s", sighting.device, reason)

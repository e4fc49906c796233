"""Who is there: what adapters tell and how long a device is silent decide its availability."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from gateway.devices.identities import Memory
from gateway.devices.presence import Presence
from gateway.errors import StateError
from gateway.events import Availability, Device, State
from gateway.formats.durations import about
from gateway.model import GATEWAY, DeviceId
from gateway.policy import Rules
from gateway.store import Store

log = logging.getLogger(__name__)

LEARNED = "intervals"
"""The key under which the gateway remembers what was learned."""

KEPT_EVERY_S = 600.0
"""How often what was learned of devices' intervals goes to disk, where it has changed."""

SEEN_EVERY_S = 60.0
"""How often it goes to disk when the devices were seen that said nothing new."""

WORTH_KEEPING = 0.25
"""An interval that differs by less is the old one."""


class Attendance:
    """Keeps the availability of the store's devices; `changed` is called with each new one."""

    def __init__(
        self,
        store: Store,
        memory: Memory,
        rules: Callable[[], Rules],
        *,
        wall: Callable[[], float],
        monotonic: Callable[[], float],
        changed: Callable[[DeviceId], None],
    ) -> None:
        self._store = store
        self._memory = memory
        self._rules = rules
        self._wall = wall
        self._monotonic = monotonic
        self._changed = changed
        self._started = monotonic()
        self._presences: dict[DeviceId, Presence] = {}
        self._learned: dict[DeviceId, tuple[float, bool]] = {}
        self._kept_at = self._saved_at = self._started
        self._seen: set[DeviceId] = set()

    # --- what adapters say ------------------------------------------------------------------------

    def heard(self, device: DeviceId) -> None:
        """The device was seen, whatever else."""
        if known := self._store.device(device):
            self._of(device).heard(self._monotonic())
            self._store.put(self._noted(known))

    def reported(self, device: DeviceId) -> None:
        """The device has said a value, so it is online."""
        if device != GATEWAY and (known := self._store.device(device)):
            presence = self._of(device)
            was_lost = presence.failure or known.availability.state is not State.ONLINE
            presence.reached(self._monotonic())
            known = self._noted(known)
            self._store.put(known)
            if was_lost:
                self._become(known, State.ONLINE, "connected")

    def online(self, device: DeviceId, reason: str) -> None:
        """The device's adapter has reached it, and tells when it no longer does."""
        if known := self._store.device(device):
            presence = self._of(device)
            presence.reached(self._monotonic())
            presence.is_attended = True
            self._become(self._noted(known), State.ONLINE, reason)

    def lost(self, device: DeviceId, reason: str, *, asleep: bool) -> None:
        """The device's adapter cannot reach it; it is offline if that has lasted long enough."""
        if not (known := self._store.device(device)):
            return
        presence = self._of(device)
        if presence.is_attended:  # until now it was in reach, though it may have been silent
            presence.reached_at = self._monotonic()
        presence.is_attended, presence.sleeps = False, asleep
        if asleep:
            self._become(known, State.ASLEEP, reason)
            return
        presence.failure = reason
        if known.availability.state is State.ONLINE and not self._overdue(known):
            self._become(known, State.ONLINE, f"looked for: {reason}")
        else:
            self._become(known, State.OFFLINE, reason)

    def away(self, device: DeviceId, reason: str) -> None:
        """The device is offline, without delay."""
        if known := self._store.device(device):
            self._of(device).is_attended = False
            self._become(known, State.OFFLINE, reason)

    def all_away(self, devices: Sequence[Device], adapter: str, reason: str) -> None:
        """These devices are offline with their adapter; that is one line in the log.

        Those that were offline before keep their own reason.
        """
        gone = [d for d in devices if d.availability.state is not State.OFFLINE]
        for known in gone:
            self._of(known.id).is_attended = False
            self._become(known, State.OFFLINE, reason, level=logging.DEBUG)
        if gone:
            log.info("%d devices of %s are offline: %s", len(gone), adapter, reason)

    # --- the clock --------------------------------------------------------------------------------

    def tick(self) -> None:
        """Finds who has been silent for too long; to be called about once a second."""
        for device, presence in self._presences.items():
            if presence.is_attended or not (known := self._store.device(device)):
                continue
            if known.availability.state is not State.OFFLINE and (reason := self._overdue(known)):
                self.away(device, reason)

    def correct_times(self, moved_s: float) -> None:
        """The clock was set, which has moved it: since when, and when last seen, are as it says."""
        for known in self._store.devices():
            since = known.availability.since + moved_s
            last_seen = known.last_seen
            if last_seen is not None and self._of(known.id).heard_at > self._started:
                last_seen += moved_s
            availability = replace(known.availability, since=since)
            self._store.put(replace(known, availability=availability, last_seen=last_seen))

    # --- what is kept -----------------------------------------------------------------------------

    def restore(self, known: Device) -> None:
        """Takes over when an earlier life has last seen a device, and what it has learned."""
        silent_s = max(0.0, self._wall() - known.last_seen) if known.last_seen else 0.0
        at = self._started - silent_s  # never in this life, whatever the wall clock says
        interval_s, sleeps = self._learned.get(known.id, (0.0, False))
        self._presences[known.id] = Presence(at, at, interval_s, sleeps)

    def recall(self) -> None:
        """Reads what an earlier life has learned."""
        try:
            learned = json.loads(self._memory.recall(GATEWAY, LEARNED) or b"{}")
            self._learned = {DeviceId(d): (float(i), bool(s)) for d, (i, s) in learned.items()}
        except (
            StateError, ValueError, TypeError, AttributeError, OverflowError, RecursionError,
        ) as error:  # fmt: skip
            log.error("how often devices are heard has to be learned anew: %s", error)

    def take_learned(self, *, last: bool = False) -> bytes | None:
        """What was learned, to be remembered as `LEARNED`; None if it is no news."""
        now = self._monotonic()
        if now - self._kept_at < KEPT_EVERY_S and not last:
            return None
        self._kept_at = now
        learned = {
            device: (round(presence.interval_s, 1), presence.sleeps)
            for device, presence in self._presences.items()
            if presence.interval_s or presence.sleeps
        }
        if not _differs(learned, self._learned):
            return None
        self._learned = learned
        return json.dumps(learned).encode()

    def keep_learned(self) -> None:
        """Takes back what could not be saved."""
        self._learned, self._kept_at = {}, -KEPT_EVERY_S

    def take_seen(self, *, last: bool = False) -> Sequence[Device]:
        """The devices that were seen since the last call; none if that was just now."""
        now = self._monotonic()
        if now - self._saved_at < SEEN_EVERY_S and not last:
            return []
        self._saved_at = now
        seen, self._seen = self._seen, set()
        return [known for device in seen if (known := self._store.device(device))]

    def keep_seen(self, seen: Iterable[Device]) -> None:
        """Takes back what could not be saved."""
        self._seen.update(device.id for device in seen)

    def forget(self, device: DeviceId) -> None:
        """The device is bridged no more."""
        self._presences.pop(device, None)
        self._seen.discard(device)

    # --- inside -----------------------------------------------------------------------------------

    def _of(self, device: DeviceId) -> Presence:
        if not (presence := self._presences.get(device)):
            now = self._monotonic()
            presence = self._presences[device] = Presence(now, now)
        return presence

    def _overdue(self, known: Device) -> str:
        rules = self._rules()
        return self._of(known.id).overdue(
            known.availability.state,
            rules.patience,
            rules.of(known.id).timeout_s,
            self._monotonic(),
            self._started,
        )

    def _noted(self, known: Device) -> Device:
        """The device, seen now."""
        self._seen.add(known.id)
        return replace(known, last_seen=self._wall())

    def _become(
        self, known: Device, state: State, reason: str, *, level: int = logging.INFO
    ) -> None:
        before = known.availability
        if before.state is not state:
            now = Availability(state, reason, self._wall())
            away_s = now.since - before.since if before.state is State.OFFLINE else 0.0
            away = f", after {about(away_s)} offline" if away_s >= 1 else ""
            log.log(level, "%s (%s) is %s%s: %s", known.id, known.prefix, state.value, away, reason)
        else:
            now = replace(before, reason=reason)
        self._store.put(replace(known, availability=now))
        if now != before:
            self._changed(known.id)


def _differs(
    learned: dict[DeviceId, tuple[float, bool]], kept: dict[DeviceId, tuple[float, bool]]
) -> bool:
    return learned.keys() != kept.keys() or any(
        sleeps != kept[device][1]
        or abs(interval_s - kept[device][0]) > WORTH_KEEPING * kept[device][0]
        for device, (interval_s, sleeps) in learned.items()
    )

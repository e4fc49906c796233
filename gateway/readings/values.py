"""The way of a value: taken in, stored, kept for disk and journal, and worth telling or not.

It knows neither who may join nor who is told.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from gateway.clock import ClockWatch
from gateway.devices.identities import Remembered
from gateway.events import Change, Device, Reading, Resource
from gateway.model import GATEWAY, DeviceId, Path
from gateway.policy import Rules
from gateway.readings.intake import Intake, Unfit
from gateway.readings.journal import Journal
from gateway.readings.reporter import Reporter
from gateway.store import MAX_RESOURCES, Store


class Values:
    """Brings readings into the store, and gives the changes that clients are to be told."""

    def __init__(
        self,
        store: Store,
        intake: Intake,
        journal: Journal,
        rules: Callable[[], Rules],
        clock: ClockWatch,
    ) -> None:
        self._store = store
        self._intake = intake
        self._journal = journal
        self._rules = rules
        self._clock = clock
        self._reporter = Reporter()
        self._unsaved: set[tuple[DeviceId, Path]] = set()

    def take(self, readings: Iterable[Reading]) -> tuple[set[DeviceId], Sequence[Change]]:
        """Stores what may be; gives the devices that have new resources, and what is to tell."""
        widened: set[DeviceId] = set()
        changes: list[Change] = []
        for reading in readings:
            known = self._store.resource(reading.device, reading.path)
            if (taken := self._intake.taken(reading)) and self._applied(taken):
                self._unsaved.add((taken.device, taken.path))
                if known is None:
                    widened.add(taken.device)
                if self._is_worth_telling(taken):
                    changed = known is None or known.value != taken.value
                    changes.append(self._recorded(taken, changed=changed))
        return widened, changes

    def due(self) -> Sequence[Change]:
        """What the report rule has held back until now."""
        now = self._clock.monotonic()
        changes: list[Change] = []
        for device, path in self._reporter.due(now):
            if resource := self._store.resource(device, path):
                self._reporter.told(device, path, resource.value, now)
                changes.append(self._recorded(Reading(device, path, resource.value, resource.at)))
        return changes

    def withdraw(self, device: DeviceId, under: Path) -> bool:
        """Forgets the resources at and below a path; False if there were none."""
        self._intake.forget(device, under)
        gone = self._store.withdraw(device, under) if device in self._store else ()
        self._reporter.forget(device, dict.fromkeys(gone))
        self._unsaved.update((device, path) for path in gone)
        return bool(gone)

    def forget(self, device: DeviceId) -> None:
        """The device is bridged no more."""
        self._intake.forget(device)
        self._reporter.forget(device)

    # --- what was known before --------------------------------------------------------------------

    def revive(self, known: Remembered) -> Sequence[Path]:
        """Puts back the last values, as far as rules and definitions of today allow them; gives
        those that fit no definition.
        """
        unfit: list[Path] = []
        for old in known.resources:
            if self._rules().treatment(known.device, old.path).hidden:
                continue
            reading = Reading(known.device, old.path, old.value, old.at)
            try:
                checked = self._intake.checked(reading)
            except Unfit:
                unfit.append(old.path)
            else:
                self._store.apply(checked, restored=True, untimed=old.untimed)
        return unfit

    def check_again(self, device: DeviceId) -> Sequence[Path]:
        """Holds a device's values against changed definitions; gives those that fit no more."""
        unfit: list[Path] = []
        for old in self._store.resources(device):
            reading = Reading(device, old.path, old.value, old.at)
            try:
                checked = self._intake.checked(reading)
            except Unfit:
                unfit.append(old.path)
            else:
                if type(checked.value) is not type(old.value):
                    self._store.apply(checked, restored=old.restored, untimed=old.untimed)
        return unfit

    def treat_again(self, device: DeviceId, before: Rules) -> tuple[Sequence[Path], list[Reading]]:
        """What changed rules hide, and what the device said of all that they treat otherwise."""
        rules, resources = self._rules(), self._store.resources(device)
        said = {r.path: Reading(device, r.path, r.value, r.at) for r in resources}
        restored = {r.path for r in resources if r.restored}  # the device tells them soon
        hidden: list[Path] = []
        again: list[Reading] = []
        for path, reading in (said | dict(self._intake.raw(device))).items():
            treatment = rules.treatment(device, path)
            if treatment != before.treatment(device, path):
                self._intake.forget(device, path)
                if treatment.hidden:
                    hidden.append(path)
                if path not in restored:
                    again.append(reading)
        return hidden, again

    def correct_times(self, moved_s: float) -> Sequence[Change]:
        """Gives what was measured before the clock was set the time that it would have had."""
        changes: list[Change] = []
        now = self._clock.wall() + 1  # what is later then was measured after the clock was set
        self._journal.correct_times(moved_s, now)
        for device in self._store.devices():
            for old in self._store.resources(device.id):
                if old.untimed and not old.restored:
                    at = old.at + moved_s if old.at + moved_s <= now else old.at
                    self._store.apply(Reading(device.id, old.path, old.value, at))
                    self._unsaved.add((device.id, old.path))
                    changes.append(Change(device.id, old.path))
        return changes

    # --- what is to be kept -----------------------------------------------------------------------

    def take_unsaved(self) -> Sequence[tuple[Device, Path, Resource | None]]:
        """The resources that changed since the last call; None where they are gone."""
        unsaved, self._unsaved = self._unsaved, set()
        return [
            (known, path, self._store.resource(device, path))
            for device, path in unsaved
            if device != GATEWAY and (known := self._store.device(device))
        ]

    def keep_unsaved(self, unsaved: Iterable[tuple[Device, Path, Resource | None]]) -> None:
        """Takes back what could not be saved."""
        self._unsaved.update((device.id, path) for device, path, _ in unsaved)

    # --- inside -----------------------------------------------------------------------------------

    def _applied(self, reading: Reading) -> bool:
        if self._store.apply(reading, untimed=not self._clock.is_set):
            return True
        self._intake.drop(
            "readings_too_many", reading, f"the device has {MAX_RESOURCES} resources already"
        )
        return False

    def _is_worth_telling(self, reading: Reading) -> bool:
        device, path = reading.device, reading.path
        rule, now = self._rules().report_rule(device, path), self._clock.monotonic()
        return self._reporter.decide(device, path, reading.value, rule, now)

    def _recorded(self, reading: Reading, *, changed: bool = True) -> Change:
        """The change that a reading is, kept in the journal if a device said it."""
        is_own = reading.device == GATEWAY
        entry = None if is_own else self._journal.record(reading, changed=changed)
        return Change(reading.device, reading.path, entry=entry)

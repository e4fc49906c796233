"""Where readings become changes: admit, coerce, store, report rule, outboxes, in one step.

It knows no adapter, file or socket: what must be kept goes to a `Memory`, clocks are callables.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace

from gateway.clock import ClockWatch
from gateway.commands import Commander
from gateway.devices.admission import Admission
from gateway.devices.attendance import Attendance
from gateway.devices.identities import Identities, Memory, Remembered, clashes
from gateway.errors import InvalidValue, NotAllowed, NotFound, StateError
from gateway.events import (
    Availability,
    Device,
    DeviceChanged,
    Event,
    Reading,
    Removed,
    Sighting,
    State,
)
from gateway.model import GATEWAY, DeviceId, Path, Value, printable
from gateway.objects.own_objects import GATEWAY_OBJECT, device_object, gateway_object, widen
from gateway.objects.registry import Registry
from gateway.overview import STATE, AdapterState, Condition, Overview
from gateway.policy import Rules, check_name
from gateway.ports import Outbox
from gateway.readings.intake import Intake
from gateway.readings.journal import Journal
from gateway.readings.values import Values
from gateway.store import Store

log = logging.getLogger(__name__)


class Hub:
    """Joins store and rules, and hands changes to the outboxes of the servers."""

    def __init__(
        self,
        registry: Registry,
        rules: Rules,
        memory: Memory,
        journal: Journal | None = None,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        clock_is_set: Callable[[], bool] = lambda: True,
    ) -> None:
        widen(registry)
        self.registry = registry
        self.rules = rules
        self.memory = memory
        self.journal = Journal() if journal is None else journal
        self.wall = wall
        self.monotonic = monotonic
        self.clock = ClockWatch(wall, monotonic, clock_is_set)
        self.store = Store()
        self.commander = Commander(self.store, registry, lambda: self.rules)
        self.counters: Counter[str] = Counter()
        self.outboxes: list[Outbox] = []
        self.trouble = ""
        """Why the state cannot be saved, while it cannot."""
        self.damage = ""
        """What the operator should know of a state that was damaged."""
        self.adapters: Callable[[], Sequence[AdapterState]] = tuple
        self.identities = Identities(memory)
        self.admission = Admission(self.store, self.identities, lambda: self.rules, wall, monotonic)
        self.attendance = Attendance(
            self.store,
            memory,
            lambda: self.rules,
            wall=wall,
            monotonic=monotonic,
            changed=self._changed,
        )
        intake = Intake(registry, lambda: self.rules, self.counters)
        self.values = Values(self.store, intake, self.journal, lambda: self.rules, self.clock)
        self.store.put(
            Device(GATEWAY, "", "gateway", "", Availability(State.ONLINE, "running", wall()))
        )
        self._say(device_object())

    # --- start ---------------------------------------------------------------------------

    def restore(self, remembered: Sequence[Remembered]) -> None:
        """Takes over what an earlier life kept; values are marked restored until heard again."""
        unheard = Availability(State.UNKNOWN, "not reached since the gateway started", self.wall())
        self.attendance.recall()
        unfit: list[str] = []
        for known in self.identities.restore(remembered, self.rules):
            device = known.as_device(unheard)
            self.store.put(replace(device, name=self.rules.of(device.id).name or device.name))
            self.attendance.restore(device)
            unfit += [f"{device.id} {path}" for path in self.values.revive(known)]
            self._describe(device.id)
        if unfit:
            log.warning(
                "%d last values are left out, since no definition allows them (%s first); they "
                "come again when their devices say them",
                len(unfit), unfit[0],
            )  # fmt: skip

    # --- what southbound adapters say --------------------------------------------------------

    def seen(self, adapter: str, sighting: Sighting) -> bool:
        """Notes a sighting; True if the device is admitted (known, or it joins now)."""
        if known := self.store.device(sighting.device):
            if self.admission.blocks(adapter, sighting):
                self._retire(known, "is blocked")
                return False
            self.attendance.heard(known.id)
            if not known.name and sighting.name:
                self._name(known.id, printable(sighting.name))
            return True
        if not (joined := self.admission.admit(adapter, sighting)):
            return False
        device, earlier = joined
        self.store.put(device)
        self.attendance.heard(device.id)
        if earlier:
            self.values.revive(earlier)
        self._tell([DeviceChanged(device.id)])
        return True

    def refused(self, adapter: str, device: DeviceId, reason: str) -> None:
        """A device is there but cannot be bridged; an admitted one shows it as its state."""
        if device in self.store:
            self.attendance.away(device, f"not bridged: {reason}")
        else:
            self.admission.refuse(adapter, device, reason)

    def report(self, readings: Sequence[Reading], *, late: bool = False) -> None:
        """Takes what an admitted device said; readings that no definition allows are counted.

        What is said shows that the device is there, unless it comes late.
        """
        known: list[Reading] = []
        for reading in readings:
            if reading.device in self.store:
                known.append(reading)
            else:
                self.counters["readings_of_strangers"] += 1
        widened, changes = self.values.take(known)
        for device in dict.fromkeys(r.device for r in known):
            if not late:
                self.attendance.reported(device)
            if device in widened:
                self._changed(device)
        self._tell(changes)

    def withdraw(self, device: DeviceId, under: Path) -> None:
        """Forgets resources that the device no longer has."""
        if self.values.withdraw(device, under):
            self._tell([Removed(device, self.store.require(device).prefix, under)])

    # --- what the operator says ---------------------------------------------------------------

    def permit(self, duration_s: float) -> None:
        """Lets devices that are not listed join for a while; 0 closes the window."""
        self.admission.permit(duration_s)

    def forget(self, device: DeviceId) -> None:
        """Removes a device for good; it may join again later. Its prefix may be configured for
        another one then, but is given to no other by itself.

        NotFound, or StateError if it cannot be forgotten on disk: then nothing is changed.
        """
        known = self.store.device(device)
        if device == GATEWAY or not (known or self.identities.is_dormant(device)):
            raise NotFound(f"no device {device}")
        self.identities.forget(device)
        self.journal.forget(device)
        log.info("%s (%s) is forgotten", device, known.prefix if known else "not bridged")
        if known:
            self._remove(known)

    def rename(self, device: DeviceId, name: str) -> None:
        """Names a device for good; an empty name gives it back its own.

        NotAllowed where the configuration names it; InvalidValue where it is no name, or another
        device has it; StateError if it cannot be kept.
        """
        known = self.store.require(device)
        if device == GATEWAY:
            raise NotAllowed("only a device has a name, not the gateway itself")
        try:
            check_name(name)
        except ValueError as error:
            raise InvalidValue(str(error)) from error
        if name != known.name and (other := self._called(name)) not in (None, device):
            raise InvalidValue(f"{other} is called {name} already")
        if configured := self.rules.of(device).name:
            raise NotAllowed(
                f"the configuration names it {configured!r}; change or remove name under "
                f'[[device]] id = "{device}", then: border-gateway reload'
            )
        named = replace(known, name=name)
        self.identities.keep(named)
        log.info("%s (/%s) is named %r", device, known.prefix, name)
        self._replace(named)

    def reconfigure(self, rules: Rules) -> Sequence[str]:
        """Takes over new rules; a sentence for each device on which they do not just take effect.

        A device that is listed no more is not bridged any more; one newly listed joins when seen.
        """
        before, self.rules = self.rules, rules
        clashing = clashes(rules, self.owners())
        told = [*clashing.values()]
        for known in self.store.devices():
            rule = rules.of(known.id)
            if known.id != GATEWAY and not self.identities.is_admitted(
                known.id, known.adapter, rules
            ):
                is_blocked = self.identities.has_joined(known.id)
                why = "is blocked" if is_blocked else "is listed no more"
                told.append(self._retire(known, why))
                continue
            if rule.prefix not in (None, known.prefix) and known.id not in clashing:
                told.append(f"{known.id} stays at /{known.prefix} until the daemon is restarted")
            if rule.name and rule.name != known.name:
                self._name(known.id, rule.name)
            elif rule != before.of(known.id):
                self._tell([DeviceChanged(known.id)])
            self._treat_anew(known.id, before)
        return told

    def redefine(self, registry: Registry) -> None:
        """Takes over new object definitions; values that they do not allow are withdrawn."""
        widen(registry)
        if not self.registry.become(registry):
            return
        for device in self.store.devices():
            for path in self.values.check_again(device.id):
                self.withdraw(device.id, path)
            self._tell([DeviceChanged(device.id)])

    def owners(self) -> Mapping[str, DeviceId]:
        """Whose each prefix is, also those of devices that are not bridged now."""
        bridged = {known.prefix: known.id for known in self.store.devices()}
        return {**self.identities.dormant, **bridged}

    # --- what the operator is shown -----------------------------------------------------------

    def overview(self) -> Overview:
        """How adapters and admission are now; a state that is not saved counts as an adapter."""
        never_seen = Availability(State.UNKNOWN, "listed, but never seen", 0.0)
        return Overview(
            adapters=[*self.adapters(), *self._state_in_trouble()],
            absent=[
                Device(id, self._free(rule.prefix), rule.name or "", "", never_seen)
                for id, rule in self.rules.devices.items()
                if id not in self.store
            ],
            strangers=list(reversed(self.admission.strangers.values())),
            counters=dict(self.counters),
            join_window_s=self.admission.remaining_s(),
            unsaved=self.journal.waiting,
        )

    def _free(self, prefix: str | None) -> str:
        """A prefix that no device has now; empty otherwise."""
        return "" if prefix is None or self.store.by_prefix(prefix) else prefix

    def _state_in_trouble(self) -> Sequence[AdapterState]:
        told = "; ".join(filter(None, (self.trouble, self.damage)))
        return [AdapterState(STATE, False, Condition.DEGRADED, told, 0)] if told else []

    # --- the clock ------------------------------------------------------------------------------

    def tick(self) -> None:
        """Tells what the report rule held back and is due, and who is not there any more.

        To be called about once a second.
        """
        if (moved_s := self.clock.look()) is not None:
            log.info("the clock is set, by %+.0f s; times before that are corrected", moved_s)
            self.attendance.correct_times(moved_s)
            self._tell([DeviceChanged(device.id) for device in self.store.devices()])
            self._tell(self.values.correct_times(moved_s))
        elif (moved_s := self.clock.jump()) is not None:
            log.warning(
                "the clock jumped by %+.0f s, or the machine slept; times before that stay as they "
                "are, and nothing is deleted from the journal by a jump ahead for a day",
                moved_s,
            )
        self.attendance.tick()
        self._tell(self.values.due())

    # --- inside -----------------------------------------------------------------------------------

    def _treat_anew(self, device: DeviceId, before: Rules) -> None:
        """Takes again what the new rules scale otherwise, hide, or show."""
        hidden, again = self.values.treat_again(device, before)
        for path in hidden:
            self.withdraw(device, path)
        widened, changes = self.values.take(again)
        self._tell([*map(DeviceChanged, widened), *changes])

    def _retire(self, known: Device, why: str) -> str:
        """Bridges a device no more, without forgetting who it is; gives a sentence about it."""
        self.identities.retire(known, self.store.resources(known.id))
        self._remove(known)
        sentence = f"{known.id} (/{known.prefix}) {why}, so not bridged"
        log.info("%s", sentence)
        return sentence

    def _remove(self, known: Device) -> None:
        self.values.forget(known.id)
        self.attendance.forget(known.id)
        self.store.remove(known.id)
        self._tell([Removed(known.id, known.prefix)])

    def _called(self, name: str) -> DeviceId | None:
        """The device that has a name, or a prefix that reads like it."""
        called = {device.name: device.id for device in self.store.devices()}
        for device, rule in self.rules.devices.items():
            called |= {word: device for word in (rule.name, rule.prefix) if word}
        return (called | dict(self.owners())).get(name) if name else None

    def _name(self, device: DeviceId, name: str) -> None:
        named = replace(self.store.require(device), name=name)
        self._replace(named)
        try:
            self.identities.keep(named)
        except StateError as error:
            log.error("%s: its name %r is not kept: %s", device, name, error)

    def _replace(self, device: Device) -> None:
        self.store.put(device)
        self._changed(device.id)

    def _changed(self, device: DeviceId) -> None:
        self._tell([DeviceChanged(device)])

    def _describe(self, device: DeviceId) -> None:
        """Keeps the device's instance of the gateway object in step."""
        number = self.identities.instance(GATEWAY, GATEWAY_OBJECT, device, 0)
        if known := self.store.device(device):
            resources = self.store.resources(device)
            self._say(gateway_object(number, known, resources, self.registry))
        else:
            self.withdraw(GATEWAY, Path(GATEWAY_OBJECT, number))

    def _say(self, values: Mapping[Path, Value]) -> None:
        now = self.wall()
        self.report([Reading(GATEWAY, path, value, now) for path, value in values.items()])

    def _tell(self, events: Iterable[Event]) -> None:
        for event in events:
            for outbox in self.outboxes:
                outbox.put(event)
            match event:
                case DeviceChanged() | Removed() if event.device != GATEWAY:
                    self._describe(event.device)
                case _:
                    pass

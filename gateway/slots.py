"""The ports as adapters see them: one slot an adapter, holding its status, and its outbox.

A slot outlives the adapter in it: the supervisor puts a new instance into the same slot.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace

from gateway.events import Command, Device, Entry, Outcome, Reading, Resource, Sighting, State
from gateway.hub import Hub
from gateway.logs import TAIL, LogLine
from gateway.model import GATEWAY, DeviceId, Path
from gateway.objects.registry import Registry
from gateway.overview import AdapterState, Condition, Overview
from gateway.ports import Outbox
from gateway.readings.journal import MAX_PAGE, Query

log = logging.getLogger(__name__)


class Slot:
    """What both directions have in common. `text` is the adapter's status line.

    `failed` while an adapter that has ended by itself waits to be started again.
    """

    def __init__(self, name: str, hub: Hub) -> None:
        self.name = name
        self.text = "not started"
        self.running = False
        self.failed = False
        self.restarts = 0
        self._well: bool | None = None  # nothing said yet
        self._logged: tuple[str, bool] | None = None
        self._hub = hub

    @property
    def registry(self) -> Registry:
        return self._hub.registry

    def status(self, text: str, *, well: bool = True) -> None:
        self._well, self.text = well, text
        said = text.partition(";")[0], well
        if said != self._logged:  # what is behind the semicolon counts attempts
            self._logged = said
            log.log(logging.INFO if well else logging.WARNING, "%s: %s", self.name, text)

    def count(self, counter: str, n: int = 1) -> None:
        self._hub.counters[counter] += n

    def state(self) -> AdapterState:
        """How the adapter is now."""
        return AdapterState(self.name, False, self._condition(), self.text, self.restarts)

    def starts(self) -> None:
        """A new instance of the adapter begins."""
        self.text, self.running, self.failed, self._well = "starting", True, False, None
        self._logged = None

    def ends(self) -> None:
        """The instance has ended."""
        self.running = False

    def _condition(self) -> Condition:
        if self.failed:
            return Condition.FAILED
        if not self.running or self._well is None:
            return Condition.STARTING
        return Condition.RUNNING if self._well else Condition.DEGRADED


class SouthSlot(Slot):
    """Implements SouthPort."""

    def seen(self, sighting: Sighting) -> bool:
        return self._hub.seen(self.name, sighting)

    def devices(self) -> Sequence[Device]:
        return [d for d in self._hub.store.devices() if d.adapter == self.name]

    def instance(self, device: DeviceId, object_id: int, key: str, preferred: int) -> int:
        return self._hub.identities.instance(device, object_id, key, preferred)

    def recall(self, key: str) -> bytes | None:
        return self._hub.memory.recall(self.name, key)

    def remember(self, key: str, data: bytes) -> None:
        self._hub.memory.remember(self.name, key, data)

    def report(self, readings: Sequence[Reading], *, late: bool = False) -> None:
        self._hub.report(readings, late=late)

    def online(self, device: DeviceId, reason: str) -> None:
        self._hub.attendance.online(device, reason)

    def lost(self, device: DeviceId, reason: str, *, asleep: bool = False) -> None:
        self._hub.attendance.lost(device, reason, asleep=asleep)

    def withdraw(self, device: DeviceId, path: Path) -> None:
        self._hub.withdraw(device, path)

    def refused(self, device: DeviceId, reason: str) -> None:
        self._hub.refused(self.name, device, reason)

    def stopped(self, reason: str) -> None:
        """The adapter is gone, so none of its devices can be reached."""
        self._hub.attendance.all_away(self.devices(), self.name, reason)


class NorthSlot(Slot):
    """Implements NorthPort."""

    def __init__(self, name: str, hub: Hub) -> None:
        super().__init__(name, hub)
        self.outbox = Outbox()
        hub.outboxes.append(self.outbox)

    def state(self) -> AdapterState:
        return replace(
            super().state(),
            northbound=True,
            waiting=len(self.outbox),
            dropped=self.outbox.dropped,
        )

    def devices(self) -> Sequence[Device]:
        return self._hub.store.devices()

    def device(self, prefix: str) -> Device | None:
        return self._hub.store.by_prefix(prefix)

    def device_by_id(self, device: DeviceId) -> Device | None:
        return self._hub.store.device(device)

    def resource(self, device: DeviceId, path: Path) -> Resource | None:
        return self._hub.store.resource(device, path)

    def resources(self, device: DeviceId, under: Path | None = None) -> Sequence[Resource]:
        return self._hub.store.resources(device, under)

    def writable(self, device: DeviceId, path: Path) -> bool:
        return self._hub.rules.of(device).allows_writing(path)

    @property
    def clock_is_set(self) -> bool:
        return self._hub.clock.is_set

    async def execute(self, command: Command) -> Outcome:
        return await self._hub.commander.execute(command)

    def max_age_s(self, device: DeviceId, path: Path) -> float:
        known = self._hub.store.device(device)
        resource = self._hub.store.resource(device, path)
        fresh = known is not None and known.availability.state is State.ONLINE
        if device == GATEWAY or (fresh and not (resource and resource.restored)):
            return self._hub.rules.max_age_s
        return 0.0

    async def history(
        self,
        device: DeviceId,
        path: Path,
        start: float,
        end: float,
        *,
        limit: int = MAX_PAGE,
        after: Entry | None = None,
    ) -> Sequence[Entry]:
        limit, found = min(limit, MAX_PAGE), list[Entry]()
        while len(found) < limit:
            query = Query(device, path, start, end, limit - len(found), after)
            page = await self._hub.journal.find(query)
            found += self._shown(page)
            if len(page) < query.limit:
                break
            after = page[-1]
        return found

    async def told_since(self, number: int, limit: int = MAX_PAGE) -> tuple[Sequence[Entry], int]:
        entries, upto = await self._hub.journal.since(number, limit)
        return self._shown(entries), upto

    def _shown(self, entries: Sequence[Entry]) -> Sequence[Entry]:
        rules = self._hub.rules
        return [e for e in entries if not rules.treatment(e.device, e.path).hidden]

    def place(self, key: str) -> int:
        return self._hub.journal.place(f"{self.name}/{key}")

    def reached(self, key: str, number: int) -> None:
        self._hub.journal.reached(f"{self.name}/{key}", number)

    def overview(self) -> Overview:
        return self._hub.overview()

    def log_since(self, number: int) -> Sequence[LogLine]:
        return TAIL.since(number)

    def permit(self, duration_s: float) -> None:
        self._hub.permit(duration_s)

    def rename(self, device: DeviceId, name: str) -> None:
        self._hub.rename(device, name)

    def forget(self, device: DeviceId) -> None:
        self._hub.forget(device)

"""A SouthPort that records what an adapter says, and lets tests wait for it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Sequence

from gateway.events import Availability, Device, Reading, Sighting, State
from gateway.model import DeviceId, Path, Value
from gateway.objects.registry import Registry
from tests.deadlines import DEADLINE_S

_REGISTRY = Registry.builtin()


class RecordingPort:
    """Admits the devices it is given; everything that is said wakes those who wait."""

    def __init__(self, *admitted: DeviceId) -> None:
        self.admitted = set(admitted)
        self.values: dict[tuple[DeviceId, Path], Value | None] = {}
        self.reports: list[Sequence[Reading]] = []
        self.sightings: list[Sighting] = []
        self.states: dict[DeviceId, tuple[State, str]] = {}
        self.history: list[tuple[DeviceId, State, str]] = []
        self.refusals: dict[DeviceId, str] = {}
        self.statuses: list[str] = []
        self.counters: Counter[str] = Counter()
        self._numbers: dict[tuple[DeviceId, int], dict[str, int]] = {}
        self._waiters: list[tuple[Callable[[], bool], asyncio.Event]] = []

    @property
    def registry(self) -> Registry:
        return _REGISTRY

    async def until(self, happened: Callable[[], object]) -> None:
        """Waits until something is so; fails with what was said instead."""
        event = asyncio.Event()
        self._waiters.append((lambda: bool(happened()), event))
        self.wake()
        try:
            async with asyncio.timeout(DEADLINE_S):
                await event.wait()
        except TimeoutError:
            raise AssertionError(
                f"never so; status {self.statuses[-3:]}, states {self.history[-6:]}, "
                f"refusals {self.refusals}, counters {dict(self.counters)}, values {self.values}"
            ) from None

    async def until_value(self, device: DeviceId, path: str, value: Value | None) -> None:
        """Waits until the newest value of a resource is this."""
        await self.until(lambda: self.values.get((device, Path.parse(path)), ...) == value)

    async def until_state(self, device: DeviceId, state: State) -> str:
        """Waits for a state, and gives its reason."""
        await self.until(lambda: device in self.states and self.states[device][0] is state)
        return self.states[device][1]

    def of(self, device: DeviceId) -> dict[str, Value | None]:
        """All values of a device by path."""
        return {str(path): value for (d, path), value in self.values.items() if d == device}

    def told(self, device: DeviceId, path: str) -> list[Value | None]:
        """Every value that was reported for a resource, in order."""
        wanted = Path.parse(path)
        return [
            r.value for rs in self.reports for r in rs if (r.device, r.path) == (device, wanted)
        ]

    def status(self, text: str, *, well: bool = True) -> None:
        self.statuses.append(text)
        self.wake()

    def count(self, counter: str, n: int = 1) -> None:
        self.counters[counter] += n
        self.wake()

    def seen(self, sighting: Sighting) -> bool:
        self.sightings.append(sighting)
        self.wake()
        return sighting.device in self.admitted

    def devices(self) -> Sequence[Device]:
        unknown = Availability(State.UNKNOWN, "", 0)
        return [Device(d, "d1", "", "ble", unknown) for d in sorted(self.admitted)]

    def instance(self, device: DeviceId, object_id: int, key: str, preferred: int) -> int:
        numbers = self._numbers.setdefault((device, object_id), {})
        if key not in numbers:
            free = (n for n in (preferred, *range(1000)) if n not in numbers.values())
            numbers[key] = next(free)
        return numbers[key]

    def report(self, readings: Sequence[Reading], *, late: bool = False) -> None:
        self.reports.append(readings)
        for reading in readings:
            self.values[reading.device, reading.path] = reading.value
            if not late and self.states.get(reading.device, (None,))[0] is not State.ONLINE:
                self._state(reading.device, State.ONLINE, "said something")
        self.wake()

    def online(self, device: DeviceId, reason: str) -> None:
        self._state(device, State.ONLINE, reason)
        self.wake()

    def lost(self, device: DeviceId, reason: str, *, asleep: bool = False) -> None:
        self._state(device, State.ASLEEP if asleep else State.OFFLINE, reason)
        self.wake()

    def recall(self, key: str) -> bytes | None:
        return None

    def remember(self, key: str, data: bytes) -> None:
        raise AssertionError("this adapter keeps nothing")

    def withdraw(self, device: DeviceId, path: Path) -> None:
        for key in [k for k in self.values if k[0] == device and path.covers(k[1])]:
            del self.values[key]
        self.wake()

    def refused(self, device: DeviceId, reason: str) -> None:
        self.refusals[device] = reason
        self.wake()

    def _state(self, device: DeviceId, state: State, reason: str) -> None:
        if self.states.get(device, (None,))[0] is not state:
            self.history.append((device, state, reason))
        self.states[device] = (state, reason)

    def wake(self) -> None:
        """Looks again at what is waited for."""
        for waiter in list(self._waiters):
            happened, event = waiter
            if happened():
                self._waiters.remove(waiter)
                event.set()

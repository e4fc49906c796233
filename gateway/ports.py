"""The contracts between core and adapters: what an adapter is, and what it may ask of the core."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import AsyncGenerator, Sequence
from enum import StrEnum
from pathlib import Path as FilePath
from typing import Annotated, ClassVar, Protocol, runtime_checkable

from pydantic import BaseModel, BeforeValidator, ConfigDict, field_validator

from gateway.events import (
    Command,
    Device,
    Entry,
    Event,
    Outcome,
    Reading,
    Removed,
    Resource,
    Sighting,
)
from gateway.formats.durations import parse_duration
from gateway.logs import LogLine
from gateway.model import DeviceId, Path
from gateway.objects.registry import Registry
from gateway.overview import Overview

OUTBOX_LIMIT = 200_000
"""Keys that one outbox holds: 10,000 devices of 20 resources, about 60 MB when all are waiting."""

Duration = Annotated[float, BeforeValidator(parse_duration)]
"""A time span in seconds, written with its unit: "500ms", "30s", "5min", "1h", "2d"."""


class Reload(StrEnum):
    """What a changed key needs when the file is read again: nothing, its adapter, the daemon."""

    LIVE = "live"
    ADAPTER = "adapter"
    RESTART = "restart"


class Section(BaseModel):
    """A section of the configuration file: frozen, and an unknown key is an error.

    The docstrings of class and fields are the comments of the sample file; a field without
    default is shown with its `examples`.
    """

    model_config = ConfigDict(
        extra="forbid", frozen=True, arbitrary_types_allowed=True, allow_inf_nan=False
    )
    enabled_by_default: ClassVar[bool] = False
    """Whether the sample file has the section switched on."""
    reload: ClassVar[Reload] = Reload.ADAPTER
    """What its keys need, unless a field says otherwise: `Annotated[str, Reload.RESTART]`."""

    @field_validator("*")
    @classmethod
    def _is_a_path(cls, value: object) -> object:
        if isinstance(value, FilePath) and (value == FilePath() or "\0" in str(value)):
            raise ValueError("expected the path of a file or folder")
        return value

    @classmethod
    def reload_of(cls, key: str) -> Reload:
        """What a change of this key needs."""
        metadata = cls.model_fields[key].metadata
        return next((word for word in metadata if isinstance(word, Reload)), cls.reload)


class Adapter(Protocol):
    """One edge of the gateway, built from its section and its port: `Adapter(config, port)`.

    `run` is the whole life: it opens what it needs and closes it again; returning or raising
    means that the adapter failed, being cancelled means stop.
    """

    Config: ClassVar[type[Section]]

    async def run(self) -> None:
        """Lives until cancelled."""


class Obeying(Protocol):
    """What carries out commands: a southbound adapter, or the gateway for itself."""

    async def execute(self, command: Command) -> Outcome:
        """Carries out a command that the hub has checked; raises a CommandError."""


class Southbound(Adapter, Obeying, Protocol):
    """An adapter towards devices, built with a SouthPort."""


@runtime_checkable
class Answering(Protocol):
    """A southbound adapter that answers questions of commands which it brings along itself."""

    def answer(self, question: str) -> AsyncGenerator[object, None]:
        """JSON values, until all is said or the asker hangs up; raises a GatewayError."""


class Northbound(Adapter, Protocol):
    """An adapter towards clients, built with a NorthPort."""


class Port(Protocol):
    """What every adapter may ask of the core."""

    @property
    def registry(self) -> Registry:
        """The object definitions."""

    def status(self, text: str, *, well: bool = True) -> None:
        """Shows one line about the adapter to the operator, and logs it when it changed before its
        first semicolon; what is behind that may change often.

        `well` is False where it lacks what it needs: its radio, its server, a right.
        """

    def count(self, counter: str, n: int = 1) -> None:
        """Adds to a counter that the operator can read (`ble_frames_undecodable`)."""


class SouthPort(Port, Protocol):
    """What a southbound adapter may ask of the core. All calls are synchronous."""

    def seen(self, sighting: Sighting) -> bool:
        """Notes that a device was heard; True if it is admitted and may be bridged."""

    def devices(self) -> Sequence[Device]:
        """The admitted devices of this adapter, whether in reach or not."""

    def instance(self, device: DeviceId, object_id: int, key: str, preferred: int) -> int:
        """The instance number of what the adapter calls `key`: assigned once, kept for ever.

        `preferred` if it is free, else the lowest free number.
        """

    def recall(self, key: str) -> bytes | None:
        """What this adapter remembered last under a key, perhaps in an earlier life; StateError."""

    def remember(self, key: str, data: bytes) -> None:
        """Keeps data for ever; it is on disk when this returns. StateError if it cannot be."""

    def report(self, readings: Sequence[Reading], *, late: bool = False) -> None:
        """Takes what an admitted device said, one frame in one call; the device is online.

        What it said before it was lost comes `late`, and leaves its state as it is.
        """

    def online(self, device: DeviceId, reason: str) -> None:
        """The device is reached, though it has not said anything new; `lost` ends it.

        One that is only seen and reported counts as offline when it is silent for too long.
        """

    def lost(self, device: DeviceId, reason: str, *, asleep: bool = False) -> None:
        """The device cannot be reached (or sleeps); its values stay. To be called at each attempt
        that fails: whether it is offline then is the hub's rule."""

    def withdraw(self, device: DeviceId, path: Path) -> None:
        """The device has shown that it no longer has what is at and below `path`."""

    def refused(self, device: DeviceId, reason: str) -> None:
        """The device is there but is not bridged, for a reason that the operator is shown."""


class NorthPort(Port, Protocol):
    """What a northbound adapter may ask of the core."""

    @property
    def outbox(self) -> Outbox:
        """What is to be told to clients; survives the adapter's restarts."""

    def devices(self) -> Sequence[Device]:
        """Every admitted device, the gateway itself (prefix "") first."""

    def device(self, prefix: str) -> Device | None:
        """The device behind a prefix; "" is the gateway itself."""

    def device_by_id(self, device: DeviceId) -> Device | None:
        """The device of an identity."""

    def resource(self, device: DeviceId, path: Path) -> Resource | None:
        """One resource, or None if the device has none there."""

    def resources(self, device: DeviceId, under: Path | None = None) -> Sequence[Resource]:
        """The device's resources at and below a path, in path order."""

    def writable(self, device: DeviceId, path: Path) -> bool:
        """Whether the operator enabled writing and executing there."""

    async def execute(self, command: Command) -> Outcome:
        """Checks a command and has the device carry it out; raises a CommandError."""

    @property
    def clock_is_set(self) -> bool:
        """Whether the wall clock can be believed; until then no time is to be told."""

    def max_age_s(self, device: DeviceId, path: Path) -> float:
        """How long from now a client may take the value for fresh (CoAP Max-Age)."""

    async def history(
        self,
        device: DeviceId,
        path: Path,
        start: float,
        end: float,
        *,
        limit: int = 1_000,
        after: Entry | None = None,
    ) -> Sequence[Entry]:
        """The changes at and below a path measured after `start`, until `end` (Unix seconds).

        The oldest first, at most `limit` and 1,000. As many as that may not be all: to go on, ask
        again with the last one as `after`. Busy where too many ask, StateError.
        """

    async def told_since(self, number: int, limit: int = 1_000) -> tuple[Sequence[Entry], int]:
        """The changes of all devices behind a number, in the order in which they were told.

        And the number up to which nothing is missing; where it is the one that was asked for,
        there is nothing more for now. StateError where it cannot be read.
        """

    def place(self, key: str) -> int:
        """The number up to which this adapter has taken over changes, also in an earlier life.

        What is asked for first starts here: with what is told next.
        """

    def reached(self, key: str, number: int) -> None:
        """Notes how far it has come; on disk within half a second, like the changes themselves."""

    def overview(self) -> Overview:
        """How adapters and admission are now."""

    def log_since(self, number: int) -> Sequence[LogLine]:
        """The end of the log, as far as it is behind a line's number."""

    def permit(self, duration_s: float) -> None:
        """Lets devices that are not listed join for a while; 0 closes the window."""

    def rename(self, device: DeviceId, name: str) -> None:
        """Names a device for good; an empty name gives it back its own. Raises a GatewayError."""

    def forget(self, device: DeviceId) -> None:
        """Removes a device for good; it may join again later. NotFound, StateError."""


class Outbox:
    """What waits for one northbound adapter: one slot a key, the newest event wins.

    A key keeps its place in the line, so that a chatty resource cannot starve the others. Only
    what happens after a removal is told after it: otherwise a client would end up without it.
    """

    def __init__(self, limit: int = OUTBOX_LIMIT) -> None:
        self._slots: OrderedDict[tuple[object, ...], Event] = OrderedDict()
        self._removals: Counter[DeviceId] = Counter()
        self._limit = limit
        self._filled = asyncio.Event()
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._slots)

    def put(self, event: Event) -> None:
        """Adds an event, or replaces the one of the same key, in its place where that is right."""
        if event.key in self._slots:
            if event.device in self._removals:
                self._slots.move_to_end(event.key)
        else:
            if len(self._slots) >= self._limit:
                self._pop()
                self.dropped += 1
            if isinstance(event, Removed):
                self._removals[event.device] += 1
        self._slots[event.key] = event
        self._filled.set()

    async def take(self) -> Event:
        """Waits for the oldest event and removes it."""
        while not self._slots:
            self._filled.clear()
            await self._filled.wait()
        return self._pop()

    def take_all(self) -> Sequence[Event]:
        """Removes and gives everything that waits now, the oldest first."""
        return [self._pop() for _ in range(len(self._slots))]

    def _pop(self) -> Event:
        event = self._slots.popitem(last=False)[1]
        if isinstance(event, Removed):
            self._removals[event.device] -= 1
            if not self._removals[event.device]:
                del self._removals[event.device]
        return event

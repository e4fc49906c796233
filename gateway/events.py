"""What travels between adapters and hub: readings north, commands south. Frozen values only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from gateway.model import DeviceId, Path, Value


@dataclass(frozen=True, slots=True)
class Sighting:
    """A device was heard. `name` is what it calls itself, unsanitised; `rssi_dbm` if measured.

    `services` are the UUIDs that it advertises, of 128 bits each, in lower case.
    """

    device: DeviceId
    name: str = ""
    rssi_dbm: int | None = None
    services: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reading:
    """One resource as its device reported it. `at` is Unix seconds of the measurement.

    A value of None says that the resource exists but cannot be read (executables).
    """

    device: DeviceId
    path: Path
    value: Value | None
    at: float


class State(Enum):
    """Whether a device can be expected to answer."""

    ONLINE = "online"
    ASLEEP = "asleep"
    OFFLINE = "offline"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Availability:
    """A device's state, why it is so (for people), and since when (Unix seconds)."""

    state: State
    reason: str
    since: float


@dataclass(frozen=True, slots=True)
class Device:
    """What the gateway knows of a device besides its values; `last_seen` in Unix seconds."""

    id: DeviceId
    prefix: str
    name: str
    adapter: str
    availability: Availability
    last_seen: float | None = None


@dataclass(frozen=True, slots=True)
class Resource:
    """The last known value of a resource, replaced (never changed) by each new reading.

    `restored` marks a value that was loaded at start and not heard again since, `untimed` one that
    was measured while the clock was not set: `at` is of that clock, and no time at all elsewhere.
    """

    path: Path
    value: Value | None
    at: float
    restored: bool = False
    untimed: bool = False

    @property
    def time(self) -> float | None:
        """When the value was measured, if that is known."""
        return None if self.untimed else self.at


@dataclass(frozen=True, slots=True)
class Entry:
    """A change in the journal, as it was told. `at` is Unix seconds to the millisecond.

    The numbers rise by one from each to the next. `changed` is False where a value that was known
    already was told again.
    """

    number: int
    device: DeviceId
    path: Path
    value: Value
    at: float
    changed: bool = True


@dataclass(frozen=True, slots=True)
class Change:
    """A resource has a new value worth telling (by the report rule).

    `entry` is what the journal has of it, None where it keeps nothing. Who sees a gap in the
    numbers knows that an outbox has replaced or dropped something.
    """

    device: DeviceId
    path: Path
    entry: Entry | None = field(default=None, compare=False)

    @property
    def key(self) -> tuple[object, ...]:
        """Events of one key replace each other in an outbox."""
        return ("value", self.device, self.path)


@dataclass(frozen=True, slots=True)
class DeviceChanged:
    """A device came, changed its name, its availability or its set of resources."""

    device: DeviceId

    @property
    def key(self) -> tuple[object, ...]:
        """Events of one key replace each other in an outbox."""
        return ("device", self.device)


@dataclass(frozen=True, slots=True)
class Removed:
    """Everything at and below `path` is gone for good; the whole device where path is None."""

    device: DeviceId
    prefix: str
    path: Path | None = None

    @property
    def key(self) -> tuple[object, ...]:
        """Events of one key replace each other in an outbox."""
        return ("removed", self.device, self.prefix, self.path)


Event = Change | DeviceChanged | Removed
"""What a northbound adapter is told. Values are read from the port when they are needed."""


@dataclass(frozen=True, slots=True)
class Write:
    """Set resources of one device. `origin` names the asker in the log (`coap [::1]:4711`).

    `removed` are elements of arrays that are to go; adapters get a Delete of each before the rest.
    """

    device: DeviceId
    values: Mapping[Path, Value]
    origin: str
    removed: frozenset[Path] = frozenset()


@dataclass(frozen=True, slots=True)
class Execute:
    """Run an executable resource with its argument text (LwM2M Core 6.3.5)."""

    device: DeviceId
    path: Path
    origin: str
    arguments: str = ""


@dataclass(frozen=True, slots=True)
class Create:
    """Make an object instance with these values (LwM2M Core 6.3.6); few devices can."""

    device: DeviceId
    path: Path
    values: Mapping[Path, Value]
    origin: str


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove an object instance or a resource instance (LwM2M Core 6.3.7); few devices can."""

    device: DeviceId
    path: Path
    origin: str


Command = Write | Execute | Create | Delete


@dataclass(frozen=True, slots=True)
class Outcome:
    """A command was carried out; `confirmed` if the device has shown the new state since."""

    confirmed: bool = field(default=False)

"""What one connected device's characteristics are as resources, and how its values add up.

Pure: knows handles and bytes, not how they travel. Instance numbers come from a function given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from adapters.ble import bipso, sig
from adapters.ble.defined import Defined
from adapters.ble.definitions import DEVICE, Definition, Row
from gateway.errors import EncodeError, InvalidValue, NotAllowed, NotFound
from gateway.model import Path, Value

Number = Callable[[int, str, int], int]
"""Object, key and preferred number to the instance number that the key keeps for ever."""


@dataclass(frozen=True, slots=True)
class Taken:
    """What a value said: resources (None: executable), and how many numbers were no numbers."""

    values: Mapping[Path, Value | None]
    dropped: int = 0


@dataclass(frozen=True, slots=True)
class Order:
    """Bytes to write to a characteristic, and what it should show then."""

    handle: int
    data: bytes
    expected: Mapping[Path, Value]


@dataclass(slots=True)
class _Instance:
    """One object instance of a BIPSO characteristic with its last values."""

    handle: int
    id: int
    path: Path
    values: dict[int, Value | None] = field(default_factory=dict)


class Profile:
    """The characteristics of one connection, given by handle and UUID; others are ignored.

    What a definition names (where a UUID is repeated: the first) is read by the definition.
    """

    def __init__(
        self,
        characteristics: Iterable[tuple[int, str]],
        number: Number,
        definition: Definition | None = None,
    ) -> None:
        self._number = number
        self._defined: dict[int, Defined] = {}
        self._handles: dict[Path, int] = {}
        self._objects: dict[int, int] = {}
        self._sig: dict[int, tuple[sig.Characteristic, int]] = {}
        self._claims: dict[tuple[int, int], list[int]] = {}
        self._instances: dict[Path, _Instance] = {}
        self._newer: dict[int, dict[Path, Value | None]] = {}
        repeats: dict[str, int] = {}
        rows: dict[str, list[Row]] = {}
        for row in definition.rows if definition else ():
            rows.setdefault(row.characteristic, []).append(row)
        for handle, uuid in sorted(characteristics):
            if definition and uuid in rows:
                self._define(handle, rows.pop(uuid), definition)
            elif (object_id := bipso.object_of(uuid)) is not None:
                self._objects[handle] = object_id
            elif (known := sig.characteristic_of(uuid)) is not None:
                ordinal = repeats[uuid] = repeats.get(uuid, 0) + 1
                if known.object != DEVICE or ordinal == 1:
                    self._sig[handle] = known, ordinal
        self.described = self._described(definition)

    @property
    def handles(self) -> list[int]:
        """The characteristics that mean something here, in the device's order."""
        return sorted([*self._defined, *self._objects, *self._sig])

    @property
    def measures(self) -> bool:
        """Whether there is anything besides the texts that describe the device."""
        if self._defined or self._objects:
            return True
        return any(isinstance(row, sig.Number) for row, _ in self._sig.values())

    @property
    def by_definition(self) -> frozenset[Path]:
        """The resources that are there because of the definition."""
        return frozenset(self._handles) | self.described.keys()

    def begin_read(self, handle: int) -> None:
        """What is notified from here on is newer than what the read will bring."""
        self._newer[handle] = {}
        if handle in self._defined:
            self._defined[handle].begin_read()

    def notified(self, handle: int, data: bytes) -> Taken:
        """The resources in a notification; DecodeError or its Truncated."""
        taken = self._take(handle, data)
        if handle in self._newer:
            self._newer[handle].update(taken.values)
        if handle in self._defined:
            self._defined[handle].notified(data)
        return taken

    def read(self, handle: int, data: bytes) -> Taken:
        """The resources in what a read brought, less those notified since; errors as above."""
        newer = self._newer.pop(handle, {})
        taken = self._take(handle, data, newer)
        if handle in self._defined:
            self._defined[handle].read(data)
        return taken

    def leading(self, handle: int, data: bytes, error: bipso.Truncated) -> Taken:
        """The whole fields of a truncated value."""
        if (defined := self._defined.get(handle)) is not None:
            return Taken(defined.leading(data))
        return self._merge(handle, error.complete, {}) if error.complete else Taken({})

    def shown(self, path: Path) -> Value | None:
        """The last value of a resource that can be written."""
        if (handle := self._handles.get(path)) is not None:
            return self._defined[handle].shown.get(path)
        instance = self._instances.get(path.upto(2))
        return instance.values.get(path[2]) if instance else None

    def write(self, values: Mapping[Path, Value]) -> list[Order]:
        """The whole values to write, one a characteristic: the last ones with the changes in them.

        NotFound, NotAllowed, or InvalidValue if the characteristic cannot express it.
        """
        changes: dict[Path, dict[int, Value]] = {}
        defined: dict[int, dict[Path, Value]] = {}
        for path, value in values.items():
            if (handle := self._handles.get(path)) is not None:
                defined.setdefault(handle, {})[path] = value
            else:
                changes.setdefault(path.upto(2), {})[path[2]] = value
        return [
            *(self._order(self._instance(where), what) for where, what in changes.items()),
            *(self._defined_order(handle, what) for handle, what in defined.items()),
        ]

    def execute(self, path: Path, arguments: str) -> Order:
        """The value to write that runs an executable; errors as for write."""
        instance = self._instance(path.upto(2))
        if path[2] not in instance.values or instance.values[path[2]] is not None:
            raise NotAllowed(f"{path} is not an executable of this device")
        order = self._order(instance, {path[2]: arguments.encode()})
        return Order(order.handle, order.data, {})

    def _define(self, handle: int, rows: Iterable[Row], definition: Definition) -> None:
        fields = {}
        for row in rows:
            key = f"definition/{row.instance}"
            is_device = row.object == DEVICE
            number = 0 if is_device else self._number(row.object, key, row.instance)
            path = Path(row.object, number, row.resource)
            fields[path] = row, definition.types[row.target]
            self._handles[path] = handle
        self._defined[handle] = Defined(fields)

    def _described(self, definition: Definition | None) -> Mapping[Path, Value]:
        """What the definition says of the device, where the device itself does not."""
        own = {(row.object, row.resource) for row, _ in self._sig.values()}
        said = (definition.manufacturer, definition.model) if definition else ()
        return {
            path: text
            for resource, text in enumerate(said)
            if text
            and (DEVICE, resource) not in own
            and (path := Path(DEVICE, 0, resource)) not in self._handles
        }

    def _defined_order(self, handle: int, changes: Mapping[Path, Value]) -> Order:
        defined = self._defined[handle]
        data = defined.patched(changes)
        expected = {path: value for path, value in defined.leading(data).items() if path in changes}
        return Order(handle, data, expected)

    def _instance(self, path: Path) -> _Instance:
        if (instance := self._instances.get(path)) is not None:
            return instance
        if path.object == DEVICE or any(row.object == path.object for row, _ in self._sig.values()):
            raise NotAllowed(f"{path} cannot be written on this device")
        raise NotFound(f"the device shows no {path}")

    def _order(self, instance: _Instance, changes: Mapping[int, Value]) -> Order:
        object_id = instance.path.object
        try:
            data = bipso.encode(object_id, instance.id, {**instance.values, **changes})
        except EncodeError as error:
            raise InvalidValue(str(error)) from error
        frame = bipso.decode(object_id, data)
        expected = {_below(instance.path, r): frame.values[r] for r in changes}
        return Order(instance.handle, data, {p: v for p, v in expected.items() if v is not None})

    def _take(
        self, handle: int, data: bytes, newer: Mapping[Path, Value | None] | None = None
    ) -> Taken:
        newer = newer or {}
        if (defined := self._defined.get(handle)) is not None:
            return Taken(defined.values(data, newer))
        if (object_id := self._objects.get(handle)) is not None:
            return self._merge(handle, bipso.decode(object_id, data), newer)
        row, ordinal = self._sig[handle]
        values = sig.decode(row, data)
        if not values:
            return Taken({})
        path = Path(row.object, 0 if row.object == DEVICE else self._sig_number(row, ordinal))
        found = {_below(path, resource): value for resource, value in values.items()}
        return Taken({p: v for p, v in found.items() if p not in newer})

    def _sig_number(self, row: sig.Characteristic, ordinal: int) -> int:
        key = f"{row.uuid16:04x}" if ordinal == 1 else f"{row.uuid16:04x}#{ordinal}"
        return self._number(row.object, key, 0)

    def _merge(self, handle: int, frame: bipso.Frame, newer: Mapping[Path, Value | None]) -> Taken:
        instance = self._claimed(handle, frame.object, frame.id)
        finite = {
            resource: value
            for resource, value in frame.values.items()
            if not isinstance(value, float) or math.isfinite(value)
        }
        fresh = {
            resource: value
            for resource, value in finite.items()
            if _below(instance.path, resource) not in newer
        }
        instance.values.update(fresh)
        values = {_below(instance.path, resource): value for resource, value in fresh.items()}
        return Taken(values, len(frame.values) - len(finite))

    def _claimed(self, handle: int, object_id: int, id: int) -> _Instance:
        """The instance that a characteristic means with this id byte.

        A second characteristic with the same object and id gets a key and number of its own.
        """
        claims = self._claims.setdefault((object_id, id), [])
        if handle not in claims:
            claims.append(handle)
        ordinal = claims.index(handle) + 1
        key = f"id{id}" if ordinal == 1 else f"id{id}#{ordinal}"
        path = Path(object_id, self._number(object_id, key, id))
        return self._instances.setdefault(path, _Instance(handle, id, path))


def _below(instance: Path, resource: int) -> Path:
    return Path(*instance, resource)

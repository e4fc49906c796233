"""Commands south: checked, one at a time a device, each with a deadline."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import assert_never

from gateway.errors import (
    AdapterError,
    Busy,
    InvalidValue,
    NotAllowed,
    NotFound,
    TimedOut,
    Unreachable,
    WritesDisabled,
)
from gateway.events import Command, Create, Delete, Execute, Outcome, Write
from gateway.model import GATEWAY, DeviceId, Operations, Path, Value, printable
from gateway.objects.registry import WHOLE, Registry, coerce
from gateway.policy import Rules
from gateway.ports import Obeying
from gateway.store import Store

log = logging.getLogger(__name__)

DEVICE = 3
"""The object that every device has once, and keeps (LwM2M Core 6.3.7)."""

COMMAND_TIMEOUT_S = 10.0
"""A device that has not confirmed by then will not; CoAP clients give up soon after."""

MAX_WAITING = 8
"""Commands that may wait for one device: more would time out in the queue."""


class Commander:
    """Takes commands from the servers to the adapter that owns the device.

    `owners` are the southbound adapters that run now, by name; the store is never changed here.
    """

    def __init__(self, store: Store, registry: Registry, rules: Callable[[], Rules]) -> None:
        self.owners: dict[str, Obeying] = {}
        self._store = store
        self._registry = registry
        self._rules = rules
        self._locks: dict[DeviceId, asyncio.Lock] = {}
        self._waiting: Counter[DeviceId] = Counter()

    async def execute(self, command: Command) -> Outcome:
        """Checks the command and has the owner carry it out; raises a CommandError."""
        checked = self._checked(command)
        with self._turn(command.device) as lock:
            try:
                async with asyncio.timeout(COMMAND_TIMEOUT_S), lock:
                    outcome = await self._carry_out(checked)
            except NotAllowed as error:
                if isinstance(command, Create) and not self._has(command, command.path.upto(1)):
                    raise NotFound(f"{command.device} has no {command.path.upto(1)}") from error
                raise
            except AdapterError as error:
                raise Unreachable(f"{command.device} cannot be reached: {error}") from error
            except TimeoutError:
                log.warning("%s: no answer to a command from %s", command.device, command.origin)
                raise TimedOut(
                    f"{command.device} did not answer within {COMMAND_TIMEOUT_S:g} s"
                ) from None
        return outcome

    async def _carry_out(self, command: Command) -> Outcome:
        """What is to be removed goes first: few devices can, and so far nothing is changed."""
        owner = self._owner(command.device)
        if isinstance(command, Write) and command.removed:
            for path in sorted(command.removed):
                outcome = await owner.execute(Delete(command.device, path, command.origin))
            if not command.values:
                return outcome
            command = replace(command, removed=frozenset())
        return await owner.execute(command)

    def _checked(self, command: Command) -> Command:
        self._store.require(command.device)
        match command:
            case Write():
                values = {
                    path: self._check_write(command, path, value)
                    for path, value in command.values.items()
                }
                for path in command.removed:
                    self._check_delete(command, path)
                return replace(command, values=values)
            case Execute():
                self._check(command, command.path, Operations.EXECUTE)
                log.info(
                    "%s: %s executes %s(%s)",
                    command.device, command.origin, command.path, printable(command.arguments),
                )  # fmt: skip
                return command
            case Create():
                return replace(command, values=self._check_create(command))
            case Delete():
                self._check_delete(command, command.path)
                return command
            case _:
                assert_never(command)

    def _check_create(self, command: Create) -> Mapping[Path, Value]:
        """The values of a new instance as the device is to be told them: what can be written."""
        path = command.path
        self._check_shape(command, path)
        definition = self._registry.object(path.object)
        if definition is None:
            raise NotFound(f"nothing defines object {path.object}")
        if not definition.multiple and self._has(command, path.upto(1)):
            raise NotAllowed(f"there can be only one {definition.name}")
        if self._has(command, path):
            raise InvalidValue(f"{path} exists already")
        self._check_rights(command, path)
        values: dict[Path, Value] = {}
        for each, value in command.values.items():
            resource = definition.resources.get(each[2])
            if resource and Operations.WRITE in resource.operations:
                values[each] = self._raw(command, each, coerce(resource, value))
        written = {each[2] for each in values}
        for resource in definition.resources.values():
            is_needed = resource.mandatory and Operations.WRITE in resource.operations
            if is_needed and resource.id not in written:
                raise InvalidValue(f"{resource.name} ({resource.id}) is mandatory")
        log.info("%s: %s creates %s", command.device, command.origin, path)
        return values

    def _check_delete(self, command: Write | Delete, path: Path) -> None:
        self._check_shape(command, path)
        if not self._has(command, path):
            raise NotFound(f"{command.device} has no {path}")
        if len(path) > 2:
            definition = self._registry.resource(path[0], path[2])
            if definition is None or Operations.WRITE not in definition.operations:
                raise NotAllowed(f"{path} cannot be deleted")
        self._check_rights(command, path)
        log.info("%s: %s deletes %s", command.device, command.origin, path)

    def _check_shape(self, command: Command, path: Path) -> None:
        """Raises NotAllowed for what no device creates or deletes (LwM2M Core 6.3.6, 6.3.7)."""
        if command.device == GATEWAY or path.object == DEVICE or len(path) not in {2, 4}:
            raise NotAllowed(f"{path} can be neither created nor deleted")

    def _has(self, command: Command, path: Path) -> bool:
        return bool(self._store.resources(command.device, path))

    def _check_write(self, command: Write, path: Path, value: Value) -> Value:
        """The value as the device is to be told it."""
        old = self._check(command, path, Operations.WRITE)
        definition = self._registry.resource(path[0], path[2])
        assert definition is not None  # noqa: S101  (_check found it)
        checked = coerce(definition, value)
        log.info(
            "%s: %s writes %s: %s -> %s",
            command.device, command.origin, path, _shown(old), _shown(checked),
        )  # fmt: skip
        return self._raw(command, path, checked)

    def _raw(self, command: Write | Create, path: Path, value: Value) -> Value:
        """The value before what the configuration makes of it."""
        definition = self._registry.resource(path[0], path[2])
        whole = definition is not None and definition.type in WHOLE
        return self._rules().treatment(command.device, path).raw(value, whole=whole)

    def _check(self, command: Command, path: Path, needed: Operations) -> Value | None:
        """The resource's present value, if it exists, can do this and is enabled for it.

        An array that exists may get further elements.
        """
        resource = self._store.resource(command.device, path)
        definition = self._registry.resource(path[0], path[2]) if len(path) > 2 else None
        is_element = len(path) == 4 and self._has(command, path.upto(3))
        if definition is None or (resource is None and not is_element):
            raise NotFound(f"{command.device} has no resource {path}")
        if needed not in definition.operations:
            verb = "executed" if needed is Operations.EXECUTE else "written"
            raise NotAllowed(f"{path} ({definition.name}) cannot be {verb}")
        self._check_rights(command, path)
        return resource.value if resource else None

    def _check_rights(self, command: Command, path: Path) -> None:
        if not self._rules().of(command.device).allows_writing(path):
            own = command.device == GATEWAY
            section = "[gateway]" if own else f'[[device]] id = "{command.device}"'
            raise WritesDisabled(
                f'writing is off here; set writable = ["{str(path)[1:]}"] (or true) under {section}'
            )

    @contextmanager
    def _turn(self, device: DeviceId) -> Iterator[asyncio.Lock]:
        if self._waiting[device] >= MAX_WAITING:
            raise Busy(f"{device} already has {MAX_WAITING} commands waiting")
        self._waiting[device] += 1
        try:
            yield self._locks.setdefault(device, asyncio.Lock())
        finally:
            self._waiting[device] -= 1
            if not self._waiting[device]:
                del self._waiting[device], self._locks[device]

    def _owner(self, device: DeviceId) -> Obeying:
        name = self._store.require(device).adapter
        if owner := self.owners.get(name):
            return owner
        raise Unreachable(f"the adapter {name!r} of {device} is not running")


def _shown(value: Value | None) -> str:
    return printable(repr(value))

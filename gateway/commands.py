"""Commands south: checked, one at a time a device, each with a deadline."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

from gateway.errors import (
    AdapterError,
    Busy,
    NotAllowed,
    NotFound,
    TimedOut,
    Unreachable,
    WritesDisabled,
)
from gateway.events import Command, Execute, Outcome, Write
from gateway.model import GATEWAY, DeviceId, Operations, Path, Value, printable
from gateway.policy import Rules
from gateway.ports import Obeying
from gateway.registry import WHOLE, Registry, coerce
from gateway.store import Store

log = logging.getLogger(__name__)

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
                    outcome = await self._owner(command.device).execute(checked)
            except AdapterError as error:
                raise Unreachable(f"{command.device} cannot be reached: {error}") from error
            except TimeoutError:
                log.warning("%s: no answer to a command from %s", command.device, command.origin)
                raise TimedOut(
                    f"{command.device} did not answer within {COMMAND_TIMEOUT_S:g} s"
                ) from None
        return outcome

    def _checked(self, command: Command) -> Command:
        self._store.require(command.device)
        match command:
            case Write():
                values = {
                    path: self._check_write(command, path, value)
                    for path, value in command.values.items()
                }
                return replace(command, values=values)
            case Execute():
                self._check(command, command.path, Operations.EXECUTE)
                log.info(
                    "%s: %s executes %s(%s)",
                    command.device, command.origin, command.path, printable(command.arguments),
                )  # fmt: skip
                return command

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
        treatment = self._rules().treatment(command.device, path)
        return treatment.raw(checked, whole=definition.type in WHOLE)

    def _check(self, command: Command, path: Path, needed: Operations) -> Value | None:
        """The resource's present value, if it exists, can do this and is enabled for it."""
        resource = self._store.resource(command.device, path)
        definition = self._registry.resource(path[0], path[2]) if len(path) > 2 else None
        if resource is None or definition is None:
            raise NotFound(f"{command.device} has no resource {path}")
        if needed not in definition.operations:
            verb = "executed" if needed is Operations.EXECUTE else "written"
            raise NotAllowed(f"{path} ({definition.name}) cannot be {verb}")
        if not self._rules().of(command.device).allows_writing(path):
            own = command.device == GATEWAY
            section = "[gateway]" if own else f'[[device]] id = "{command.device}"'
            raise WritesDisabled(
                f'writing is off here; set writable = ["{str(path)[1:]}"] (or true) under {section}'
            )
        return resource.value

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

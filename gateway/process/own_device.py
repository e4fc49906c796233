"""The gateway as a device of its own: what it shows of itself as time goes by, what it obeys."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import assert_never

from gateway.configuration.sections import GatewaySection
from gateway.errors import NotAllowed
from gateway.events import Command, Create, Delete, Execute, Outcome, Reading, Write
from gateway.hub import Hub
from gateway.model import GATEWAY, Path, Value
from gateway.process import machine
from gateway.slots import Slot, SouthSlot

log = logging.getLogger(__name__)

REBOOT = Path(3, 0, 4)
_ERRORS = Path(3, 0, 11)
_CONNECTIVITY = Path(4, 0)
_ADDRESSES = Path(4, 0, 4)
_LOCATION = Path(6, 0)
_STATISTICS = Path(7, 0)
START, STOP = Path(7, 0, 6), Path(7, 0, 7)

NO_ERROR, NO_CONNECTIVITY, NO_PERIPHERAL = 0, 7, 8
"""Of /3/0/11 (LwM2M Core, appendix E.4): none, IP connectivity failure, peripheral malfunction."""

ERROR_LINGERS_S = 90.0
"""An adapter that fails again and again lives for moments between: its error does not flicker."""


class OwnDevice:
    """Tells the hub of the gateway itself whenever it is refreshed, and obeys its commands.

    `restart` is called when a client asks for a reboot.
    """

    def __init__(
        self,
        hub: Hub,
        slots: Sequence[Slot],
        section: GatewaySection,
        restart: Callable[[], None],
    ) -> None:
        self._hub = hub
        self._slots = slots
        self._restart = restart
        self._failed_at: dict[str, float] = {}
        self._traffic_at_start = machine.traffic_octets()
        self._is_counting = True
        hub.commander.owners[""] = self
        self._report(
            {
                Path(3, 0, 2): machine.serial_number(),
                Path(3, 0, 15): machine.time_zone(),
                Path(3, 0, 17): "gateway",
            }
        )
        self._tell_executables([REBOOT, *([START, STOP] if self._traffic_at_start else [])])
        self.configure(section)
        self.refresh()

    def configure(self, section: GatewaySection) -> None:
        """Takes over where the gateway stands."""
        if place := section.location:
            self._report(
                {
                    Path(*_LOCATION, 0): place.latitude,
                    Path(*_LOCATION, 1): place.longitude,
                    Path(*_LOCATION, 2): place.altitude,
                    Path(*_LOCATION, 5): int(self._hub.wall()),
                }
            )
        if not place or place.altitude is None:
            self._hub.withdraw(GATEWAY, Path(*_LOCATION, 2) if place else _LOCATION)

    def refresh(self) -> None:
        """Tells how things are now; to be called about once a second."""
        total, available = machine.memory_kib() or (None, None)
        now = self._hub.wall()
        self._report(
            {
                Path(3, 0, 10): available,
                Path(3, 0, 13): int(now),
                Path(3, 0, 14): machine.utc_offset(now),
                Path(3, 0, 21): total,
                **self._traffic(),
            }
        )
        self._tell_connectivity()
        self._tell_errors(self._errors() or [NO_ERROR])

    async def execute(self, command: Command) -> Outcome:
        """Carries out a command that the hub has checked; NotAllowed for what Linux decides."""
        match command:
            case Execute(path=path) if path == REBOOT:
                log.warning("%s asks for a restart of all adapters", command.origin)
                self._restart()
            case Execute(path=path):
                self.refresh()
                self._is_counting = path == START
                if self._is_counting:
                    self._traffic_at_start = machine.traffic_octets()
                self.refresh()
            case Create() | Delete():
                raise NotAllowed("the gateway makes and removes its objects itself")
            case Write():
                raise NotAllowed("the operating system of the gateway sets time and time zone")
            case _:
                assert_never(command)
        return Outcome(confirmed=True)

    def _traffic(self) -> Mapping[Path, Value]:
        """Kilobytes since the start of counting; nothing new while that is stopped."""
        now, then = machine.traffic_octets(), self._traffic_at_start
        if not self._is_counting or now is None or then is None:
            return {}
        sent, received = (max(0, n - t) // 1000 for n, t in zip(now, then, strict=True))
        return {Path(*_STATISTICS, 2): sent, Path(*_STATISTICS, 3): received}

    def _tell_connectivity(self) -> None:
        bearer, addresses = machine.network_bearer(), machine.addresses()
        if bearer is None or not addresses:
            self._hub.withdraw(GATEWAY, _CONNECTIVITY)
            return
        self._report(
            {
                Path(*_CONNECTIVITY, 0): bearer[0],
                Path(*_CONNECTIVITY, 1, 0): bearer[0],
                Path(*_CONNECTIVITY, 2): bearer[1],
                **{Path(*_ADDRESSES, n): address for n, address in enumerate(addresses)},
            }
        )
        self._hub.withdraw(GATEWAY, Path(*_ADDRESSES, len(addresses)))

    def _errors(self) -> Sequence[int]:
        """The codes of what is wrong with the adapters now, or was a moment ago."""
        now = self._hub.monotonic()
        for slot in self._slots:
            if slot.failed:
                self._failed_at[slot.name] = now
        recent = {n for n, at in self._failed_at.items() if now < at + ERROR_LINGERS_S}
        return sorted(
            {
                NO_PERIPHERAL if isinstance(slot, SouthSlot) else NO_CONNECTIVITY
                for slot in self._slots
                if slot.name in recent
            }
        )

    def _tell_errors(self, codes: Sequence[int]) -> None:
        self._report({Path(*_ERRORS, number): code for number, code in enumerate(codes)})
        self._hub.withdraw(GATEWAY, Path(*_ERRORS, len(codes)))

    def _tell_executables(self, paths: Iterable[Path]) -> None:
        now = self._hub.wall()
        self._hub.report([Reading(GATEWAY, path, None, now) for path in paths])

    def _report(self, values: Mapping[Path, Value | None]) -> None:
        now = self._hub.wall()
        known = [Reading(GATEWAY, p, v, now) for p, v in values.items() if v is not None]
        self._hub.report(known)

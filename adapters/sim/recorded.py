"""Devices that a bundle of `border-gateway diagnostics` tells of, as virtual ones."""

from __future__ import annotations

import time
from typing import assert_never

from gateway.diagnostics.bundle import Recorded
from gateway.errors import NotAllowed
from gateway.events import Command, Create, Delete, Execute, Reading, State, Write
from gateway.model import DeviceId
from gateway.ports import SouthPort


class RecordedDevice:
    """One device with the values that it had; it takes what is written, and executes nothing."""

    def __init__(self, recorded: Recorded) -> None:
        self.id: DeviceId = recorded.id
        self.name = recorded.name
        self._recorded = recorded
        self._unsaid = [
            Reading(recorded.id, path, value, at) for path, (value, at) in recorded.values.items()
        ]

    def report(self, port: SouthPort) -> None:
        """Says once what was recorded, with the times of then, and how the device was."""
        if not self._unsaid:
            return
        is_away = self._recorded.state is not State.ONLINE
        port.report(self._unsaid, late=is_away)
        self._unsaid = []
        if is_away:
            asleep = self._recorded.state is State.ASLEEP
            port.lost(self.id, self._recorded.reason, asleep=asleep)

    def obey(self, command: Command) -> None:
        """Takes what is written for measured."""
        match command:
            case Write():
                at = time.time()
                self._unsaid += [Reading(self.id, p, v, at) for p, v in command.values.items()]
            case Execute():
                pass
            case Create() | Delete():
                raise NotAllowed("a recorded device has the objects that it had")
            case _:
                assert_never(command)

"""Brings to disk what has changed: last values, and the journal with its retention."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from gateway.devices.attendance import LEARNED
from gateway.errors import StateError
from gateway.events import Device, Resource
from gateway.hub import Hub
from gateway.model import GATEWAY, Path
from gateway.process.watchdog import Progress
from gateway.readings.journal import Batch
from gateway.storage.archive import Archive
from gateway.storage.state import StateDatabase

log = logging.getLogger(__name__)

SAVE_INTERVAL_S = 0.5
"""How old a value or change can be that a killed process loses; not synced each time. A minute
would write less (docs/troubleshooting.md says how much it is), but lose button presses and alarms
that the journal owes to clients who were away.
"""

SAVE_RETRY_S = 10.0
"""How long a full disk is left alone."""

PRUNE_INTERVAL_S = 60.0
"""How long the journal may exceed its retention; seldom, to write less on an SD card."""

SPARE_INTERVAL_S = 10.0
"""How long the spare may lack a device that joined; many join at a time."""


class Saver:
    """Saves while `run` runs, in a thread of its own, and once more at the end (`save_last`).

    As a context manager it waits for what is being written.
    """

    def __init__(self, hub: Hub, state: StateDatabase, archive: Archive) -> None:
        self._hub = hub
        self._state = state
        self._archive = archive
        self._thread = ThreadPoolExecutor(1, "state")
        self._written = Batch()
        self._prune_at = 0.0
        self._spare_at = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._thread.shutdown()

    async def run(self, progress: Progress) -> None:
        """Saves until cancelled; what was not surely saved is unsaved again."""
        while True:
            progress.made("saving")
            await asyncio.sleep(SAVE_INTERVAL_S)
            try:
                await self._save()
                await self._prune()
                await self._keep_identities()
            except StateError as error:
                self._hub.counters["state_errors"] += 1
                self._hub.counters["journal_lost"] = self._hub.journal.lost
                self._tell(f"last values and changes are not saved: {error}")
                await asyncio.sleep(SAVE_RETRY_S)
            else:
                self._tell("")

    def _tell(self, trouble: str) -> None:
        """Shows the trouble or its end; a disk that is full for days is one line."""
        if trouble and trouble != self._hub.trouble:
            log.error("%s; will try again", trouble)
        elif self._hub.trouble and not trouble:
            log.info("last values and changes are saved again")
        self._hub.trouble = trouble

    async def _save(self) -> None:
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._state.share)
        values, batch = self._hub.values.take_unsaved(), self._hub.journal.unsaved()
        seen, learned = self._hub.attendance.take_seen(), self._hub.attendance.take_learned()
        if not (values or batch or seen or learned):
            return
        try:
            await loop.run_in_executor(self._thread, self._write, values, seen, learned, batch)
        except (StateError, asyncio.CancelledError):
            self._hub.values.keep_unsaved(values)
            self._hub.attendance.keep_seen(seen)
            if learned:
                self._hub.attendance.keep_learned()
            raise
        self._hub.journal.saved(batch)

    async def _prune(self) -> None:
        hub, loop = self._hub, asyncio.get_running_loop()
        if not hub.journal.is_settled:
            return
        is_corrected = await loop.run_in_executor(self._thread, self._archive.correct)
        if hub.monotonic() < self._prune_at or not is_corrected:
            return
        retention = hub.journal.retention
        now = hub.clock.believed()
        if await loop.run_in_executor(self._thread, self._archive.prune, retention, now):
            self._prune_at = hub.monotonic() + PRUNE_INTERVAL_S

    async def _keep_identities(self) -> None:
        """Has who the devices are on the disk itself, and now and then in the spare.

        Then it also looks for a database that was set aside.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._state.sync)
        if self._hub.monotonic() >= self._spare_at:
            self._spare_at = self._hub.monotonic() + SPARE_INTERVAL_S
            await loop.run_in_executor(self._thread, self._state.spare)
            self._hub.damage = await loop.run_in_executor(self._thread, self._state.damage)

    def _write(
        self,
        values: Sequence[tuple[Device, Path, Resource | None]],
        seen: Sequence[Device],
        learned: bytes | None,
        batch: Batch,
    ) -> None:
        if values:
            self._state.save(values)
        if seen:
            self._state.save_seen(seen)
        if learned:
            self._state.remember(GATEWAY, LEARNED, learned)
        self._archive.write(batch)
        self._written = batch

    def save_last(self) -> None:
        """Saves what is left and closes the database."""
        try:
            self._hub.journal.saved(self._written)  # also when nobody waited for it any more
            if learned := self._hub.attendance.take_learned(last=True):
                self._state.remember(GATEWAY, LEARNED, learned)
            self._state.save(self._hub.values.take_unsaved())
            self._state.save_seen(self._hub.attendance.take_seen(last=True))
            while batch := self._hub.journal.unsaved():
                self._archive.write(batch)
                self._hub.journal.saved(batch)
            self._state.sync()
            self._state.spare()
        except StateError as error:
            log.error("the values of the last seconds are lost: %s", error)
        finally:
            self._archive.close()
            self._state.close()

"""Tells systemd that the core still makes progress; silent once a part of it stands still."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Callable

from gateway.process.notify import notify

log = logging.getLogger(__name__)


class Progress:
    """When each part of the core was last at work. `patience_s`: how long each may take for it."""

    def __init__(self, monotonic: Callable[[], float], **patience_s: float) -> None:
        self._monotonic = monotonic
        self._patience_s = patience_s
        self._at = dict.fromkeys(patience_s, monotonic())

    def made(self, part: str) -> None:
        """A part has done its work once more."""
        self._at[part] = self._monotonic()

    def stuck(self) -> list[str]:
        """The parts that have taken too long."""
        now = self._monotonic()
        return [part for part, at in self._at.items() if now - at > self._patience_s[part]]


def watchdog_interval_s() -> float | None:
    """How long systemd waits for a sign of life of this process; None if it does not."""
    text, process = os.environ.get("WATCHDOG_USEC", ""), os.environ.get("WATCHDOG_PID")
    if not text.isdecimal() or int(text) == 0 or (process and process != str(os.getpid())):
        return None
    return int(text) / 1_000_000


async def watch(progress: Progress, interval_s: float | None) -> None:
    """Gives signs of life twice an interval, until cancelled."""
    if interval_s is None:
        await asyncio.Event().wait()
        return
    while True:
        await asyncio.sleep(interval_s / 2)
        if stuck := progress.stuck():
            log.error("no progress: %s; systemd will restart the daemon", ", ".join(stuck))
        else:
            notify("WATCHDOG=1")

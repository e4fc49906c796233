"""Keeps adapters alive: each runs in its slot, and is started anew with back-off when it fails."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import Any

from gateway.errors import GatewayError
from gateway.hub import Hub
from gateway.ports import Adapter, Section
from gateway.slots import NorthSlot, Slot, SouthSlot

log = logging.getLogger(__name__)

FIRST_PAUSE_S = 1.0
LONGEST_PAUSE_S = 60.0
"""A missing radio is looked for once a minute: soon enough for a person who plugs it in."""

STEADY_AFTER_S = 120.0
"""An adapter that lived this long was well; its next failure starts at the first pause."""


class Supervised:
    """One adapter's class, section and slot. `run` lasts until it is cancelled.

    A slot that is passed on brings along what waits for the server that the adapter speaks to.
    """

    def __init__(
        self,
        name: str,
        adapter: type[Adapter],
        section: Section,
        hub: Hub,
        slot: Slot | None = None,
    ) -> None:
        self._adapter: Callable[..., Any] = adapter
        self._section = section
        self._hub = hub
        south = hasattr(adapter, "execute")
        self.slot: Slot = slot or (SouthSlot(name, hub) if south else NorthSlot(name, hub))

    async def run(self) -> None:
        """Runs the adapter, again and again, until cancelled."""
        loop = asyncio.get_running_loop()
        pause_s, told = FIRST_PAUSE_S, ""
        while True:
            started = loop.time()
            reason = await self._live()
            if _cancelled():  # it failed while it stopped, or took the cancellation for its own
                log.warning("%s stopped, but not cleanly: %s", self.slot.name, reason)
                return
            if loop.time() - started > STEADY_AFTER_S:
                pause_s, told = FIRST_PAUSE_S, ""
            wait_s = pause_s * random.uniform(0.75, 1.25)  # noqa: S311  (jitter, no secret)
            self.slot.restarts += 1
            self.slot.failed = True
            self.slot.text = f"failed: {reason}; starts again within {LONGEST_PAUSE_S:.0f} s"
            if reason != told:  # a radio that is missing for days is one line, not one a minute
                told = reason
                log.warning("%s %s", self.slot.name, self.slot.text)
            await asyncio.sleep(wait_s)
            pause_s = min(2 * pause_s, LONGEST_PAUSE_S)

    async def _live(self) -> str:
        """One life of the adapter; gives the reason of its end."""
        name, slot = self.slot.name, self.slot
        slot.starts()
        try:
            adapter = self._adapter(self._section, slot)
            if isinstance(slot, SouthSlot):
                self._hub.commander.owners[name] = adapter
            await adapter.run()
        except GatewayError as error:
            return str(error)
        except ExceptionGroup as group:
            if (known := group.subgroup(GatewayError)) and not group.split(GatewayError)[1]:
                return str(_first(known))
            return self._bug(group)
        except asyncio.CancelledError:
            if _cancelled():
                raise
            return "one of its own tasks was cancelled"
        except Exception as error:  # noqa: BLE001  (the one place: a bug ends one adapter only)
            return self._bug(error)
        else:
            return "it ended without saying why"
        finally:
            slot.ends()
            self._hub.commander.owners.pop(name, None)
            if isinstance(slot, SouthSlot):
                slot.stopped(f"not reached since the adapter {name} stopped")

    def _bug(self, error: Exception) -> str:
        self.slot.count("adapter_bugs")
        log.error("%s: unexpected error, please report it", self.slot.name, exc_info=error)
        return f"unexpected {type(error).__name__}; the log has the details"


def _cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error

"""Which adapters run: started, stopped and restarted one by one, as the configuration wants them.

It knows no adapter by name and no key: an adapter whose section differs is a changed one.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.hub import Hub
from gateway.overview import AdapterState
from gateway.ports import Adapter, Section
from gateway.process.supervisor import Supervised
from gateway.slots import NorthSlot, Slot, SouthSlot

log = logging.getLogger(__name__)

CHANGE_STOP_S = 4.0
"""How long an adapter may take to stop for a change; below what the command line waits for."""

Spec = tuple[type[Adapter], Section]


@dataclass(frozen=True, slots=True)
class _Running:
    spec: Spec
    slot: Slot
    task: asyncio.Task[None]


class Lineup:
    """The adapters of one daemon; `slots` is what the operator is shown. `failed` is called
    when an adapter's supervision ends by itself, which only a bug can cause.
    """

    def __init__(self, hub: Hub, failed: Callable[[], None]) -> None:
        self.slots: list[Slot] = []
        self._hub = hub
        hub.adapters = self.states
        self._failed = failed
        self._running: dict[str, _Running] = {}
        self._ending = False

    def states(self) -> Sequence[AdapterState]:
        """How each adapter is now, in the order of the configuration."""
        return [slot.state() for slot in self.slots]

    def sections(self) -> Mapping[str, Section]:
        """The section that each adapter runs with."""
        return {name: running.spec[1] for name, running in self._running.items()}

    async def become(self, wanted: Mapping[str, Spec], *, anew: bool = False) -> Sequence[str]:
        """Starts, restarts and stops until it is as wanted; gives a sentence for each change.

        What would go on is restarted, too, where all is to start `anew`.
        """
        changed = {n: r for n, r in self._running.items() if anew or wanted.get(n) != r.spec}
        await end([r.task for r in changed.values()], _now() + CHANGE_STOP_S)
        told: list[str] = []
        for name, running in changed.items():
            if not running.task.done():
                told.append(f"{name} does not stop; its change needs a restart of the daemon")
            elif name not in wanted:
                self._drop(name)
                told.append(f"{name} is stopped")
        for name, spec in sorted(wanted.items(), key=_servers_first):
            running_now = self._running.get(name)
            if self._ending or (running_now and not running_now.task.done()):
                continue
            self._start(name, spec, running_now.slot if running_now else None)
            told.append(f"{name} is {'restarted' if running_now else 'started'}")
        order = [*wanted, *(self._running.keys() - wanted.keys())]
        self.slots[:] = [self._running[name].slot for name in order if name in self._running]
        return told

    async def stop(self, radios_by: float, servers_by: float) -> None:
        """Stops all until these times of the loop; raises what ended an adapter's supervision.

        Radios first: what they say last is still told by the servers.
        """
        self._ending = True
        running = list(self._running.values())
        south = [r.task for r in running if isinstance(r.slot, SouthSlot)]
        await end(south, radios_by)
        await end([r.task for r in running if r.task not in south], servers_by)
        for each in running:
            if each.task.done() and not each.task.cancelled():
                each.task.result()

    def _start(self, name: str, spec: Spec, slot: Slot | None) -> None:
        supervised = Supervised(name, *spec, self._hub, slot)
        task = asyncio.create_task(supervised.run(), name=name)
        task.add_done_callback(self._ended)
        self._running[name] = _Running(spec, supervised.slot, task)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelling():
            self._failed()

    def _drop(self, name: str) -> None:
        slot = self._running.pop(name).slot
        if isinstance(slot, NorthSlot):
            self._hub.outboxes.remove(slot.outbox)


async def end(tasks: Iterable[asyncio.Task[Any]], deadline: float) -> None:
    """Cancels tasks and waits for them until the deadline (the loop's time)."""
    tasks = list(tasks)
    for task in tasks:
        task.cancel()
    if tasks:
        _, pending = await asyncio.wait(tasks, timeout=max(0.0, deadline - _now()))
        for task in pending:
            log.error("%s does not stop and is left behind; please report it", task.get_name())


def _servers_first(item: tuple[str, Spec]) -> bool:
    return hasattr(item[1][0], "execute")


def _now() -> float:
    return asyncio.get_running_loop().time()

"""The daemon: builds hub, slots and control socket from a configuration, and ends cleanly."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import Coroutine, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from pathlib import Path as FilePath
from typing import Any

from gateway import __version__
from gateway.config import Config
from gateway.control import ControlServer
from gateway.ddf import load_folder
from gateway.errors import StateError
from gateway.hub import Hub
from gateway.notify import notify
from gateway.registry import Registry
from gateway.slots import SouthSlot
from gateway.state import StateDatabase
from gateway.supervisor import Supervised

log = logging.getLogger(__name__)

SAVE_INTERVAL_S = 0.5
"""How old a value can be that a killed process loses; the file is not synced each time."""

SAVE_RETRY_S = 10.0
"""How long a full disk is left alone."""

TICK_S = 1.0
"""How exactly the report rule's minimum interval is kept."""

RADIOS_STOP_S = 2.5
SERVERS_STOP_S = 4.2
"""When radios and servers must have ended after a stop; the whole stop stays under 5 s."""

LEFT_BEHIND_S = 0.3
EXIT_LEFT_BEHIND = 1
"""How long, and with which status, a stopped daemon waits for tasks and threads that hang."""


class Service:
    """One daemon. `run` lasts until `stop` is called or the task is cancelled."""

    def __init__(self, config: Config, state_folder: FilePath) -> None:
        self._config = config
        self._state_folder = state_folder
        self._stopping = asyncio.Event()
        self.ready = asyncio.Event()

    def stop(self) -> None:
        """Asks `run` to end; may be called from a signal handler."""
        self._stopping.set()

    async def run(self) -> None:
        """Runs the daemon; StateError where state or control socket cannot be used.

        An adapter that does not stop is left behind: its task may still be there afterwards.
        """
        registry = Registry.builtin()
        if self._config.gateway.definitions:
            for fault in load_folder(self._config.gateway.definitions, registry):
                log.warning("%s", fault)
        state = StateDatabase(self._state_folder)
        hub = Hub(registry, self._config.rules, state)
        try:
            hub.restore(state.load())
            adapters = [
                Supervised(name, adapter, section, hub)
                for name, (adapter, section) in self._config.adapters.items()
            ]
            slots = [adapter.slot for adapter in adapters]
            async with ControlServer(self._config.gateway.socket, hub, slots).listening():
                with ThreadPoolExecutor(1, "state") as saver:  # its end waits for the last save
                    await self._serve(hub, adapters, _save(hub, state, saver))
        finally:
            _save_last(hub, state)
            log.info("stopped")

    async def _serve(
        self, hub: Hub, adapters: Sequence[Supervised], saving: Coroutine[Any, Any, None]
    ) -> None:
        # No TaskGroup: it would wait for ever for an adapter that does not stop.
        log.info("border-gateway %s starts with %d devices", __version__, len(hub.store) - 1)
        south = [a for a in adapters if isinstance(a.slot, SouthSlot)]
        north = [a for a in adapters if a not in south]
        core = [asyncio.create_task(saving), asyncio.create_task(_tick(hub))]
        servers = [asyncio.create_task(a.run(), name=a.slot.name) for a in north]
        radios = [asyncio.create_task(a.run(), name=a.slot.name) for a in south]
        stopping: asyncio.Task[Any] = asyncio.create_task(self._stopping.wait())
        notify("READY=1")
        self.ready.set()
        try:
            await asyncio.wait(
                [stopping, *core, *servers, *radios], return_when=asyncio.FIRST_COMPLETED
            )
        finally:
            notify("STOPPING=1")
            log.info("stopping")
            # Radios first: what they say last is still told by the servers.
            stopped = asyncio.get_running_loop().time()
            await _end(radios, stopped + RADIOS_STOP_S)
            await _end(servers, stopped + SERVERS_STOP_S)
            await _end([*core, stopping], stopped + SERVERS_STOP_S)
        for task in (*core, *servers, *radios):
            if task.done() and not task.cancelled():
                task.result()  # none of them ends by itself but by a bug


async def _save(hub: Hub, state: StateDatabase, saver: Executor) -> None:
    """Saves changed values, until cancelled; what was not surely saved is unsaved again."""
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(SAVE_INTERVAL_S)
        if not (unsaved := hub.take_unsaved()):
            continue
        try:
            await loop.run_in_executor(saver, state.save, unsaved)
        except StateError as error:
            hub.keep_unsaved(unsaved)
            hub.counters["state_errors"] += 1
            log.error("last values are not saved, will try again: %s", error)
            await asyncio.sleep(SAVE_RETRY_S)
        except asyncio.CancelledError:
            hub.keep_unsaved(unsaved)
            raise


def _save_last(hub: Hub, state: StateDatabase) -> None:
    try:
        state.save(hub.take_unsaved())
    except StateError as error:
        log.error("the values of the last seconds are lost: %s", error)
    finally:
        state.close()


async def _tick(hub: Hub) -> None:
    """Drives the report rule's clock, until cancelled."""
    while True:
        await asyncio.sleep(TICK_S)
        hub.tick()


async def _end(tasks: list[asyncio.Task[Any]], deadline: float) -> None:
    """Cancels tasks and waits for them until the deadline (the loop's time)."""
    for task in tasks:
        task.cancel()
    if tasks:
        timeout_s = max(0.0, deadline - asyncio.get_running_loop().time())
        _, pending = await asyncio.wait(tasks, timeout=timeout_s)
        for task in pending:
            log.error("%s does not stop and is left behind; please report it", task.get_name())


def run(config: Config, state_folder: FilePath) -> None:
    """Runs the daemon in the foreground until SIGTERM or SIGINT; StateError if it cannot.

    Ends the process itself if an adapter is left behind that does not stop.
    """
    configure_logging(config.gateway.log)

    # All is saved when it starts. What hangs then, a task or a thread, cannot be stopped otherwise.
    leave = threading.Timer(LEFT_BEHIND_S, os._exit, [EXIT_LEFT_BEHIND])
    leave.daemon = True

    async def main() -> None:
        service = Service(config, state_folder)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, service.stop)
        try:
            await service.run()
        finally:
            leave.start()

    try:
        asyncio.run(main())
    finally:
        leave.cancel()


def configure_logging(level: str) -> None:
    """Logs to stderr; under systemd with the priority prefixes that the journal reads."""
    handler = logging.StreamHandler(sys.stderr)
    if os.environ.get("JOURNAL_STREAM"):
        handler.setFormatter(_JournalFormatter("%(name)s: %(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    for ours in ("gateway", "adapters"):
        logging.getLogger(ours).setLevel(level.upper())


class _JournalFormatter(logging.Formatter):
    _PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))

    def format(self, record: logging.LogRecord) -> str:
        priority = next((p for level, p in self._PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())

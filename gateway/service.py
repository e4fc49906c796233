"""The daemon: builds hub, slots and control socket from a configuration, and ends cleanly."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

from gateway import __version__
from gateway.configuration.config import Config
from gateway.configuration.sections import GatewaySection
from gateway.control.requests import Requests
from gateway.control.server import ControlServer
from gateway.errors import ConfigError
from gateway.hub import Hub
from gateway.logs import configure_logging, set_level
from gateway.objects.ddf import load_folder
from gateway.objects.registry import Registry
from gateway.overview import in_a_line
from gateway.ports import Reload
from gateway.process import machine
from gateway.process.lineup import Lineup, end
from gateway.process.notify import notify, show
from gateway.process.own_device import OwnDevice
from gateway.process.saver import Saver
from gateway.process.watchdog import Progress, watch, watchdog_interval_s
from gateway.readings.journal import Journal
from gateway.storage.archive import Archive
from gateway.storage.state import StateDatabase

log = logging.getLogger(__name__)

RESTART_AFTER_S = 1.0
"""So that the client who asks for a restart of the adapters gets its answer before."""

TICK_S = 1.0
"""How exactly the report rule's minimum interval is kept."""

STUCK_AFTER_S = 20.0
"""When the core counts as stuck: longer than a full disk is left alone, and a slow one takes."""

RADIOS_STOP_S = 2.5
SERVERS_STOP_S = 4.2
"""When radios and servers must have ended after a stop; the whole stop stays under 5 s."""

LEFT_BEHIND_S = 0.7
EXIT_LEFT_BEHIND = 1
"""How long, and with which status, a stopped daemon waits for tasks and threads that hang."""


class Service:
    """One daemon. `run` lasts until `stop` is called or the task is cancelled.

    `reread` gives the configuration as it is now, or ConfigError; it is called in a thread.
    """

    def __init__(
        self, config: Config, state_folder: FilePath, reread: Callable[[], Config] | None = None
    ) -> None:
        self._config = config
        self._reread = reread or (lambda: config)
        self._state_folder = state_folder
        self._stopping = asyncio.Event()
        self._reload_asked = asyncio.Event()
        self._restart_asked = asyncio.Event()
        self._reloading = asyncio.Lock()
        self.ready = asyncio.Event()

    def stop(self) -> None:
        """Asks `run` to end; may be called from a signal handler."""
        self._stopping.set()

    def ask_reload(self) -> None:
        """Asks `run` to take over the configuration as it is now; for a signal handler."""
        self._reload_asked.set()

    async def run(self) -> None:
        """Runs the daemon; StateError where state or control socket cannot be used.

        An adapter that does not stop is left behind: its task may still be there afterwards.
        """
        registry, faults = _definitions(self._config)
        for fault in faults:
            log.warning("%s", fault)
        state = StateDatabase(self._state_folder)
        archive = Archive(state)
        last, places = archive.load()
        hub = Hub(
            registry,
            self._config.rules,
            state,
            Journal(archive, last=last, places=places),
            clock_is_set=machine.clock_is_set,
        )
        hub.journal.retention = self._config.journal
        saver = Saver(hub, state, archive)
        lineup = Lineup(hub, failed=self.stop)
        own = OwnDevice(hub, lineup.slots, self._config.gateway, self._restart_asked.set)

        async def reload() -> Sequence[str]:
            return await self._reload(hub, lineup, own)

        try:
            hub.restore(state.load())
            requests = Requests(hub, reload, state.snapshot, lineup.sections)
            control = ControlServer(self._config.gateway.socket, requests)
            async with control.listening():
                with saver:
                    await self._serve(hub, lineup, own, saver)
        finally:
            saver.save_last()
            log.info("stopped")

    async def _serve(self, hub: Hub, lineup: Lineup, own: OwnDevice, saver: Saver) -> None:
        # No TaskGroup: it would wait for ever for an adapter that does not stop.
        log.info(
            "border-gateway %s starts with %d devices; configuration %s, state in %s",
            __version__, len(hub.store) - 1, self._config.source, self._state_folder,
        )  # fmt: skip
        await lineup.become(self._config.adapters)
        progress = Progress(hub.monotonic, tick=STUCK_AFTER_S, saving=STUCK_AFTER_S)
        work = (
            saver.run(progress),
            _tick(hub, own, progress),
            self._reload_when_asked(hub, lineup, own),
            self._restart_when_asked(lineup),
            watch(progress, watchdog_interval_s()),
        )
        core = [asyncio.create_task(each) for each in work]
        stopping: asyncio.Task[Any] = asyncio.create_task(self._stopping.wait())
        gc.freeze()  # what is here stays: to look through it for garbage takes 50 ms each time
        notify("READY=1")
        self.ready.set()
        try:
            await asyncio.wait([stopping, *core], return_when=asyncio.FIRST_COMPLETED)
        finally:
            notify("STOPPING=1\nSTATUS=")
            log.info("stopping")
            stopped = asyncio.get_running_loop().time()
            try:
                await lineup.stop(stopped + RADIOS_STOP_S, stopped + SERVERS_STOP_S)
            finally:
                await end([*core, stopping], stopped + SERVERS_STOP_S)
        for task in core:
            if task.done() and not task.cancelled():
                task.result()  # none of them ends by itself but by a bug

    async def _restart_when_asked(self, lineup: Lineup) -> None:
        while True:
            await self._restart_asked.wait()
            await asyncio.sleep(RESTART_AFTER_S)
            self._restart_asked.clear()
            async with self._reloading:
                told = await lineup.become(self._config.adapters, anew=True)
            log.info("%s", "; ".join(told) or "there is no adapter to restart")

    async def _reload_when_asked(self, hub: Hub, lineup: Lineup, own: OwnDevice) -> None:
        while True:
            await self._reload_asked.wait()
            self._reload_asked.clear()
            with contextlib.suppress(ConfigError):  # logged
                await self._reload(hub, lineup, own)

    async def _reload(self, hub: Hub, lineup: Lineup, own: OwnDevice) -> Sequence[str]:
        """Takes over the file as it is now; gives a sentence for all that an operator should know.

        ConfigError where it is not valid: then everything stays as it was.
        """
        async with self._reloading:
            notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
            try:
                wanted = await asyncio.to_thread(self._reread)
                registry, faults = await asyncio.to_thread(_definitions, wanted)
                told = [*faults, *_waiting(self._config.gateway, wanted.gateway)]
                if wanted.gateway.log != self._config.gateway.log:
                    set_level(wanted.gateway.log)
                hub.redefine(registry)
                hub.journal.retention = wanted.journal
                told += hub.reconfigure(wanted.rules)
                own.configure(wanted.gateway)
                told += await lineup.become(wanted.adapters)
                self._config = _running(self._config, wanted)
            except ConfigError as error:
                refused = ConfigError(f"not reloaded, the running configuration stays: {error}")
                log.error("%s", refused)
                raise refused from error
            finally:
                notify("READY=1")
            log.info("%s", "; ".join(["reloaded", *told]))
            return told


def _definitions(config: Config) -> tuple[Registry, Sequence[str]]:
    """The built-in object definitions and those of the folder, and what is wrong with its files."""
    registry = Registry.builtin()
    folder = config.gateway.definitions
    return registry, load_folder(folder, registry) if folder else []


def _waiting(running: GatewaySection, wanted: GatewaySection) -> Sequence[str]:
    """A sentence for each changed key that waits for a restart."""
    return [f"[gateway] {key} waits for a restart of the daemon" for key in _kept(running, wanted)]


def _running(running: Config, wanted: Config) -> Config:
    """The wanted configuration, with what waits for a restart as it is."""
    kept = _kept(running.gateway, wanted.gateway)
    return replace(wanted, gateway=wanted.gateway.model_copy(update=kept))


def _kept(running: GatewaySection, wanted: GatewaySection) -> Mapping[str, object]:
    """The running values of changed keys that wait for a restart."""
    fixed = [k for k in type(running).model_fields if running.reload_of(k) is Reload.RESTART]
    return {k: old for k in fixed if (old := getattr(running, k)) != getattr(wanted, k)}


async def _tick(hub: Hub, own: OwnDevice, progress: Progress) -> None:
    """Drives the report rule's clock, and what the gateway tells of itself, until cancelled."""
    told = ""
    while True:
        await asyncio.sleep(TICK_S)
        own.refresh()
        hub.tick()
        if (line := in_a_line(hub.overview(), hub.store.devices()[1:])) != told:
            show(line)
            told = line
        progress.made("tick")


def run(config: Config, state_folder: FilePath, reread: Callable[[], Config] | None = None) -> None:
    """Runs the daemon in the foreground until SIGTERM or SIGINT; StateError if it cannot.

    SIGHUP takes over what `reread` gives. Ends the process itself if an adapter is left behind
    that does not stop.
    """
    configure_logging(config.gateway.log)

    # All is saved when it starts. What hangs then, a task or a thread, cannot be stopped otherwise.
    leave = threading.Timer(LEFT_BEHIND_S, os._exit, [EXIT_LEFT_BEHIND])
    leave.daemon = True

    async def main() -> None:
        service = Service(config, state_folder, reread)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, service.stop)
        loop.add_signal_handler(signal.SIGHUP, service.ask_reload)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGHUP})
        try:
            await service.run()
        finally:
            leave.start()

    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(main())
    finally:
        leave.cancel()
        gc.freeze()  # an interpreter that ends need not look for garbage: 0.7 s with 1,000 devices


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    """That of uvloop where it is installed, the extra `[uvloop]`; None is asyncio's own."""
    try:
        import uvloop
    except ImportError:
        return None
    log.info("the event loop is uvloop's")
    return uvloop.new_event_loop

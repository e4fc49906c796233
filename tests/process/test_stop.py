"""How the daemon ends: with adapters that do not stop, on a full disk, in the middle of a save."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Any, ClassVar

import pytest

from adapters.sim.adapter import Sim, SimSection
from gateway import service
from gateway.configuration.config import Config
from gateway.configuration.sections import GatewaySection
from gateway.errors import StateError
from gateway.events import Device, Resource
from gateway.model import DeviceId, Path
from gateway.policy import DeviceRule, Rules
from gateway.ports import NorthPort, Section
from gateway.process import saver
from gateway.service import Service
from gateway.storage.state import StateDatabase
from tests.deadlines import DEADLINE_S

ATTIC = DeviceId("sim:0000000000000001")


class Stuck:
    """A northbound adapter that does not stop until the test lets it."""

    Config: ClassVar[type[Section]] = Section
    released: ClassVar[asyncio.Event]

    def __init__(self, config: Section, port: NorthPort) -> None:
        pass

    async def run(self) -> None:
        while not self.released.is_set():
            try:
                await self.released.wait()
            except asyncio.CancelledError:
                continue


def config(folder: FilePath, **adapters: Any) -> Config:
    rules = Rules({ATTIC: DeviceRule(True, "attic")})
    sim = (Sim, SimSection.model_validate({"interval": "10ms"}))
    return Config(GatewaySection(socket=folder / "sock"), rules, {"sim": sim, **adapters})


async def run_until_saved(daemon: Service) -> asyncio.Task[None]:
    """Starts the daemon; returns when it has had time for some values."""
    running = asyncio.create_task(daemon.run())
    async with asyncio.timeout(DEADLINE_S):
        await daemon.ready.wait()
        await asyncio.sleep(0.1)
    return running


def kept(folder: FilePath) -> Sequence[Resource]:
    state = StateDatabase(folder)
    _, attic = state.load()
    state.close()
    return attic.resources


async def test_an_adapter_that_does_not_stop_is_left_behind_and_everything_is_saved(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service, "SERVERS_STOP_S", 0.2)
    Stuck.released = asyncio.Event()
    daemon = Service(config(tmp_path, stuck=(Stuck, Section())), tmp_path)
    running = await run_until_saved(daemon)
    daemon.stop()
    async with asyncio.timeout(DEADLINE_S):
        await running
    assert "stuck does not stop and is left behind" in caplog.text
    assert kept(tmp_path)
    left = [task for task in asyncio.all_tasks() if task.get_name() == "stuck"]
    Stuck.released.set()
    await asyncio.wait(left)


STUCK_DAEMON = """
import asyncio, os, signal, sys
from pathlib import Path
from gateway.process import saver
from gateway import service
from tests.process.test_stop import Stuck, config

class Suicidal(Stuck):
    released = asyncio.Event()

    async def run(self):
        os.kill(os.getpid(), signal.SIGTERM)
        await super().run()

service.SERVERS_STOP_S = 0.2
folder = Path(sys.argv[1])
service.run(config(folder, stuck=(Suicidal, Suicidal.Config())), folder)
"""


def test_the_process_ends_also_when_an_adapter_does_not_stop(tmp_path: FilePath) -> None:
    done = subprocess.run(
        [sys.executable, "-c", STUCK_DAEMON, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.returncode == 1
    assert "stuck does not stop and is left behind" in done.stderr
    assert "stopped" in done.stderr.splitlines()[-1]


class FullDisk(StateDatabase):
    """A state database that can save nothing."""

    def save(self, unsaved: Sequence[tuple[Device, Path, Resource | None]]) -> None:
        raise StateError("state.db: database or disk is full")


async def test_on_a_full_disk_the_daemon_still_ends_cleanly(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service, "StateDatabase", FullDisk)
    daemon = Service(config(tmp_path), tmp_path)
    running = await run_until_saved(daemon)
    daemon.stop()
    await running
    assert "the values of the last seconds are lost" in caplog.text
    StateDatabase(tmp_path).close()


class SlowDisk(StateDatabase):
    """The first save takes until the daemon stops, and then fails."""

    saving: ClassVar[threading.Event]
    stopped: ClassVar[threading.Event]

    def save(self, unsaved: Sequence[tuple[Device, Path, Resource | None]]) -> None:
        if not self.saving.is_set():
            self.saving.set()
            assert self.stopped.wait(DEADLINE_S)
            raise StateError("state.db: database is locked")
        super().save(unsaved)


async def test_a_save_that_fails_while_the_daemon_stops_is_made_good(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    SlowDisk.saving, SlowDisk.stopped = threading.Event(), threading.Event()
    monkeypatch.setattr(service, "StateDatabase", SlowDisk)
    monkeypatch.setattr(saver, "SAVE_INTERVAL_S", 0.05)
    once = (Sim, SimSection.model_validate({"interval": "1d"}))
    daemon = Service(config(tmp_path, sim=once), tmp_path)
    running = asyncio.create_task(daemon.run())
    assert await asyncio.to_thread(SlowDisk.saving.wait, DEADLINE_S)
    daemon.stop()
    threading.Timer(0.1, SlowDisk.stopped.set).start()  # the loop may be waiting for the disk
    await asyncio.wait_for(running, DEADLINE_S)
    assert {r.path for r in kept(tmp_path)} >= {Path(3303, 0, 5700), Path(3312, 0, 5850)}


async def test_a_stop_that_comes_before_the_start_is_done_still_stops(tmp_path: FilePath) -> None:
    daemon = Service(config(tmp_path), tmp_path)
    daemon.stop()
    await asyncio.wait_for(daemon.run(), DEADLINE_S)


async def test_a_socket_that_cannot_be_made_ends_the_start_before_it_is_called_ready(
    tmp_path: FilePath,
) -> None:
    (tmp_path / "sock").mkdir()
    daemon = Service(config(tmp_path), tmp_path)
    with pytest.raises(StateError, match="is not a socket"):
        await daemon.run()
    assert not daemon.ready.is_set()
    StateDatabase(tmp_path).close()

"""The sign of life that systemd waits for: given while the core works, and only then."""

import asyncio
import contextlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path as FilePath
from socket import AF_UNIX, SOCK_DGRAM, socket

import pytest

from gateway import service
from gateway.events import Device, Resource
from gateway.model import Path
from gateway.process.notify import notify, show
from gateway.process.watchdog import Progress, watch, watchdog_interval_s
from gateway.service import Service
from gateway.storage.state import StateDatabase
from tests.daemon import Daemon
from tests.deadlines import DEADLINE_S
from tests.fakes import Clock
from tests.process.conftest import ServiceManager
from tests.process.test_stop import config


def test_a_running_daemon_gives_signs_of_life(
    manager: ServiceManager, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", "200000")
    daemon = Daemon(tmp_path)
    daemon.start()
    assert [manager.told() for _ in range(3)] == ["READY=1", "WATCHDOG=1", "WATCHDOG=1"]
    assert daemon.end()[0] == 0


def test_a_part_is_stuck_when_its_patience_is_over(clock: Clock) -> None:
    progress = Progress(clock.monotonic, tick=10.0, saving=20.0)
    clock.advance(15)
    assert progress.stuck() == ["tick"]
    progress.made("tick")
    assert progress.stuck() == []
    clock.advance(10)
    assert progress.stuck() == ["saving"]


async def test_no_sign_of_life_is_given_while_a_part_is_stuck(
    manager: ServiceManager, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    progress = Progress(clock.monotonic, tick=10.0)
    clock.advance(11)
    watching = asyncio.create_task(watch(progress, 0.01))
    async with asyncio.timeout(DEADLINE_S):
        while "no progress: tick; systemd will restart the daemon" not in caplog.text:
            await asyncio.sleep(0)
        manager.socket.setblocking(False)
        with pytest.raises(BlockingIOError):
            manager.told()
        progress.made("tick")
        while True:
            await asyncio.sleep(0)
            try:
                assert manager.told() == "WATCHDOG=1"
                break
            except BlockingIOError:
                continue
    watching.cancel()


class HangingDisk(StateDatabase):
    """A disk that does not answer until the test lets it."""

    answers = threading.Event()

    def save(self, unsaved: Sequence[tuple[Device, Path, Resource | None]]) -> None:
        self.answers.wait()


async def test_a_disk_that_hangs_is_no_progress(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(service, "StateDatabase", HangingDisk)
    monkeypatch.setattr(service, "STUCK_AFTER_S", 2.0)
    monkeypatch.setenv("WATCHDOG_USEC", "20000")
    daemon = Service(config(tmp_path), tmp_path)
    running = asyncio.create_task(daemon.run())
    async with asyncio.timeout(DEADLINE_S):
        while "no progress: saving" not in caplog.text:
            await asyncio.sleep(0.01)
        HangingDisk.answers.set()
        daemon.stop()
        await running
    assert "no progress: tick" not in caplog.text


def test_a_status_that_the_service_manager_does_not_read_is_lost_without_a_word(
    manager: ServiceManager, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.suppress(BlockingIOError), socket(AF_UNIX, SOCK_DGRAM) as other:
        other.setblocking(False)
        while True:
            other.sendto(b"WATCHDOG=1", manager.socket.getsockname())
    show("4/4 radios")
    assert {record.levelname for record in caplog.records} == {"DEBUG"}
    notify("READY=1")
    assert "systemd cannot be told READY=1" in caplog.text


@pytest.mark.parametrize(
    ("usec", "process", "interval_s"),
    [
        ("30000000", "", 30.0),
        ("30000000", "own", 30.0),
        ("30000000", "1", None),  # meant for another process
        ("", "", None),
        ("0", "", None),
        ("soon", "", None),
    ],
)
def test_the_interval_is_what_systemd_says(
    monkeypatch: pytest.MonkeyPatch, usec: str, process: str, interval_s: float | None
) -> None:
    monkeypatch.setenv("WATCHDOG_USEC", usec)
    monkeypatch.setenv("WATCHDOG_PID", str(os.getpid()) if process == "own" else process)
    assert watchdog_interval_s() == interval_s

"""An adapter that fails is shown with its reason and started anew; the others never notice."""

import asyncio
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from gateway.errors import AdapterError, Unreachable
from gateway.events import Command, DeviceChanged, Outcome, State, Write
from gateway.model import Path
from gateway.policy import DeviceRule
from gateway.ports import NorthPort, Section, SouthPort
from gateway.process import supervisor
from gateway.process.supervisor import Supervised
from gateway.slots import NorthSlot
from tests.deadlines import DEADLINE_S
from tests.fakes import STATION, HubBench


class Failing:
    """A northbound adapter; each life does what the test has put into `lives`."""

    Config: ClassVar[type[Section]] = Section
    lives: ClassVar[list[Callable[[], Any]]] = []

    def __init__(self, config: Section, port: NorthPort) -> None:
        self.port = port

    async def run(self) -> None:
        self.lives.pop(0)()
        await asyncio.Event().wait()


class Untidy:
    """A northbound adapter that fails to close what it opened."""

    Config: ClassVar[type[Section]] = Section
    lives: ClassVar[int]

    def __init__(self, config: Section, port: NorthPort) -> None:
        self.port = port

    async def run(self) -> None:
        type(self).lives += 1
        try:
            await asyncio.Event().wait()
        finally:
            raise AdapterError("the server does not say goodbye")


class Radio:
    """A southbound adapter that runs until told to fail."""

    Config: ClassVar[type[Section]] = Section
    failed: ClassVar[asyncio.Event]

    def __init__(self, config: Section, port: SouthPort) -> None:
        self.port = port

    async def run(self) -> None:
        self.port.status("running")
        await self.failed.wait()
        raise AdapterError("the stick is gone")

    async def execute(self, command: Command) -> Outcome:
        return Outcome(confirmed=True)


def fail(error: BaseException) -> Callable[[], None]:
    def life() -> None:
        raise error

    return life


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.0)


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not condition():
            await asyncio.sleep(0)


async def run_while(supervised: Supervised, condition: Callable[[], object]) -> None:
    task = asyncio.create_task(supervised.run())
    await until(condition)
    task.cancel()
    await asyncio.wait([task])


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (AdapterError("the server refuses the password"), "the server refuses the password"),
        (ExceptionGroup("tasks", [AdapterError("no link")]), "failed: no link"),
        (KeyError("x"), "unexpected KeyError"),
        (ExceptionGroup("tasks", [AdapterError("no link"), KeyError()]), "unexpected"),
    ],
)
async def test_a_failed_adapter_is_started_again_and_its_reason_shown(
    bench: HubBench, caplog: pytest.LogCaptureFixture, error: Exception, told: str
) -> None:
    Failing.lives = [fail(error), lambda: None]
    supervised = Supervised("xmpp", Failing, Section(), bench.hub)
    with caplog.at_level("INFO"):
        await run_while(supervised, lambda: not Failing.lives)
    assert told in caplog.text
    assert supervised.slot.restarts == 1
    assert bench.hub.counters["adapter_bugs"] == ("unexpected" in told)


async def test_what_waits_for_a_server_survives_its_restart(bench: HubBench) -> None:
    Failing.lives = [fail(AdapterError("x")), lambda: None]
    supervised = Supervised("xmpp", Failing, Section(), bench.hub)
    bench.join()
    await run_while(supervised, lambda: not Failing.lives)
    assert isinstance(supervised.slot, NorthSlot)
    assert len(supervised.slot.outbox) > 0


async def test_the_devices_of_a_radio_that_is_gone_are_offline_and_cannot_be_written(
    bench: HubBench,
) -> None:
    Radio.failed = asyncio.Event()
    bench.rules(station=DeviceRule(listed=True, writable=True))
    bench.join()
    bench.say({Path(3312, 0, 5850): False})
    supervised = Supervised("ble", Radio, Section(), bench.hub)
    command = Write(STATION, {Path(3312, 0, 5850): True}, "test")
    task = asyncio.create_task(supervised.run())
    await until(lambda: supervised.slot.text == "running")
    assert await bench.north.execute(command) == Outcome(confirmed=True)
    task.cancel()
    await asyncio.wait([task])
    device = bench.north.device_by_id(STATION)
    assert device
    assert device.availability.state is State.OFFLINE
    assert device.availability.reason == "not reached since the adapter ble stopped"
    with pytest.raises(Unreachable):
        await bench.north.execute(command)


async def test_why_a_device_is_offline_stays_true_when_its_adapter_runs_again(
    bench: HubBench,
) -> None:
    Radio.failed = asyncio.Event()
    bench.join()
    bench.say({Path(3312, 0, 5850): False})
    bench.told()
    supervised = Supervised("ble", Radio, Section(), bench.hub)
    task = asyncio.create_task(supervised.run())
    Radio.failed.set()
    await until(lambda: supervised.slot.restarts)
    Radio.failed.clear()
    await until(lambda: supervised.slot.text == "running")
    device = bench.north.device_by_id(STATION)
    assert device
    assert device.availability.reason == "not reached since the adapter ble stopped"
    assert bench.told() == [DeviceChanged(STATION)]
    task.cancel()
    await asyncio.wait([task])


async def test_an_adapter_that_is_cancelled_by_its_own_library_is_started_again(
    bench: HubBench,
) -> None:
    Failing.lives = [fail(asyncio.CancelledError()), lambda: None]
    supervised = Supervised("xmpp", Failing, Section(), bench.hub)
    await run_while(supervised, lambda: not Failing.lives)
    assert supervised.slot.restarts == 1


async def test_an_adapter_that_fails_while_it_stops_is_not_started_again(bench: HubBench) -> None:
    Untidy.lives = 0
    supervised = Supervised("xmpp", Untidy, Section(), bench.hub)
    task = asyncio.create_task(supervised.run())
    await until(lambda: Untidy.lives)
    task.cancel()
    await asyncio.wait([task], timeout=DEADLINE_S)
    assert task.done()
    assert Untidy.lives == 1


async def test_a_failure_that_repeats_is_one_line_in_the_log(
    bench: HubBench, caplog: pytest.LogCaptureFixture
) -> None:
    Failing.lives = [*[fail(AdapterError("no adapter hci0"))] * 20, lambda: None]
    supervised = Supervised("ble", Failing, Section(), bench.hub)
    await run_while(supervised, lambda: not Failing.lives)
    assert supervised.slot.restarts == 20
    assert caplog.text.count("no adapter hci0") == 1


async def test_a_stopped_adapter_is_not_started_again(bench: HubBench) -> None:
    Failing.lives = [lambda: None]
    supervised = Supervised("xmpp", Failing, Section(), bench.hub)
    await run_while(supervised, lambda: supervised.slot.running)
    assert not supervised.slot.running
    assert supervised.slot.restarts == 0


def test_an_outage_is_one_warning_however_often_it_is_tried_and_its_end_a_line(
    bench: HubBench, caplog: pytest.LogCaptureFixture
) -> None:
    port = bench.north
    port.starts()
    caplog.clear()
    port.status("connected")
    for seconds in (1, 4, 10):
        port.status(f"not connected: timed out; tries again in {seconds} s", well=False)
    assert port.state().text.endswith("in 10 s")
    port.status("not connected: the server refuses the account; tries again in 60 s", well=False)
    port.status("connected")
    assert [(r.levelname, r.getMessage().partition(": ")[2]) for r in caplog.records] == [
        ("INFO", "connected"),
        ("WARNING", "not connected: timed out; tries again in 1 s"),
        ("WARNING", "not connected: the server refuses the account; tries again in 60 s"),
        ("INFO", "connected"),
    ]

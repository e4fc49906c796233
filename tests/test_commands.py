"""From a client's command to the device: checks, rights, one at a time, deadlines."""

import asyncio

import pytest

from gateway import commands
from gateway.errors import (
    AdapterError,
    Busy,
    CommandError,
    InvalidValue,
    NotAllowed,
    NotFound,
    TimedOut,
    Unreachable,
    WritesDisabled,
)
from gateway.events import Command, Delete, Execute, Outcome, Write
from gateway.model import Path, Value
from gateway.objects.registry import Registry
from gateway.policy import DeviceRule
from tests.deadlines import DEADLINE_S
from tests.fakes import METER, STATION, Clock, HubBench

SWITCH, DIMMER, TEMPERATURE = Path(3312, 0, 5850), Path(3312, 0, 5851), Path(3303, 0, 5700)
RESET = Path(3303, 0, 5605)


@pytest.fixture
def meter(bench: HubBench) -> HubBench:
    """A meter with a switch, a dimmer and a resettable thermometer, writing enabled."""
    bench.rules(meter=DeviceRule(listed=True, prefix="meter", writable=True))
    bench.join(METER)
    bench.say({SWITCH: False, DIMMER: 10, TEMPERATURE: 20.0, RESET: None}, METER)
    return bench


def write(path: Path, value: Value) -> Write:
    return Write(METER, {path: value}, "test")


async def test_a_write_reaches_the_device_and_changes_nothing_until_it_reports(
    meter: HubBench,
) -> None:
    assert await meter.north.execute(write(SWITCH, True)) == Outcome(confirmed=True)
    assert meter.adapter.commands == [write(SWITCH, True)]
    resource = meter.north.resource(METER, SWITCH)
    assert resource
    assert resource.value is False


async def test_an_executable_is_executed_with_its_arguments(meter: HubBench) -> None:
    command = Execute(METER, RESET, "test", "0='x'")
    await meter.north.execute(command)
    assert meter.adapter.commands == [command]


@pytest.mark.parametrize(
    ("command", "error"),
    [
        (Write(STATION, {SWITCH: True}, "test"), NotFound),
        (write(Path(3312, 1, 5850), True), NotFound),
        (write(Path(3312, 0, 5852), 1), NotFound),
        (write(Path(3312, 0), 1), NotFound),
        (write(TEMPERATURE, 1.0), NotAllowed),
        (write(RESET, b""), NotAllowed),
        (Execute(METER, SWITCH, "test"), NotAllowed),
        (write(SWITCH, 1), InvalidValue),
        (write(DIMMER, 101), InvalidValue),
        (write(DIMMER, 20.5), InvalidValue),
        (write(DIMMER, "20"), InvalidValue),
    ],
)
async def test_a_command_that_cannot_be_right_never_reaches_the_device(
    meter: HubBench, command: Command, error: type[CommandError]
) -> None:
    with pytest.raises(error):
        await meter.north.execute(command)
    assert not meter.adapter.commands


async def test_one_bad_value_of_several_refuses_them_all(meter: HubBench) -> None:
    with pytest.raises(InvalidValue):
        await meter.north.execute(Write(METER, {SWITCH: True, DIMMER: 101}, "test"))
    assert not meter.adapter.commands


async def test_what_a_write_removes_is_checked_with_the_rest_and_goes_first(clock: Clock) -> None:
    bench = HubBench(clock, Registry.builtin())
    bench.rules(meter=DeviceRule(listed=True, writable=True))
    bench.join(METER)
    texts = Path(3349, 0, 5912)
    one, two = Path(*texts, 0), Path(*texts, 1)
    bench.say({one: "a", two: "b"}, METER)
    for wrong in (Write(METER, {one: 1}, "test", frozenset({two})),
                  Write(METER, {one: "z"}, "test", frozenset({Path(*texts, 2)})),
                  Write(METER, {one: "z"}, "test", frozenset({texts}))):  # fmt: skip
        with pytest.raises(CommandError):
            await bench.north.execute(wrong)
    assert not bench.adapter.commands
    await bench.north.execute(Write(METER, {one: "z"}, "test", frozenset({two})))
    await bench.north.execute(Write(METER, {}, "test", frozenset({one})))
    assert bench.adapter.commands == [
        Delete(METER, two, "test"), Write(METER, {one: "z"}, "test"), Delete(METER, one, "test")
    ]  # fmt: skip


async def test_writing_is_off_until_enabled_and_the_answer_names_the_key(bench: HubBench) -> None:
    bench.join(METER)
    bench.say({SWITCH: False}, METER)
    with pytest.raises(
        WritesDisabled, match=r'writable = \["3312/0/5850"\].*ble:00-24-be-80-4f-f2'
    ):
        await bench.north.execute(write(SWITCH, True))


async def test_writing_can_be_enabled_for_one_resource_only(bench: HubBench) -> None:
    bench.rules(meter=DeviceRule(listed=True, writable=(Path(3312, 0, 5851),)))
    bench.join(METER)
    bench.say({SWITCH: False, DIMMER: 10}, METER)
    await bench.north.execute(write(DIMMER, 20))
    with pytest.raises(WritesDisabled):
        await bench.north.execute(write(SWITCH, True))


async def test_a_whole_number_from_json_fits_an_integer_and_a_float(meter: HubBench) -> None:
    await meter.north.execute(write(DIMMER, 20.0))
    (command,) = meter.adapter.commands
    assert isinstance(command, Write)
    assert command.values == {DIMMER: 20}
    assert isinstance(command.values[DIMMER], int)


async def test_a_device_marked_offline_is_still_tried(meter: HubBench) -> None:
    meter.south.lost(METER, "silent")
    await meter.north.execute(write(SWITCH, True))
    assert meter.adapter.commands


async def test_a_device_whose_adapter_is_not_running_is_unreachable(meter: HubBench) -> None:
    meter.hub.commander.owners.clear()
    with pytest.raises(Unreachable, match="ble"):
        await meter.north.execute(write(SWITCH, True))


async def test_one_command_at_a_time_reaches_a_device_and_a_long_queue_is_refused(
    meter: HubBench,
) -> None:
    running, most, gate = 0, 0, asyncio.Event()

    async def slow(command: Command) -> Outcome:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await gate.wait()
        running -= 1
        return Outcome()

    meter.adapter.execute = slow  # type: ignore[method-assign]
    async with asyncio.timeout(DEADLINE_S), asyncio.TaskGroup() as tasks:
        waiting = [
            tasks.create_task(meter.north.execute(write(DIMMER, n)))
            for n in range(commands.MAX_WAITING)
        ]
        await asyncio.sleep(0)
        with pytest.raises(Busy):
            await meter.north.execute(write(SWITCH, True))
        gate.set()
    assert most == 1
    assert all(task.result() == Outcome() for task in waiting)


async def test_a_device_that_does_not_answer_is_given_up(
    meter: HubBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(commands, "COMMAND_TIMEOUT_S", 0.01)

    async def never(command: Command) -> Outcome:
        await asyncio.Event().wait()
        raise AssertionError

    meter.adapter.execute = never  # type: ignore[method-assign]
    with pytest.raises(TimedOut, match="did not answer"):
        await meter.north.execute(write(SWITCH, True))


async def test_every_write_is_logged_with_who_what_old_and_new(
    meter: HubBench, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"):
        await meter.north.execute(write(SWITCH, True))
    assert "test writes /3312/0/5850: False -> True" in caplog.text


async def test_an_adapter_that_fails_with_a_command_makes_the_device_unreachable(
    meter: HubBench,
) -> None:
    meter.adapter.answer = AdapterError("the stick is gone")
    with pytest.raises(Unreachable, match="the stick is gone"):
        await meter.north.execute(write(SWITCH, True))


async def test_a_command_that_waits_while_its_device_is_forgotten_is_refused(
    meter: HubBench,
) -> None:
    gate = asyncio.Event()
    meter.adapter.gate = gate
    first, second = (
        asyncio.create_task(meter.north.execute(write(SWITCH, on))) for on in (True, False)
    )
    while not meter.adapter.commands:
        await asyncio.sleep(0)
    meter.hub.forget(METER)
    gate.set()
    assert await first == Outcome(confirmed=True)
    with pytest.raises(NotFound):
        await second

"""Calls into bleak and D-Bus end in time, whatever they do."""

import asyncio

import pytest

from adapters.ble import deadlines
from adapters.ble.deadlines import unless, within
from gateway.errors import Unreachable


async def _stubborn(started: asyncio.Event) -> None:
    """As bleak's connect: answers cancellation with another call that never returns."""
    try:
        started.set()
        await asyncio.Event().wait()
    finally:
        await asyncio.Event().wait()


async def test_a_call_in_time_gives_its_result() -> None:
    async def answer() -> int:
        return 42

    assert await within(5, answer()) == 42


async def test_a_call_that_ignores_cancellation_ends_all_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(deadlines, "CLEANS_UP_S", 0.01)
    with pytest.raises(TimeoutError):
        await within(0.01, _stubborn(asyncio.Event()))


async def test_being_cancelled_ends_the_call_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(deadlines, "CLEANS_UP_S", 0.01)
    started = asyncio.Event()
    task = asyncio.create_task(within(60, _stubborn(started)))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_a_device_that_goes_ends_what_waits_for_it() -> None:
    gone, started = asyncio.Event(), asyncio.Event()

    async def wait() -> None:
        started.set()
        await asyncio.Event().wait()

    task = asyncio.create_task(unless(gone, wait()))
    await started.wait()
    gone.set()
    with pytest.raises(Unreachable):
        await task

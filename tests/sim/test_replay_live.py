"""What the demo's virtual devices go through, and that it ends."""

import asyncio
from typing import Any

import pytest

from adapters.sim import replay

DEADLINE_S = 10.0


class Deaf:
    """A peripheral whose library loses the first cancellation, as wait_for of Python 3.11 may."""

    def __init__(self) -> None:
        self.entered = asyncio.Event()

    async def notify(self, *_: object) -> None:
        self.entered.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            if asyncio.current_task().cancelling() > 1:  # type: ignore[union-attr]
                raise

    press = notify

    def value(self, *_: object) -> bytes:
        return bytes(3)


async def test_the_demo_ends_though_its_bluetooth_has_lost_a_cancellation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for pause in ("_TICK_S", "_FIRST_PRESS_S", "_PRESS_EVERY_S", "_AGAIN_S"):
        monkeypatch.setattr(replay, pause, 0.01)
    deaf: Any = [Deaf() for _ in range(3)]
    lives = asyncio.create_task(replay.live(*deaf))
    async with asyncio.timeout(DEADLINE_S):
        for each in deaf:
            await each.entered.wait()
        lives.cancel()
        await asyncio.wait({lives})
    assert lives.cancelled()

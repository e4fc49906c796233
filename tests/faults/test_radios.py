"""A radio or an adapter fails: it is told with its reason everywhere an operator looks, all
else goes on meanwhile, and it heals when the cause is gone.
"""

import pytest

from adapters.sim.rcp import Faults
from tests.faults.house import House

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_radio_that_is_unplugged(running: House) -> None:
    async with running.others_answer():
        running.rcp.unplug()
        await running.says("lowpan", "degraded", running.rcp.path)
        await running.is_("offline", "node")
        running.rcp.plug()
        await running.is_("online", "node")
        await running.is_well()


async def test_a_radio_that_has_gone_deaf(running: House) -> None:
    async with running.others_answer():
        running.rcp.faults = Faults(tx_loss=1.0, rx_loss=1.0)
        await running.says("lowpan", "failed", "has heard nothing for")
        await running.is_("offline", "node")
        running.rcp.faults = Faults()
        await running.is_("online", "node")
        await running.is_well()


async def test_a_bluez_that_is_gone(running: House) -> None:
    async with running.others_answer():
        await running.ble.bluez.vanish()
        await running.says("ble", "degraded", "BlueZ")
        await running.is_("offline", "weather")
        await running.ble.bluez.come_back()
        await running.is_("online", "weather")
        await running.is_well()


async def test_an_adapter_with_a_bug(running: House) -> None:
    async with running.others_answer():
        (running.folder / "break").touch()
        await running.says("brittle", "failed", "unexpected KeyError")
        await running.logs("KeyError: 'a bug'")
        (running.folder / "break").unlink()
        await running.is_well()

"""The XMPP server fails: it is told with its reason everywhere an operator looks, all
else goes on meanwhile, and it heals when the cause is gone.
"""

import pytest

from tests.faults.house import House

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_an_xmpp_server_that_is_down(running: House) -> None:
    async with running.others_answer():
        await running.prosody.kill()
        await running.says("xmpp", "degraded", "not connected")
        await running.prosody.start()
        await running.is_well()


async def test_a_line_to_the_xmpp_server_that_swallows_everything(running: House) -> None:
    async with running.others_answer():
        running.line.dead = True
        await running.says("xmpp", "degraded", "not connected")
        running.line.dead = False
        await running.is_well()


async def test_a_password_that_the_xmpp_server_refuses(running: House) -> None:
    async with running.others_answer():
        (running.folder / "password").write_text("wrong")
        running.line.cut()
        await running.says("xmpp", "degraded", "refuse")
        assert "wrong" not in running.log()
        (running.folder / "password").write_text("gateway-pw")
        await running.is_well()

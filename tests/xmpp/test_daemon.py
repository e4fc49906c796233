"""The whole daemon on a server: what its end looks like, and what a changed table of roles does."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath

import pytest
from slixmpp.exceptions import IqError

from adapters.sim.prosody import ThrowawayProsody
from tests.daemon import CORE, SIM, Daemon
from tests.deadlines import DEADLINE_S
from tests.xmpp.conftest import PASSWORDS, Peer
from tests.xmpp.test_presence import presences

NODE = "iot/gateway/0000000000000001"
Configure = Callable[[str], str]


@pytest.fixture
def configured(server: ThrowawayProsody, tmp_path: FilePath) -> Configure:
    """The configuration that gives the reader's account a role."""
    password = tmp_path / "password"
    password.write_text(PASSWORDS["gateway"])

    def with_roles(roles: str) -> str:
        return f"""{CORE}{SIM}
[xmpp]
jid = "gateway@localhost"
password_file = "{password}"
host = "127.0.0.1"
port = {server.port}
ca_file = "{server.ca_file}"
roles = {{{{ {roles} }}}}
"""

    return with_roles


@pytest.fixture
def running(tmp_path: FilePath, configured: Configure) -> Iterator[Daemon]:
    daemon = Daemon(tmp_path, configured('"reader@localhost" = "reader"'))
    daemon.start()
    yield daemon
    if daemon.process:
        daemon.end(signal.SIGKILL)


async def test_contacts_see_that_a_killed_gateway_is_gone(running: Daemon, reader: Peer) -> None:
    seen = presences(reader)
    await reader.until(lambda: any(p["type"] == "available" for p in seen))
    running.end(signal.SIGKILL)
    await reader.until(lambda: seen[-1]["type"] == "unavailable")


async def test_a_changed_table_of_roles_changes_who_may_subscribe_without_a_restart(
    running: Daemon, configured: Configure, reader: Peer
) -> None:
    async def may_read() -> bool:
        try:
            return "status" in await reader.stored(NODE)
        except IqError:
            return False

    async with asyncio.timeout(2 * DEADLINE_S):
        while not await may_read():
            await asyncio.sleep(0.05)
        for roles, allowed in (
            ('"op@localhost" = "reader"', False),
            ('"@x" = "admin", "reader@localhost" = "reader"', True),
        ):
            running.configure(configured(roles))
            assert "xmpp is restarted" in await asyncio.to_thread(running.ask, {"do": "reload"})
            while await may_read() is not allowed:
                await asyncio.sleep(0.05)

"""go-sendxmpp: a message from a script, and the answer on a screen."""

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as FilePath
from typing import Any

from adapters.sim.prosody import ThrowawayProsody
from gateway.policy import DeviceRule
from tests.deadlines import DEADLINE_S
from tests.fakes import HubBench
from tests.xmpp.conftest import PASSWORDS, SWITCH, Run, peer_of


@asynccontextmanager
async def sendxmpp(
    server: ThrowawayProsody, home: FilePath, *words: str
) -> AsyncIterator[asyncio.subprocess.Process]:
    assert shutil.which("go-sendxmpp"), "try: apt-get install go-sendxmpp"
    process = await asyncio.create_subprocess_exec(
        "go-sendxmpp", "-u", "op@localhost", "-p", PASSWORDS["op"],
        "-j", f"localhost:{server.port}", *words,
        env=os.environ | {"SSL_CERT_FILE": str(server.ca_file), "HOME": str(home)},
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        async with asyncio.timeout(3 * DEADLINE_S):
            yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_script_sets_a_lamp_and_the_answer_is_shown(
    run: Run, server: ThrowawayProsody, bench: HubBench, tmp_path: FilePath
) -> None:
    bench.rules(station=DeviceRule(listed=True, writable=True))
    bench.adapter.gate = asyncio.Event()
    async with run() as gateway, peer_of(server, "op") as op:
        await gateway.settled()
        async with sendxmpp(server, tmp_path, "gateway@localhost") as sender:
            await sender.communicate(b"set d1 3312/0/5850 on\n")
        own: Any = op.client_roster["op@localhost"]
        await op.until(lambda: not any("sendxmpp" in name for name in own.resources))
        async with sendxmpp(server, tmp_path, "-l") as listener:
            await op.until(lambda: any("sendxmpp" in name for name in own.resources))
            bench.adapter.gate.set()
            assert listener.stdout
            # Newer ones complain first that root runs them.
            while (answer := await listener.stdout.readline()) and b"gateway@" not in answer:
                pass
    assert answer.endswith(b"gateway@localhost: d1/3312/0/5850 is set\n")
    (command,) = bench.adapter.commands
    assert getattr(command, "values", None) == {SWITCH: True}

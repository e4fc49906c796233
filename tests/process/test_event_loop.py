"""The daemon on uvloop, where that is installed, and on asyncio's own loop, where it is not."""

import asyncio
import os
import re
from pathlib import Path as FilePath

import pytest

from adapters.coap.messages import Code, Option
from tests.coap.peers import Peer
from tests.daemon import CORE, SIM, Daemon
from tests.deadlines import DEADLINE_S

COAP = """
[coap]
listen = ["127.0.0.1:0"]
listen_tcp = ["127.0.0.1:0"]
"""


@pytest.mark.parametrize("is_there", [True, False])
async def test_the_daemon_answers_and_tells_on_either_loop(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch, is_there: bool
) -> None:
    if not is_there:  # as if it were not installed
        (tmp_path / "uvloop.py").write_text("raise ImportError")
        monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)
    daemon = Daemon(tmp_path, CORE + SIM + COAP)
    daemon.start()
    shown = r"listens on 127.0.0.1:(\d+) and tcp 127.0.0.1:(\d+)"
    status = daemon.until(lambda: re.search(shown, str(daemon.ask({"do": "devices"}))))
    client, gone = Peer(int(status[1])), Peer(int(status[1]))
    try:
        daemon.until(lambda: daemon.value("attic/3303/0/5700"))
        first = await client.observe("/attic/3303/0/5700")
        assert first.code == Code.CONTENT
        await gone.observe("/attic/3303/0/5700")
        gone.close()
        assert (await client.receive()).payload != first.payload
        await client.receive()  # by now the network has said that the other is gone
        switch = ("/attic/3312/0/5850", (Option.CONTENT_FORMAT, b""))
        client.send(client.request(*switch, code=Code.PUT, payload=b"1", token=b"w"))
        async with asyncio.timeout(DEADLINE_S):
            while (answer := await client.receive()).token != b"w":
                pass
        assert answer.code == Code.CHANGED
        over_tcp = await asyncio.to_thread(
            daemon.command, "validate", f"coap+tcp://127.0.0.1:{status[2]}"
        )
        assert "nothing wrong" in over_tcp.stdout
    finally:
        client.close()
        ended, log = daemon.end()
    assert ended == 0
    assert ("the event loop is uvloop's" in log) == is_there
    assert "Traceback" not in log

"""Profanity in a pseudo-terminal: what a person would type, and what the screen then shows."""

import asyncio
import fcntl
import os
import pty
import re
import shutil
import struct
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as FilePath

from adapters.sim.prosody import ThrowawayProsody
from tests.deadlines import DEADLINE_S
from tests.xmpp.conftest import PASSWORDS

ROWS, COLUMNS = 60, 200

_ACCOUNT = """\
[op]
enabled=true
jid=op@localhost
server=127.0.0.1
port={port}
password={password}
resource=profanity
tls.policy=force
"""

_ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[a-zA-Z]|[()][A-Z0-9]|[=>78])")


class Terminal:
    """The program's screen, without its layout: all that it has written, and the keyboard."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._written = b""
        self._changed = asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    def _read(self) -> None:
        try:
            self._written += os.read(self._descriptor, 65536)
        except OSError:
            asyncio.get_running_loop().remove_reader(self._descriptor)
        self._changed.set()

    @property
    def text(self) -> str:
        return _ESCAPES.sub(" ", self._written.decode(errors="replace"))

    def type(self, line: str) -> None:
        """Types a line; what was written before counts no more."""
        self._written = b""
        os.write(self._descriptor, f"{line}\r".encode())

    async def shows(self, *words: str) -> None:
        """Until all the words were written since the last line typed."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not all(word in self.text for word in words):
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"{words} not in: {self.text[-3000:]}") from None


@asynccontextmanager
async def profanity(server: ThrowawayProsody, home: FilePath) -> AsyncIterator[Terminal]:
    """Logged in as the operator."""
    assert shutil.which("profanity"), "try: apt-get install profanity"
    data = home / ".local/share/profanity"
    data.mkdir(parents=True)
    account = _ACCOUNT.format(port=server.port, password=PASSWORDS["op"])
    (data / "accounts").write_text(account)
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, COLUMNS, 0, 0))
    process = await asyncio.create_subprocess_exec(
        "profanity", "-a", "op",
        stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        env={
            "HOME": str(home),
            "LANG": "C.UTF-8",
            "PATH": os.environ["PATH"],
            "SSL_CERT_FILE": str(server.ca_file),
            "TERM": "xterm",
        },
    )  # fmt: skip
    os.close(theirs)
    terminal = Terminal(ours)
    try:
        await terminal.shows("logged in successfully")
        yield terminal
    finally:
        process.kill()
        await process.wait()
        asyncio.get_running_loop().remove_reader(ours)
        os.close(ours)

"""A throw-away ejabberd on loopback: own folder, own accounts; never the system's service."""

import asyncio
import contextlib
import os
import shutil
import signal
from collections.abc import Mapping
from pathlib import Path as FilePath
from types import TracebackType
from typing import Self

from adapters.sim.port import free_port

START_TIMEOUT_S = 60.0
"""It takes 2 s; a busy machine may take much longer."""

_CONFIGURATION = """\
hosts: [localhost]
loglevel: warning
certfiles: ["{folder}/all.pem"]
ca_file: "{certificates}/ca.crt"
listen:
  - {{ port: {port}, ip: "127.0.0.1", module: ejabberd_c2s, max_stanza_size: 262144,
       access: c2s, starttls: true, starttls_required: true }}
acl: {{ local: {{ user_regexp: "" }} }}
access_rules: {{ local: {{ allow: local }}, c2s: {{ allow: all }} }}
auth_password_format: plain
modules:
  mod_adhoc: {{}}
  mod_caps: {{}}
  mod_disco: {{}}
  mod_offline: {{}}
  mod_ping: {{}}
  mod_roster: {{}}
  mod_pubsub: {{ access_createnode: local, plugins: [flat, pep], last_item_cache: false }}
"""

_HEADER = (
    b"<?xml version='1.0'?><stream:stream to='localhost' version='1.0' "
    b"xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
)


class ThrowawayEjabberd:
    """A server at `127.0.0.1:port` for the domain `localhost`, as an async context manager."""

    def __init__(
        self, accounts: Mapping[str, str], folder: FilePath, certificates: FilePath
    ) -> None:
        self._accounts = accounts
        self._folder = folder
        self._certificates = certificates
        self._process: asyncio.subprocess.Process | None = None
        self.ca_file = certificates / "ca.crt"
        self.port = free_port()

    async def __aenter__(self) -> Self:
        pair = [(self._certificates / name).read_text() for name in ("leaf.crt", "leaf.key")]
        (self._folder / "all.pem").write_text("".join(pair))
        configuration = _CONFIGURATION.format(
            folder=self._folder, certificates=self._certificates, port=self.port
        )
        (self._folder / "ejabberd.yml").write_text(configuration)
        await self.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.kill()

    async def start(self) -> None:
        """Starts the server, on the data it had; returns when the accounts can log in."""
        folder, ready = self._folder, self._folder / "ready"
        ready.unlink(missing_ok=True)
        register = "".join(
            f'ejabberd_auth:try_register(<<"{user}">>,<<"localhost">>,<<"{password}">>),'
            for user, password in self._accounts.items()
        )
        environment = os.environ | {
            "EJABBERD_CONFIG_PATH": str(folder / "ejabberd.yml"),
            "EJABBERD_LOG_PATH": str(folder / "ejabberd.log"),
            "SPOOL_DIR": str(folder / "db"),
            "ERL_CRASH_DUMP": str(folder / "crash"),
            "HOME": str(folder),
        }
        with (folder / "output").open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                "erl", "-noinput", "-pa", str(_code()), "-mnesia", "dir", f'"{folder}/db"',
                "-s", "ejabberd", "-eval", f'{register} file:write_file("{ready}", <<>>).',
                env=environment, cwd=folder, stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        async with asyncio.timeout(START_TIMEOUT_S):
            while not (ready.exists() and await self._answers()):
                assert self._process.returncode is None, (folder / "output").read_text()
                await asyncio.sleep(0.05)

    async def kill(self) -> None:
        """Ends the server as a power cut would; nothing if it is not running."""
        if self._process and self._process.returncode is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            await self._process.wait()
        self._process = None

    async def _answers(self) -> bool:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
            try:
                writer.write(_HEADER)
                return bool(await reader.readuntil(b"<stream:features"))
            finally:
                writer.close()
        return False


def _code() -> FilePath:
    """Where Debian's package has ejabberd's code."""
    assert shutil.which("erl"), "erl is not installed; try: apt-get install ejabberd"
    found = sorted(FilePath("/usr/lib").glob("*/ejabberd-*/ebin"))
    assert found, "ejabberd is not installed; try: apt-get install ejabberd"
    return found[-1]

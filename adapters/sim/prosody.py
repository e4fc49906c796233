"""A throw-away Prosody on loopback: own folder, own certificates, own accounts; for demo and tests.

It touches nothing of the system, needs no root, and ends only the process that it started.
"""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from types import TracebackType
from typing import Self

from adapters.sim.port import free_port
from gateway.errors import AdapterError

START_TIMEOUT_S = 60.0
"""It takes 0.3 s; a busy machine may take many times as long."""

STOP_TIMEOUT_S = 30.0

DOMAIN = "localhost"
SERVICE = f"pubsub.{DOMAIN}"

_STREAM_HEADER = (
    f"<?xml version='1.0'?><stream:stream to='{DOMAIN}' version='1.0' "
    "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
).encode()

_CONFIGURATION = """\
run_as_root = true
daemonize = false
pidfile = "{folder}/prosody.pid"
data_path = "{folder}/data"
log = {{ {{ levels = {{ min = "info" }}; to = "file"; filename = "{folder}/prosody.log" }} }}
interfaces = {{ "127.0.0.1" }}
c2s_ports = {{ {port} }}
c2s_direct_tls_ports = {{ }}
s2s_ports = {{ }}
http_ports = {{ }}
https_ports = {{ }}
component_ports = {{ }}
modules_enabled = {{ "roster", "saslauth", "tls", "disco", "ping", "pep", "offline", "adhoc" }}
modules_disabled = {{ "s2s", "s2s_auth_certs" }}
authentication = "internal_plain"
storage = "internal"
c2s_require_encryption = true
ssl = {{ certificate = "{certificates}/leaf.crt"; key = "{certificates}/leaf.key" }}
{settings}
VirtualHost "{domain}"
Component "{service}" "pubsub"
  admins = {{ {admins} }}
"""


class ThrowawayProsody:
    """A server at `127.0.0.1:port` for the domain `localhost`, as an async context manager.

    `accounts` are user names and passwords, `admins` those (or components) who may create nodes;
    `settings` are lines of Prosody's configuration. Certificates are made anew unless a folder with
    some is given.
    """

    def __init__(
        self,
        accounts: Mapping[str, str],
        *,
        admins: Sequence[str] = (),
        settings: str = "",
        certificates: FilePath | None = None,
    ) -> None:
        self._accounts = accounts
        self._admins = admins
        self._settings = settings
        self._folder = FilePath()
        self._certificates = certificates
        self._process: asyncio.subprocess.Process | None = None
        self.port = 0

    @property
    def ca_file(self) -> FilePath:
        """The authority that signed the server's certificate."""
        return (self._certificates or self._folder) / "ca.crt"

    @property
    def pid(self) -> int | None:
        """The server's process, while it runs."""
        return self._process.pid if self._process else None

    async def __aenter__(self) -> Self:
        for program in ("prosody", "openssl"):
            if not _program(program):
                raise AdapterError(f"{program} is not installed; try: apt-get install {program}")
        self._folder = FilePath(tempfile.mkdtemp(prefix="prosody-"))
        try:
            if self._certificates is None:
                await make_certificates(self._folder)
            self.port = free_port()
            self._write()
            await self.start()
        except BaseException:
            await self.__aexit__(None, None, None)
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)

    async def start(self) -> None:
        """Starts the server, on the data it had; returns when it answers a stream header."""
        self._process = await asyncio.create_subprocess_exec(
            _program("prosody") or "prosody",
            "--config", str(self._folder / "prosody.cfg.lua"), "-F",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            cwd=self._folder,
            start_new_session=True,
        )  # fmt: skip
        try:
            async with asyncio.timeout(START_TIMEOUT_S):
                while not await self._answers():
                    if self._process.returncode is not None:
                        raise AdapterError(f"prosody ended at once: {self._last_words()}")
                    await asyncio.sleep(0.02)
        except TimeoutError:
            raise AdapterError(f"prosody does not answer: {self._last_words()}") from None

    async def kill(self) -> None:
        """Ends the server as a power cut would; nothing if it is not running."""
        if self._process and self._process.returncode is None:
            self._process.kill()
            async with asyncio.timeout(STOP_TIMEOUT_S):
                await self._process.wait()
        self._process = None

    def _write(self) -> None:
        accounts = self._folder / "data" / DOMAIN / "accounts"
        accounts.mkdir(parents=True)
        for user, password in self._accounts.items():
            (accounts / f"{user}.dat").write_text(f'return {{ ["password"] = "{password}"; }};\n')
        (self._folder / "prosody.cfg.lua").write_text(
            _CONFIGURATION.format(
                folder=self._folder,
                certificates=self._certificates or self._folder,
                port=self.port,
                settings=self._settings,
                domain=DOMAIN,
                service=SERVICE,
                admins=", ".join(f'"{_address(name)}"' for name in self._admins),
            )
        )

    async def _answers(self) -> bool:
        """An open port is not enough: it opens before the hosts are loaded."""
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        try:
            writer.write(_STREAM_HEADER)
            return b"<stream:features" in await reader.readuntil(b"<stream:features")
        except (OSError, asyncio.IncompleteReadError):
            return False
        finally:
            writer.close()

    def _last_words(self) -> str:
        log = self._folder / "prosody.log"
        return log.read_text(errors="replace")[-500:] if log.exists() else "it wrote no log"


async def make_certificates(folder: FilePath) -> None:
    """Makes an authority (`ca.crt`) and a certificate of `localhost` signed by it (`leaf.crt`)."""
    extensions = folder / "leaf.ext"
    extensions.write_text(f"subjectAltName=DNS:{DOMAIN},DNS:{SERVICE}\nbasicConstraints=CA:FALSE\n")
    key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes"
    for command in (
        f"req -x509 {key} -keyout ca.key -out ca.crt -days 2 -subj /CN=throw-away"
        " -addext keyUsage=critical,keyCertSign",
        f"req {key} -keyout leaf.key -out leaf.csr -subj /CN={DOMAIN}",
        "x509 -req -in leaf.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2"
        f" -extfile {extensions.name} -out leaf.crt",
    ):
        await _openssl(command, folder)


async def _openssl(command: str, folder: FilePath) -> None:
    process = await asyncio.create_subprocess_exec(
        "openssl", *command.split(), cwd=folder,
        stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(START_TIMEOUT_S):
        _, complaint = await process.communicate()
    if process.returncode:
        raise AdapterError(f"openssl {command}: {complaint.decode(errors='replace')}")


def _address(name: str) -> str:
    """A component's domain as it is, else the account of this name."""
    return name if "." in name else f"{name}@{DOMAIN}"


def _program(name: str) -> str | None:
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")

"""Clients as the tests need them: raw datagrams, and libcoap's command line client."""

import asyncio
import re
import socket
from dataclasses import dataclass
from pathlib import Path

from adapters.coap.datagram import Datagram, Type, decode, encode
from adapters.coap.messages import Code, Option, uint
from tests.deadlines import DEADLINE_S


@dataclass
class Result:
    """What coap-client printed."""

    out: str
    err: str

    @property
    def code(self) -> str:
        """The code of an error answer, else nothing."""
        match = re.match(r"(\d\.\d\d)", self.err)
        return match[1] if match else ""


async def coap_client(
    port: int,
    path: str,
    *options: str,
    host: str = "127.0.0.1",
    scheme: str = "coap",
    enter: tuple[str, ...] = (),
) -> Result:
    """Runs libcoap's client once; `enter` as a Machine has it."""
    uri = f"{scheme}://{host}:{port}{path}"
    process = await asyncio.create_subprocess_exec(
        *enter, "coap-client-notls", "-B", "10", *options, uri,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(DEADLINE_S):
        out, err = await process.communicate()
    return Result(out.decode(errors="replace"), err.decode())


def resident_kb() -> int:
    """Resident memory of this process, server and all."""
    status = Path("/proc/self/status").read_text("ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if "VmRSS" in line)


class Peer:
    """A client that speaks datagrams, to see every octet of what the server does."""

    def __init__(self, port: int, host: str = "127.0.0.1") -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.socket(family, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.connect((host, port))
        self.mid = 100

    def close(self) -> None:
        self.socket.close()

    def send(self, octets: bytes) -> None:
        self.socket.send(octets)

    async def receive(self) -> Datagram:
        """The next datagram; the test fails if none comes."""
        async with asyncio.timeout(DEADLINE_S):
            return decode(await asyncio.get_running_loop().sock_recv(self.socket, 65_536))

    async def ask(self, *args: object, **kwargs: object) -> Datagram:
        """Sends a request and gives the answer."""
        self.send(self.request(*args, **kwargs))  # type: ignore[arg-type]
        return await self.receive()

    def request(
        self,
        path: str,
        *more: tuple[int, bytes],
        code: int = Code.GET,
        payload: bytes = b"",
        kind: Type = Type.CON,
        token: bytes = b"\xaa",
    ) -> bytes:
        """The octets of a request with a new message ID."""
        self.mid = (self.mid + 1) & 0xFFFF
        segments = [(Option.URI_PATH, part.encode()) for part in path.strip("/").split("/") if part]
        options = sorted([*segments, *more], key=lambda option: option[0])
        return encode(Datagram(kind, code, self.mid, token, tuple(options), payload))

    async def observe(
        self, path: str, token: bytes = b"\xaa", kind: Type = Type.CON, query: bytes = b""
    ) -> Datagram:
        """Registers and gives the first answer."""
        asked = [(int(Option.URI_QUERY), query)] if query else []
        return await self.ask(path, (Option.OBSERVE, b""), *asked, token=token, kind=kind)

    def acknowledge(self, message: Datagram) -> None:
        self.send(encode(Datagram(Type.ACK, 0, message.mid, b"")))

    def reset(self, message: Datagram) -> None:
        self.send(encode(Datagram(Type.RST, 0, message.mid, b"")))


class Served:
    """A started adapter, and where it listens, as its status line says."""

    def __init__(self, status: str, running: asyncio.Task[None]) -> None:
        self.status = status
        self._running = running
        self.ports = [int(port) for port in re.findall(r"[\d\]]:(\d+)", status)]
        self.port = self.ports[0]
        self._peers: list[Peer] = []

    def peer(self, host: str = "127.0.0.1") -> Peer:
        """A new client, closed when the test ends; `host` is where it finds the server."""
        self._peers.append(Peer(self.port, host))
        return self._peers[-1]

    async def stop(self) -> None:
        self._running.cancel()
        async with asyncio.timeout(DEADLINE_S):
            await asyncio.wait({self._running})
        for peer in self._peers:
            peer.close()


def option(message: Datagram, number: int) -> bytes | None:
    """The first option of a number."""
    return next((value for n, value in message.options if n == number), None)


def observe_number(message: Datagram) -> int | None:
    """The Observe option's number."""
    value = option(message, Option.OBSERVE)
    return None if value is None else int.from_bytes(value, "big")


def accept(number: int) -> tuple[int, bytes]:
    """An Accept option."""
    return Option.ACCEPT, uint(number)


def content_format(number: int) -> tuple[int, bytes]:
    """A Content-Format option."""
    return Option.CONTENT_FORMAT, uint(number)

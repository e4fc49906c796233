"""Programs of other projects as peers: OpenThread's simulated RCP, a RIOT node, their shared air.

Nothing of them is part of this project: two environment variables say where they are.
"""

import asyncio
import functools
import os
import signal
import socket
import struct
import subprocess
import tty
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from adapters.lowpan.crc import fcs
from adapters.lowpan.radio import zep
from tests.deadlines import DEADLINE_S

OT_RCP, GCOAP = "BORDER_GATEWAY_OT_RCP", "BORDER_GATEWAY_RIOT_GCOAP"

NODE = bytes.fromhex("020000000000aa01")
CHANNEL, PAN_ID = 26, 0x0023

_GROUP, _LOOPBACK = "224.0.0.116", "127.0.0.1"
_FIRST_PORT, _PORTS_EACH, _OFFSETS = 9000, 34, range(1, 1000)
_BRIDGE_NODE = 33  # of 1 to 33; a sender is known by its port

ATTEMPTS = 3

needs_rcp = pytest.mark.skipif(
    OT_RCP not in os.environ, reason=f"{OT_RCP} does not name OpenThread's ot-rcp (simulation)"
)
needs_gcoap = pytest.mark.skipif(
    GCOAP not in os.environ, reason=f"{GCOAP} does not name RIOT's gcoap example (native, ZEP)"
)


@contextmanager
def rcp(node: int, offset: int, folder: Path) -> Iterator[str]:
    """An RCP that runs; the path of its serial port."""
    ours, theirs = os.openpty()
    tty.setraw(theirs)
    environment = os.environ | {"PORT_OFFSET": str(offset)}
    command = [os.environ[OT_RCP], str(node)]
    try:
        with _program(command, stdin=ours, stdout=ours, cwd=folder, env=environment):
            yield os.ttyname(theirs)
    finally:
        os.close(theirs)
        os.close(ours)


class GcoapNode:
    """A RIOT node with its shell; what it writes goes to a file, since its helper outlives it."""

    def __init__(self, shell: int, transcript: Path) -> None:
        self._shell = shell
        self._transcript = transcript

    async def tell(self, command: str, answer: str) -> None:
        """Types a command and waits for an answer that contains the text."""
        start = len(self._text())
        os.write(self._shell, command.encode() + b"\n")
        try:
            async with asyncio.timeout(DEADLINE_S):
                while answer not in self._text()[start:]:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise AssertionError(f"{command}: {self._text()[start:]}") from None

    def _text(self) -> str:
        return self._transcript.read_text(errors="replace")


class CrashedError(AssertionError):
    """The node's program has ended by itself; on a busy machine RIOT's own assertions fail."""


def again_after_a_crash(
    test: Callable[[Path], Awaitable[None]],
) -> Callable[[Path], Awaitable[None]]:
    """Has a test begin anew if the program of its node crashes."""

    @functools.wraps(test)
    async def repeated(tmp_path: Path) -> None:
        for attempts_left in reversed(range(ATTEMPTS)):
            try:
                await test(tmp_path)
            except* CrashedError:
                if not attempts_left:
                    raise
            else:
                break

    return repeated


@contextmanager
def gcoap_node(zep_port: int, folder: Path) -> Iterator[GcoapNode]:
    """A RIOT node that runs, on ZEP at the port."""
    transcript = folder / "gcoap.log"
    command = [os.environ[GCOAP], "-z", f"[::1]:{zep_port}", "--eui64", NODE.hex(":")]
    keyboard, shell = os.pipe()
    try:
        with (
            transcript.open("wb") as output,
            _program(command, stdin=keyboard, stdout=output, stderr=output, cwd=folder) as program,
        ):
            try:
                yield GcoapNode(shell, transcript)
            except Exception as error:
                if program.poll() is not None:
                    raise CrashedError(transcript.read_text(errors="replace")) from error
                raise
    finally:
        os.close(keyboard)
        os.close(shell)


@contextmanager
def _program(command: list[str], **popen: Any) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, start_new_session=True, **popen)
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Air:
    """Joins two simulated media: OpenThread's multicast group and ZEP."""

    def __init__(self, offset: int, group: socket.socket, nodes: socket.socket) -> None:
        self.offset = offset
        """The PORT_OFFSET of the RCPs in this air."""
        self.zep_port: int = nodes.getsockname()[1]
        self._to_group = group, (_GROUP, _FIRST_PORT + offset * _PORTS_EACH)
        self._nodes = nodes
        self._peers: set[tuple[object, ...]] = set()
        self._sequence = 0

    def from_rcp(self, heard: socket.socket) -> None:
        """An RCP has sent: a channel and a frame."""
        data, sender = heard.recvfrom(512)
        if sender == self._to_group[0].getsockname():
            return
        self._sequence += 1
        datagram = zep.encode(data[1:-2], data[0], 1, self._sequence, 0.0)
        for peer in self._peers:
            self._nodes.sendto(datagram, peer)

    def from_node(self) -> None:
        """A node has sent: a frame in ZEP, or its first greeting."""
        data, sender = self._nodes.recvfrom(512)
        self._peers.add(sender)
        frame = zep.decode(data)
        if frame is not None:
            group, address = self._to_group
            octets = bytes((frame.channel,)) + frame.psdu + fcs(frame.psdu)
            group.sendto(octets, address)


@asynccontextmanager
async def air() -> AsyncIterator[Air]:
    """An air of its own, on loopback."""
    loop = asyncio.get_running_loop()
    with ExitStack() as stack:
        kinds = [(socket.AF_INET, socket.SOCK_DGRAM)] * 2 + [(socket.AF_INET6, socket.SOCK_DGRAM)]
        group, heard, nodes = (stack.enter_context(socket.socket(*kind)) for kind in kinds)
        nodes.bind(("::1", 0))
        offset = _reserve(group)
        interface = socket.inet_aton(_LOOPBACK)
        group.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, interface)
        heard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        heard.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        membership = struct.pack("4s4s", socket.inet_aton(_GROUP), interface)
        heard.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        heard.bind((_GROUP, _FIRST_PORT + offset * _PORTS_EACH))
        shared = Air(offset, group, nodes)
        loop.add_reader(heard, shared.from_rcp, heard)
        loop.add_reader(nodes, shared.from_node)
        try:
            yield shared
        finally:
            loop.remove_reader(heard)
            loop.remove_reader(nodes)


def _reserve(group: socket.socket) -> int:
    """Binds to the bridge's port in an air that nobody else is in, and tells which that is."""
    for offset in _OFFSETS:
        try:
            group.bind((_LOOPBACK, _FIRST_PORT + offset * _PORTS_EACH + _BRIDGE_NODE))
        except OSError:
            continue
        return offset
    raise AssertionError("no free ports")

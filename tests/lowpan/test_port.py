"""Serial ports: partial writes, hang-ups, and errors that say what to do."""

import asyncio
import os
import pty
import subprocess
import sys
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest

from adapters.lowpan.radio import port
from adapters.lowpan.radio.interface import RadioError
from adapters.lowpan.radio.port import PortLostError, open_port
from tests.deadlines import DEADLINE_S

IGNORED: list[bytes] = []


class Line:
    """A pty: the path to open, and the other end."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        tty.setraw(self.slave)
        os.set_blocking(self.master, False)
        self.path = os.ttyname(self.slave)
        self.heard = bytearray()
        self.lost: asyncio.Queue[RadioError] = asyncio.Queue()

    async def read(self, size: int) -> bytes:
        data = b""
        async with asyncio.timeout(DEADLINE_S):
            while len(data) < size:
                try:
                    data += os.read(self.master, 65536)
                except BlockingIOError:
                    await asyncio.sleep(0)
        return data


@pytest.fixture
def line() -> Iterator[Line]:
    line = Line()
    yield line
    for fd in (line.slave, line.master):
        try:
            os.close(fd)
        except OSError:
            continue


async def test_what_the_port_does_not_take_at_once_follows_in_order(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:100]))
    data = bytes(range(256)) * 31
    with open_port(line.path, 115200, False, line.heard.extend, line.lost.put_nowait) as opened:
        opened.write(data[:7000])
        opened.write(data[7000:])
        assert await line.read(len(data)) == data
    assert line.lost.empty()


async def test_a_port_that_takes_nothing_any_more_is_lost_once(line: Line) -> None:
    with open_port(line.path, 115200, False, line.heard.extend, line.lost.put_nowait) as opened:
        for _ in range(200):
            opened.write(bytes(1000))
        assert "does not take what is sent" in str(line.lost.get_nowait())
        assert line.lost.empty()


@pytest.mark.uvloop
async def test_a_hang_up_is_told_once_and_leaves_the_loop_in_peace(line: Line) -> None:
    with open_port(line.path, 115200, False, line.heard.extend, line.lost.put_nowait) as opened:
        os.close(line.slave)
        os.close(line.master)
        async with asyncio.timeout(DEADLINE_S):
            error = await line.lost.get()
        assert isinstance(error, PortLostError)
        assert line.path in str(error)
        assert not asyncio.get_running_loop().remove_reader(opened._fd)
        opened.write(b"into the void")
    assert line.lost.empty()


async def test_the_program_that_holds_the_port_is_named(line: Line) -> None:
    script = (
        "import fcntl, sys\n"
        "port = open(sys.argv[1], 'rb+', buffering=0)\n"
        "fcntl.flock(port, fcntl.LOCK_EX)\n"
        "print('held', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script, line.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        try:
            with pytest.raises(RadioError, match=rf"is in use by python\S* \(pid {holder.pid}\)"):
                open_port(
                    line.path, 115200, False, IGNORED.append, line.lost.put_nowait
                ).__enter__()
            assert f"(pid {holder.pid})" in port.also_open(line.path)
        finally:
            holder.communicate(b"")


def test_a_missing_group_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    device = tmp_path / "ttyX"
    device.touch(mode=0o660)
    monkeypatch.setattr(os, "getegid", lambda: 4_000_000)
    monkeypatch.setattr(os, "getgroups", list)
    text = port._explain(str(device), PermissionError(13, "Permission denied"))
    assert text.startswith(f"{device} may not be opened: add the gateway's user to the group ")


async def test_what_is_no_serial_port_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(RadioError, match="is no serial port"):
        open_port(str(file), 115200, False, IGNORED.append, lambda error: None).__enter__()


async def test_a_missing_port_lists_those_that_are_there(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(port, "_BY_ID", tmp_path)
    (tmp_path / "usb-Stick").touch()
    with pytest.raises(RadioError, match=f"no /dev/ttyNONE.*present: {tmp_path}/usb-Stick"):
        open_port("/dev/ttyNONE", 115200, False, IGNORED.append, lambda error: None).__enter__()

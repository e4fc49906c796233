"""A serial port on the event loop: opened exclusively, read and written without blocking.

It knows octets only; every failure is told once, as a RadioError whose text says what to do.
"""

from __future__ import annotations

import asyncio
import errno
import grp
import os
import stat
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import serial

from adapters.lowpan.radio.interface import RadioError

READ_SIZE = 4096
"""Octets a read: what a tty buffers."""

WRITE_LIMIT = 8192
"""Octets that wait for the port: six packets of the largest size; beyond it the stick hangs."""

_IN_USE = frozenset({errno.EAGAIN, errno.EBUSY})
_BY_ID = Path("/dev/serial/by-id")


class PortLostError(RadioError):
    """The port broke while it was open: unplugged, most often."""


class PortInUseError(RadioError):
    """Another process has the port."""


class SerialPort:
    """An open port. `on_data` gets what arrives; `on_lost` is called once, when it breaks."""

    def __init__(
        self,
        port: serial.Serial,
        on_data: Callable[[bytes], None],
        on_lost: Callable[[RadioError], object],
    ) -> None:
        self._fd: int = port.fileno()
        self._name: str = port.name
        self._on_data = on_data
        self._on_lost = on_lost
        self._loop = asyncio.get_running_loop()
        self._unsent = bytearray()
        self._lost = False
        self._loop.add_reader(self._fd, self._readable)

    def write(self, data: bytes) -> None:
        """Sends the octets; what the port does not take at once follows when it can."""
        if self._lost:
            return
        was_idle = not self._unsent
        self._unsent += data
        if len(self._unsent) > WRITE_LIMIT:
            self._fail(
                "does not take what is sent to it (is flow control set as the stick has it?)"
            )
        elif was_idle and self._flush():
            self._loop.add_writer(self._fd, self._writable)

    def detach(self) -> None:
        """Takes the port off the event loop."""
        self._lost = True
        self._unsent.clear()
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)

    def _readable(self) -> None:
        try:
            data = os.read(self._fd, READ_SIZE)
        except BlockingIOError:
            return
        except OSError as error:
            self._fail(f"was lost: {os.strerror(error.errno or errno.EIO)}")
            return
        if data:
            self._on_data(data)
        else:
            self._fail("was lost: the line hung up")

    def _writable(self) -> None:
        if not self._flush():
            self._loop.remove_writer(self._fd)

    def _flush(self) -> bool:
        """Writes what the port takes now; True if something is left."""
        try:
            written = os.write(self._fd, self._unsent)
        except BlockingIOError:
            return True
        except OSError as error:
            self._fail(f"was lost: {os.strerror(error.errno or errno.EIO)}")
            return False
        del self._unsent[:written]
        return bool(self._unsent)

    def _fail(self, what: str) -> None:
        # First of all off the loop: a port that hung up is readable for ever.
        self.detach()
        self._on_lost(PortLostError(f"{self._name} {what}"))


@contextmanager
def open_port(
    path: str,
    baudrate: int,
    rtscts: bool,
    on_data: Callable[[bytes], None],
    on_lost: Callable[[RadioError], object],
) -> Iterator[SerialPort]:
    """The port at `path`, for this process alone; RadioError says why it cannot be had."""
    try:
        device = serial.Serial(path, baudrate, rtscts=rtscts, timeout=0, exclusive=True)
    except termios.error as error:
        raise RadioError(_explain(path, OSError(*error.args))) from error
    except OSError as error:  # SerialException is one
        kind = PortInUseError if error.errno in _IN_USE else RadioError
        raise kind(_explain(path, error)) from error
    except ValueError as error:
        raise RadioError(
            f"{path} cannot be set to {baudrate} baud: change baudrate= in [lowpan] radio"
        ) from error
    try:
        port = SerialPort(device, on_data, on_lost)
        try:
            yield port
        finally:
            port.detach()
    finally:
        # A stick that hangs would let close() wait until its output has drained.
        with suppress(OSError, termios.error):
            device.reset_output_buffer()
        with suppress(OSError):
            device.close()


def holders(path: str) -> list[str]:
    """The other processes that have the device open (`ModemManager (pid 612)`), where visible."""
    target = os.path.realpath(path)
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        if process.name == str(os.getpid()):
            continue
        with suppress(OSError):  # the process has ended, or belongs to somebody else
            if any(str(fd.readlink()) == target for fd in (process / "fd").iterdir()):
                name = (process / "comm").read_text(encoding="utf-8", errors="replace").strip()
                found.append(f"{name} (pid {process.name})")
    return sorted(found)


def also_open(path: str) -> str:
    """A remark for an error text about who else has the device open; empty if nobody is seen."""
    others = holders(path)
    return f"; {path} is also open in {', '.join(others)}" if others else ""


def _explain(path: str, error: OSError) -> str:
    match error.errno:
        case errno.ENOENT | errno.ENXIO | errno.ENODEV:
            return (
                f"there is no {path}: is the stick plugged in? Else change [lowpan] radio; "
                f"present: {_present()}"
            )
        case errno.EACCES | errno.EPERM:
            return f"{path} may not be opened{_missing_group(path)}"
        case number if number in _IN_USE:
            who = ", ".join(holders(path)) or "a process that this user may not see"
            return f"{path} is in use by {who}: stop it, or give the gateway another port"
        case errno.ENOTTY | errno.EINVAL | errno.EISDIR | None:  # pyserial: termios refused
            return f"{path} is no serial port: change [lowpan] radio; present: {_present()}"
        case _:
            return (
                f"{path} cannot be opened: {error.strerror or error}; plug the stick in anew, or "
                "change [lowpan] radio"
            )


def _missing_group(path: str) -> str:
    try:
        status = Path(path).stat()
        group = grp.getgrgid(status.st_gid).gr_name
    except (OSError, KeyError):
        return ""
    if not status.st_mode & stat.S_IRGRP or status.st_gid in {os.getegid(), *os.getgroups()}:
        return f": its mode is {stat.filemode(status.st_mode)}; chmod g+rw {path}, or a udev rule"
    return f": add the gateway's user to the group {group}, then restart it"


def _present() -> str:
    try:
        return ", ".join(sorted(map(str, _BY_ID.iterdir()))) or "none"
    except OSError:
        return "none"

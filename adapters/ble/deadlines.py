"""Where bleak and D-Bus end: deadlines for their calls, and their errors as ours."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from typing import Any, TypeVar

from bleak.exc import (
    BleakBluetoothNotAvailableError,
    BleakDBusError,
    BleakDeviceNotFoundError,
    BleakError,
    BleakGATTProtocolError,
    BleakGATTProtocolErrorCode,
)
from dbus_fast.errors import DBusFastError

from gateway.errors import CommandError, DeviceRefused, TimedOut, Unreachable
from gateway.model import printable

# bleak asserts that its bus is still there, and lets the socket's errors through (bleak 3.1.0,
# backends/bluezdbus/client.py).
LIBRARY_ERRORS = (BleakError, DBusFastError, OSError, EOFError, AssertionError)

CLEANS_UP_S = 3.0
"""A bleak connect that ends early still sends Disconnect, and has no limit for its answer."""

_NEEDS_BOND = {
    BleakGATTProtocolErrorCode.INSUFFICIENT_AUTHENTICATION,
    BleakGATTProtocolErrorCode.INSUFFICIENT_ENCRYPTION,
    BleakGATTProtocolErrorCode.INSUFFICIENT_ENCRYPTION_KEY_SIZE,
}

T = TypeVar("T")


async def within(seconds: float, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, or TimeoutError; ends even if the work does not heed cancellation."""
    task = asyncio.ensure_future(work)
    try:
        if not (await asyncio.wait({task}, timeout=seconds))[0]:
            raise TimeoutError(f"no answer within {seconds:g} s")
        return task.result()
    finally:
        await _end(task)


async def unless(gone: asyncio.Event, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, or Unreachable as soon as the device is gone.

    (A TaskGroup would lose a cancellation that comes at the same time as the device goes.)
    """
    task, waiter = asyncio.ensure_future(work), asyncio.ensure_future(gone.wait())
    try:
        await asyncio.wait({task, waiter}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise Unreachable("it hung up or went out of reach")
        return task.result()
    finally:
        waiter.cancel()
        await _end(task)


async def _end(task: asyncio.Task[Any]) -> None:
    while not task.done():
        task.cancel()
        await asyncio.wait({task}, timeout=CLEANS_UP_S)
    if not task.cancelled():
        task.exception()  # seen, so that asyncio does not complain of it


@contextlib.contextmanager
def translating(doing: str) -> Iterator[None]:
    """Turns the libraries' errors into CommandErrors that say what was being done."""
    try:
        yield
    except TimeoutError as error:
        raise TimedOut(f"{doing}: no answer in time") from error
    except BleakGATTProtocolError as error:
        hint = "; pair it with bluetoothctl first" if error.code in _NEEDS_BOND else ""
        raise DeviceRefused(f"{doing}: the device answered {error.args[1]}{hint}") from error
    except BleakDBusError as error:
        raise _dbus_error(doing, error) from error
    except BleakBluetoothNotAvailableError as error:
        raise Unreachable(f"{doing}: {error.args[0]}") from error
    except LIBRARY_ERRORS as error:
        raise Unreachable(f"{doing}: {printable(str(error) or type(error).__name__)}") from error


def in_progress(error: CommandError) -> bool:
    """Whether BlueZ said that something is under way, which can be so for ever on Connect."""
    cause = error.__cause__
    return isinstance(cause, BleakDBusError) and (
        cause.dbus_error == "org.bluez.Error.InProgress"
        or "already in progress" in (cause.dbus_error_details or "")
    )


def forgotten(error: CommandError) -> bool:
    """Whether BlueZ no longer knows the device: it has to be heard again first."""
    cause = error.__cause__
    return isinstance(cause, BleakDeviceNotFoundError) or (
        type(cause) is BleakError and str(cause).endswith("not found")
    )


def _dbus_error(doing: str, error: BleakDBusError) -> CommandError:
    details = printable(error.dbus_error_details or error.dbus_error)
    if error.dbus_error == "org.bluez.Error.NotPermitted":
        return DeviceRefused(f"{doing}: {details}")
    if error.dbus_error == "org.freedesktop.DBus.Error.AccessDenied":
        return Unreachable(f"{doing}: D-Bus denies access to BlueZ; see its bluetooth.conf")
    return Unreachable(f"{doing}: {details}")

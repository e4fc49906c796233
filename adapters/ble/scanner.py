"""Keeps one active scan running, and starts it again when it fails or falls silent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from bleak import BleakScanner
from bleak.backends.device import BLEDevice
from bleak.backends.scanner import AdvertisementData

from adapters.ble.deadlines import LIBRARY_ERRORS, translating, within
from gateway.errors import AdapterError, CommandError
from gateway.ports import Port

logger = logging.getLogger(__name__)
# It warns that bluetoothctl, which it asks for BlueZ's version, is not installed: it need not be.
logging.getLogger("bleak.backends.bluezdbus.version").setLevel(logging.ERROR)

_START_S = 10.0
_STOP_S = 3.0
_FOREVER_S = 1e9
_AGAIN_S = 5.0
"""Between attempts to start a scan that BlueZ refuses."""


SILENT_SCANS = 3
"""In a row, after which a new scan is no cure any more and the adapter starts anew as a whole."""


async def scan(
    adapter: str,
    heard: Callable[[BLEDevice, AdvertisementData], None],
    silence_s: float,
    port: Port,
    works: Callable[[], bool],
) -> None:
    """Scans for ever; the port is told that it does, or why it cannot.

    AdapterError when several scans heard nothing, unless `works` says that the radio does
    (connected devices do not advertise). A `silence_s` of 0 is never.
    """
    silent = 0
    while True:
        try:
            heard_some = await _scan_until_silent(
                adapter, heard, silence_s, port, quiet_s=silent * silence_s
            )
        except CommandError as error:
            port.status(str(error), well=False)
            await asyncio.sleep(_AGAIN_S)
            continue
        silent = 0 if works() else 1 if heard_some else silent + 1
        if silent >= SILENT_SCANS:
            port.count("ble_radio_silences")
            raise AdapterError(
                f"{adapter} has heard nothing for {silent * silence_s:g} s, in {silent} scans; if "
                "that lasts: systemctl restart bluetooth; if no device is near: [ble] "
                'silence_timeout = "0s"'
            )


async def _scan_until_silent(
    adapter: str,
    heard: Callable[[BLEDevice, AdvertisementData], None],
    silence_s: float,
    port: Port,
    *,
    quiet_s: float,
) -> bool:
    """Scans until nothing was heard for a while; False if nothing was from the beginning.

    `quiet_s` is for how long nothing was heard before.
    """
    alive = asyncio.Event()
    ever = False

    def advertised(device: BLEDevice, advertisement: AdvertisementData) -> None:
        nonlocal ever
        if quiet_s and not ever:
            port.status(f"scanning on {adapter}")
        ever = True
        alive.set()
        heard(device, advertisement)

    # Without DuplicateData, silence is normal on BlueZ 5.82 and a watchdog would be wrong.
    # Names come only with an active scan.
    scanner = BleakScanner(
        advertised,
        scanning_mode="active",
        bluez={"adapter": adapter, "filters": {"DuplicateData": True}},
    )
    try:
        with translating(f"scanning on {adapter}"):
            await within(_START_S, scanner.start())
        if quiet_s and not ever:
            quiet = f"scanning on {adapter}, but nothing was heard for {quiet_s:g} s"
            port.status(quiet, well=False)
        else:
            port.status(f"scanning on {adapter}")
        alive.set()
        while alive.is_set():
            alive.clear()
            await asyncio.sleep(silence_s or _FOREVER_S)
        logger.debug("%s heard nothing for %g s; scanning anew", adapter, silence_s)
        return ever
    finally:
        try:
            await within(_STOP_S, scanner.stop())
        except (TimeoutError, *LIBRARY_ERRORS) as error:
            logger.debug("%s would not stop scanning: %r", adapter, error)

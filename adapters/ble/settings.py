"""The `[ble]` section of the configuration file."""

from __future__ import annotations

from pathlib import Path as FilePath
from typing import Annotated

from pydantic import AfterValidator, Field

from gateway.model import DeviceId, parse_device_id
from gateway.ports import Duration, Section

_Positive = Field(gt=0)


class BleSection(Section):
    """BLE devices with BIPSO or Bluetooth SIG characteristics, through BlueZ."""

    adapter: Annotated[str, Field(pattern=r"^hci[0-9]+$")] | None = Field(
        default=None, examples=["hci0"]
    )
    """The Bluetooth adapter; without it, the first one that is switched on."""
    sleepy: tuple[Annotated[DeviceId, AfterValidator(parse_device_id)], ...] = ()
    """Devices that sleep and connect only when they have something to say (a remote control).

    They are shown as asleep instead of offline: a Bluetooth device does not tell which it is.
    """
    definitions: FilePath | None = Field(default=None, examples=["/etc/border-gateway/devices"])
    """A folder with descriptions of devices that have characteristics of their own; changes in it
    are taken over while the gateway runs. It may be the same as that of other adapters."""
    connect_timeout: Annotated[Duration, _Positive] = 15.0
    """How long one attempt to connect may take; other devices wait meanwhile."""
    operation_timeout: Annotated[Duration, _Positive] = 10.0
    """How long one read, write or subscription may take."""
    silence_timeout: Duration = 90.0
    """The scan is started anew when nothing at all was heard for this long; when that has not
    helped twice and no device is connected, the whole adapter. "0s": never, where no device is near
    for most of the time."""

"""What the BLE adapter will lack: BlueZ, an adapter that is switched on, good definitions."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.ble import definitions
from adapters.ble.bluez import BluezWatch, Radio
from adapters.ble.settings import BleSection
from gateway.configuration.checks import Finding, Severity
from gateway.errors import AdapterError
from gateway.objects.registry import Registry


async def check(section: BleSection, registry: Registry) -> Sequence[Finding]:
    """Whether the radio and the definitions can be used."""
    folder = definitions.folder(section.definitions, registry)
    folder.refresh()
    faults = [Finding(Severity.WARNING, "ble", fault) for fault in folder.faults]
    try:
        async with BluezWatch(section.adapter) as bluez:
            radio = await bluez.radio()
    except AdapterError as error:
        radio = Radio(problem=str(error))
    if radio.problem:
        return [*faults, Finding(Severity.ERROR, "ble", radio.problem)]
    return [*faults, Finding(Severity.OK, "ble", f"BlueZ runs, and {radio.adapter} is switched on")]

"""The long text that libraries show for a short Bluetooth number."""

from __future__ import annotations


def long_uuid(number: int) -> str:
    """The 128-bit UUID of a 16-bit number, in lower case (Bluetooth Core 3.B.2.5.1)."""
    return f"{number:08x}-0000-1000-8000-00805f9b34fb"

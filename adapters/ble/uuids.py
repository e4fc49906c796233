"""The long text that libraries show for a short Bluetooth number."""

from __future__ import annotations

_BASE = "-0000-1000-8000-00805f9b34fb"


def long_uuid(number: int) -> str:
    """The 128-bit UUID of a 16-bit number, in lower case (Bluetooth Core 3.B.2.5.1)."""
    return f"{number:08x}{_BASE}"


def short_uuid(uuid: str) -> str:
    """The four hex digits of a 16-bit number's UUID, and any other UUID as it is; for people."""
    return uuid[4:8] if uuid.startswith("0000") and uuid.endswith(_BASE) else uuid

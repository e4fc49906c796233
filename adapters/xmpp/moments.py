"""Times as people and programs write them, and as they are shown."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway.errors import InvalidValue
from gateway.formats.durations import parse_duration


def parse_moment(text: str, now: float) -> float:
    """The Unix seconds of a time (XEP-0082), of a number of them, or of "2h" ago."""
    text = text.strip()
    try:
        return float(text) if text.replace(".", "", 1).isdecimal() else now - parse_duration(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise InvalidValue(
            f"{text!r} is no time: write 2026-11-28T19:30:00Z, or 2h for two hours ago"
        ) from None


def moment_text(at: float | None) -> str:
    """XMPP date and time (XEP-0082) of Unix seconds; empty for none."""
    if at is None:
        return ""
    try:
        moment = datetime.fromtimestamp(at, UTC)
    except (OverflowError, ValueError, OSError):  # a device may say any number
        return str(at)
    return moment.isoformat(timespec="milliseconds")[:23] + "Z"

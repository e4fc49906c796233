"""What Linux tells of the machine that the gateway runs on; None where it does not tell."""

from __future__ import annotations

import hashlib
import re
import socket
import time
from contextlib import suppress
from pathlib import Path as FilePath

_BOARD_SERIAL = FilePath("/sys/firmware/devicetree/base/serial-number")
_MACHINE_ID = FilePath("/etc/machine-id")
_HARDWARE_CLOCK = FilePath("/sys/class/rtc/rtc0/hctosys")
_TIMESYNC = FilePath("/run/systemd/timesync")
_INTERFACES = FilePath("/sys/class/net")
_ETHER = "1"
"""ARPHRD_ETHER: Ethernet, and Wi-Fi too."""

ETHERNET, WLAN = 41, 21
"""Of the object Connectivity Monitoring (LwM2M Core, appendix E.5)."""

_ZONE = re.compile(r"zoneinfo/(?:posix/|right/)?([\w+-]+(?:/[\w+-]+)*)$")

MADE_S = 1_793_491_200.0
"""Unix seconds of a day before this version was made (2026-11-01): no right clock is behind it."""


def clock_is_set() -> bool:
    """Whether the wall clock was set, by a hardware clock or a time server.

    Only systemd-timesyncd tells which of the two; where it does not run, a clock is believed.
    """
    if time.time() < MADE_S:
        return False
    if _text(_HARDWARE_CLOCK).strip() == "1" or not _TIMESYNC.is_dir():
        return True
    return (_TIMESYNC / "synchronized").exists()


def serial_number() -> str | None:
    """The board's number, else one made from the machine's ID, which itself is never shown."""
    if board := _text(_BOARD_SERIAL).strip("\0 \n"):
        return board
    if identity := _text(_MACHINE_ID).strip():
        return hashlib.sha256(f"border-gateway {identity}".encode()).hexdigest()[:16]
    return None


def memory_kib() -> tuple[int, int] | None:
    """How much memory there is, and how much of it is available, in KiB."""
    found = dict(re.findall(r"^(\w+): +(\d+) kB$", _text(FilePath("/proc/meminfo")), re.MULTILINE))
    try:
        return int(found["MemTotal"]), int(found["MemAvailable"])
    except KeyError:
        return None


def time_zone() -> str | None:
    """The time zone's name, such as Europe/Zurich."""
    match = _ZONE.search(str(FilePath("/etc/localtime").resolve()))
    return match[1] if match else None


def utc_offset(at: float) -> str:
    """The local time's distance from UTC at a Unix time, as ISO 8601 has it: +01:00."""
    digits = time.strftime("%z", time.localtime(at))
    return f"{digits[:3]}:{digits[3:5]}"


def traffic_octets() -> tuple[int, int] | None:
    """Octets that all network interfaces but the loopback have sent, and received."""
    sent = received = 0
    lines = _text(FilePath("/proc/net/dev")).splitlines()[2:]
    for line in lines:
        name, _, counters = line.partition(":")
        if name.strip() != "lo":
            received += int(counters.split()[0])
            sent += int(counters.split()[8])
    return (sent, received) if lines else None


def network_bearer() -> tuple[int, int] | None:
    """What the default route goes over, as object 4 numbers it, and its signal in dBm.

    A cable has no signal: 0. None where there is no route, or it goes over something else.
    """
    routes = [line.split() for line in _text(FilePath("/proc/net/route")).splitlines()[1:]]
    name = next((route[0] for route in routes if route[1] == "00000000"), "")
    if not name or _text(_INTERFACES / name / "type").strip() != _ETHER:
        return None
    if not (_INTERFACES / name / "wireless").is_dir():
        return ETHERNET, 0
    levels = re.findall(rf"^ *{re.escape(name)}: +\S+ +\S+ +(-?\d+)", _wireless(), re.MULTILINE)
    return WLAN, int(levels[0]) if levels else 0


def addresses() -> list[str]:
    """The addresses from which the machine would speak to the world; nothing is sent."""
    found = []
    for family, somewhere in ((socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")):
        with suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as probe:
            probe.connect((somewhere, 9))
            found.append(str(probe.getsockname()[0]))
    return found


def _wireless() -> str:
    return _text(FilePath("/proc/net/wireless"))


def _text(file: FilePath) -> str:
    try:
        return file.read_text("utf-8", errors="replace")
    except OSError:
        return ""

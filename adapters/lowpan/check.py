"""What the 6LoWPAN adapter will lack: its stick, the right to open it, its link key."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path as FilePath
from typing import assert_never

from adapters.lowpan.devices import definitions
from adapters.lowpan.radio.interface import RadioError
from adapters.lowpan.radio.port import PortInUseError, also_open, open_port
from adapters.lowpan.radio.url import SerialUrl, ZepUrl
from adapters.lowpan.section import LowpanSection, link_security
from gateway.configuration.checks import SERVICE_USER, Finding, InUse, Severity
from gateway.errors import AdapterError
from gateway.objects.registry import Registry

SECTION = "lowpan"

_ANY_BAUDRATE = 115_200
_RENUMBERED = ("/dev/ttyUSB", "/dev/ttyACM")


async def check(section: LowpanSection, registry: Registry) -> Sequence[Finding]:
    """Whether stick, key and definitions can be used. The stick is opened, and not spoken to."""
    folder = definitions.folder(section.definitions, registry)
    folder.refresh()
    findings = [Finding(Severity.WARNING, SECTION, fault) for fault in folder.faults]
    try:
        link_security(section)
    except AdapterError as error:
        findings.append(Finding(Severity.ERROR, SECTION, str(error)))
    match section.radio:
        case SerialUrl():
            return [*findings, *_serial(section.radio)]
        case ZepUrl():
            return [*findings, Finding(Severity.OK, SECTION, "nodes are simulated over ZEP")]
        case _:
            assert_never(section.radio)


def _serial(radio: SerialUrl) -> Iterator[Finding]:
    path = radio.path
    if path.startswith(_RENUMBERED):
        yield Finding(
            Severity.WARNING,
            SECTION,
            f"{path} may be another stick after the next start: take its name below "
            "/dev/serial/by-id for [lowpan] radio",
        )
    try:
        with open_port(path, radio.baudrate or _ANY_BAUDRATE, radio.rtscts, _ignore, _ignore):
            others = also_open(path)
    except PortInUseError as error:
        yield InUse(Severity.ERROR, SECTION, str(error), path)
        return
    except RadioError as error:
        yield Finding(Severity.ERROR, SECTION, str(error))
        return
    if others:
        text = f"{path} can be opened{others}: stop that, since it takes what the stick says"
        yield Finding(Severity.WARNING, SECTION, text)
    elif os.geteuid() == 0 and (group := _missing_group(path)):
        yield Finding(
            Severity.ERROR,
            SECTION,
            f"{path} can be opened by root, but not by the daemon: "
            f"usermod -aG {group} {SERVICE_USER}",
        )
    else:
        yield Finding(Severity.OK, SECTION, f"{path} can be opened")


def _missing_group(path: str) -> str:
    """The group that the daemon's user needs for a port which root can open; "" if none."""
    try:
        user = pwd.getpwnam(SERVICE_USER)
        port = FilePath(path).stat()
        group = grp.getgrgid(port.st_gid).gr_name
    except (KeyError, OSError):  # not installed as a service
        return ""
    groups = os.getgrouplist(SERVICE_USER, user.pw_gid)
    may = port.st_gid in groups or port.st_mode & stat.S_IWOTH
    return "" if may else group


def _ignore(_: object) -> None:
    """Nobody speaks to the stick here."""

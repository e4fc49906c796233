"""What `check` finds in the world before the daemon meets it, and what several adapters look at.

An adapter class may bring its own `check`, which `examine.py` runs.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path as FilePath
from typing import Any

from gateway.configuration.listen import NO_SUCH_ADDRESS, Listener, barred, parse_listen
from gateway.objects.registry import Registry

SERVICE_USER = "border-gateway"
"""As whom the unit file runs the daemon."""


class Severity(StrEnum):
    """What a finding means: all is well, something will be missing, or something will not work."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One sentence about what a section of the configuration needs, with the remedy if any."""

    severity: Severity
    section: str
    text: str


@dataclass(frozen=True, slots=True)
class InUse(Finding):
    """What the section names as `resource` is another program's; no fault where that is the running
    daemon."""

    resource: str


Check = Callable[[Any, Registry], Awaitable[Sequence[Finding]]]
"""What an adapter class may have as `check`: says, for its section, what is there and what is not.

It leaves nothing changed behind.
"""


def secret_file(section: str, file: FilePath) -> Iterator[Finding]:
    """Whether a file with a secret is for the daemon only; who reads it says if it is not there."""
    try:
        mode = file.stat().st_mode
    except OSError:
        return
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        yield Finding(
            Severity.WARNING,
            section,
            f"{file} is open to others ({stat.filemode(mode)}): chmod 640 {file}",
        )


def listener(section: str, wanted: Listener) -> Finding:
    """Whether the address can be listened on."""
    host, port = parse_listen(wanted.listen)
    is_ipv6 = ":" in host
    kind = socket.SOCK_DGRAM if wanted.transport == "udp" else socket.SOCK_STREAM
    try:
        with socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, kind) as probe:
            if kind is socket.SOCK_STREAM:  # as servers do, for what an earlier life left
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if is_ipv6:
                probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            probe.bind(socket.getaddrinfo(host, port, flags=socket.AI_NUMERICHOST)[0][4])
    except OSError as error:
        if error.errno in NO_SUCH_ADDRESS:
            reason = f"cannot listen on {wanted.listen}: {os.strerror(error.errno)}"
            remedy = f"it is served once it is there; else take it out of [{section}] {wanted.key}"
            return Finding(Severity.WARNING, section, f"{reason}: {remedy}")
        text = barred(wanted.listen, error, f"change [{section}] {wanted.key}")
        return Finding(Severity.ERROR, section, text)
    return Finding(Severity.OK, section, f"{wanted.listen} is free to listen on")

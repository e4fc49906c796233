"""Tells systemd how the daemon is (sd_notify); silent where there is no systemd."""

from __future__ import annotations

import logging
import os
import socket

log = logging.getLogger(__name__)

SEND_TIMEOUT_S = 1.0
"""A service manager that does not read must not stop the daemon."""


def notify(state: str) -> None:
    """Sends one state, such as `READY=1`, to the socket that the service manager named."""
    try:
        _send(state, SEND_TIMEOUT_S)
    except OSError as error:
        address = os.environ.get("NOTIFY_SOCKET")
        log.warning("systemd cannot be told %s: NOTIFY_SOCKET=%s: %s", state, address, error)


def show(status: str) -> None:
    """Sets the line of `systemctl status`; lost if it cannot be taken at once."""
    try:
        _send(f"STATUS={status}", 0.0)
    except OSError as error:
        log.debug("systemd cannot be told the status: %s", error)


def _send(state: str, timeout_s: float) -> None:
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # an abstract socket
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        sock.settimeout(timeout_s)
        sock.sendto(state.encode(), address)

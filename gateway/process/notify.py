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
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):  # an abstract socket
        address = "\0" + address[1:]
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
            sock.settimeout(SEND_TIMEOUT_S)
            sock.sendto(state.encode(), address)
    except OSError as error:
        log.warning("systemd cannot be told %s: NOTIFY_SOCKET=%s: %s", state, address, error)

"""A port for a server that is started, and started again, on this machine."""

from __future__ import annotations

import random
import socket

_PORTS = range(10_000, 32_768)
"""Below those that Linux gives to clients: nobody gets one by chance while its server restarts."""


def free_port(wanted: int = 0) -> int:
    """The wanted port of 127.0.0.1 if it is free, for UDP and TCP, else another one; 0 is any."""
    wish = [wanted] if wanted else []
    for port in (*wish, *random.sample(_PORTS, len(_PORTS))):
        if all(_is_free(port, kind) for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM)):
            return port
    raise OSError("every port of 127.0.0.1 is taken")


def _is_free(port: int, kind: socket.SocketKind) -> bool:
    with socket.socket(socket.AF_INET, kind) as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True

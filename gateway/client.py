"""The command line's end of the control socket: a request, and its answers."""

from __future__ import annotations

import base64
import grp
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path as FilePath
from typing import Any

from gateway.errors import GatewayError

_WHY = "its log says why: journalctl -u border-gateway"


class HungUp(GatewayError):
    """The daemon ended the connection before all was said."""

    def __init__(self) -> None:
        super().__init__(f"the daemon ended the connection; {_WHY}")


class NotRunning(GatewayError):
    """No daemon is there to answer."""


class MayNotAsk(GatewayError):
    """The daemon does not answer this user."""


ANSWER_TIMEOUT_S = 15.0
"""Longer than the daemon waits for a device."""


LONGEST_REQUEST = 65_536
"""Octets that the daemon reads of a request: the longest value is a few kilobytes."""

ROOT = 0
"""Nobody should join root's group to read a thermometer."""


def ask(socket_file: FilePath, request: Mapping[str, object]) -> Any:
    """The one answer to a request; GatewayError where the daemon says no or is not there."""
    for answer in talk(socket_file, request, ANSWER_TIMEOUT_S):
        return answer
    raise HungUp


def backup(socket_file: FilePath) -> bytes:
    """The daemon's state database as the content of a file; GatewayError as above."""
    answers = talk(socket_file, {"do": "backup"}, ANSWER_TIMEOUT_S)
    octets = next(answers, None)
    data = b"".join(map(base64.b64decode, answers))
    if len(data) != octets:
        raise HungUp
    return data


def talk(
    socket_file: FilePath, request: Mapping[str, object], timeout_s: float | None
) -> Iterator[Any]:
    """The answers to a request, as they come; GatewayError as above."""
    line = json.dumps(request).encode() + b"\n"
    if len(line) > LONGEST_REQUEST:
        raise GatewayError(f"that is too long: a request has up to {LONGEST_REQUEST:,} octets")
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(timeout_s)
            connection.connect(os.fspath(socket_file))
            connection.sendall(line)
            for line in connection.makefile("rb"):
                answer = json.loads(line)
                if "error" in answer:
                    raise GatewayError(answer["error"])
                yield answer["ok"]
    except (ValueError, ConnectionResetError, BrokenPipeError):  # a ValueError: half a line
        raise HungUp from None
    except TimeoutError:
        raise GatewayError(f"the daemon did not answer within {timeout_s} s; {_WHY}") from None
    except (FileNotFoundError, ConnectionRefusedError):
        raise NotRunning(
            f"no daemon runs at {socket_file}: systemctl start border-gateway; another socket is "
            "named by --socket"
        ) from None
    except PermissionError:
        raise MayNotAsk(f"you may not ask the daemon: {_remedy(socket_file)}") from None
    except OSError as error:
        raise GatewayError(
            f"{socket_file}: {error.strerror or error}; another socket is named by --socket"
        ) from None


def _remedy(socket_file: FilePath) -> str:
    """How to be let in: by the group whose members may use the socket."""
    try:
        group = socket_file.stat().st_gid
        if group == ROOT:
            return "it was started by root, so use sudo"
        name = grp.getgrgid(group).gr_name
    except (OSError, KeyError):
        name = "border-gateway"
    return f"sudo usermod -aG {name} $USER, then log in again"

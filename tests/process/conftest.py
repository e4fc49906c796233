"""What starts the daemon, as the daemon sees it."""

import socket
from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest

from tests.deadlines import DEADLINE_S

LONGEST_MESSAGE = 4096
"""What systemd reads of one."""


class ServiceManager:
    """systemd's end of the notification socket."""

    def __init__(self, listening: socket.socket) -> None:
        self.socket = listening

    def told(self) -> str:
        """The next message that is not only about the status."""
        while (message := self._next()).startswith("STATUS="):
            pass
        return message

    def status(self) -> str:
        """The next status."""
        while "STATUS=" not in (message := self._next()):
            pass
        return message.partition("STATUS=")[2]

    def _next(self) -> str:
        return self.socket.recv(LONGEST_MESSAGE).decode()


@pytest.fixture
def manager(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServiceManager]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(str(tmp_path / "notify"))
        listening.settimeout(DEADLINE_S)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield ServiceManager(listening)

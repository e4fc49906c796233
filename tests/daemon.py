"""The whole daemon as a process, and the command line to it."""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

from gateway.formats.text import to_text
from tests.deadlines import DEADLINE_S

CORE = """
[gateway]
socket = "{folder}/control.sock"

[[device]]
id = "sim:0000000000000001"
prefix = "attic"
name = "Attic"
writable = ["3312/0/5850"]
"""

SIM = """
[sim]
devices = 2
interval = "50ms"
"""

LOOK_AGAIN_S = 0.02


class Daemon:
    """`python -m gateway run` on a configuration in a folder, and the command line to it."""

    def __init__(self, folder: FilePath, config: str = CORE + SIM) -> None:
        self.folder = folder
        self.config = folder / "gateway.toml"
        self.configure(config)
        self.process: subprocess.Popen[str] | None = None

    def configure(self, config: str) -> None:
        self.config.write_text(config.format(folder=self.folder))

    def start(self) -> None:
        command = ("run", "--config", str(self.config), "--state", str(self.folder / "state"))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gateway", *command], stderr=subprocess.PIPE, text=True
        )
        self.until(lambda: self.ask({"do": "devices"}))

    def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, str]:
        """Signals the daemon; gives its exit status and what it logged."""
        assert self.process
        self.process.send_signal(number)
        _, log = self.process.communicate(timeout=DEADLINE_S)
        status, self.process = self.process.returncode, None
        return status, log

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        socket_file = str(self.folder / "control.sock")
        return subprocess.run(
            [sys.executable, "-m", "gateway", "--socket", socket_file, *words],
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
            check=False,
        )

    def ask(self, request: Mapping[str, object]) -> Any:
        """One request on the control socket; None if there is no answer or an error."""
        with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
            connection.settimeout(DEADLINE_S)
            connection.connect(str(self.folder / "control.sock"))
            connection.sendall(json.dumps(request).encode() + b"\n")
            return json.loads(connection.makefile().readline()).get("ok")
        return None

    def value(self, target: str) -> Any:
        """What one resource holds, as text; None if there is none."""
        answer = self.ask({"do": "get", "target": target})
        value = answer and answer[0]["value"]
        return None if value is None else to_text(value)

    def until(self, condition: Any) -> Any:
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            if found := condition():
                return found
            time.sleep(LOOK_AGAIN_S)
        raise AssertionError("deadline passed")

"""Compiles the load generator and runs it; knows its figures only as JSON."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.coap.servers import HERE, LOAD_CPU, SWITCH, VALUE, CannotRun, Running, Server

Figures = dict[str, Any]
"""One line of the load generator; see load.c."""

CONFIRMED = "con=1"
"""What an observer asks who wants to acknowledge each notification."""

WANTED, UNWANTED = "pmax=86400", "pmin=86400"
"""Conditions of who is to be told a change at once, and of who is not to be told today."""

LONGEST_S = 120.0
"""No run of the load generator takes so long."""


class Load:
    """The load generator, compiled into a folder."""

    def __init__(self, folder: Path) -> None:
        self._program = str(folder / "load")
        compiler = shutil.which("cc")
        if compiler is None:
            raise CannotRun("cc is not installed; `make bench-coap` installs it")
        command = [compiler, "-O2", "-o", self._program, str(HERE / "load.c")]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise CannotRun(f"load.c cannot be compiled:\n{done.stderr}")

    def fill(self, server: Server, to: Running, resources: int) -> None:
        """Makes sure of the resources of a server that makes them by PUT, and of the switch."""
        wanted = [(VALUE.format("#"), resources)] if server.made_by_put else []
        for path, count in (*wanted, (SWITCH, 1)):
            if self._run("fill", to.port, path, count, 0)["refused"]:
                raise CannotRun(f"{server.name} refuses PUT {path}")

    def get(self, to: Running, paths: int, clients: int, duration_s: float) -> Figures:
        """Each client has one GET outstanding, for the paths in turn."""
        polling = int(clients > 1)
        path = VALUE.format("#")
        return self._run("get", to.port, to.pid, path, paths, clients, duration_s, polling)

    def observe(
        self,
        to: Running,
        observers: int,
        changes: int,
        timeout_s: float,
        *,
        confirmable: bool,
        ours: bool,
    ) -> Figures:
        """Changes the switch and waits until all observers have seen it, a few times.

        Our server is asked for confirmable notifications, the others are started so.
        """
        query = CONFIRMED if ours and confirmable else "-"
        how = (observers, changes, timeout_s, int(confirmable), observers, query, "-")
        return self._run("observe", to.port, to.pid, SWITCH, *how)

    def conditional(
        self, to: Running, observers: int, due: int, changes: int, timeout_s: float, *, ours: bool
    ) -> Figures:
        """The same, non-confirmably, where a change is of interest to some only.

        Those who do not want it say so to our server; the others know no conditions.
        """
        queries = (WANTED, UNWANTED) if ours else ("-", "-")
        how = (observers, changes, timeout_s, 0, due, *queries)
        return self._run("observe", to.port, to.pid, SWITCH, *how)

    def download(self, to: Running, duration_s: float) -> Figures:
        """Fetches all links block by block, again and again."""
        return self._run("download", to.port, to.pid, ".well-known/core", duration_s)

    def _run(self, *arguments: object) -> Figures:
        command = ["taskset", "-c", LOAD_CPU, self._program, *map(str, arguments)]
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=LONGEST_S
        )
        if done.returncode:
            raise CannotRun(f"{' '.join(command)}: {done.stderr}")
        figures: Figures = json.loads(done.stdout)
        if error := figures.get("error"):
            raise CannotRun(f"{' '.join(command)}: {error}")
        return figures

"""Runs in the daemon's place: tries what the unit forbids, and prints how each attempt ended."""

import json
import mmap
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path


def attempt(what: Callable[[], object]) -> str:
    try:
        what()
    except OSError as error:
        return os.strerror(error.errno or 0)
    return "done"


def main() -> None:
    writing = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    credentials = Path(os.environ["CREDENTIALS_DIRECTORY"])
    tried: dict[str, Callable[[], object]] = {
        "write state": Path(os.environ["STATE_DIRECTORY"], "probe").touch,
        "write /etc": Path("/etc/border-gateway/probe").touch,
        "write /usr": Path("/usr/lib/border-gateway/probe").touch,
        "look into /home": lambda: list(Path("/root").iterdir()),
        "read the password": Path("/etc/credstore/xmpp-password").read_text,
        "UDP": lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close(),
        "raw frames": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close(),
        "writable code": lambda: mmap.mmap(-1, 4096, prot=writing).close(),
        "change the clock": lambda: time.clock_settime(time.CLOCK_REALTIME, 0),
    }
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    facts = {
        "user": os.getuid(),
        "credential": (credentials / "xmpp-password").read_text().strip(),
        "capabilities": int(status["CapBnd"], 16),
        "seccomp": int(status["Seccomp"]),
        "may gain privileges": not int(status["NoNewPrivs"]),
    }
    print(json.dumps(facts | {name: attempt(what) for name, what in tried.items()}), flush=True)


main()

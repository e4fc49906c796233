"""Runs in the daemon's place: tries what the unit forbids, and prints how each attempt ended."""

import ctypes
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


def called(name: str, *arguments: object) -> Callable[[], object]:
    """A function of the C library that gives -1 where it fails."""
    libc = ctypes.CDLL(None, use_errno=True)

    def call() -> None:
        if libc[name](*arguments) == -1:
            raise OSError(ctypes.get_errno(), name)

    return call


PTRACE_TRACEME, CLONE_NEWUSER, ADDR_NO_RANDOMIZE, SCHED_FIFO = 0, 0x10000000, 0x0040000, 1


def main() -> None:
    writing = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    state = Path(os.environ["STATE_DIRECTORY"])
    credentials = Path(os.environ["CREDENTIALS_DIRECTORY"])
    tried: dict[str, Callable[[], object]] = {
        "write state": (state / "probe").touch,
        "write /etc": Path("/etc/border-gateway/probe").touch,
        "write /usr": Path("/usr/lib/border-gateway/probe").touch,
        "write /home": Path("/home/probe").touch,
        "write /dev/shm": Path("/dev/shm/probe").touch,
        "write a kernel setting": lambda: Path("/proc/sys/kernel/hostname").write_text("x"),
        "write a control group": Path("/sys/fs/cgroup/probe").mkdir,
        "see another process": Path("/proc/1/cmdline").read_bytes,
        "look into /home": lambda: list(Path("/home").iterdir()),
        "look into /root": lambda: list(Path("/root").iterdir()),
        "read the password": Path("/etc/credstore/xmpp-password").read_text,
        "UDP": lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close(),
        "raw frames": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW).close(),
        "raw IP": lambda: socket.socket(socket.AF_INET, socket.SOCK_RAW, 1).close(),
        "Bluetooth frames": lambda: socket.socket(
            socket.AF_BLUETOOTH, socket.SOCK_RAW, socket.BTPROTO_HCI
        ).close(),
        "mount": called("mount", b"none", b"/tmp", b"tmpfs", 0, None),
        "trace": called("ptrace", PTRACE_TRACEME, 0, None, None),
        "load a module": called("init_module", None, 0, b""),
        "restart the machine": called("reboot", 0),
        "a namespace of its own": called("unshare", CLONE_NEWUSER),
        "another personality": called("personality", ADDR_NO_RANDOMIZE),
        "real time": lambda: os.sched_setscheduler(0, SCHED_FIFO, os.sched_param(1)),
        "a set-user-id file": lambda: state.chmod(0o4755),
        "another host name": lambda: socket.sethostname("probe"),
        "code in memory": lambda: os.close(os.memfd_create("probe")),
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

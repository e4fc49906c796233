"""Two machines on a cable: network namespaces with a veth pair between them. Needs root."""

import ctypes
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.deadlines import DEADLINE_S

CLONE_NEWNET = 0x40000000
OWN = "/proc/thread-self/ns/net"

GATEWAY, GATEWAY_6 = "192.0.2.1", "2001:db8::1"
CLIENT, CLIENT_6 = "192.0.2.2", "2001:db8::2"
GATEWAY_LINK, CLIENT_LINK = "gateway0", "client0"

_libc = ctypes.CDLL(None, use_errno=True)


class Machine:
    """A network namespace of its own, where sockets can be opened and programs run."""

    def __init__(self) -> None:
        home = os.open(OWN, os.O_RDONLY)
        try:
            if _libc.unshare(CLONE_NEWNET):
                reason = os.strerror(ctypes.get_errno())
                pytest.fail(f"this test makes network namespaces, so run it as root: {reason}")
            self.fd = os.open(OWN, os.O_RDONLY)
        finally:
            _enter(home)
            os.close(home)
        self.run("ip", "link", "set", "lo", "up")

    def close(self) -> None:
        os.close(self.fd)

    @contextmanager
    def inside(self) -> Iterator[None]:
        """What is opened meanwhile is opened there."""
        home = os.open(OWN, os.O_RDONLY)
        _enter(self.fd)
        try:
            yield
        finally:
            _enter(home)
            os.close(home)

    @property
    def enter(self) -> tuple[str, ...]:
        """What a command begins with that is to run there."""
        return ("nsenter", f"--net=/proc/{os.getpid()}/fd/{self.fd}")

    def run(self, *command: str) -> str:
        """What a command printed that ran there; the test fails if it fails."""
        done = subprocess.run([*self.enter, *command], capture_output=True, text=True, check=False)
        assert not done.returncode, f"{' '.join(command)}: {done.stderr}"
        return done.stdout


def _enter(fd: int) -> None:
    if _libc.setns(fd, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


class Network:
    """The gateway's machine and a client's, each with an IPv4 and an IPv6 address."""

    def __init__(self) -> None:
        self.gateway, self.client = Machine(), Machine()
        with subprocess.Popen([*self.client.enter, "cat"], stdin=subprocess.PIPE) as inhabitant:
            _wait_until_inside(inhabitant.pid, self.client.fd)
            self.gateway.run(
                *("ip", "link", "add", GATEWAY_LINK, "type", "veth"),
                *("peer", "name", CLIENT_LINK, "netns", str(inhabitant.pid)),
            )
        for machine, link, *addresses in (
            (self.gateway, GATEWAY_LINK, GATEWAY, GATEWAY_6),
            (self.client, CLIENT_LINK, CLIENT, CLIENT_6),
        ):
            machine.run("ip", "address", "add", f"{addresses[0]}/24", "dev", link)
            machine.run("ip", "address", "add", f"{addresses[1]}/64", "dev", link, "nodad")
            machine.run("sysctl", "-qw", f"net.ipv6.conf.{link}.accept_dad=0")
            machine.run("ip", "link", "set", link, "up")
        for machine in (self.gateway, self.client):
            _wait_for_link_local(machine)

    def close(self) -> None:
        self.gateway.close()
        self.client.close()


def _wait_for_link_local(machine: Machine) -> None:
    """Without that address nobody can ask a group."""
    deadline = time.monotonic() + DEADLINE_S
    while "fe80" not in machine.run("ip", "-6", "address", "show", "scope", "link", "-tentative"):
        assert time.monotonic() < deadline, "no link-local address"
        time.sleep(0.01)


def _wait_until_inside(pid: int, fd: int) -> None:
    while Path(f"/proc/{pid}/ns/net").stat().st_ino != os.fstat(fd).st_ino:
        pass

"""Ports for servers on this machine."""

import socket

from adapters.sim.port import free_port


def test_a_wanted_port_is_given_unless_it_is_taken() -> None:
    port = free_port()
    assert free_port(port) == port
    for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
        with socket.socket(socket.AF_INET, kind) as other:
            other.bind(("127.0.0.1", port))
            assert free_port(port) not in {0, port}


def test_any_port_is_none_that_linux_gives_to_clients() -> None:
    assert free_port(0) in range(10_000, 32_768)

"""Runs in the guest: plugs a Bluetooth controller into the kernel that lives outside, behind TCP.

relay.py PORT; HCI packets go one a read or write on /dev/vhci, and in a row (H4) over TCP.
"""

import os
import select
import socket
import sys

LENGTH_AT = {2: (3, 2), 4: (2, 1)}
"""Of what a controller sends, ACL data and events: where the length is, and its size."""


def packet(buffer: bytearray) -> bytes | None:
    """Takes one packet out of the buffer, if it is complete."""
    if not buffer:
        return None
    at, size = LENGTH_AT[buffer[0]]
    end = at + size + int.from_bytes(buffer[at : at + size], "little")
    if len(buffer) < at + size or len(buffer) < end:
        return None
    taken = bytes(buffer[:end])
    del buffer[:end]
    return taken


def main(port: int) -> None:
    outside = socket.create_connection(("10.0.2.2", port))
    outside.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    kernel = os.open("/dev/vhci", os.O_RDWR)
    os.write(kernel, b"\xff\x00")  # a new controller; the kernel answers with its number
    buffer = bytearray()
    while True:
        ready, _, _ = select.select([kernel, outside.fileno()], [], [])
        if kernel in ready and (data := os.read(kernel, 4096))[0] != 0xFF:
            outside.sendall(data)
        if outside.fileno() in ready:
            if not (data := outside.recv(4096)):
                sys.exit("the controller is gone")
            buffer += data
            while (complete := packet(buffer)) is not None:
                os.write(kernel, complete)


main(int(sys.argv[1]))

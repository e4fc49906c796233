"""Asks for one value, again and again, and prints how long the answers took, when told to end."""

import json
import select
import socket
import sys
import time

PAUSE_S = 0.02
TIMEOUT_S = 30.0
"""Behind it an answer counts as missed; on a busy machine some take long."""


def main() -> None:
    port, path = int(sys.argv[1]), sys.argv[2].split("/")
    options, delta = b"", 11
    for segment in path:
        options += bytes((delta << 4 | len(segment),)) + segment.encode()
        delta = 0
    took_ms: list[float] = []
    missed = 0
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.connect(("127.0.0.1", port))
        client.settimeout(TIMEOUT_S)
        while not select.select([sys.stdin], [], [], PAUSE_S)[0]:
            mid = (len(took_ms) + missed) & 0xFFFF
            started = time.perf_counter()
            try:
                client.send(bytes((0x50, 1)) + mid.to_bytes(2, "big") + options)
                client.recv(2048)
            except OSError:
                missed += 1
            else:
                took_ms.append(1000 * (time.perf_counter() - started))
    took_ms.sort()
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    last = len(took_ms) - 1
    figures = (
        {name: took_ms[int(last * share)] for name, share in shares.items()} if took_ms else {}
    )
    print(json.dumps({"asked": len(took_ms), "missed": missed, **figures}))


if __name__ == "__main__":
    main()

"""What open status pages cost others: CoAP's answers with 0, 1, 4 and 16 pages, as ratios."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from adapters.sim.port import free_port
from benchmarks.daemon.process import Daemon, Plan, daemon

PAGES = (0, 1, 4, 16)
SETTLE_S = 10.0
"""Until all devices have said something, and a page has been told everything."""

HOUR_S = 3_600.0
"""None of the adapters ends meanwhile."""


def main() -> None:
    """Prints a line for each number of pages."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.status_pages", description=__doc__)
    parser.add_argument("--devices", type=int, default=1_000)
    parser.add_argument("--changes", type=float, default=200.0, help="a second, of all devices")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each number of pages")
    parser.add_argument("--read", type=int, nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.read:
        asyncio.run(_read(*options.read))
    else:
        asyncio.run(_measure(options.devices, options.changes, options.seconds))


async def _measure(devices: int, changes: float, seconds: float) -> None:
    plan = Plan(devices, changes, HOUR_S, time.time() + HOUR_S)
    ports = free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        async with daemon(plan, Path(folder), ports, sections="") as running:
            await asyncio.sleep(SETTLE_S)
            print(f"{devices} devices, {changes:g} changes a second")
            print("pages  requests    median      99 %  ratio of medians  daemon's CPU")
            alone = 0.0
            for pages in PAGES:
                cpu_s, told = _cpu_s(running.pid), await _answers(running, pages, seconds)
                share = (_cpu_s(running.pid) - cpu_s) / (SETTLE_S + seconds)
                alone = alone or told["p50"]
                print(
                    f"{pages:5} {told['asked']:9} {told['p50']:6.2f} ms {told['p99']:6.2f} ms "
                    f"{told['p50'] / alone:17.2f} {share:13.0%}"
                )


async def _answers(running: Daemon, pages: int, seconds: float) -> Any:
    """What the prober tells, after that many pages have been open for a while."""
    readers = await _started("benchmarks.status_pages", "--read", str(running.status), str(pages))
    try:
        await asyncio.sleep(SETTLE_S)
        prober = await _started("benchmarks.daemon.prober", str(running.coap), "s1/3303/0/5700")
        await asyncio.sleep(seconds)
        printed, _ = await prober.communicate(b"\n")
        return json.loads(printed)
    finally:
        readers.kill()
        await readers.wait()


async def _started(module: str, *arguments: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", module, *arguments, stdin=pipe, stdout=pipe
    )


async def _read(port: int, pages: int) -> None:
    """Holds pages open and takes all that they are told, until the process is ended."""
    await asyncio.gather(asyncio.Event().wait(), *(_page(port) for _ in range(pages)))


async def _page(port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
    while await reader.read(65_536):
        pass


def _cpu_s(pid: int) -> float:
    """Processor time of a process until now."""
    user, system = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[11:13]
    return (int(user) + int(system)) / 100


if __name__ == "__main__":
    main()

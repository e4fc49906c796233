"""`python -m benchmarks.soak [--seconds 600] [--devices 1000]`; see README.md."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TypeVar

from adapters.sim.port import free_port
from adapters.sim.prosody import ThrowawayProsody
from adapters.xmpp.stream import Account
from benchmarks.daemon.process import Daemon, Plan, answers_of, daemon, prober
from benchmarks.soak.clients import Observers, Page, XmppReader, differences, read_all
from tests.xmpp.servers import Line, line_to

OBSERVERS = 100
AT_REST_S = 180.0
"""How long all may take to agree in the end: an adapter that failed often starts within 75 s."""

START_S = 60.0
SETTLE_S = 3.0
MAX_MB = 100.0
"""Memory of the daemon with 1,000 devices of eight resources, its clients attached."""

FEW = 25
"""Tasks that come and go: those of requests under way, of adapters that were failing at first."""

SETTINGS = "pubsub_max_items = 2000"
"""The directory has an item a device."""

LINE_LIFE_S = 45.0
"""How long the connection to the XMPP server lives on average."""

Found = TypeVar("Found")


async def main(plan: Plan, log: Path) -> bool:
    """Runs it all and prints what was seen; True if nothing is lost, leaked, stuck or too large."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        accounts = {"gateway": "gateway-pw", "reader": "reader-pw"}
        prosody = await stack.enter_async_context(
            ThrowawayProsody(accounts, admins=["gateway"], settings=SETTINGS)
        )
        line = await stack.enter_async_context(line_to(prosody.port))
        (folder / "password").write_text("gateway-pw\n", "utf-8")
        xmpp = f"""
[xmpp]
jid = "gateway@localhost"
password_file = "{folder}/password"
host = "127.0.0.1"
port = {line.port}
ca_file = "{prosody.ca_file}"
roles = {{ "reader@localhost" = "reader" }}
"""
        under = await stack.enter_async_context(
            daemon(plan, folder, (free_port(), free_port()), xmpp)
        )
        numbers = list(range(1, plan.devices + 1))
        observers = Observers(under.coap, random.sample(numbers, min(OBSERVERS, plan.devices)))
        account = Account(
            "reader@localhost/soak", "reader-pw", "127.0.0.1", prosody.port, ca_file=prosody.ca_file
        )
        reader = XmppReader(account)
        await stack.enter_async_context(observers.watching())
        await stack.enter_async_context(reader.following())
        page = Page(under.status)
        await stack.enter_async_context(page.open())
        await _until_served(page)
        tasks = [await page.tasks()]
        asking = await prober(under.coap, "s1/3303/0/5700")
        memory = await _meanwhile(plan, under, line)
        answers = await answers_of(asking)
        truth = await _until(under.truth, AT_REST_S)
        wrong = ["the devices never came to rest"]
        if truth:
            wrong = await _agree(truth, under, observers, reader, page)
        tasks.append(await page.tasks())
        wrong += _excess(tasks, memory)
        _print(plan, under, memory, answers, wrong)
        _print_clients(observers, reader, page, tasks)
        if wrong:
            log.write_text(under.log(), "utf-8")
            print(f"the daemon's log is kept as {log}")
        return not wrong


def _excess(tasks: list[int], memory: list[tuple[float, float]]) -> Iterator[str]:
    if tasks[1] > tasks[0] + FEW:
        yield f"{tasks[1] - tasks[0]} tasks more than in the beginning"
    if (highest := max(mb for _, mb in memory)) > MAX_MB:
        yield f"{highest:.1f} MB of memory, which should be {MAX_MB:g} at most"


async def _until_served(page: Page) -> None:
    async with asyncio.timeout(START_S):
        while not await page.tasks():
            await asyncio.sleep(0.5)
    await asyncio.sleep(SETTLE_S)


async def _meanwhile(plan: Plan, under: Daemon, line: Line) -> list[tuple[float, float]]:
    """Cuts the line to the XMPP server now and then; gives times and memory in MB."""
    memory: list[tuple[float, float]] = []
    cut_at = time.time() + random.expovariate(1 / LINE_LIFE_S)
    while (now := time.time()) < plan.until:
        memory.append((now, under.resident_mb()))
        if now > cut_at:
            line.cut()
            cut_at = now + random.expovariate(1 / LINE_LIFE_S)
        await asyncio.sleep(1.0)
    return memory


async def _agree(
    truth: Mapping[int, Mapping[str, object]],
    under: Daemon,
    observers: Observers,
    reader: XmppReader,
    page: Page,
) -> list[str]:
    """Waits until all clients believe what is so; gives what they still get wrong."""

    def told() -> list[str]:
        return [
            *(f"observer: {each}" for each in differences(truth, observers.seen, all_of=False)),
            *(f"XMPP: {each}" for each in differences(truth, reader.seen, all_of=True)),
        ]

    await _until(lambda: not told(), AT_REST_S)
    read = await read_all(under.coap, list(truth))
    shown = await page.read_all(truth)
    return [
        *told(),
        *(f"CoAP: {each}" for each in differences(truth, read, all_of=True)),
        *(f"page: {each}" for each in differences(truth, shown, all_of=True)),
    ]


async def _until(condition: Callable[[], Found], seconds: float) -> Found:
    deadline = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() < deadline:
        await asyncio.sleep(0.5)
    return found


def _slope(memory: list[tuple[float, float]]) -> float:
    """Megabytes an hour, by least squares over the second half."""
    half = memory[len(memory) // 2 :]
    at = sum(t for t, _ in half) / len(half)
    mean = sum(m for _, m in half) / len(half)
    spread = sum((t - at) ** 2 for t, _ in half)
    return 3600 * sum((t - at) * (m - mean) for t, m in half) / spread if spread else 0.0


def _print(
    plan: Plan,
    under: Daemon,
    memory: list[tuple[float, float]],
    answers: dict[str, float],
    wrong: list[str],
) -> None:
    log, highest = under.log(), max(m for _, m in memory)
    rows = {
        "devices, changes a second, seconds": f"{plan.devices}, {plan.changes:g}, {plan.seconds:g}",
        "start to READY": f"{under.ready_s:.2f} s",
        "adapters that failed": str(log.count("; starts again within")),
        "of them by a bug": str(log.count("unexpected error")),
        "CoAP answers": ", ".join(f"{k} {v:.4g}" for k, v in answers.items()) + " (ms)",
        "memory first, highest, last": f"{memory[0][1]:.1f}, {highest:.1f}, {memory[-1][1]:.1f} MB",
        "its slope in the second half": f"{_slope(memory):+.1f} MB/h",
        "what is wrong in the end": str(len(wrong)),
    }
    for name, value in rows.items():
        print(f"{name:38} {value}")
    for each in wrong[:10]:
        print(f"  {each}")


def _print_clients(observers: Observers, reader: XmppReader, page: Page, tasks: list[int]) -> None:
    rows = {
        "CoAP observers": f"{observers.told} messages, {observers.registered} registrations",
        "XMPP subscriber": f"{reader.told} updates",
        "status page": f"{page.told} events",
        "tasks at first, in the end": f"{tasks[0]}, {tasks[1]}",
    }
    for name, value in rows.items():
        print(f"{name:38} {value}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--changes", type=float, default=200.0)
    parser.add_argument("--log", type=Path, default=Path("soak.log"), help="kept if it fails")
    given = parser.parse_args()
    until = time.time() + given.seconds
    agreed = Plan(given.devices, given.changes, given.seconds, until, life_s=given.seconds / 4)
    sys.exit(0 if asyncio.run(main(agreed, given.log)) else 1)

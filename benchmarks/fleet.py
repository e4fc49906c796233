"""Real daemons with XMPP: their CoAP answers while it has trouble, and many on one server.

`python -m benchmarks.fleet [--quick]`; needs prosody, openssl and ejabberd. It asserts no time.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path as FilePath
from typing import Protocol

from adapters.sim.port import free_port
from adapters.sim.prosody import ThrowawayProsody, make_certificates
from adapters.xmpp.publisher import HISTORY
from benchmarks.daemon.devices import device_id
from benchmarks.daemon.process import Daemon, Plan, answers_of, daemon, prober
from gateway.events import Entry
from gateway.model import Path
from gateway.readings.journal import Batch
from gateway.storage.archive import Archive
from gateway.storage.state import StateDatabase
from tests.xmpp.ejabberd import ThrowawayEjabberd

PASSWORD = "pw"
DEVICES = 40
FLEET_DEVICES = 250
FLEETS = (1, 4, 16)
REPLAYED = 100_000
CHANGES_PER_S = 20.0
ITEMS = 6
"""Of each device: two sensors, objects 3 and 4, meta and status."""

PROBED = "s1/3303/0/5700"
PATIENCE_S = 600.0
PUBLISHED = "events xmpp_items_published"


class Server(Protocol):
    """A throw-away XMPP server."""

    port: int

    @property
    def ca_file(self) -> FilePath: ...


@asynccontextmanager
async def gateway_on(
    server: Server, plan: Plan, name: str = "gateway", folder: FilePath | None = None
) -> AsyncIterator[Daemon]:
    """A daemon with an account of its own."""
    async with AsyncExitStack() as stack:
        if folder is None:
            folder = FilePath(stack.enter_context(tempfile.TemporaryDirectory()))
        (folder / "password").write_text(PASSWORD, "utf-8")
        xmpp = f"""
[xmpp]
jid = "{name}@localhost"
gateway = "{name}"
password_file = "{folder}/password"
host = "127.0.0.1"
port = {server.port}
ca_file = "{server.ca_file}"
alerts = []
"""
        ports = free_port(), free_port()
        yield await stack.enter_async_context(daemon(plan, folder, ports, xmpp))


def plan(devices: int, changes: float, first: int = 1) -> Plan:
    """Nothing rests before the measurement is over."""
    return Plan(devices, changes, PATIENCE_S, time.time() + 10 * PATIENCE_S, first=first)


async def until(under: Daemon, name: str, least: float) -> None:
    """Waits until a metric is at least so large."""
    async with asyncio.timeout(PATIENCE_S):
        while (await counted(under)).get(name, -1.0) < least:
            await asyncio.sleep(0.2)


async def counted(under: Daemon) -> Mapping[str, float]:
    """The metrics; none while there is no answer."""
    try:
        return await under.counted()
    except OSError:
        return {}


# --- CoAP's answers while XMPP has trouble -------------------------------------------------------


async def beside_coap(seconds: float) -> None:
    """Prints how long answers take while the gateway logs in, is refused, and replays a journal."""
    print("CoAP answers of one gateway, milliseconds; 50 requests a second")
    prosody = ThrowawayProsody({"gateway": PASSWORD}, admins=["gateway"])
    with tempfile.TemporaryDirectory() as name:
        folder = FilePath(name)
        async with prosody, gateway_on(prosody, plan(DEVICES, CHANGES_PER_S), folder=folder) as it:
            await until(it, PUBLISHED, DEVICES * ITEMS)
            await _asked(it, seconds, "connected")
            asking = await prober(it.coap, PROBED)
            for _ in range(max(1, int(seconds / 5))):
                await prosody.kill()
                await asyncio.sleep(1)
                await prosody.start()
                await asyncio.sleep(4)
            _print("its server is killed and comes back", await answers_of(asking))
            (folder / "password").write_text("wrong", "utf-8")
            await prosody.kill()
            await prosody.start()
            await _asked(it, seconds, "its password is refused")
    with tempfile.TemporaryDirectory() as name:
        folder = FilePath(name)
        fill(folder / "state")
        prosody = ThrowawayProsody({"gateway": PASSWORD}, admins=["gateway"])
        async with prosody, gateway_on(prosody, plan(DEVICES, CHANGES_PER_S), folder=folder) as it:
            await until(it, "events xmpp_changes_replayed", 1)
            before, began = await counted(it), time.monotonic()
            await _asked(it, seconds, f"a journal of {REPLAYED:,} changes is replayed")
            key = "events xmpp_changes_replayed"
            rate = ((await counted(it))[key] - before[key]) / (time.monotonic() - began)
            print(f"  {'':42} {rate:.0f} changes a second were replayed")


def fill(folder: FilePath) -> None:
    """A state with a journal that the XMPP server has nothing of."""
    state = StateDatabase(folder)
    archive = Archive(state)
    devices = [device_id(number) for number in range(1, DEVICES + 1)]
    with state.commit(synced=False) as db:
        db.executemany(
            "INSERT INTO device VALUES (?, ?, '', 'radio0', 0, 0.0)",
            [(device, f"s{number}") for number, device in enumerate(devices, 1)],
        )
    at, path = time.time() - REPLAYED, Path(3303, 0, 5700)
    entries = [
        Entry(n, devices[n % DEVICES], path, n % 100 / 2, at + n) for n in range(1, REPLAYED + 1)
    ]
    archive.write(Batch(entries, {f"xmpp/{HISTORY}": 0}))
    archive.close()
    state.close()


async def _asked(under: Daemon, seconds: float, what: str) -> None:
    asking = await prober(under.coap, PROBED)
    await asyncio.sleep(seconds)
    _print(what, await answers_of(asking))


def _print(what: str, figures: Mapping[str, float]) -> None:
    shown = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
    print(f"  {what:42} {shown}", flush=True)


# --- several gateways on one server ---------------------------------------------------------------


async def fleet(name: str, server: Server, count: int, seconds: float, pid: int) -> None:
    """Prints what so many gateways of 250 devices do on one server."""
    async with AsyncExitStack() as stack:
        began, cpu_s = time.monotonic(), _cpu_s(pid)
        starting = [
            stack.enter_async_context(
                gateway_on(
                    server,
                    plan(FLEET_DEVICES, CHANGES_PER_S, first=1 + number * FLEET_DEVICES),
                    f"gateway{number}",
                )
            )
            for number in range(count)
        ]
        daemons = [await each for each in starting]
        await asyncio.gather(*(until(d, PUBLISHED, FLEET_DEVICES * ITEMS) for d in daemons))
        mirrored_s = time.monotonic() - began
        before, cpu_before = await _published(daemons), _cpu_s(pid)
        await asyncio.sleep(seconds)
        rate = (await _published(daemons) - before) / seconds
        server_cpu = (_cpu_s(pid) - cpu_before) / seconds
        memory = sum(d.resident_mb() for d in daemons) / count
        waiting = sum([(await counted(d)).get("outbox_events xmpp", 0.0) for d in daemons])
        print(
            f"| {name} | {count} | {count * FLEET_DEVICES:,} | {mirrored_s:.0f} | "
            f"{cpu_before - cpu_s:.0f} | {CHANGES_PER_S * count:.0f} | {rate:.0f} | "
            f"{100 * server_cpu:.0f} % | {memory:.0f} | {waiting:.0f} |",
            flush=True,
        )


async def fleets(counts: Sequence[int], seconds: float) -> None:
    """Prosody and ejabberd with 1, 4 and 16 gateways."""
    print(
        f"\nGateways of {FLEET_DEVICES} devices, {CHANGES_PER_S:.0f} changes a second each"
        "\n| server | gateways | devices | mirrored after s | server's CPU s for that | "
        "offered/s | items/s | server's CPU | MB a gateway | waiting |"
        "\n| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |"
    )
    names = [f"gateway{number}" for number in range(max(counts))]
    accounts = dict.fromkeys(names, PASSWORD)
    for count in counts:
        settings = "pubsub_max_items = 2000"
        async with ThrowawayProsody(accounts, admins=names, settings=settings) as prosody:
            await fleet("Prosody", prosody, count, seconds, _pid(prosody))
    for count in counts:
        with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as keys:
            certificates = FilePath(keys)
            await make_certificates(certificates)
            async with ThrowawayEjabberd(accounts, FilePath(folder), certificates) as ejabberd:
                await fleet("ejabberd", ejabberd, count, seconds, _pid(ejabberd))


async def _published(daemons: Sequence[Daemon]) -> float:
    return sum([(await counted(d)).get(PUBLISHED, 0.0) for d in daemons])


def _pid(server: ThrowawayProsody | ThrowawayEjabberd) -> int:
    process = server._process
    assert process
    return process.pid


def _cpu_s(pid: int) -> float:
    fields = FilePath(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="a third of the time, fewer gateways")
    parser.add_argument("--only", choices=("coap", "fleet"))
    given = parser.parse_args()
    seconds, counts = (8.0, FLEETS[:2]) if given.quick else (20.0, FLEETS)
    if given.only != "fleet":
        await beside_coap(seconds)
    if given.only != "coap":
        await fleets(counts, seconds)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

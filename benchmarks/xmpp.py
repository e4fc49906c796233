"""The mirror against a bare slixmpp publisher, under a server's limits, and through an outage.

`python -m benchmarks.xmpp [--quick]`; needs prosody and openssl. It asserts no time.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path as FilePath
from statistics import median, quantiles
from typing import Any, NamedTuple

from adapters.sim.prosody import SERVICE, ThrowawayProsody
from adapters.xmpp.adapter import Xmpp
from gateway.model import DeviceId, Path
from gateway.objects.registry import Registry
from gateway.policy import DeviceRule
from tests.fakes import STATION, Clock, HubBench
from tests.xmpp.conftest import NODE, PASSWORDS, SWITCH, Gateway, Peer, WatchedSlot, peer_of

WINDOW = 8
ITEMS = 20
"""More than wait, so that each value is published: none is overtaken by a newer one."""
UNLIMITED = 'unlimited_jids = { "gateway@localhost" }'
STOCK = """
modules_enabled = { "roster", "saslauth", "tls", "disco", "ping", "pep", "adhoc", "limits" }
limits = { c2s = { rate = "10kb/s" } }
"""
CALM_PER_S = 50
"""A quarter of what Prosody takes: then no item waits for others."""
OFFERED_PER_S = 200
DEVICES = (STATION, *(DeviceId(f"ble:00-24-be-80-50-{n:02x}") for n in range(4)))


class Speed(NamedTuple):
    """What a publisher does in a second, what CPU time an item takes of its process, and of the
    server's, and when it began (Unix seconds)."""

    items_per_s: float
    cpu_s: float
    server_s: float
    began: float


class Watch:
    """Takes the time of one publisher's run; items are as many a second as given, or as can be."""

    def __init__(self, server: ThrowawayProsody, per_s: float | None) -> None:
        self._server = server
        self._per_s = per_s
        self._cpu_s, self._server_s = time.process_time(), _cpu_s(server)
        self._began, self._began_at = time.monotonic(), time.time()

    @property
    def took_s(self) -> float:
        return time.monotonic() - self._began

    async def due(self, number: int) -> float:
        """Waits until an item is to be published, counted from 1; gives the time for which it was
        meant (Unix seconds), so that one which had to wait for others is late."""
        if not self._per_s:
            return time.time()
        await asyncio.sleep(number / self._per_s - self.took_s)
        return self._began_at + number / self._per_s

    def speed(self, items: int) -> Speed:
        cpu_s = time.process_time() - self._cpu_s, _cpu_s(self._server) - self._server_s
        return Speed(items / self.took_s, cpu_s[0] / items, cpu_s[1] / items, self._began_at)


class RealClock(Clock):
    """The hub's clocks as they are."""

    def wall(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()


def house(devices: int) -> HubBench:
    """A hub with devices of twenty temperatures each; the first one has a switch, too."""
    bench = HubBench(RealClock(), Registry.builtin())
    bench.rules(station=DeviceRule(listed=True, writable=True))
    for device in DEVICES[:devices]:
        bench.join(device)
        bench.say({Path(3303, i, 5700): 0.0 for i in range(ITEMS)}, device)
    bench.say({SWITCH: False})
    return bench


@asynccontextmanager
async def gateway_on(server: ThrowawayProsody, bench: HubBench) -> AsyncIterator[Gateway]:
    with tempfile.TemporaryDirectory() as folder:
        file = FilePath(folder) / "password"
        file.write_text(PASSWORDS["gateway"])
        section = {
            "jid": "gateway@localhost",
            "password_file": file,
            "host": "127.0.0.1",
            "port": server.port,
            "ca_file": server.ca_file,
            "window": WINDOW,
            "roles": {"reader@localhost": "reader", "op@localhost": "operator"},
        }
        slot = WatchedSlot(bench)
        adapter = Xmpp(Xmpp.Config(**section), slot)
        task = asyncio.create_task(adapter.run())
        try:
            gateway = Gateway(bench, slot, adapter)
            await gateway.says("publishing on")
            yield gateway
        finally:
            task.cancel()
            await asyncio.wait({task})


async def by_gateway(server: ThrowawayProsody, seconds: float, per_s: float | None = None) -> Speed:
    """Each item is told to the hub when there is room for it: as many wait as are on their way."""
    bench = house(1)
    async with gateway_on(server, bench) as gateway:
        await gateway.settled()
        publisher, slot, number = gateway.adapter._publisher, gateway.slot, 0
        watch = Watch(server, per_s)
        while watch.took_s < seconds:
            await watch.due(number + 1)
            if per_s is None:
                await slot.until(lambda: publisher.waiting + len(slot.outbox) < 2 * WINDOW)
            number += 1
            bench.say({Path(3303, number % ITEMS, 5700): number / 10})
        await gateway.settled()
        return watch.speed(number)


async def by_slixmpp(server: ThrowawayProsody, seconds: float, per_s: float | None = None) -> Speed:
    """A publisher of twenty lines, with the same window and payload on the same node.

    What a publish costs a server depends on how much its node keeps.
    """
    async with peer_of(server, "gateway") as peer:
        sent, watch = 0, Watch(server, per_s)

        async def work() -> None:
            nonlocal sent
            while watch.took_s < seconds:
                sent += 1
                number = sent
                at = f"{await watch.due(number):.3f}"
                pack = ET.Element("{urn:ietf:params:xml:ns:senml}sensml")
                base = f"urn:dev:mac:0024befffe804ff1/3303/{number % ITEMS}/"
                fields = {"bn": base, "bt": at, "n": "5700", "v": str(number / 10)}
                ET.SubElement(pack, "{urn:ietf:params:xml:ns:senml}senml", fields)
                item = f"3303/{number % ITEMS}"
                await peer.pubsub.publish(SERVICE, NODE, id=item, payload=pack, timeout=60)

        await asyncio.gather(*(work() for _ in range(WINDOW)))
        return watch.speed(sent)


async def subscriber(port: int, ca_file: str) -> None:
    """A process of its own: prints when each item was measured and how late it is, until its
    standard input ends."""

    class Server:
        def __init__(self) -> None:
            self.port = port
            self.ca_file = FilePath(ca_file)

    async with peer_of(Server(), "reader") as peer:
        told: list[tuple[float, float]] = []

        def take(message: Any) -> None:
            now = time.time()
            records = message.xml.iter("{urn:ietf:params:xml:ns:senml}senml")
            measured = [float(r.get("bt")) for r in records if r.get("n") == "5700"]
            told.extend((at, now - at) for at in measured)

        await peer.subscribe(NODE)
        peer.add_event_handler("pubsub_publish", take)
        print("ready", flush=True)
        await asyncio.to_thread(sys.stdin.read)
        print(json.dumps(told))


@asynccontextmanager
async def watched(server: ThrowawayProsody) -> AsyncIterator[list[tuple[float, float]]]:
    """When the items published within were measured, and how late another process gets each."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "benchmarks.xmpp", "--subscriber",
        str(server.port), str(server.ca_file),
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**24,
    )  # fmt: skip
    assert process.stdout
    assert await process.stdout.readline() == b"ready\n"
    told: list[tuple[float, float]] = []
    yield told
    out, _ = await process.communicate(b"")
    told += map(tuple, json.loads(out))


async def rates(seconds: float, rounds: int) -> None:
    print(f"{ITEMS} items, window {WINDOW}, Prosody without limits; in turn on the same node")
    publishers = {"slixmpp": by_slixmpp, "gateway": by_gateway}
    speeds: dict[str, list[Speed]] = {name: [] for name in publishers}
    late: dict[str, list[float]] = {name: [] for name in publishers}
    async with ThrowawayProsody(PASSWORDS, admins=["gateway"], settings=UNLIMITED) as server:
        await by_gateway(server, 0.1)  # so that the node is there
        for _ in range(rounds):
            for name, publish in publishers.items():
                async with watched(server):
                    speeds[name].append(await publish(server, seconds))
            for name, publish in publishers.items():
                async with watched(server) as told:
                    run = await publish(server, seconds, CALM_PER_S)
                late[name] += [late_s for at, late_s in told if at >= run.began]
    for name, found in speeds.items():
        rate, cpu_s, server_s, _ = map(median, zip(*found, strict=True))
        costs = f"{1000 * cpu_s:.2f} ms CPU each, and {1000 * server_s:.2f} ms of the server's"
        calm = f"at {CALM_PER_S} a second {_late(late[name])}"
        print(f"  {name:8} {rate:6.0f} a second, {costs}; {calm}")
    pairs = [
        mine.items_per_s / bare.items_per_s
        for mine, bare in zip(speeds["gateway"], speeds["slixmpp"], strict=True)
    ]
    print(f"  ratio    {median(pairs):6.2f}, the median of {len(pairs)} rounds")


def _late(seconds: list[float]) -> str:
    cuts = quantiles(seconds, n=100)
    return f"told after {1000 * cuts[49]:.1f} ms p50, {1000 * cuts[98]:.1f} ms p99"


def _cpu_s(server: ThrowawayProsody) -> float:
    assert server.pid
    return int(FilePath(f"/proc/{server.pid}/schedstat").read_text("ascii").split()[0]) / 1e9


async def control(seconds: float) -> None:
    print(f"a command and its answer, {OFFERED_PER_S} updates a second offered, stock limits")
    async with ThrowawayProsody(PASSWORDS, admins=["gateway"], settings=STOCK) as server:
        bench = house(len(DEVICES))
        async with gateway_on(server, bench) as gateway, peer_of(server, "op") as op:
            offering = asyncio.create_task(offer(bench))
            trips = []
            published = bench.hub.counters["xmpp_items_published"]
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                trips.append(await round_trip(op))
                await asyncio.sleep(0.3)
            rate = (bench.hub.counters["xmpp_items_published"] - published) / seconds
            offering.cancel()
            print(f"  {len(trips)} commands: {1000 * median(trips):.0f} ms p50, "
                  f"{1000 * max(trips):.0f} ms at most; {rate:.0f} items a second go out, "
                  f"{gateway.adapter._publisher.waiting} wait")  # fmt: skip


async def offer(bench: HubBench) -> None:
    number, began = 0, time.monotonic()
    while True:
        while number < (time.monotonic() - began) * OFFERED_PER_S:
            number += 1
            device = DEVICES[number // ITEMS % len(DEVICES)]
            bench.say({Path(3303, number % ITEMS, 5700): float(number)}, device)
        await asyncio.sleep(0.01)


async def round_trip(op: Peer) -> float:
    began = time.monotonic()
    iq: Any = op.make_iq_get(ito="gateway@localhost/gateway")
    content = "<req xmlns='urn:nf:iot:sd:1.0' id='1'><nd id='d1'/><f n='On/Off'/></req>"
    iq.append(ET.fromstring(content))
    await iq.send(timeout=60)
    return time.monotonic() - began


async def outage(seconds: float) -> None:
    print(f"an outage of {seconds:.0f} s with {OFFERED_PER_S} updates a second to 100 items")
    async with ThrowawayProsody(PASSWORDS, admins=["gateway"], settings=UNLIMITED) as server:
        bench = house(len(DEVICES))
        async with gateway_on(server, bench) as gateway:
            await gateway.settled()
            await server.kill()
            await gateway.says("not connected")
            before = _resident_kb()
            offering = asyncio.create_task(offer(bench))
            await asyncio.sleep(seconds)
            offering.cancel()
            waiting = gateway.adapter._publisher.waiting + len(gateway.slot.outbox)
            grown = _resident_kb() - before
            await server.start()
            began = time.monotonic()
            while gateway.adapter._publisher.waiting:
                await asyncio.sleep(0.05)
            took = time.monotonic() - began
            print(
                f"  {waiting} items wait, {grown} kB more; all there {took:.1f} s after it is back"
            )


def _resident_kb() -> int:
    status = FilePath("/proc/self/status").read_text("ascii")
    return next(int(line.split()[1]) for line in status.splitlines() if "VmRSS" in line)


async def main(*, quick: bool) -> None:
    await rates(3.0 if quick else 10.0, 2 if quick else 5)
    await control(10.0 if quick else 60.0)
    await outage(10.0 if quick else 60.0)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a minute")
    parser.add_argument("--subscriber", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.subscriber:
        port, ca_file = options.subscriber
        asyncio.run(subscriber(int(port), ca_file))
    else:
        asyncio.run(main(quick=options.quick))

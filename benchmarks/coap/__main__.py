"""Runs every measurement on every server in turn, some rounds long, and prints the medians."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.coap import report
from benchmarks.coap.load import Figures, Load
from benchmarks.coap.servers import OURS, SERVERS, CannotRun, Running, Server, prepare, running

DEVICES = 1_000
"""Devices of ours, resources of the others: a device of adapters/sim has thirteen values."""

LINKS = 10_000
DEVICES_OF_10_000_LINKS = 356
"""A device brings 28 links: its objects, instances, resources, and an instance of /25."""

CONDITIONAL, DUE = 1_000, 10
"""Observers with conditions, and how many of them a change concerns."""


@dataclass(frozen=True, slots=True)
class Plan:
    """How long and how often."""

    rounds: int
    starts: int
    """How often a server is started for a GET in each round: its speed differs by a fifth."""
    duration_s: float
    observers: tuple[int, ...]
    changes: int
    timeout_s: float


FULL = Plan(3, 2, 3.0, (1, 100, 1_000, 10_000), 3, 8.0)
QUICK = Plan(1, 1, 1.0, (1, 1_000), 2, 4.0)

Measure = Callable[[Load, Running], Figures]


@dataclass(frozen=True, slots=True)
class Case:
    """One measurement, and the server that it wants: a fresh one each time."""

    key: report.Key
    resources: int
    measure: Measure
    confirmable: bool = True


def cases(plan: Plan, server: Server) -> Iterator[Case]:
    """What is measured on a server, in order."""
    for clients, paths in plan.starts * ((1, 1), (32, 1), (32, DEVICES)):
        yield Case(("get", clients, paths), DEVICES, _get(plan, clients, paths))
    for confirmable in (True, False):
        for observers in plan.observers:
            key = ("observe", "CON" if confirmable else "NON", observers)
            measure = _observe(plan, observers, confirmable=confirmable, ours=server is OURS)
            yield Case(key, DEVICES if server is OURS else 1, measure, confirmable)
    resources = DEVICES if server is OURS else 1
    yield Case(("conditional", CONDITIONAL, DUE), resources, _conditional(plan, server), False)
    links = DEVICES_OF_10_000_LINKS if server is OURS else LINKS
    yield Case(("download",), links, lambda load, to: load.download(to, plan.duration_s))
    for many in (1, DEVICES):
        yield Case(("memory", many), many, _memory)


def _get(plan: Plan, clients: int, paths: int) -> Measure:
    return lambda load, to: load.get(to, paths, clients, plan.duration_s)


def _conditional(plan: Plan, server: Server) -> Measure:
    def measure(load: Load, to: Running) -> Figures:
        counts = (CONDITIONAL, DUE, plan.changes, plan.timeout_s)
        return _checked(load.conditional(to, *counts, ours=server is OURS))

    return measure


def _observe(plan: Plan, observers: int, *, confirmable: bool, ours: bool) -> Measure:
    def measure(load: Load, to: Running) -> Figures:
        counts = (observers, plan.changes, plan.timeout_s)
        return _checked(load.observe(to, *counts, confirmable=confirmable, ours=ours))

    return measure


def _checked(figures: Figures) -> Figures:
    if figures["refused"]:
        raise CannotRun("a PUT that should have told the observers was refused")
    return figures


def _memory(_: Load, to: Running) -> Figures:
    return {"rss_kb": to.resident_kb()}


def measure_all(plan: Plan, load: Load) -> report.Samples:
    """The figures of each case and server, one a round or start; CannotRun if one does not run."""
    samples: report.Samples = {}
    for number in range(1, plan.rounds + 1):
        for step in zip(*(cases(plan, server) for server in SERVERS), strict=True):
            for server, case in zip(SERVERS, step, strict=True):
                name = " ".join(map(str, case.key))
                print(f"round {number}: {name}: {server.name}", file=sys.stderr, flush=True)
                with running(server, case.resources, confirmable=case.confirmable) as to:
                    load.fill(server, to, case.resources)
                    to.rest()
                    figures = case.measure(load, to)
                samples.setdefault(case.key, {}).setdefault(server.name, []).append(figures)
    return samples


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.coap", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: about 2 minutes")
    plan = QUICK if parser.parse_args().quick else FULL
    try:
        prepare()
        with tempfile.TemporaryDirectory() as folder:
            samples = measure_all(plan, Load(Path(folder)))
    except CannotRun as error:
        sys.exit(f"the benchmark cannot run: {error}")
    print(report.text(samples))


if __name__ == "__main__":
    main()

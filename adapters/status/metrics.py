"""Metrics for Prometheus. Labels are adapters, states and the names of counters: few, and bounded
by the configuration and the code; never a device.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Iterator

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, ProcessCollector
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

from gateway import __version__
from gateway.events import State
from gateway.overview import Condition
from gateway.ports import NorthPort

LAG_INTERVAL_S = 0.5
LAG_WINDOW = 120
"""The longest delay of the last minute: a scrape a minute misses none."""


class Lag:
    """How much later than asked for the event loop comes to a task."""

    def __init__(self) -> None:
        self._latest: deque[float] = deque(maxlen=LAG_WINDOW)

    @property
    def longest_s(self) -> float:
        """The longest delay of the last minute."""
        return max(self._latest, default=0.0)

    async def measure(self) -> None:
        """Measures until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_INTERVAL_S
            await asyncio.sleep(LAG_INTERVAL_S)
            self._latest.append(max(0.0, loop.time() - due))


class GatewayCollector(Collector):
    """Reads the metrics from the port when they are asked for."""

    def __init__(self, port: NorthPort, lag: Lag, browsers: Callable[[], int]) -> None:
        self._port = port
        self._lag = lag
        self._browsers = browsers

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("border_gateway", "The program.", {"version": __version__})
        yield from self._adapters()
        yield from self._counted()
        yield _gauge("event_loop_lag_seconds", "Longest of the last minute.", self._lag.longest_s)
        yield _gauge("tasks", "What it does side by side.", len(asyncio.all_tasks()))
        yield _gauge("browsers", "Status pages that are open.", self._browsers())

    def _adapters(self) -> Iterator[Metric]:
        up = GaugeMetricFamily(
            "border_gateway_adapter_up", "1 if it runs and has what it needs.", labels=["adapter"]
        )
        restarts = CounterMetricFamily(
            "border_gateway_adapter_restarts", "Starts after a failure.", labels=["adapter"]
        )
        waiting = GaugeMetricFamily(
            "border_gateway_outbox_events", "Events that wait for a server.", labels=["adapter"]
        )
        dropped = CounterMetricFamily(
            "border_gateway_outbox_dropped", "Events for which there was no room.",
            labels=["adapter"],
        )  # fmt: skip
        for adapter in self._port.overview().adapters:
            up.add_metric([adapter.name], adapter.condition is Condition.RUNNING)
            restarts.add_metric([adapter.name], adapter.restarts)
            if adapter.northbound:
                waiting.add_metric([adapter.name], adapter.waiting)
                dropped.add_metric([adapter.name], adapter.dropped)
        yield from (up, restarts, waiting, dropped)

    def _counted(self) -> Iterator[Metric]:
        overview = self._port.overview()
        devices = GaugeMetricFamily(
            "border_gateway_devices", "Bridged devices, by availability.", labels=["state"]
        )
        states = Counter(d.availability.state for d in self._port.devices() if d.prefix)
        for state in State:
            devices.add_metric([state.value], states[state])
        events = CounterMetricFamily(
            "border_gateway_events", "What adapters and core count.", labels=["event"]
        )
        for name, count in sorted(overview.counters.items()):
            events.add_metric([name], count)
        yield from (devices, events)
        yield _gauge("strangers", "Devices seen that are not bridged.", len(overview.strangers))
        yield _gauge("absent_devices", "Devices listed, but never seen.", len(overview.absent))
        yield _gauge("journal_unsaved", "Changes that are not on disk yet.", overview.unsaved)
        yield _gauge("join_window_seconds", "Until the window closes.", overview.join_window_s)


class Metrics:
    """The path /metrics."""

    def __init__(self, port: NorthPort, browsers: Callable[[], int]) -> None:
        self.lag = Lag()
        self._registry = CollectorRegistry()
        self._registry.register(GatewayCollector(port, self.lag, browsers))
        ProcessCollector(registry=self._registry)

    def routes(self) -> list[web.RouteDef]:
        """What is served where."""
        return [web.get("/metrics", self.metrics)]

    async def metrics(self, _: web.Request) -> web.Response:
        """Everything, in the text format."""
        body = generate_latest(self._registry)
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})


def _gauge(name: str, meaning: str, value: float) -> Metric:
    return GaugeMetricFamily(f"border_gateway_{name}", meaning, value)

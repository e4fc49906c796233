"""Medians, ratios and targets of the CoAP benchmark as Markdown; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from statistics import median
from typing import Any

from benchmarks.coap.servers import AIOCOAP, LIBCOAP, OURS, SERVERS

Key = tuple[str | int, ...]
Samples = dict[Key, dict[str, list[dict[str, Any]]]]
"""The figures of each round, by measurement and server."""

VALUES_A_DEVICE = 13
"""Resources with a value of a device of adapters/sim: five measured, eight of /3/0 and /4/0."""

MEASURABLE = 1_000
"""So many observers show in resident memory, fewer not."""

NAMES = [server.name for server in SERVERS]


def text(samples: Samples) -> str:
    """The whole report."""
    parts = [_reading, _fan_out, _conditional, _discovery, _memory, _ratios, _targets, _noise]
    return "\n".join(line for part in parts for line in (*part(samples), ""))


def _reading(samples: Samples) -> Iterator[str]:
    yield "### GET"
    yield ""
    yield from _head(
        "outstanding, paths", "server", "GET/s", "p50 us", "p99 us", "CPU us", "RSS MB"
    )
    for key in _keys(samples, "get"):
        what = f"{key[1]}, {key[2]}"
        for name in NAMES:
            at = _medians(samples[key][name])
            yield _row(
                what, name, f"{at('per_s'):,.0f}", f"{at('p50_us'):,.0f}", f"{at('p99_us'):,.0f}",
                f"{at('cpu_us'):.1f}", f"{at('rss_kb') / 1024:.0f}",
            )  # fmt: skip


def _fan_out(samples: Samples) -> Iterator[str]:
    yield "### One change, told to all observers"
    yield ""
    yield from _head(
        "kind, observers", "server", "last after ms", "slowest ms", "never told",
        "CPU us a notification", "bytes an observer", "registering s",
    )  # fmt: skip
    for key in _keys(samples, "observe"):
        what = f"{key[1]}, {key[2]:,}"
        for name in NAMES:
            runs = samples[key][name]
            lasts = _lasts(runs)
            yield _row(
                what, name, _ms(median(lasts)) if lasts else "–", _ms(max(lasts, default=0)),
                f"{_missed(runs, int(key[2])):,} of {len(_changes(runs)) * int(key[2]):,}",
                f"{_cpu_us_a_notification(runs):.1f}",
                f"{_medians(runs)('bytes'):,.0f}" if int(key[2]) >= MEASURABLE else "–",
                f"{_medians(runs)('register_s'):.2f}",
            )  # fmt: skip


def _conditional(samples: Samples) -> Iterator[str]:
    for key in _keys(samples, "conditional"):
        yield f"### One change, {key[1]:,} conditional observers, {key[2]} of them due"
        yield ""
        yield from _head(
            "server", "last of them after ms", "never told", "told in vain", "CPU ms a change",
            "bytes an observer",
        )  # fmt: skip
        for name in NAMES:
            runs = samples[key][name]
            lasts, changes = _lasts(runs), _changes(runs)
            yield _row(
                name, _ms(median(lasts)) if lasts else "–", str(_missed(runs, int(key[2]))),
                f"{median(change['others'] for change in changes):,.0f}",
                f"{_cpu_ms_a_change(runs):.1f}", f"{_medians(runs)('bytes'):,.0f}",
            )  # fmt: skip


def _discovery(samples: Samples) -> Iterator[str]:
    yield "### /.well-known/core of 10,000 links, in blocks of 1,024"
    yield ""
    yield from _head(
        "server", "links", "kB", "blocks/s", "whole ms", "slowest block ms", "CPU us a block"
    )
    for name in NAMES:
        at = _medians(samples["download",][name])
        yield _row(
            name, f"{at('links'):,.0f}", f"{at('octets') / 1e3:,.0f}",
            f"{at('blocks_per_s'):,.0f}", _ms(at("body_s")), f"{at('max_us') / 1e3:.1f}",
            f"{at('cpu_us'):.0f}",
        )  # fmt: skip


def _memory(samples: Samples) -> Iterator[str]:
    yield "### Memory of 1,000 devices of ours (13 values each), of 1,000 resources of the others"
    yield ""
    yield from _head("server", "empty MB", "filled MB", "bytes a value")
    for name in NAMES:
        empty, filled = (_medians(samples[key][name])("rss_kb") for key in _keys(samples, "memory"))
        each = _bytes_a_value(samples, name)
        yield _row(name, f"{empty / 1024:.1f}", f"{filled / 1024:.1f}", f"{each:,.0f}")


def _bytes_a_value(samples: Samples, name: str) -> float:
    few, many = _keys(samples, "memory")
    empty, filled = (_medians(samples[key][name])("rss_kb") for key in (few, many))
    values = (int(many[1]) - int(few[1])) * (VALUES_A_DEVICE if name == OURS.name else 1)
    return (filled - empty) * 1024 / values


def _ratios(samples: Samples) -> Iterator[str]:
    yield "### Ratios: ours to each of the others"
    yield ""
    yield from _head("figure", *NAMES[1:])
    for what, figure in _compared(samples):
        yield _row(what, *(f"×{_ratio(figure(OURS.name), figure(n)):.2f}" for n in NAMES[1:]))


def _compared(samples: Samples) -> Iterator[tuple[str, Callable[[str], float]]]:
    """What is compared, and its figure of a server."""

    def figure(of: Callable[[Sequence[dict[str, Any]]], float], key: Key) -> Callable[[str], float]:
        return lambda name: of(samples[key][name])

    def field(name: str, key: Key) -> Callable[[str], float]:
        return figure(lambda runs: _medians(runs)(name), key)

    for key in _keys(samples, "get"):
        what = f"GET, {key[1]} outstanding, {key[2]} paths"
        yield f"{what}: GET/s", field("per_s", key)
        yield f"{what}: p50", field("p50_us", key)
        yield f"{what}: p99", field("p99_us", key)
        yield f"{what}: CPU an answer", field("cpu_us", key)
    for key in _keys(samples, "observe"):
        what = f"{key[2]:,} observers, {key[1]}"
        yield f"{what}: last after", figure(_last_s, key)
        yield f"{what}: CPU a notification", figure(_cpu_us_a_notification, key)
        if int(key[2]) >= MEASURABLE:
            yield f"{what}: memory an observer", field("bytes", key)
    for key in _keys(samples, "conditional"):
        yield f"{key[1]:,} conditional observers: CPU a change", figure(_cpu_ms_a_change, key)
    yield "discovery: blocks/s", field("blocks_per_s", ("download",))
    yield "discovery: CPU a block", field("cpu_us", ("download",))
    yield "memory of a value", lambda name: _bytes_a_value(samples, name)


def _targets(samples: Samples) -> Iterator[str]:
    yield "### Targets"
    yield ""
    yield from _head("target", "wanted", "measured", "met")
    for what, wanted, measured, met in _judged(samples):
        yield _row(what, wanted, measured, "yes" if met else "**no**")


def _judged(samples: Samples) -> Iterator[tuple[str, str, str, bool]]:
    gets = samples["get", 32, 1]
    for peer, least in ((LIBCOAP.name, 1.0), (AIOCOAP.name, 30.0)):
        for figure, title in (("per_s", "GET/s"), ("cpu_us", "GET/s of CPU time")):
            ours, theirs = (_medians(gets[name])(figure) for name in (OURS.name, peer))
            ratio = _ratio(ours, theirs) if figure == "per_s" else _ratio(theirs, ours)
            yield f"{title} at 32, to {peer}", f"×{least:g}", f"×{ratio:.2f}", ratio >= least
    key = _keys(samples, "observe")[-1][0], "CON", max(int(k[2]) for k in _keys(samples, "observe"))
    runs, count = samples[key][OURS.name], key[2]
    last_s, lost = _last_s(runs), _missed(runs, count)
    yield f"{count:,} CON observers told", "250 ms", f"{_ms(last_s)} ms", last_s <= 0.25
    yield "of them lost", "0", str(lost), not lost
    each = _medians(runs)("bytes")
    yield "memory of an observer", "600 bytes", f"{each:,.0f} bytes", each <= 600
    each = _bytes_a_value(samples, OURS.name)
    yield "memory of a value", "2,000 bytes", f"{each:,.0f} bytes", each <= 2_000


def _noise(samples: Samples) -> Iterator[str]:
    yield "### How noisy it was"
    yield ""
    yield "Time spent waiting for a CPU, as a share of the sample (two threads can wait at once):"
    yield ""
    runs = [run for key in _keys(samples, "get") for name in NAMES for run in samples[key][name]]
    for figure, who in (("server_wait", "servers"), ("load_wait", "load generator")):
        waits = [run[figure] for run in runs]
        yield f"- {who}, GET: {min(waits):.0%} to {max(waits):.0%}, median {median(waits):.0%}"
    spreads = [
        max(rates) / min(rates)
        for key in _keys(samples, "get")
        for name in NAMES
        if min(rates := [run["per_s"] for run in samples[key][name]])
    ]
    yield f"- fastest to slowest round of the same GET: up to ×{max(spreads):.2f}"


# --- small things ---


def _keys(samples: Samples, kind: str) -> Sequence[Key]:
    return [key for key in samples if key[0] == kind]


def _medians(runs: Sequence[dict[str, Any]]) -> Callable[[str], float]:
    return lambda figure: median(run[figure] for run in runs)


def _changes(runs: Sequence[dict[str, Any]]) -> Sequence[dict[str, Any]]:
    return [change for run in runs for change in run["changes"]]


def _lasts(runs: Sequence[dict[str, Any]]) -> Sequence[float]:
    return [change["last_s"] for change in _changes(runs) if change["reached"]]


def _last_s(runs: Sequence[dict[str, Any]]) -> float:
    return median(_lasts(runs) or [float("inf")])


def _cpu_us_a_notification(runs: Sequence[dict[str, Any]]) -> float:
    each: list[float] = [c["cpu_us"] for c in _changes(runs) if c["reached"]]
    return median(each or [float("inf")])


def _cpu_ms_a_change(runs: Sequence[dict[str, Any]]) -> float:
    each: list[float] = [c["cpu_us"] * c["reached"] / 1e3 for c in _changes(runs)]
    return median(each)


def _missed(runs: Sequence[dict[str, Any]], observers: int) -> int:
    return sum(observers - int(change["reached"]) for change in _changes(runs))


def _ratio(one: float, other: float) -> float:
    return one / other if other else float("inf")


def _ms(seconds: float) -> str:
    return f"{seconds * 1e3:,.1f}" if seconds < 1 else f"{seconds * 1e3:,.0f}"


def _head(*titles: str) -> Iterator[str]:
    yield _row(*titles)
    yield _row(*("---" for _ in titles))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"

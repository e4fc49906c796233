"""Conditional observation: who is told what, when, and never too often, too late or not at all."""

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.coap.attributes import NONE, Attributes, in_force, requested
from adapters.coap.conditions import Compared, Conditions
from gateway.model import ResourceType, Value
from tests.vectors import LWM2M

VECTORS = [v for v in LWM2M if v["area"] == "notify" and "expect_code" not in v]

Sample = tuple[float, Compared]


def told(rule: Attributes, samples: list[Sample], until: float) -> list[Sample]:
    """What an observer is told and when, if every deadline is kept to the moment."""
    (at, newest), *rest = samples
    conditions = Conditions(rule, newest, at)
    notifications = [(at, newest)]

    def wait(end: float) -> None:
        while (deadline := conditions.next_deadline()) < end:
            if conditions.due(deadline):
                notifications.append((deadline, newest))
            assert conditions.next_deadline() > deadline, "a deadline was not used up"

    for at, value in rest:
        wait(at)
        newest = value
        if conditions.sample(value, at):
            notifications.append((at, newest))
    wait(until)
    return notifications


def rule_of(query: str, value: Value) -> Attributes:
    type = ResourceType.BOOLEAN if isinstance(value, bool) else ResourceType.FLOAT
    asked = requested(query.split("&"), type)
    assert asked
    return in_force(asked)


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["id"])
def test_the_examples_of_the_specifications_come_true(vector: dict[str, Any]) -> None:
    for step in vector.get("steps", ()):
        conditions = Conditions(rule_of(vector["query"], 1.0), step["prev"], 0)
        assert bool(conditions.sample(step["now"], 1)) is step["notify"], step["why"]
    if "samples" in vector:
        samples = [(at, value) for at, value in vector["samples"]]
        wanted = vector["notifications"]
        end = wanted[-1][0] + 2
        got = told(rule_of(vector["query"], samples[0][1]), samples, end)
        assert [value for _, value in got] == [value for _, value, *_ in wanted]
        for (at, _), (wanted_at, *_) in zip(got, wanted, strict=True):
            assert abs(at - wanted_at) <= vector.get("tolerance_s", 0)


def test_without_attributes_every_change_is_told_at_once() -> None:
    samples: list[Sample] = [(0, 1), (1, 1), (2, 2), (3, 2), (4, 1), (5, "a"), (6, b"\1")]
    assert told(NONE, samples, 100) == [samples[i] for i in (0, 2, 4, 5, 6)]


@pytest.mark.parametrize(
    ("query", "values", "notified"),
    [
        ("gt=45", [45, 45.1, 60, 45, 40], [1, 3]),
        ("lt=20", [20, 19.9, 10, 20, 30], [1, 3]),
        ("lt=0", [21.5, 3, -1, -5, 1], [2, 4]),
        ("gt=30&lt=20", [25, 31, 19, 25], [1, 2, 3]),
        ("st=0.5", [20, 20.4, 20.5, 20.9, 21.0, 20.6, 20.4], [2, 4, 6]),
        ("st=0.1", [20.3, 20.4, 20.5], [1, 2]),
        ("gt=45&st=10", [38, 44, 46, 55, 56], [2, 4]),
        ("c.band&c.lt=20", [25, 19, 20, 20, 30], [2, 3, 4]),
        ("c.band&c.gt=20", [25, 19, 20, 20, 30], [1, 2, 3]),
        ("c.band&c.gt=20&c.lt=30", [25, 25, 31], [1]),
        ("c.band&c.gt=20&c.lt=30&c.st=5", [25, 31, 34, 36], [1, 3]),
        ("edge=1", [True, False, True, True, False, True], [2, 5]),
        ("edge=0", [True, False, True, False], [1, 3]),
        ("edge=0", [False, False, True], []),
    ],
)
def test_conditions_compare_with_what_was_reported_last(
    query: str, values: list[Value], notified: list[int]
) -> None:
    samples: list[Sample] = [(float(i), value) for i, value in enumerate(values)]
    assert told(rule_of(query, values[0]), samples, 99) == [samples[i] for i in (0, *notified)]


def test_a_change_inside_pmin_is_told_when_pmin_ends_with_the_newest_value() -> None:
    rule = Attributes(pmin=10)
    assert told(rule, [(0, 1), (3, 2), (7, 3), (12, 4)], 99) == [(0, 1), (10, 3), (20, 4)]


def test_a_value_that_came_back_inside_pmin_is_not_told() -> None:
    assert told(Attributes(pmin=10), [(0, 1), (3, 2), (7, 1)], 99) == [(0, 1)]
    assert told(Attributes(pmin=10, gt=5), [(0, 1), (3, 6), (7, 2)], 99) == [(0, 1)]
    assert told(Attributes(pmin=10, gt=5), [(0, 1), (3, 6), (7, 8)], 99) == [(0, 1), (10, 8)]


def test_an_edge_inside_pmin_is_told_if_it_still_stands() -> None:
    rule = Attributes(pmin=10, edge=True)
    assert told(rule, [(0, True), (3, False), (5, True), (6, True)], 99) == [(0, True), (10, True)]
    assert told(rule, [(0, True), (3, False), (5, True), (6, False)], 99) == [(0, True)]


def test_pmax_tells_the_value_whatever_it_is_and_starts_again() -> None:
    rule = Attributes(pmax=20, gt=50)
    assert told(rule, [(0, 1), (5, 2), (30, 60)], 60) == [(0, 1), (20, 2), (30, 60), (50, 60)]


def test_equal_periods_tell_periodically() -> None:
    rule = Attributes(pmin=10, pmax=10)
    samples: list[Sample] = [(float(t), t) for t in range(35)]
    assert [at for at, _ in told(rule, samples, 50)] == [0, 10, 20, 30, 40]


def test_epmin_lets_samples_pass_but_not_the_newest() -> None:
    rule = Attributes(epmin=5)
    assert told(rule, [(0, 1), (1, 2), (2, 3), (9, 4), (11, 5)], 99) == [
        (0, 1), (5, 3), (10, 4), (15, 5),
    ]  # fmt: skip


def test_epmax_evaluates_the_value_again() -> None:
    assert [at for at, _ in told(Attributes(epmax=5, gt=3), [(0, 4)], 20)] == [0]
    band = Attributes(epmax=5, lt=3, band=True)
    assert [at for at, _ in told(band, [(0, 4)], 20)] == [0, 5, 10, 15]


def test_of_several_resources_every_change_counts_once() -> None:
    a, b, c = (1, 2), (1, 3), (2, 3)
    assert told(Attributes(pmin=10, pmax=40, epmax=3), [(0, a), (2, b), (4, c)], 60) == [
        (0, a), (10, c), (50, c),
    ]  # fmt: skip


def test_what_is_no_number_never_meets_a_condition() -> None:
    samples: list[Sample] = [(0, 50.0), (1, math.nan), (2, "x"), (3, 50.0)]
    for rule in (Attributes(gt=45), Attributes(lt=60), Attributes(st=1), Attributes(st=1, gt=1)):
        assert told(rule, samples, 99) == samples[:1]
    assert told(Attributes(gt=9, band=True), [(0, 5.0), (1, math.nan)], 99) == [(0, 5.0)]


def test_what_was_sent_otherwise_counts() -> None:
    conditions = Conditions(Attributes(pmin=10), 1, 0)
    assert not conditions.sample(2, 5)
    conditions.reported(2, 6)
    assert not conditions.sample(2, 11)
    assert conditions.sample(3, 16)
    assert conditions.next_deadline() == math.inf


def test_new_attributes_hold_at_once_and_the_times_go_on() -> None:
    conditions = Conditions(Attributes(pmin=100), 1, 0)
    assert not conditions.sample(2, 5)
    assert not conditions.change(Attributes(pmin=10), 8)
    assert conditions.next_deadline() == 10
    assert not conditions.change(Attributes(pmin=10, gt=5), 9)
    assert not conditions.due(10)
    assert conditions.change(NONE, 11)
    many = Conditions(NONE, (1, 2), 0)
    assert not many.change(Attributes(pmax=5), 3)
    assert many.due(5)


PERIOD = st.none() | st.integers(1, 40)
VALUES = st.integers(-4, 4) | st.sampled_from([0.5, 1.5, -0.5])
STEPS = st.lists(st.tuples(st.floats(0.001, 30), VALUES), min_size=1, max_size=25)


def timed(steps: list[tuple[float, Any]]) -> list[Sample]:
    at, samples = 0.0, []
    for pause, value in steps:
        at += pause
        samples.append((at, value))
    return samples


@st.composite
def rules(draw: st.DrawFn, *, thresholds: bool) -> Attributes:
    pmin, pmax, epmin = draw(PERIOD), draw(PERIOD), draw(PERIOD)
    attributes = Attributes(pmin=pmin, pmax=pmax, epmin=epmin)
    if thresholds:
        limits = st.none() | st.integers(-3, 3)
        step = draw(st.none() | st.integers(1, 4))
        attributes = Attributes(gt=draw(limits), lt=draw(limits), st=step).over(attributes)
    return in_force(attributes)


@given(rules(thresholds=False), STEPS)
def test_the_newest_value_is_always_told_in_the_end(
    rule: Attributes, steps: list[tuple[float, Any]]
) -> None:
    samples = timed(steps)
    end = samples[-1][0] + (rule.pmin or 0) + (rule.epmin or 0) + 1
    assert told(rule, samples, end)[-1][1] == samples[-1][1]


@given(rules(thresholds=True), STEPS)
def test_never_closer_than_pmin_and_never_further_than_pmax(
    rule: Attributes, steps: list[tuple[float, Any]]
) -> None:
    samples = timed(steps)
    end = samples[-1][0] + 200
    times = [at for at, _ in told(rule, samples, end)]
    for before, at in pairwise(times):
        assert at >= before + (rule.pmin or 0)
    for before, at in pairwise([*times, end]):
        assert at <= before + (rule.pmax or math.inf)


def differs(rule: Attributes, value: float, last: float) -> bool:
    """The conditions as a table says them."""
    if rule.gt is rule.lt is rule.st is None:
        return value != last
    return (
        (rule.gt is not None and (last <= rule.gt < value or value <= rule.gt < last))
        or (rule.lt is not None and (value < rule.lt <= last or last < rule.lt <= value))
        or (rule.st is not None and (value >= last + rule.st or value <= last - rule.st))
    )


@given(rules(thresholds=True).map(lambda r: replace(r, pmax=None, epmin=None)), STEPS)
def test_what_is_told_differs_from_what_was_told_before_and_nothing_else_is_owed(
    rule: Attributes, steps: list[tuple[float, Any]]
) -> None:
    samples = timed(steps)
    notifications: list[Any] = told(rule, samples, samples[-1][0] + 100)
    for (_, last), (_, value) in pairwise(notifications):
        assert differs(rule, value, last)
    newest: Any = samples[-1][1]
    assert not differs(rule, newest, notifications[-1][1])


@given(st.booleans(), st.lists(st.booleans(), min_size=1, max_size=20))
def test_every_edge_of_the_wanted_kind_is_told(edge: bool, values: list[bool]) -> None:
    samples: list[Sample] = [(float(i), value) for i, value in enumerate(values)]
    edges = [
        (float(i), value)
        for i, value in enumerate(values)
        if i and value == edge and values[i - 1] != edge
    ]
    assert told(Attributes(edge=edge), samples, 99) == [samples[0], *edges]

"""The timer wheel: nothing early, nothing late, nothing twice, nothing forgotten."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.timer_wheel import TimerWheel

TICK = 0.25
EPSILON = 1e-9


@pytest.fixture
def wheel() -> TimerWheel[str]:
    return TimerWheel(100.0, tick_s=TICK, slots=8)


def test_a_deadline_is_noticed_once_and_not_before(wheel: TimerWheel[str]) -> None:
    wheel.set("a", 100.3)
    assert wheel.expired(100.25) == []
    assert wheel.expired(100.5) == ["a"]
    assert wheel.expired(200) == []
    assert len(wheel) == 0


def test_a_new_deadline_replaces_the_old_one(wheel: TimerWheel[str]) -> None:
    wheel.set("a", 101)
    wheel.set("a", 103)
    assert len(wheel) == 1
    assert wheel.expired(102) == []
    assert wheel.expired(103) == ["a"]


def test_a_cancelled_deadline_is_not_noticed(wheel: TimerWheel[str]) -> None:
    wheel.set("a", 101)
    wheel.cancel("a")
    wheel.cancel("a")
    assert wheel.expired(200) == []


def test_what_has_passed_already_is_noticed_at_the_next_tick(wheel: TimerWheel[str]) -> None:
    wheel.set("a", 5)
    assert wheel.expired(100.25) == ["a"]


def test_deadlines_come_in_order_after_a_long_sleep(wheel: TimerWheel[str]) -> None:
    for key, deadline in (("c", 190), ("a", 101), ("d", 300), ("b", 150)):
        wheel.set(key, deadline)
    assert wheel.expired(200) == ["a", "b", "c"]
    assert wheel.expired(299) == []
    assert wheel.expired(300) == ["d"]


def test_time_that_goes_back_changes_nothing(wheel: TimerWheel[str]) -> None:
    wheel.set("a", 103)
    assert wheel.expired(102) == wheel.expired(50) == []
    assert wheel.expired(103) == ["a"]


STEPS = st.lists(
    st.tuples(st.just("set"), st.integers(0, 5), st.floats(-1, 30))
    | st.tuples(st.just("cancel"), st.integers(0, 5), st.just(0.0))
    | st.tuples(st.just("wait"), st.just(0), st.floats(0, 10)),
    max_size=40,
)


@given(STEPS, st.floats(0, 1e6))
def test_it_does_what_a_list_of_deadlines_does(
    steps: list[tuple[str, int, float]], start: float
) -> None:
    wheel: TimerWheel[int] = TimerWheel(start, tick_s=TICK, slots=8)
    now, deadlines = start, dict[int, float]()
    for what, key, amount in [*steps, ("wait", 0, 40.0)]:
        match what:
            case "set":
                wheel.set(key, now + amount)
                deadlines[key] = max(now, now + amount)
            case "cancel":
                wheel.cancel(key)
                deadlines.pop(key, None)
            case _:
                now += amount
                for expired in wheel.expired(now):
                    assert deadlines.pop(expired) <= now + EPSILON
                assert all(deadline > now - TICK - EPSILON for deadline in deadlines.values())
        assert len(wheel) == len(deadlines)
    assert not deadlines

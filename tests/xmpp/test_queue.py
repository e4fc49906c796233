"""Whatever happens in whatever order, the server ends up with the newest of everything."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from adapters.xmpp.nodes import DIRECTORY
from adapters.xmpp.queue import LONGEST_PAUSE_S, RECENT_S, Key, KeyQueue
from gateway.model import DeviceId

A, B = DeviceId("ble:00-00-00-00-00-0a"), DeviceId("ble:00-00-00-00-00-0b")
META, TEMPERATURE, STATUS = Key(A, "meta"), Key(A, "3303/0"), Key(A, "status")
OTHER = Key(B, "3303/0")


def taken(queue: KeyQueue, now: float = 0.0) -> list[Key]:
    keys = []
    while key := queue.take(now):
        keys.append(key)
    return keys


def test_it_is_known_what_waits_for_a_node() -> None:
    queue = KeyQueue(8)
    assert not queue.waits_for(A)
    queue.put(Key(A, "3303/0"))
    assert queue.waits_for(A)
    assert not queue.waits_for(B)
    key = queue.take(0.0)
    assert key is not None
    assert queue.waits_for(A)
    queue.failed(key, 0.0)
    assert queue.waits_for(A)
    queue.take(10.0)
    queue.sent(key, 10.0)
    assert not queue.waits_for(A)


def test_keys_are_sent_in_the_order_in_which_they_became_dirty() -> None:
    queue = KeyQueue(8)
    for key in (META, OTHER, TEMPERATURE, META):
        queue.put(key)
    assert taken(queue) == [META, OTHER, TEMPERATURE]


def test_no_more_than_the_window_is_in_flight() -> None:
    queue = KeyQueue(2)
    for key in (META, OTHER, TEMPERATURE):
        queue.put(key)
    assert taken(queue) == [META, OTHER]
    queue.sent(META, 0.0)
    assert taken(queue) == [TEMPERATURE]


def test_a_key_that_changes_while_it_is_in_flight_is_sent_again_afterwards() -> None:
    queue = KeyQueue(8)
    queue.put(META)
    assert taken(queue) == [META]
    queue.put(META)
    assert taken(queue) == []
    queue.sent(META, 0.0)
    assert taken(queue) == [META]


def test_updates_of_a_slow_directory_leave_most_of_the_time_to_values() -> None:
    queue = KeyQueue(8)
    for item in ("a", "b"):
        queue.put(Key(DIRECTORY, item), at_leisure=True)
    assert taken(queue) == [Key(DIRECTORY, "a")]
    queue.put(OTHER)
    assert taken(queue) == [OTHER]
    queue.sent(Key(DIRECTORY, "a"), 2.0)
    queue.sent(OTHER, 2.0)
    queue.put(TEMPERATURE)
    queue.put(META)
    assert queue.take(2.0) == TEMPERATURE
    assert queue.take(10.0) == Key(DIRECTORY, "b")
    queue.sent(Key(DIRECTORY, "b"), 10.0)
    assert taken(queue, 10.0) == [META]


def test_updates_of_the_directory_have_all_the_time_that_nobody_else_wants() -> None:
    queue = KeyQueue(8)
    for item in ("a", "b"):
        queue.put(Key(DIRECTORY, item), at_leisure=True)
    for item in ("a", "b"):
        assert taken(queue, 1.0) == [Key(DIRECTORY, item)]
        queue.sent(Key(DIRECTORY, item), 5.0)


def test_what_is_new_in_the_directory_comes_at_once_however_slow_it_is() -> None:
    queue = KeyQueue(8)
    queue.put(Key(DIRECTORY, "known"), at_leisure=True)
    for item in ("a", "b"):
        queue.put(OTHER)
        queue.put(Key(DIRECTORY, item))
        assert taken(queue) == [Key(DIRECTORY, item), OTHER]
        queue.put(META)
        assert taken(queue) == [META]
        for key in (META, OTHER, Key(DIRECTORY, item)):
            queue.sent(key, 9.0)
    queue.put(Key(DIRECTORY, "known"))
    assert taken(queue) == [Key(DIRECTORY, "known")]


def test_an_update_that_failed_is_still_for_leisure() -> None:
    queue, update = KeyQueue(8), Key(DIRECTORY, "known")
    for now in (0.0, 1.0):
        queue.put(update, at_leisure=True)
        assert queue.take(now) == update
        queue.failed(update, now)
    queue.put(Key(DIRECTORY, "new"))
    assert queue.take(9.0) == Key(DIRECTORY, "new")
    queue.sent(Key(DIRECTORY, "new"), 10.0)
    queue.put(OTHER)
    assert queue.take(10.0) == OTHER


def test_what_the_server_has_already_is_not_sent() -> None:
    queue = KeyQueue(8)
    queue.put(Key(DIRECTORY, "a"))
    queue.put(Key(DIRECTORY, "b"), at_leisure=True)
    queue.discard(Key(DIRECTORY, "a"))
    queue.discard(Key(DIRECTORY, "b"))
    queue.discard(META)
    assert taken(queue) == []
    assert len(queue) == 0


def test_what_was_in_flight_when_the_session_ended_comes_first() -> None:
    queue = KeyQueue(8)
    for key in (META, TEMPERATURE, OTHER):
        queue.put(key)
    assert [queue.take(0.0), queue.take(0.0)] == [META, TEMPERATURE]
    queue.session_lost(0.0)
    assert taken(queue) == [META, TEMPERATURE, OTHER]


def test_what_was_acknowledged_just_before_the_session_ended_is_sent_again() -> None:
    queue = KeyQueue(8)
    for now, key in enumerate((META, TEMPERATURE)):
        queue.put(key)
        assert queue.take(now) == key
        queue.sent(key, float(now))
    queue.session_lost(RECENT_S + 0.5)
    assert taken(queue) == [TEMPERATURE]


def test_the_status_waits_until_the_rest_of_the_device_is_there() -> None:
    queue = KeyQueue(8)
    queue.put_in_order([META, TEMPERATURE], STATUS)
    queue.put(STATUS)
    assert taken(queue) == [META, TEMPERATURE]
    queue.sent(META, 0.0)
    assert taken(queue) == []
    queue.dropped(TEMPERATURE)
    assert taken(queue) == [STATUS]


def test_the_status_waits_even_over_the_end_of_a_session() -> None:
    queue = KeyQueue(8)
    queue.put_in_order([META], STATUS)
    assert taken(queue) == [META]
    queue.session_lost(0.0)
    assert taken(queue) == [META]
    queue.sent(META, 0.0)
    assert taken(queue) == [STATUS]


def test_a_node_that_fails_is_left_alone_longer_and_longer_and_holds_up_no_other() -> None:
    queue, now, pauses = KeyQueue(8), 0.0, []
    for _ in range(9):
        queue.put(META)
        queue.put(OTHER)
        assert taken(queue, now) == [META, OTHER]
        queue.sent(OTHER, now)
        queue.failed(META, now)
        assert taken(queue, now) == []
        due = queue.next_at()
        assert due is not None
        pauses.append(due - now)
        now = due
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, LONGEST_PAUSE_S]


def test_success_ends_the_series_of_pauses() -> None:
    queue = KeyQueue(8)
    queue.put(META)
    for now in (0.0, 1.0):
        assert queue.take(now) == META
        queue.failed(META, now)
    assert queue.take(3.0) == META
    queue.sent(META, 3.0)
    queue.put(META)
    assert queue.take(4.0) == META
    queue.failed(META, 4.0)
    assert queue.next_at() == 5.0


def test_a_pause_may_be_given() -> None:
    queue = KeyQueue(8)
    queue.put(META)
    assert queue.take(0.0) == META
    queue.failed(META, 0.0, 300.0)
    assert queue.take(299.0) is None
    assert queue.take(300.0) == META


def test_a_new_session_tries_everything_at_once() -> None:
    queue = KeyQueue(8)
    queue.put(META)
    assert queue.take(0.0) == META
    queue.failed(META, 0.0, 300.0)
    queue.session_lost(1.0)
    assert taken(queue, 1.0) == [META]


def test_a_forgotten_device_leaves_nothing() -> None:
    queue = KeyQueue(8)
    queue.put_in_order([META, TEMPERATURE], STATUS)
    queue.put(OTHER)
    assert queue.take(0.0) == META
    queue.failed(META, 0.0)
    queue.forget(A)
    assert taken(queue) == [OTHER]
    queue.sent(OTHER, 0.0)
    assert len(queue) == 0


@given(st.lists(st.sampled_from([META, TEMPERATURE, STATUS, OTHER])), st.integers(1, 3))
def test_every_key_that_was_put_is_sent_once(keys: list[Key], window: int) -> None:
    queue, sent = KeyQueue(window), []
    for key in keys:
        queue.put(key)
    while key_now := queue.take(0.0):
        sent.append(key_now)
        queue.sent(key_now, 0.0)
    assert sent == list(dict.fromkeys(keys))
    assert len(queue) == 0


KEYS = st.sampled_from(
    [META, TEMPERATURE, STATUS, OTHER, Key(B, "status"), Key(DIRECTORY, A), Key(DIRECTORY, B)]
)


class Mirror(RuleBasedStateMachine):
    """A server that loses what it acknowledged lately, behind a line that loses answers."""

    def __init__(self) -> None:
        super().__init__()
        self.queue = KeyQueue(3)
        self.now = 0.0
        self.truth: dict[Key, int] = {}
        self.server: dict[Key, int] = {}
        self.safe: dict[Key, list[tuple[float, int]]] = {}
        self.flying: list[tuple[Key, int]] = []

    @rule(key=KEYS, at_leisure=st.booleans())
    def change(self, key: Key, at_leisure: bool) -> None:
        self.truth[key] = self.truth.get(key, 0) + 1
        self.queue.put(key, at_leisure=at_leisure)

    @rule(keys=st.lists(KEYS, max_size=3))
    def announce(self, keys: list[Key]) -> None:
        for key in (*keys, STATUS):
            self.truth[key] = self.truth.get(key, 0) + 1
        self.queue.put_in_order([k for k in keys if k.device == A], STATUS)
        for key in keys:
            if key.device != A:
                self.queue.put(key)

    @rule(seconds=st.sampled_from([0.1, 1.0, 4.0, 70.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule()
    def take(self) -> None:
        if key := self.queue.take(self.now):
            self.flying.append((key, self.truth[key]))

    @precondition(lambda self: self.flying)
    @rule(data=st.data())
    def acknowledge(self, data: st.DataObject) -> None:
        key, value = self._land(data)
        self._store(key, value)
        self.queue.sent(key, self.now)

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), arrived=st.booleans(), pause=st.sampled_from([None, 300.0]))
    def fail(self, data: st.DataObject, arrived: bool, pause: float | None) -> None:
        key, value = self._land(data)
        if arrived:
            self._store(key, value)
        self.queue.failed(key, self.now, pause)

    @rule(data=st.data(), killed=st.booleans())
    def lose_session(self, data: st.DataObject, killed: bool) -> None:
        for key, value in self.flying:
            if data.draw(st.booleans()):
                self._store(key, value)
        self.flying.clear()
        if killed:
            self.server = {k: v for k, v in ((k, self._old(k)) for k in self.server) if v}
        self.queue.session_lost(self.now)

    @invariant()
    def no_key_flies_twice(self) -> None:
        keys = [key for key, _ in self.flying]
        assert len(keys) == len(set(keys)) <= 3
        assert sum(key.device == DIRECTORY for key in keys) <= 1

    def teardown(self) -> None:
        for key, value in self.flying:
            self._store(key, value)
            self.queue.sent(key, self.now)
        self.now += 400.0
        while due := self.queue.take(self.now):
            self._store(due, self.truth[due])
            self.queue.sent(due, self.now)
        assert self.server == self.truth
        assert len(self.queue) == 0

    def _land(self, data: st.DataObject) -> tuple[Key, int]:
        return self.flying.pop(data.draw(st.integers(0, len(self.flying) - 1)))

    def _store(self, key: Key, value: int) -> None:
        self.server[key] = value
        self.safe.setdefault(key, []).append((self.now, value))

    def _old(self, key: Key) -> int:
        """What the server still has after it was killed: nothing that is younger than it syncs."""
        return next((v for at, v in reversed(self.safe[key]) if at < self.now - RECENT_S), 0)


TestMirror = pytest.mark.filterwarnings("default")(Mirror.TestCase)

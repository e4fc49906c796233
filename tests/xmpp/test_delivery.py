"""Whatever happens to changes on their way, each is delivered by itself or left to the journal."""

from hypothesis import given
from hypothesis import strategies as st

from adapters.xmpp.delivery import Delivery, Place
from adapters.xmpp.queue import RECENT_S, Key
from gateway.events import Entry
from gateway.model import Path
from tests.fakes import METER, STATION

VALUE, OTHER = Path(3303, 0, 5700), Path(3303, 0, 5601)
KEY, METER_KEY = Key(STATION, "3303/0"), Key(METER, "3303/0")


def entry(number: int, path: Path = VALUE) -> Entry:
    return Entry(number, STATION, path, float(number), float(number))


def following(number: int = 0) -> Delivery:
    delivery = Delivery(Place(number))
    delivery.replay(number)
    delivery.replayed(number, 0.0)
    return delivery


def send(delivery: Delivery, key: Key = KEY) -> None:
    delivery.sending(key, lambda _: True)
    delivery.sent(key, 0.0)


def test_the_place_moves_with_what_is_acknowledged_without_gaps() -> None:
    delivery = following()
    delivery.told(entry(1), KEY)
    delivery.told(entry(2), METER_KEY)
    send(delivery, METER_KEY)
    assert delivery.place.number == 0
    send(delivery)
    assert (delivery.place.number, delivery.behind) == (2, False)


def test_two_resources_of_an_item_go_together_and_one_twice_is_left_to_the_journal() -> None:
    delivery = following()
    delivery.told(entry(1), KEY)
    delivery.told(entry(2, OTHER), KEY)
    send(delivery)
    assert (delivery.place.number, delivery.behind) == (2, False)
    delivery.told(entry(3), KEY)
    delivery.told(entry(4), KEY)
    assert (delivery.place.number, delivery.behind) == (2, True)


def test_a_change_while_its_item_is_in_flight_is_no_loss_unless_it_must_be_sent_again() -> None:
    delivery = following()
    delivery.told(entry(1), KEY)
    delivery.sending(KEY, lambda _: True)
    delivery.told(entry(2), KEY)
    delivery.sent(KEY, 0.0)
    assert (delivery.place.number, delivery.behind) == (1, False)
    delivery.sending(KEY, lambda _: True)
    delivery.told(entry(3), KEY)
    delivery.unsent(KEY)
    assert (delivery.place.number, delivery.behind) == (1, True)


def test_what_an_outbox_replaced_and_what_the_item_no_longer_shows_is_noticed() -> None:
    delivery = following()
    delivery.told(entry(2), KEY)
    assert delivery.behind
    delivery = following()
    delivery.told(entry(1), KEY)
    delivery.sending(KEY, lambda _: False)
    assert delivery.behind


def test_single_changes_of_an_outage_go_as_live_values() -> None:
    delivery = following()
    delivery.told(entry(1), KEY)
    delivery.lost(100.0)
    delivery.told(entry(2, OTHER), KEY)
    send(delivery)
    assert (delivery.place.number, delivery.behind) == (2, False)


def test_what_was_acknowledged_just_before_the_end_is_not_relied_on() -> None:
    delivery = following()
    for number in (1, 2):
        delivery.told(entry(number), KEY)
        delivery.sending(KEY, lambda _: True)
        delivery.sent(KEY, 10.0 * number)
    assert (delivery.place.number, delivery.place.settled) == (2, 1)
    delivery.lost(20.0 + RECENT_S - 0.1)
    assert (delivery.place.number, delivery.behind) == (1, True)
    delivery.replay(2)
    delivery.replayed(2, 30.0)
    delivery.lost(30.0 + RECENT_S)
    assert (delivery.place.number, delivery.behind) == (2, False)


def test_what_is_told_while_the_journal_is_sent_goes_as_live_values() -> None:
    delivery = Delivery(Place(0))
    delivery.replay(5)
    delivery.told(entry(5), KEY)  # the outbox still had it
    delivery.told(entry(6), KEY)
    send(delivery)
    assert (delivery.place.number, delivery.behind) == (0, True)
    delivery.replayed(5, 0.0)
    assert (delivery.place.number, delivery.behind) == (6, False)


def test_what_is_lost_while_the_journal_is_sent_is_read_there_next() -> None:
    for number in (7, 8):  # another of the same resource; one behind a gap
        delivery = Delivery(Place(0))
        delivery.replay(5)
        delivery.told(entry(6), KEY)
        delivery.told(entry(number), KEY)
        delivery.replayed(5, 0.0)
        assert (delivery.place.number, delivery.behind) == (5, True)
    delivery = Delivery(Place(0))
    delivery.replay(5)
    delivery.lost(0.0)
    assert (delivery.place.number, delivery.behind) == (0, True)


def test_a_forgotten_device_holds_nothing_up() -> None:
    delivery = following()
    delivery.told(Entry(1, METER, VALUE, 1.0, 1.0), METER_KEY)
    delivery.told(entry(2), KEY)
    delivery.forget(METER)
    send(delivery)
    assert delivery.place.number == 2


STEPS = st.lists(
    st.tuples(
        st.sampled_from(["told", "skip", "send", "ack", "fail", "drop", "lost", "read", "bring"]),
        st.sampled_from([VALUE, OTHER]),
        st.sampled_from([KEY, METER_KEY]),
    ),
    max_size=60,
)


@given(STEPS)
def test_nothing_below_the_place_is_missing_in_the_end(
    steps: list[tuple[str, Path, Key]],
) -> None:
    """A model of the server: which changes it was shown, live or from the journal."""
    delivery, now = following(), 0.0
    head, shown = 0, set[int]()
    current: dict[tuple[Key, Path], int] = {}
    flying: dict[Key, set[int]] = {}
    read: int | None = None
    for step, path, key in steps:
        now += RECENT_S + 1
        if step in {"told", "skip"}:
            head += 1
            current[key, path] = head
            if step == "told":
                delivery.told(entry(head, path), key)
        elif step == "send" and key not in flying:
            flying[key] = {n for (k, _), n in current.items() if k == key}
            there = flying[key]
            delivery.sending(key, lambda e, there=there: e.number in there)  # type: ignore[misc]
        elif step == "ack" and key in flying:
            shown |= flying.pop(key)
            delivery.sent(key, now)
        elif step == "fail" and key in flying:
            del flying[key]
            delivery.unsent(key)
        elif step == "drop":
            flying.pop(key, None)
            delivery.dropped(key)
        elif step == "lost":
            flying.clear()
            read = None
            delivery.lost(now)
        elif step == "read" and delivery.behind and read is None:
            read = head
            delivery.replay(head)
        elif step == "bring" and read is not None:
            shown |= set(range(delivery.place.number + 1, read + 1))
            delivery.replayed(read, now)
            read = None
        assert set(range(1, delivery.place.number + 1)) <= shown

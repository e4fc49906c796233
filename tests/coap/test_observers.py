"""The table of observers, with a clock that moves when told."""

import math
from dataclasses import replace

import pytest

from adapters.coap.attributes import Attributes
from adapters.coap.conditions import Conditions
from adapters.coap.datagram import Type, decode
from adapters.coap.messages import Code, Format, Request
from adapters.coap.observe import (
    ACK_TIMEOUT_S,
    CONFIRM_NON_S,
    CONFIRM_QUIET_S,
    MAX_RETRANSMIT,
    Observers,
)
from adapters.coap.observer import Observer
from gateway.model import DeviceId, Path

DEVICE, OTHER = DeviceId("ble:00-00-00-00-00-01"), DeviceId("ble:00-00-00-00-00-02")
VALUE = Path(3303, 0, 5700)
REQUEST = Request(Code.GET, ("d1", "3303", "0", "5700"))
ANN, BEN = ("10.0.0.1", 4711), ("10.0.0.2", 4711)
TAIL = b"\xff21.5"


@pytest.fixture
def observers() -> Observers:
    return Observers(limit=100, limit_per_peer=10, number=0xFFFFFE)


def register(
    observers: Observers,
    peer: tuple[str, int] = ANN,
    token: bytes = b"a",
    path: Path = VALUE,
    *,
    confirmable: bool = True,
) -> Observer:
    observer = observers.register(
        peer, token, REQUEST, Format.TEXT, [(DEVICE, path)], confirmable=confirmable, now=0.0
    )
    assert observer
    return observer


def tell(
    observers: Observers, observer: Observer, now: float, tail: bytes = TAIL
) -> tuple[Type, int]:
    assert observers.note_change(observer)
    message = decode(observers.issue(observer, Code.CONTENT, TAIL, now))
    assert (message.token, message.code) == (observer.token, Code.CONTENT)
    return message.type, message.mid


def test_numbers_rise_and_wrap_at_24_bits(observers: Observers) -> None:
    assert [observers.next_number() for _ in range(3)] == [0xFFFFFF, 0, 1]


def test_observers_are_found_by_what_they_see(observers: Observers) -> None:
    value = register(observers, token=b"v")
    instance = register(observers, token=b"i", path=Path(3303, 0))
    whole = register(observers, token=b"o", path=Path(3303))
    beside = register(observers, token=b"b", path=Path(3303, 1))
    assert list(observers.at(DEVICE, VALUE)) == [whole, instance, value]
    assert list(observers.at(DEVICE, Path(3303, 1, 5700))) == [whole, beside]
    assert list(observers.at(OTHER, VALUE)) == []
    assert set(observers.around(DEVICE, Path(3303, 0))) == {whole, instance, value}
    assert set(observers.around(DEVICE, None)) == {whole, instance, value, beside}


def test_an_observer_who_registers_again_takes_its_own_place(observers: Observers) -> None:
    first = register(observers)
    second = register(observers)
    assert list(observers.at(DEVICE, VALUE)) == [second]
    assert not observers.note_change(first)
    assert len(observers) == 1
    _, mid = tell(observers, second, 0)
    assert tell(observers, register(observers), 0)[1] == (mid + 1) & 0x7FFF


def test_message_ids_count_up_for_each_client_in_the_lower_half(observers: Observers) -> None:
    one, two = register(observers, token=b"1"), register(observers, token=b"2")
    other = register(observers, BEN)
    _, start = tell(observers, one, 0)
    assert tell(observers, two, 0)[1] == (start + 1) & 0x7FFF
    observers.acknowledged(ANN, two.mid, 0)
    tell(observers, other, 0)
    for number in range(2, 0x8002):
        observers.acknowledged(ANN, one.mid, 0)
        _, mid = tell(observers, one, 0)
        assert mid == (start + number) & 0x7FFF


def test_who_owes_an_acknowledgement_keeps_its_message_id_while_others_use_up_all(
    observers: Observers,
) -> None:
    slow, quick = register(observers), register(observers, token=b"b", confirmable=False)
    silent = register(observers, token=b"c", confirmable=False)
    tell(observers, silent, 0)
    _, mid = tell(observers, slow, 0)
    given = [tell(observers, quick, 0)[1] for _ in range(0x8000)]
    assert mid not in given
    assert observers.overdue(2 * ACK_TIMEOUT_S) == [slow]
    while quick.mid != silent.mid:
        tell(observers, quick, 0)
    observers.forget(silent)  # whose ID is another's now
    observers.reset(ANN, quick.mid)
    assert list(observers.at(DEVICE, VALUE)) == [slow]
    observers.acknowledged(ANN, mid, 0)
    assert observers.note_change(slow)


def test_what_is_not_acknowledged_is_repeated_ever_more_rarely_and_then_given_up(
    observers: Observers,
) -> None:
    observer = register(observers)
    tell(observers, observer, 0)
    first, now, waits = observer.datagram, 0.0, []
    while len(observers):
        before = now
        while not observers.overdue(now) and len(observers):
            now += 0.25
            assert now < 200
        waits.append(now - before)
        assert observer.datagram == first
    assert len(waits) == MAX_RETRANSMIT + 1
    for wait, nominal in zip(waits, (2, 4, 8, 16, 32), strict=True):
        assert nominal <= wait <= nominal * 1.5 + 0.25
    assert list(observers.at(DEVICE, VALUE)) == []


def test_a_repetition_carries_the_newest_value_and_does_not_start_over(
    observers: Observers,
) -> None:
    observer = register(observers)
    _, first = tell(observers, observer, 0)
    assert not observers.note_change(observer)
    assert observers.overdue(2 * ACK_TIMEOUT_S) == [observer]
    assert observer.stale
    newest = decode(observers.issue(observer, Code.CONTENT, b"\xff22", 2 * ACK_TIMEOUT_S))
    assert (newest.type, newest.payload) == (Type.CON, b"22")
    assert newest.mid != first
    assert observer.tries == 1
    assert observers.acknowledged(ANN, first, 5) is None
    assert observer.awaiting
    assert observers.acknowledged(ANN, newest.mid, 5) is None
    assert not observer.awaiting


def test_an_acknowledgement_brings_the_value_that_came_meanwhile(observers: Observers) -> None:
    observer = register(observers)
    _, mid = tell(observers, observer, 0)
    assert not observers.note_change(observer)
    assert observers.acknowledged(BEN, mid, 1) is None
    assert observers.acknowledged(ANN, mid, 1) is observer
    tell(observers, observer, 1)
    assert observers.acknowledged(ANN, mid, 1) is None


def test_a_client_that_takes_non_confirmable_ones_is_asked_now_and_then_if_it_is_there(
    observers: Observers,
) -> None:
    observer = register(observers, confirmable=False)
    assert tell(observers, observer, 1)[0] is Type.NON
    assert tell(observers, observer, CONFIRM_NON_S - 1)[0] is Type.NON
    kind, mid = tell(observers, observer, CONFIRM_NON_S)
    assert kind is Type.CON
    observers.acknowledged(ANN, mid, CONFIRM_NON_S)
    assert tell(observers, observer, CONFIRM_NON_S + 1)[0] is Type.NON


def test_nobody_is_an_observer_for_a_day_without_a_sign_of_life(observers: Observers) -> None:
    quiet, lively = register(observers), register(observers, BEN)
    _, mid = tell(observers, lively, 100)
    observers.acknowledged(BEN, mid, 100)
    assert observers.unconfirmed(CONFIRM_QUIET_S - 1) == []
    assert observers.unconfirmed(CONFIRM_QUIET_S) == [quiet]
    assert tell(observers, quiet, CONFIRM_QUIET_S)[0] is Type.CON


@pytest.mark.parametrize("confirmable", [True, False])
def test_a_reset_ends_the_observation_it_answers(observers: Observers, confirmable: bool) -> None:
    observer = register(observers, confirmable=confirmable)
    other = register(observers, token=b"b")
    _, mid = tell(observers, observer, 0)
    observers.reset(BEN, mid)
    assert len(observers) == 2
    observers.reset(ANN, mid)
    assert list(observers.at(DEVICE, VALUE)) == [other]


def test_the_last_word_is_repeated_until_it_is_acknowledged(observers: Observers) -> None:
    observer = register(observers, confirmable=False)
    observers.retire(observer)
    message = decode(observers.issue(observer, Code.NOT_FOUND, b"", 0))
    assert (message.type, message.code) == (Type.CON, Code.NOT_FOUND)
    assert list(observers.at(DEVICE, VALUE)) == []
    assert observers.overdue(10) == [observer]
    assert observers.acknowledged(ANN, message.mid, 11) is None
    assert (len(observers), observers.overdue(100)) == (0, [])


def test_a_client_that_is_gone_takes_all_its_observations_with_it(observers: Observers) -> None:
    for token in (b"1", b"2", b"3"):
        tell(observers, register(observers, token=token), 0)
    register(observers, BEN)
    observers.unreachable(ANN)
    observers.unreachable(ANN)
    assert len(observers) == 1
    assert observers.overdue(100) == []


def test_the_limits_hold_for_one_client_and_for_all() -> None:
    observers = Observers(limit=3, limit_per_peer=2, number=0)

    def fits(peer: tuple[str, int], token: bytes) -> bool:
        target = [(DEVICE, VALUE)]
        return bool(
            observers.register(peer, token, REQUEST, Format.TEXT, target, confirmable=True, now=0.0)
        )

    assert [fits(ANN, b"1"), fits(ANN, b"2"), fits(ANN, b"3")] == [True, True, False]
    assert [fits(BEN, b"1"), fits(BEN, b"2")] == [True, False]
    assert fits(ANN, b"2")
    observers.cancel(ANN, b"1")
    assert fits(BEN, b"2")


def test_an_observation_counts_once_for_each_name_and_each_kilobyte() -> None:
    observers = Observers(limit=7, limit_per_peer=4, number=0)

    def add(peer: tuple[str, int], names: int, octets: int = 0, credit: float = math.inf) -> bool:
        targets = [(DEVICE, Path(3303, number)) for number in range(names)]
        asked = replace(REQUEST, code=Code.FETCH, payload=bytes(octets))
        form = Format.SENML_CBOR
        return bool(
            observers.register(
                peer, b"a", asked, form, targets, confirmable=True, now=0.0, credit=credit
            )
        )

    assert not any([add(ANN, 5), add(ANN, 4, 1), add(ANN, 3, 1025)])
    assert add(ANN, 3, 1024)
    assert [add(BEN, 4), add(BEN, 3)] == [False, True]
    observers.cancel(ANN, b"a")
    assert add(BEN, 4)
    forged = [("192.0.2.7", port) for port in range(3)]
    assert all(add(peer, 1, credit=100) for peer in forged)
    assert add(ANN, 2)
    assert [observers.has(peer) for peer in forged] == [False, False, True]


def test_of_what_one_client_asked_nothing_is_kept_that_others_did_not(
    observers: Observers,
) -> None:
    mine = replace(REQUEST, peer=ANN, request_tag=(b"tag",), etags=(b"etag",), echo=b"echo")
    observer = observers.register(
        ANN, b"a", mine, Format.TEXT, [(DEVICE, VALUE)], confirmable=True, now=0.0
    )
    assert observer
    assert observer.request == REQUEST
    assert register(observers, BEN).request is observer.request


def test_who_never_acknowledged_gives_way_to_others() -> None:
    observers = Observers(limit=4, limit_per_peer=4, number=0)

    def add(number: int, credit: float) -> Observer | None:
        peer, targets = ("192.0.2.7", number), [(DEVICE, VALUE)]
        return observers.register(
            peer, b"a", REQUEST, Format.TEXT, targets, confirmable=True, now=0.0, credit=credit
        )

    forged = [add(number, 100.0) for number in range(4)]
    assert forged[0]
    told = decode(observers.issue(forged[0], 69, b"", 0.0))
    observers.acknowledged(forged[0].endpoint.peer, told.mid, 0.0)
    assert add(10, math.inf)
    assert [observer.registered for observer in forged if observer] == [True, False, True, True]
    assert add(11, 100.0)
    assert add(12, math.inf)
    assert add(13, math.inf)
    assert add(14, math.inf) is None
    assert len(observers) == 4


def test_nothing_is_left_of_observers_that_are_gone(observers: Observers) -> None:
    for token in range(10):
        observer = register(observers, token=bytes([token]))
        observer.conditions = Conditions(Attributes(pmax=60), 21.5, 0)
        observers.schedule(observer)
        tell(observers, observer, 0)
        observers.forget(observer)
        observers.forget(observer)
    emptied = Observers(limit=100, limit_per_peer=10, number=0)
    for name in ("_endpoints", "_by_mid", "_by_path", "_weight"):
        assert getattr(observers, name) == getattr(emptied, name)
    assert observers.due(1e6) == []


def test_ten_thousand_who_ask_the_same_cost_one_request(observers: Observers) -> None:
    asked = [replace(REQUEST, peer=peer, path=tuple(REQUEST.path)) for peer in (ANN, BEN)]
    ann, ben = (
        observers.register(
            peer, b"t", request, Format.TEXT, [(DEVICE, Path(*VALUE))], confirmable=True, now=0.0
        )
        for peer, request in zip((ANN, BEN), asked, strict=True)
    )
    assert ann
    assert ben
    assert ann.request is ben.request
    assert ann.targets is ben.targets
    assert ann.request.peer is None
    cho = observers.register(
        ANN, b"c", replace(REQUEST, query=("pmin=5",)), Format.TEXT, [(DEVICE, VALUE)],
        confirmable=True, now=0.0,
    )  # fmt: skip
    assert cho
    assert cho.request.query == ("pmin=5",)


def test_what_is_acknowledged_or_never_will_be_is_not_kept(observers: Observers) -> None:
    sure, unsure = register(observers), register(observers, BEN, confirmable=False)
    _, mid = tell(observers, sure, 1.0)
    tell(observers, unsure, 1.0)
    assert sure.datagram
    assert not unsure.datagram
    observers.acknowledged(ANN, mid, 1.1)
    assert not sure.datagram


def test_conditions_are_looked_at_when_their_time_has_come(observers: Observers) -> None:
    observer = register(observers)
    observers.schedule(observer)
    assert observers.due(1_000) == []
    observer.conditions = Conditions(Attributes(pmax=60), 21.5, 1_000)
    observers.schedule(observer)
    assert observers.due(1_059) == []
    assert observers.due(1_061) == [observer]
    assert observers.due(1_061) == []
    observers.schedule(observer)
    observers.retire(observer)
    observers.schedule(observer)
    assert observers.due(2_000) == []


@pytest.mark.parametrize("confirmable", [False, True])
def test_an_observer_with_conditions_is_told_as_it_asked_and_confirmably_once_a_day(
    observers: Observers, confirmable: bool
) -> None:
    observer = register(observers, confirmable=confirmable)
    observer.conditions = Conditions(Attributes(pmin=1), 21.5, 0)
    assert tell(observers, observer, 1)[0] is (Type.CON if confirmable else Type.NON)
    observers.acknowledged(ANN, observer.mid, 1)
    assert tell(observers, observer, CONFIRM_QUIET_S)[0] is Type.CON

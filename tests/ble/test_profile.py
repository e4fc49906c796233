"""How a device's values add up to instances, readings and orders."""

import pytest

from adapters.ble.bipso import Truncated
from adapters.ble.profile import Profile
from adapters.ble.uuids import long_uuid
from adapters.sim.modules import sensor
from gateway.errors import NotAllowed, NotFound
from gateway.model import Path

TEMPERATURE = Path(3303, 0, 5700)
UNITS = Path(3303, 0, 5701)


class Numbers:
    """Instance numbers as the hub gives them out, with the keys that were asked for."""

    def __init__(self) -> None:
        self.given: dict[tuple[int, str], int] = {}

    def __call__(self, object_id: int, key: str, preferred: int) -> int:
        taken = {n for (o, _), n in self.given.items() if o == object_id}
        free = preferred if preferred not in taken else min(set(range(99)) - taken)
        return self.given.setdefault((object_id, key), free)


def profile(*uuids: int) -> tuple[Profile, Numbers]:
    """Characteristics on handles 10, 11, ..."""
    numbers = Numbers()
    return Profile([(10 + i, long_uuid(u)) for i, u in enumerate(uuids)], numbers), numbers


def test_other_characteristics_are_ignored() -> None:
    made, _ = profile(0xBB81, 0xCC07, 0x2A05, 0x2A29)
    assert made.handles == [11, 13]
    assert made.measures


def test_texts_alone_are_nothing_to_bridge() -> None:
    made, _ = profile(0x2A29, 0x2A24)
    assert not made.measures


def test_a_read_does_not_overwrite_what_was_notified_meanwhile() -> None:
    made, _ = profile(0xCC07)
    made.begin_read(10)
    made.notified(10, bytes.fromhex("00000000a041"))
    assert made.read(10, sensor(1.0, "C")).values == {UNITS: "C"}
    assert made.shown(TEMPERATURE) == 20.0


def test_what_a_read_echoes_as_notification_is_told_once() -> None:
    made, _ = profile(0xCC07)
    made.begin_read(10)
    assert made.notified(10, sensor(1.0, "C")).values == {TEMPERATURE: 1.0, UNITS: "C"}
    assert made.read(10, sensor(1.0, "C")).values == {}


def test_without_echo_a_read_tells_everything() -> None:
    made, _ = profile(0xCC07)
    made.notified(10, sensor(5.0, "C"))
    made.begin_read(10)
    assert made.read(10, sensor(1.0, "C")).values == {TEMPERATURE: 1.0, UNITS: "C"}


def test_a_clash_of_ids_is_keyed_by_the_order_of_handles() -> None:
    made, numbers = profile(0xCC07, 0xCC07, 0xCC07)
    for handle in made.handles:
        made.notified(handle, sensor(float(handle), "C", id=2))
    assert numbers.given == {(3303, "id2"): 2, (3303, "id2#2"): 0, (3303, "id2#3"): 1}
    assert made.write({Path(3303, 0, 5700): 3.0})[0].handle == 11


def test_sig_characteristics_are_keyed_by_number_and_repetition() -> None:
    made, numbers = profile(0x2A6E, 0x2A6E)
    assert made.notified(11, b"\x59\x08").values[Path(3303, 0, 5700)] == 21.37
    assert made.notified(10, b"\x01\x00").values[Path(3303, 1, 5700)] == 0.01
    assert numbers.given == {(3303, "2a6e#2"): 0, (3303, "2a6e"): 1}


def test_only_the_first_battery_is_the_device_s() -> None:
    made, numbers = profile(0x2A19, 0x2A19)
    assert made.handles == [10]
    assert made.notified(10, b"\x57").values == {Path(3, 0, 9): 87}
    assert numbers.given == {}


def test_a_sig_value_that_says_unknown_tells_nothing() -> None:
    made, _ = profile(0x2A6E)
    assert made.notified(10, b"\x00\x80").values == {}


def test_the_whole_fields_of_a_truncated_value_can_be_had() -> None:
    made, _ = profile(0xCC07)
    with pytest.raises(Truncated) as cut:
        made.notified(10, sensor(1.0, "Cel")[:-1])
    assert made.leading(10, b"", cut.value).values == {TEMPERATURE: 1.0}
    with pytest.raises(Truncated) as nothing:
        made.notified(10, b"\x00")
    assert made.leading(10, b"", nothing.value).values == {}


def test_numbers_that_are_none_are_dropped_and_the_rest_is_kept() -> None:
    made, _ = profile(0xCC07)
    taken = made.notified(10, bytes.fromhex("00010000c07f0143"))
    assert (taken.values, taken.dropped) == ({UNITS: "C"}, 1)


def test_several_fields_of_one_instance_are_one_write() -> None:
    made, _ = profile(0xCC0E)
    made.notified(10, bytes.fromhex("00010010"))
    (order,) = made.write({Path(3312, 0, 5850): True, Path(3312, 0, 5851): 50})
    assert order.data == bytes.fromhex("00010132")
    assert order.expected == {Path(3312, 0, 5850): True, Path(3312, 0, 5851): 50}


def test_what_is_no_executable_cannot_be_executed() -> None:
    made, _ = profile(0xCC0E)
    made.notified(10, bytes.fromhex("000000"))
    with pytest.raises(NotAllowed):
        made.execute(Path(3312, 0, 5850), "")
    with pytest.raises(NotFound):
        made.execute(Path(3312, 1, 5850), "")

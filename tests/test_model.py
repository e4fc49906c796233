"""Paths, identities and outboxes."""

import pytest

from gateway.events import Change, DeviceChanged, Removed
from gateway.model import (
    DeviceId,
    ObjLink,
    Path,
    check_prefix,
    eui64,
    parse_device_id,
    printable,
    urn,
)
from gateway.ports import Outbox

STATION = DeviceId("ble:00-24-be-80-4f-f1")


def test_a_path_is_read_with_and_without_its_leading_slash() -> None:
    assert Path.parse("/3303/0/5700") == Path.parse("3303/0/5700") == Path(3303, 0, 5700)
    assert str(Path(3303, 0)) == "/3303/0"


@pytest.mark.parametrize("text", ["", "3303//5700", "-1", "65535", "1/2/3/4/5", "x", "٣", "+1"])
def test_what_is_not_a_path_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a path"):
        Path.parse(text)


def test_a_path_covers_itself_and_what_lies_below() -> None:
    assert Path(3303).covers(Path(3303, 0, 5700))
    assert Path(3303, 0).covers(Path(3303, 0))
    assert not Path(3303, 0).covers(Path(3303, 1, 5700))


def test_an_eui_48_becomes_the_eui_64_of_rfc_9039() -> None:
    assert eui64(STATION) == "0024befffe804ff1"
    assert urn(DeviceId("lowpan:00124b0001020304")) == "urn:dev:mac:00124b0001020304"


def test_identities_are_read_as_people_write_them() -> None:
    assert parse_device_id("BLE:00:24:BE:80:4F:F1") == STATION
    with pytest.raises(ValueError, match="expected ble:"):
        parse_device_id("00:24:BE:80:4F:F1")


@pytest.mark.parametrize("prefix", ["3303", "rd", ".well-known", "a/b", "", "ö", "1a", "BS"])
def test_a_prefix_that_could_be_mistaken_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        check_prefix(prefix)


def test_text_from_devices_cannot_break_a_log_line() -> None:
    assert printable("a\nb\x1b[31m\u202ec") == "a?b?[31m?c"
    assert printable("x" * 100) == "x" * 63 + "…"


def test_an_object_link_is_read_as_the_specifications_write_it() -> None:
    assert ObjLink.parse("10:03") == ObjLink(10, 3)
    assert ObjLink.parse("FFFF:FFFF") == ObjLink.parse("65535:65535") == ObjLink(65535, 65535)


@pytest.mark.parametrize(
    "text", ["", "1", "1:", ":", "1:2:3", "65536:0", "-1:0", "1:\u0663", " 1:2"]
)
def test_what_is_not_an_object_link_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="like 3303:0"):
        ObjLink.parse(text)


async def test_an_outbox_keeps_the_newest_event_of_a_key_in_its_place() -> None:
    outbox = Outbox()
    first, second = Change(STATION, Path(3303, 0, 5700)), DeviceChanged(STATION)
    newer = Change(STATION, Path(3303, 0, 5700))
    for event in (first, second, newer):
        outbox.put(event)
    assert await outbox.take() is newer
    assert await outbox.take() is second


async def test_a_full_outbox_drops_its_oldest_event_and_counts_it() -> None:
    outbox = Outbox(limit=2)
    for number in range(3):
        outbox.put(Change(STATION, Path(3303, number)))
    assert outbox.dropped == 1
    assert [e.path for e in outbox.take_all() if isinstance(e, Change)] == [
        Path(3303, 1),
        Path(3303, 2),
    ]


async def test_what_happens_after_a_removal_is_told_after_it() -> None:
    outbox = Outbox()
    device, path = STATION, Path(3303, 0, 5700)
    gone = Removed(device, "d1", Path(3303))
    for event in (Change(device, path), DeviceChanged(device), gone, Change(device, path)):
        outbox.put(event)
    assert outbox.take_all() == [DeviceChanged(device), gone, Change(device, path)]
    for event in (gone, Change(device, path), gone):
        outbox.put(event)
    assert await outbox.take() == Change(device, path)
    assert await outbox.take() == gone


def test_a_device_that_was_removed_under_two_prefixes_is_told_gone_from_both() -> None:
    outbox = Outbox()
    gone = [Removed(STATION, "d1"), Removed(STATION, "d2")]
    for event in gone:
        outbox.put(event)
    assert outbox.take_all() == gone

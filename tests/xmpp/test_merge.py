"""A subscriber that gets items and events in any order ends with the newest of each."""

import random
import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from adapters.xmpp.merge import Update, View
from adapters.xmpp.stanzas import Deleted, Item, Published
from gateway.formats.senml import Record, to_xml

BASE = "urn:dev:mac:0024befffe804ff1/3303/0/"
T0 = 1_795_000_000.0


def item(value: float, at: float, item_id: str = "3303/0", label: str = "5700") -> Item:
    text = to_xml([Record(f"{BASE}{label}", value, "Cel", at)], BASE)
    return Item(item_id, ET.fromstring(text))


def shown(updates: object) -> list[object]:
    assert isinstance(updates, list)
    return [("gone" if u.gone else u.record.value) for u in updates if isinstance(u, Update)]


def test_a_change_is_shown_once_however_often_it_comes() -> None:
    view = View()
    event = Published("n", (item(21.5, T0),))
    assert shown(view.apply(event, T0)) == [21.5]
    assert shown(view.apply(event, T0)) == []


def test_an_older_item_that_comes_late_changes_nothing() -> None:
    view = View()
    view.apply(Published("n", (item(22.5, T0 + 1),)), T0)
    assert shown(view.apply(Published("n", (item(21.5, T0),)), T0)) == []


def test_retraction_and_deletion_take_records_away() -> None:
    view = View()
    view.apply(Published("n", (item(1, T0), item(2, T0, "3303/1", "1"))), T0)
    assert shown(view.apply(Published("n", (), ("3303/0", "none")), T0)) == ["gone"]
    assert shown(view.apply(Deleted("n"), T0)) == ["gone"]
    assert shown(view.apply(Deleted("n"), T0)) == []


def test_a_record_that_is_no_longer_in_its_item_is_gone() -> None:
    view = View()
    view.apply(Published("n", (item(1.0, T0),)), T0)
    updates = view.apply(Published("n", (item(2.0, T0, label="5601"),)), T0)
    assert shown(updates) == ["gone", 2.0]


def test_of_a_pack_of_the_past_every_record_is_shown_once() -> None:
    view = View()
    records = [Record(f"{BASE}5700", float(n), "Cel", T0 + n) for n in range(3)]
    pack = Item("17", ET.fromstring(to_xml(records, BASE)))
    assert shown(view.apply(Published("n/history", (pack,)), T0)) == [0.0, 1.0, 2.0]
    assert shown(view.apply(Published("n/history", (pack,)), T0)) == []


def test_what_is_not_senml_is_ignored() -> None:
    foreign = Item("x", ET.Element("{urn:other}tune"))
    assert shown(View().apply(Published("n", (foreign, Item("y", None))), T0)) == []


@given(st.lists(st.integers(0, 50), min_size=1), st.randoms())
def test_the_newest_wins_in_any_order(ages: list[int], chance: random.Random) -> None:
    order = list(ages)
    chance.shuffle(order)
    view, last = View(), None
    for age in order:
        for update in view.apply(Published("n", (item(float(age), T0 + age),)), T0):
            last = update.record.value
    assert last == max(ages)

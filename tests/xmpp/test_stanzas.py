"""Pubsub XML, as XEP-0060 shows it and as servers send it."""

import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st

from adapters.xmpp import stanzas
from adapters.xmpp.stanzas import Deleted, Published

EVENT = "http://jabber.org/protocol/pubsub#event"


def canonical(element: ET.Element) -> str:
    return ET.canonicalize(ET.tostring(element), strip_text=True)


def message(inside: str) -> ET.Element:
    return ET.fromstring(
        f"<message xmlns='jabber:client' from='pubsub.localhost' type='headline'>"
        f"<event xmlns='{EVENT}'>{inside}</event></message>"
    )


def test_a_publish_request_holds_one_item() -> None:
    expected = ET.fromstring(
        "<pubsub xmlns='http://jabber.org/protocol/pubsub'><publish node='iot/gateway/a'>"
        "<item id='3303/0'><x xmlns='urn:x'/></item></publish></pubsub>"
    )
    made = stanzas.publish("iot/gateway/a", "3303/0", "<x xmlns='urn:x'/>")
    assert canonical(ET.fromstring(made)) == canonical(expected)


def test_a_retraction_asks_for_the_subscribers_to_be_told() -> None:
    expected = ET.fromstring(
        "<pubsub xmlns='http://jabber.org/protocol/pubsub'>"
        "<retract node='n' notify='true'><item id='3303/0'/></retract></pubsub>"
    )
    assert canonical(stanzas.retract("n", "3303/0")) == canonical(expected)


def test_a_node_is_created_with_its_configuration() -> None:
    expected = ET.fromstring(
        "<pubsub xmlns='http://jabber.org/protocol/pubsub'><create node='n'/><configure>"
        "<x xmlns='jabber:x:data' type='submit'><field var='FORM_TYPE' type='hidden'>"
        "<value>http://jabber.org/protocol/pubsub#node_config</value></field>"
        "<field var='pubsub#title'><value>T</value></field></x></configure></pubsub>"
    )
    assert canonical(stanzas.create("n", {"pubsub#title": "T"})) == canonical(expected)


def test_all_items_of_an_event_are_read_and_the_reading_ends() -> None:
    inside = (
        "<items node='n'><item id='a'><x xmlns='u'/></item><item id='b'/><retract id='c'/></items>"
    )
    (event,) = stanzas.node_events(message(inside))
    assert isinstance(event, Published)
    assert [item.id for item in event.items] == ["a", "b"]
    assert [item.payload is not None for item in event.items] == [True, False]
    assert event.retracted == ("c",)


def test_deletion_and_purge_are_told() -> None:
    assert stanzas.node_events(message("<delete node='n'/><purge node='m'/>")) == [
        Deleted("n"),
        Deleted("m"),
    ]


def test_other_messages_say_nothing_of_nodes() -> None:
    assert stanzas.node_events(ET.fromstring("<message><body>hi</body></message>")) == []
    assert stanzas.node_events(message("<configuration node='n'/>")) == []


def test_a_form_is_read_back_as_it_was_filled() -> None:
    form = stanzas.submit("t", {"a": "1", "b": ""})
    assert stanzas.form_values(form) == {"FORM_TYPE": "t", "a": "1", "b": ""}
    assert stanzas.form_values(None) == {}


NAMES = st.sampled_from(["items", "item", "retract", "delete", "purge", "event", "x", "value"])


def _with_children(name: str, children: list[ET.Element]) -> ET.Element:
    element = ET.Element(f"{{{EVENT}}}{name}")
    element.extend(children)
    return element


ELEMENTS = st.recursive(
    st.builds(lambda name: ET.Element(f"{{{EVENT}}}{name}"), NAMES),
    lambda inner: st.builds(_with_children, NAMES, st.lists(inner, max_size=3)),
)


@given(ELEMENTS)
def test_no_event_of_odd_shape_raises(element: ET.Element) -> None:
    root = ET.Element("{jabber:client}message")
    root.append(element)
    for event in stanzas.node_events(root):
        assert isinstance(event, Published | Deleted)
    stanzas.items(element)
    stanzas.affiliations(element)
    stanzas.form_maxima(element)


def test_an_event_of_several_items_tells_each_once_however_often_it_is_looked_at() -> None:
    message = ET.fromstring(
        f"<message xmlns='jabber:client'><event xmlns='{EVENT}'><items node='iot/gateway'>"
        "<item id='a'/><item id='b'/><retract id='c'/></items></event></message>"
    )
    for _ in range(2):  # slixmpp's own items are their own iterator: nested looks never end
        for outer in stanzas.node_events(message):
            (event,) = stanzas.node_events(message)
            assert event == outer
            assert isinstance(event, Published)
            assert [item.id for item in event.items] == ["a", "b"]
            assert event.retracted == ("c",)


def test_the_words_of_a_refusal_are_one_line() -> None:
    answer = ET.fromstring(
        "<iq xmlns='jabber:client' type='error'><error type='cancel'>"
        "<item-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
        "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>gone\nERROR: all is lost</text>"
        "</error></iq>"
    )
    why = stanzas.why_refused(answer)
    assert (why.condition, why.type) == ("item-not-found", "cancel")
    assert why.text == "gone?ERROR: all is lost"

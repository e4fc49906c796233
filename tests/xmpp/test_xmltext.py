"""What is written by hand is what XML parsers read, whatever names and values are made of."""

import xml.etree.ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st
from slixmpp.xmlstream.tostring import tostring

from adapters.xmpp import stanzas
from adapters.xmpp.stanzas import CLIENT, PUBSUB
from adapters.xmpp.xmltext import XML, escaped, quoted, text_of

LEGAL = st.text(
    st.characters(exclude_categories=["Cs", "Cc", "Cn"]) | st.sampled_from("\t\n\r<&'\"")
)
NAMES = st.sampled_from(["a", "b", f"{{{CLIENT}}}body", "{urn:x}x", "{urn:y}y"])
LABELS = st.sampled_from(["id", "node", f"{{{XML}}}lang"])


@st.composite
def elements(draw: st.DrawFn, depth: int = 3) -> ET.Element:
    made = ET.Element(draw(NAMES), draw(st.dictionaries(LABELS, LEGAL, max_size=3)))
    made.text = draw(st.none() | LEGAL)
    for _ in range(draw(st.integers(0, 2)) if depth else 0):
        child = draw(elements(depth - 1))
        child.tail = draw(st.none() | LEGAL)
        made.append(child)
    return made


def same(one: ET.Element, other: ET.Element) -> bool:
    return (
        (one.tag, one.attrib) == (other.tag, other.attrib)
        and ((one.text or ""), len(one)) == ((other.text or ""), len(other))
        and ((one.tail or "") == (other.tail or ""))
        and all(map(same, one, other))
    )


@given(elements())
def test_an_element_is_read_as_it_was(made: ET.Element) -> None:
    assert same(ET.fromstring(text_of(made)), made)


@given(elements())
def test_an_element_within_a_stream_has_the_streams_namespace(made: ET.Element) -> None:
    read = ET.fromstring(f"<stream xmlns='{CLIENT}'>{text_of(made, CLIENT)}</stream>")[0]
    assert same(read, made)


def test_a_stanza_is_written_like_slixmpp_writes_it() -> None:
    question = stanzas.configure("iot/a&b", {"pubsub#title": "T < 1"})
    assert text_of(question) == tostring(question)


@given(st.text(), st.text())
def test_any_text_at_all_leaves_the_stream_readable(attribute: str, content: str) -> None:
    read = ET.fromstring(f"<x a={quoted(attribute)}>{escaped(content)}</x>")
    assert len(read.attrib["a"]) == len(attribute)
    assert len(read.text or "") == len(content)


@given(LEGAL, LEGAL, LEGAL)
def test_a_published_item_is_read_with_its_node_and_id(node: str, item: str, value: str) -> None:
    payload = ET.Element("{urn:x}x", {"v": value})
    read = ET.fromstring(stanzas.publish(node, item, text_of(payload)))
    (action,) = read
    assert (read.tag, action.tag) == (f"{{{PUBSUB}}}pubsub", f"{{{PUBSUB}}}publish")
    assert (action.get("node"), action[0].get("id")) == (node, item)
    assert same(action[0][0], payload)

"""What the gateway says it has: CoRE Link Format and its filters (RFC 6690)."""

import json
import re
from collections.abc import Iterator
from pathlib import Path as File
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.coap import content
from adapters.coap.links import Link, describe, filters, selector
from adapters.coap.messages import Format
from gateway.errors import InvalidValue
from gateway.events import Availability, Device, Resource, State
from gateway.model import Path
from tests.coap.conftest import BUILTIN
from tests.fakes import METER, STATION, HubBench

VECTORS = {
    v["id"]: v for v in json.loads(File(__file__).with_name("vectors.json").read_text())["vectors"]
}
FILTERS = [v for v in VECTORS.values() if "query" in v and "document" in v]
DOCUMENTS = [v for v in VECTORS.values() if v["area"] == "link-format" and "text" in v]
EXECUTES = [v for v in VECTORS.values() if v["area"] == "execute"]

PACKS = "110 112 310 11542 11544"
ONE = f"0 60 {PACKS}"

_TARGET = re.compile(r"<([^>]*)>")
_PARAMETER = re.compile(r';([^=;,"]+)(?:=(?:"((?:[^"\\]|\\.)*)"|([^;,"]*)))?')
_NEXT = re.compile(r", *|$")


def parse(text: str) -> Iterator[Link]:
    """A reader of link-format of its own; ValueError if it is none."""
    at = 0
    while at < len(text):
        if not (match := _TARGET.match(text, at)):
            raise ValueError(f"no target at {at}")
        href, at, attributes = match[1], match.end(), []
        while parameter := _PARAMETER.match(text, at):
            name, quoted, token = parameter.groups()
            value = token if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
            attributes.append((name, value))
            at = parameter.end()
        if not (match := _NEXT.match(text, at)):
            raise ValueError(f"no comma at {at}")
        at = match.end()
        yield Link(href, tuple(attributes))


@pytest.mark.parametrize("vector", FILTERS, ids=lambda vector: str(vector["id"]))
def test_a_filter_selects_the_links_of_the_vector(vector: dict[str, Any]) -> None:
    document = parse(VECTORS[vector["document"]]["text"])
    hrefs = [link.href for link in filter(selector(filters([vector["query"]])), document)]
    assert hrefs == vector["hrefs"]


@pytest.mark.parametrize("vector", DOCUMENTS, ids=lambda vector: str(vector["id"]))
def test_a_document_is_written_as_it_was_read(vector: dict[str, str]) -> None:
    if "error" in vector:
        with pytest.raises(ValueError, match="comma"):
            list(parse(vector["text"]))
        return
    links = list(parse(vector["text"]))
    assert list(parse(",".join(map(str, links)))) == links


@pytest.mark.parametrize("vector", EXECUTES, ids=lambda vector: str(vector["id"]))
def test_execute_arguments_follow_their_grammar(vector: dict[str, str]) -> None:
    if "error" in vector:
        with pytest.raises(InvalidValue):
            content.arguments(vector["text"].encode(), Format.TEXT)
    else:
        assert content.arguments(vector["text"].encode(), Format.TEXT) == vector["text"]


def links_of(home: HubBench, *query: str) -> list[str]:
    found = []
    for device in home.north.devices():
        found += list(describe(device, home.north.resources(device.id), BUILTIN))
    return [str(link) for link in filter(selector(filters(query)), found)]


def test_a_device_shows_its_root_its_objects_with_version_and_what_is_in_them(
    home: HubBench,
) -> None:
    device = home.north.device("weather")
    assert device
    links = [str(link) for link in describe(device, home.north.resources(STATION), BUILTIN)]
    assert links[0] == '</weather>;rt="oma.lwm2m";title="a name";ct="110 112 310 11542 11544"'
    assert "</weather/3303>;ver=1.1" in links
    assert "</weather/3>;ver=1.2" in links
    of_temperature = [link for link in links if "/3303/0" in link]
    urn = 'rt="urn:oma:lwm2m:ext:3303"'
    assert of_temperature == [
        f'</weather/3303/0>;{urn};if="core.b";ct="{PACKS}";obs',
        f'</weather/3303/0/5605>;{urn};if="core.a"',
        f'</weather/3303/0/5700>;{urn};if="core.s";ct="{ONE}";obs',
        f'</weather/3303/0/5701>;{urn};if="core.rp";ct="{ONE}";obs',
    ]


def test_octets_arrays_and_what_can_be_set_are_told_apart(home: HubBench) -> None:
    links = links_of(home)
    by_href = {link[1 : link.index(">")]: link for link in links}
    assert by_href["/light/3339/0/5522"].endswith('ct="0 42 60 110 112 310 11542 11544";obs')
    assert by_href["/weather/3/0/11"].endswith('if="core.s";ct="110 112 310 11542 11544";obs')
    assert 'if="core.a"' in by_href["/light/3311/0/5850"]
    assert 'if="core.p"' in by_href["/light/3311/0/5851"]
    assert by_href["/light/3311"] == "</light/3311>"


def test_the_gateways_own_objects_have_no_prefix(home: HubBench) -> None:
    links = links_of(home)
    assert links[0] == '</>;rt="oma.lwm2m";title="gateway";ct="110 112 310 11542 11544"'
    assert "</25>;ver=2.0" in links
    assert any(link.startswith("</25/1/3>;") for link in links)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        (["rt=oma.lwm2m"], 3),
        (["rt=oma.lwm2m", "title=a*"], 2),
        (["rt=oma*", "href=/weather"], 1),
        (["ver=2.0"], 1),
        (["ver=*", "href=/weather*"], 2),
        (["ct=42"], 1),
        (["ct=4"], 0),
        (["obs=*", "href=/light/3340*"], 2),
        (["if=core.a", "href=/weather*"], 1),
        (["title=a%20name"], 2),
        (["href=*"], None),
        (["foo"], None),
        (["foo=*"], 0),
    ],
)  # fmt: skip
def test_filters_are_all_applied(home: HubBench, query: list[str], count: int | None) -> None:
    assert len(links_of(home, *query)) == (len(links_of(home)) if count is None else count)


def test_filters_that_select_the_same_are_one() -> None:
    assert filters(["rt=a", "href=/b*", "rt=a", "href=%2Fb*"]) == filters(["href=/b*", "rt=a"])
    assert len(filters(["href=*"] * 60)) == 1


@given(st.text(max_size=30))
def test_no_name_of_a_device_breaks_the_list(name: str) -> None:
    link = Link("/a", (("title", name), ("obs", None)))
    assert list(parse(str(link))) == [link]


def test_what_holds_keys_is_not_listed() -> None:
    device = Device(STATION, "d1", "", "ble", Availability(State.ONLINE, "", 0))
    keys = [Resource(Path(0, 0, 0), "coap://x", 0), Resource(Path(3303, 0, 5700), 1.0, 0)]
    hrefs = [link.href for link in describe(device, keys, BUILTIN)]
    assert hrefs == ["/d1", "/d1/3303", "/d1/3303/0", "/d1/3303/0/5700"]


def test_a_device_without_name_has_no_title(home: HubBench) -> None:
    home.hub.forget(METER)
    assert len(links_of(home, "title=*")) == 2

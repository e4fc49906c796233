"""SenML packs: what RFC 8428 and LwM2M print, what must be refused, and that nothing gets lost."""

import json
import math
import xml.etree.ElementTree as ET
from collections.abc import Callable

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import DecodeError, EncodeError
from gateway.formats.senml import (
    NAMESPACE,
    Pack,
    Record,
    from_cbor,
    from_json,
    from_xml,
    to_cbor,
    to_json,
    to_xml,
)
from gateway.model import ObjLink, Value
from tests.formats import cbor_items
from tests.vectors import LWM2M

NOW = 1_800_000_000.0
VECTORS = [v for v in LWM2M if v["area"] == "senml"]
RFC_EXAMPLE_3 = [
    Record("urn:dev:ow:10e2073a0108006:voltage", 120.1, "V", 1276020076.001),
    *(
        Record("urn:dev:ow:10e2073a0108006:current", value, "A", 1276020076.001 - age)
        for age, value in ((5, 1.2), (4, 1.3), (3, 1.4), (2, 1.5), (1, 1.6), (0, 1.7))
    ),
]
READERS: dict[int, Callable[..., list[Record]]] = {
    110: from_json, 111: from_json, 112: from_cbor, 310: from_xml,
}  # fmt: skip


def payload(vector: dict[str, str]) -> bytes:
    return bytes.fromhex(vector["hex"]) if "hex" in vector else vector["text"].encode()


def node_value(node: dict[str, object]) -> object:
    return ObjLink.parse(str(node["value"])) if node["type"] == "objlnk" else node["value"]


def resolved_record(fields: dict[str, object]) -> Record:
    [(label, value)] = [(k, v) for k, v in fields.items() if k in {"v", "vs", "vb", "vd"}]
    if label == "vd":
        assert value == "aGkgCg"
        value = b"hi \n"
    time = fields.get("t")
    assert isinstance(value, bool | int | float | str | bytes)
    return Record(
        str(fields["n"]),
        value,
        str(fields["u"]) if "u" in fields else None,
        float(str(time)) if time is not None else None,
    )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["id"])
def test_packs_of_the_specifications_mean_what_they_say(vector: dict[str, object]) -> None:
    read = READERS[int(str(vector["content_format"]))]
    octets = payload(vector)  # type: ignore[arg-type]
    match vector:
        case {"error": _}:
            with pytest.raises(DecodeError):
                read(octets, NOW)
        case {"paths": list(paths)}:
            assert read(octets, NOW, Pack.FETCH) == [Record(path, None) for path in paths]
            with pytest.raises(DecodeError, match="record 0: no value"):
                read(octets, NOW)
        case {"resolved": list(records)}:
            assert read(octets, NOW) == [resolved_record(r) for r in records]
        case {"equals": "rfc8428-ex3"}:
            assert read(octets, NOW) == RFC_EXAMPLE_3
        case {"nodes": list(nodes)}:
            assert [(r.name, r.value) for r in read(octets, NOW)] == [
                (n["path"], node_value(n)) for n in nodes
            ]
        case _:
            assert all(record.value is not None for record in read(octets, NOW))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["id"])
def test_no_truncated_pack_is_taken_for_a_whole_one(vector: dict[str, str]) -> None:
    read, octets = READERS[int(vector["content_format"])], payload(vector)
    for length in range(len(octets)):
        with pytest.raises(DecodeError):
            read(octets[:length], NOW)
    with pytest.raises(DecodeError):
        read(octets + b"\x00", NOW)


def test_what_we_write_is_the_example_of_the_specification_byte_by_byte() -> None:
    by_id = {v["id"]: v for v in VECTORS}
    octets = payload(by_id["seed-senml-cbor-device"])
    records = from_cbor(octets, NOW)
    assert to_cbor(records, "/3/0/") == octets
    assert to_json(records, "/3/0/").decode() == by_id["seed-senml-json-device"]["text"]


def test_the_time_stands_once_when_all_records_share_it() -> None:
    records = [
        Record("/d1/3303/0/5700", 21.5, "Cel", NOW + 0.25),
        Record("/d1/3/0/9", 1, None, NOW + 0.25),
    ]
    assert to_json(records, "/d1/") == (
        b'[{"bn":"/d1/","bt":1800000000.25,"n":"3303/0/5700","u":"Cel","v":21.5},{"n":"3/0/9","v":1}]'
    )
    assert to_xml(records[:1], "/d1/3303/0/5700") == (
        f"<sensml xmlns='{NAMESPACE}'>"
        '<senml bn="/d1/3303/0/5700" bt="1800000000.25" u="Cel" v="21.5"/></sensml>'
    )


@given(
    st.integers(2**30 * 1000, 2**32 * 1000),
    st.lists(st.integers(0, 10 * 86_400_000), min_size=1, max_size=5),
)
def test_times_within_days_are_exact_even_for_readers_who_add_floats(
    start: int, later: list[int]
) -> None:
    times = [(start + milliseconds) / 1000 for milliseconds in later]
    pack = json.loads(to_json([Record("a", True, None, time) for time in times]))
    assert [pack[0]["bt"] + fields.get("t", 0) for fields in pack] == times


def test_a_record_without_time_stays_without_among_others() -> None:
    records = [Record("a", 1, None, NOW), Record("b", 2)]
    assert to_json(records) == b'[{"n":"a","v":1,"t":1800000000},{"n":"b","v":2}]'


def test_the_time_of_a_clock_that_was_never_set_is_left_out() -> None:
    assert to_json([Record("a", 1, None, 1234.5)]) == b'[{"n":"a","v":1}]'


def test_times_are_rounded_to_milliseconds() -> None:
    assert to_json([Record("a", 1, None, NOW + 0.0004)]) == b'[{"bt":1800000000,"n":"a","v":1}]'


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (1.5, "f93e00"), (0.1, "fb3fb999999999999a"), (-0.0, "f98000"), (1e5, "fa47c35000"),
        (65504.0, "f97bff"), (65536.0, "fa47800000"), (5.960464477539063e-08, "f90001"),
        (3.4028234663852886e38, "fa7f7fffff"), (1e39, "fb48078287f49c4a1d"), (23, "17"),
    ],
)  # fmt: skip
def test_a_cbor_float_takes_the_shortest_form_that_keeps_it(value: float, encoded: str) -> None:
    assert to_cbor([Record("a", value)]).hex() == "81a200616102" + encoded


@pytest.mark.parametrize(
    "record",
    [
        Record("a", math.nan), Record("a", math.inf), Record("a", None), Record("", 1),
        Record("a b", 1), Record("ä", 1), Record("a", 2**64), Record("a", -(2**63) - 1),
        Record("a", 1, None, math.nan), Record("a", 1, None, 1e308), Record("a", "\ud800"),
        Record("a", 1, "\ud800"),
    ],
)  # fmt: skip
def test_what_senml_cannot_say_is_refused_when_writing(record: Record) -> None:
    for write in (to_json, to_cbor, to_xml):
        with pytest.raises(EncodeError):
            write([record])


def test_a_name_outside_the_base_is_refused_when_writing() -> None:
    with pytest.raises(EncodeError, match="/d2/3/0/0 does not begin with /d1/"):
        to_json([Record("/d1/3/0/0", "x"), Record("/d2/3/0/0", "y")], "/d1/")


def test_xml_refuses_the_control_characters_that_it_cannot_hold() -> None:
    with pytest.raises(EncodeError, match=r"U\+0000"):
        to_xml([Record("a", "\0")])


VALUES: st.SearchStrategy[Value] = st.one_of(
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
    st.binary(),
    st.builds(ObjLink, st.integers(0, 65535), st.integers(0, 65535)),
)
RECORDS = st.lists(
    st.builds(
        Record,
        st.from_regex(r"[A-Za-z0-9/][A-Za-z0-9:./_-]{0,9}", fullmatch=True),
        VALUES,
        st.none() | st.sampled_from(["Cel", "%RH"]),
        st.none() | st.integers(2**28 * 1000, 2**33 * 1000).map(lambda ms: ms / 1000),
    ),
    max_size=4,
)


def exactly(records: list[Record]) -> list[tuple[object, ...]]:
    return [(r.name, type(r.value), repr(r.value), r.unit, r.time) for r in records]


@given(RECORDS)
def test_nothing_is_lost_or_changed_on_the_way(records: list[Record]) -> None:
    assert exactly(from_json(to_json(records), NOW)) == exactly(records)
    assert exactly(from_cbor(to_cbor(records), NOW)) == exactly(records)
    try:
        xml = to_xml(records)
    except EncodeError:  # a control character
        pass
    else:
        assert exactly(from_xml(xml, NOW)) == exactly(records)
        assert exactly(from_xml(xml.encode(), NOW)) == exactly(records)


@given(RECORDS)
def test_a_base_name_changes_nothing_that_a_reader_sees(records: list[Record]) -> None:
    named = [Record("/d1/" + r.name, r.value, r.unit, r.time) for r in records]
    assert exactly(from_cbor(to_cbor(named, "/d1/"), NOW)) == exactly(named)
    assert exactly(from_json(to_json(named, "/d1/"), NOW)) == exactly(named)


@pytest.mark.parametrize(
    ("pack", "reason"),
    [
        ("{}", "a pack is an array"),
        ("[1]", "record 0: must be an object"),
        ("[{}]", "record 0: no value"),
        ('[{"n":"a"}]', "record 0: no value"),
        ('[{"n":"a","v":1},{"n":"b"}]', "record 1: no value"),
        ('[{"n":"a","v":1,"vs":"x"}]', "several values: v, vs"),
        ('[{"n":"a","v":1,"v":2}]', "'v' stands twice"),
        ('[{"n":"a","v":null}]', "'v' must be a finite number"),
        ('[{"n":"a","v":true}]', "'v' must be a finite number"),
        ('[{"n":"a","v":"1"}]', "'v' must be a finite number"),
        ('[{"n":"a","v":1e999}]', "'v' must be a finite number"),
        ('[{"n":"a","v":1' + "0" * 400 + "}]", "'v' must be a finite number"),
        ('[{"n":"a","v":1' + "0" * 5000 + "}]", "not JSON"),
        ('[{"n":"a","v":NaN}]', "NaN is not JSON"),
        ('[{"n":"a","v":-Infinity}]', "-Infinity is not JSON"),
        ('[{"n":"a","vb":1}]', "'vb' must be true"),
        ('[{"n":"a","vs":1}]', "'vs' must be a text"),
        ('[{"n":"a","vs":"\\ud800"}]', "'vs' is not Unicode"),
        ('[{"n":"a","vd":"aGkgCg=="}]', "without padding"),
        ('[{"n":"a","vd":"a+/b"}]', "base64url"),
        ('[{"n":"a","vd":"aGkgC"}]', "base64url"),
        ('[{"n":"a","vd":1}]', "'vd' must be octets"),
        ('[{"n":"a","vlo":"1"}]', "'vlo': expected two ids"),
        ('[{"n":"a","v":1,"x_":1}]', "'x_' must be understood"),
        ('[{"n":"a b","v":1}]', "'a b' is not a name"),
        ('[{"n":"-a","v":1}]', "'-a' is not a name"),
        ('[{"n":"","v":1}]', "'' is not a name"),
        ('[{"n":1,"v":1}]', "'n' must be a text"),
        ('[{"n":"a","v":1,"t":"1"}]', "'t' must be a finite number"),
        ('[{"bver":11,"n":"a","v":1}]', "version 11"),
        ('[{"bver":26,"n":"a","v":1}]', "version 26"),
        ('[{"bver":0,"n":"a","v":1}]', "version 0"),
        ('[{"n":"a","v":1},{"bver":11,"n":"a","v":1}]', "record 1: SenML version 11"),
        ("[" * 100_000, "nested too deeply"),
        ('[{"n":"a","v":1}] x', "not JSON"),
        ("\ufeff[]", "not JSON"),
    ],
)
def test_malformed_json_is_refused_with_the_place_and_the_reason(pack: str, reason: str) -> None:
    with pytest.raises(DecodeError) as refusal:
        from_json(pack.encode(), NOW)
    assert reason in str(refusal.value)


@pytest.mark.parametrize(
    ("pack", "reason"),
    [
        ([{0: "a", "v": 1}], "the label 'v' must be written as 2"),
        ([{0: "a", 2: 1, b"x": 1}], "a label must be an integer or a text"),
        ([{0: "a", 2: True}], "'v' must be a finite number"),
        ([{0: "a", True: "u", 2: 1}], "a label must be"),
        ([{0: "a", 8: "aGkgCg"}], "'vd' must be octets"),
        ([{0: "a", 2: math.nan}], "'v' must be a finite number"),
        ([{0: "a", 2: cbor2.CBORTag(4, [10**6, 1])}], "'v' must be a finite number"),
        ([{-1: 11, 0: "a", 2: 1}], "version 11"),
        ([{0: "a", 2: 1, "x_": 1}], "'x_' must be understood"),
    ],
)
def test_malformed_cbor_is_refused_with_the_place_and_the_reason(pack: object, reason: str) -> None:
    with pytest.raises(DecodeError) as refusal:
        from_cbor(cbor2.dumps(pack), NOW)
    assert str(refusal.value).startswith("record 0: ")
    assert reason in str(refusal.value)


@pytest.mark.parametrize(
    "octets",
    ["", "81", "8100" + "00", "81a2006161020002", "81" * 5000 + "00", "9f" * 5000, "c1" * 5000,
     "81a300616100616102" + "00", "d81c81d81d00", "f6", "81d81c81d81d00"],
)  # fmt: skip
def test_broken_cbor_is_refused(octets: str) -> None:
    with pytest.raises(DecodeError):
        from_cbor(bytes.fromhex(octets), NOW)


@pytest.mark.parametrize(
    ("xml", "reason"),
    [
        ("<sensml/>", f"expected sensml of {NAMESPACE}"),
        (f'<x xmlns="{NAMESPACE}"/>', "expected sensml"),
        (f'<sensml xmlns="{NAMESPACE}"><x/></sensml>', "record 0: must be a senml element"),
        (f'<sensml xmlns="{NAMESPACE}"><senml n="a" v="1_0"/></sensml>', "'v' must be a finite"),
        (f'<sensml xmlns="{NAMESPACE}"><senml n="a" v="INF"/></sensml>', "'v' must be a finite"),
        (f'<sensml xmlns="{NAMESPACE}"><senml n="a" v="٣"/></sensml>', "'v' must be a finite"),
        (f'<sensml xmlns="{NAMESPACE}"><senml n="a" vb="yes"/></sensml>', "'vb' must be true"),
        (f'<sensml xmlns="{NAMESPACE}"><senml n="a" vd="a="/></sensml>', "'vd' must be base64url"),
        ("<!DOCTYPE x><x/>", "document type"),
        ('<!DOCTYPE x [<!ENTITY a "b">]><x>&a;</x>', "document type"),
        ('<?xml version="1.0" encoding="utf-7"?><x/>', "not XML"),
        ("<a", "not XML"),
    ],
)
def test_malformed_xml_is_refused_with_the_reason(xml: str, reason: str) -> None:
    with pytest.raises(DecodeError) as refusal:
        from_xml(xml.encode(), NOW)
    assert reason in str(refusal.value)


def test_deeply_nested_xml_is_refused() -> None:
    with pytest.raises(DecodeError):
        from_xml("<a>" * 50_000 + "</a>" * 50_000, NOW)


def test_base_fields_hold_until_they_are_set_again() -> None:
    pack = b"""[{"bn":"a/","bu":"V","bv":20,"bt":1700000000,"n":"1","v":1},
                {"n":"2","v":0.1,"u":"A"}, {"n":"3","vs":"x","t":-5},
                {"bn":"b/","bu":"W","bv":0,"n":"1","v":1}]"""
    assert from_json(pack, NOW) == [
        Record("a/1", 21, "V", 1.7e9),
        Record("a/2", 20.1, "A", 1.7e9),
        Record("a/3", "x", "V", 1.7e9 - 5),
        Record("b/1", 1, "W", 1.7e9),
    ]


def test_relative_times_count_from_now() -> None:
    pack = (
        b'[{"n":"a","v":1,"t":-5.5},{"n":"a","v":1,"t":10},{"n":"a","v":1,"t":0},{"n":"a","v":1}]'
    )
    assert [r.time for r in from_json(pack, NOW)] == [NOW - 5.5, NOW + 10, NOW, None]
    edge = b'[{"n":"a","v":1,"t":268435455},{"n":"a","v":1,"t":268435456}]'
    assert [r.time for r in from_json(edge, NOW)] == [NOW + 268435455, 268435456]


def test_wide_integers_keep_every_digit() -> None:
    for number in (2**64 - 1, -(2**63), 2**53 + 1):
        pack = [Record("a", number)]
        assert from_json(to_json(pack), NOW) == from_cbor(to_cbor(pack), NOW) == pack
        assert from_xml(to_xml(pack), NOW) == pack
    offset = b'[{"bv":9007199254740993,"n":"a","v":2}]'
    assert from_json(offset, NOW)[0].value == 9007199254740995


def test_every_number_form_of_cbor_is_read() -> None:
    decimal = cbor2.dumps([{0: "a", 2: cbor2.CBORTag(4, [-2, 27315])}])
    assert from_cbor(decimal, NOW) == [Record("a", 273.15)]
    whole = cbor2.dumps([{0: "a", 2: cbor2.CBORTag(4, [1, 12])}])
    assert exactly(from_cbor(whole, NOW)) == exactly([Record("a", 120)])
    indefinite = bytes.fromhex("9fbf0061610203ffff")
    assert from_cbor(indefinite, NOW) == [Record("a", 3)]


def test_extensions_that_may_be_ignored_are_ignored() -> None:
    assert from_json(b'[{"n":"a","v":1,"foo":{"a":[1]},"ut":5}]', NOW) == [Record("a", 1)]
    assert from_cbor(cbor2.dumps([{0: "a", 2: 1, 99: [1], "foo": {}}]), NOW) == [Record("a", 1)]
    xml = f'<sensml xmlns="{NAMESPACE}"><senml n="a" v="1" l="x" p:q="1" xmlns:p="urn:p"/></sensml>'
    assert from_xml(xml, NOW) == [Record("a", 1)]


def test_a_record_with_only_a_sum_has_no_value() -> None:
    assert from_json(b'[{"n":"a","s":5}]', NOW) == [Record("a", None)]


def test_an_empty_pack_has_no_records() -> None:
    assert from_json(b"[]", NOW) == from_cbor(b"\x80", NOW) == []
    assert from_xml(to_xml([]), NOW) == []


def test_a_fetch_pack_names_targets_and_the_root() -> None:
    assert from_json(b'[{"n":"/"},{"bn":"/3/0/"},{"n":"9"}]', NOW, Pack.FETCH) == [
        Record("/", None),
        Record("/3/0/", None),
        Record("/3/0/9", None),
    ]


@pytest.mark.parametrize(
    "pack",
    [
        "[]",
        "[{}]",
        '[{"n":"/3","v":1}]',
        '[{"n":"/3","vs":""}]',
        '[{"n":"/3","x":1}]',
        '[{"u":"V"}]',
    ],
)
def test_a_fetch_pack_holds_names_and_nothing_else(pack: str) -> None:
    with pytest.raises(DecodeError):
        from_json(pack.encode(), NOW, Pack.FETCH)


LABELS = st.sampled_from(
    ["bver", "bn", "bt", "bu", "bv", "bs", "n", "u", "v", "vs", "vb", "vd", "vlo", "s", "t", "x_"]
)
CONTENT = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["a", "/3/0", "1:2", "aGk"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(LABELS, inner, max_size=4),
    max_leaves=8,
)  # fmt: skip
PACKS = st.lists(st.dictionaries(LABELS, CONTENT, max_size=5) | CONTENT, max_size=4) | CONTENT
CBOR_KEYS = st.integers(-8, 10) | LABELS | cbor_items.KEYS


def only_refuses(read: Callable[..., list[Record]], octets: bytes) -> None:
    for pack in Pack:
        try:
            records = read(octets, NOW, pack)
        except DecodeError:
            continue
        assert all(isinstance(record, Record) for record in records)


@given(st.binary(max_size=60))
def test_random_octets_are_refused_and_never_crash(octets: bytes) -> None:
    for read in (from_json, from_cbor, from_xml):
        only_refuses(read, octets)


@given(PACKS)
def test_random_json_never_crashes(pack: object) -> None:
    only_refuses(from_json, json.dumps(pack).encode())


CBOR_PACKS = st.lists(st.dictionaries(CBOR_KEYS, CONTENT | cbor_items.ITEMS, max_size=5))


@given(CBOR_PACKS.map(cbor2.dumps) | cbor_items.OCTETS)
def test_random_cbor_never_crashes(octets: bytes) -> None:
    only_refuses(from_cbor, octets)


@given(st.lists(st.dictionaries(LABELS, st.text(max_size=5), max_size=5), max_size=3))
def test_random_xml_never_crashes(pack: list[dict[str, str]]) -> None:
    root = ET.Element("sensml", xmlns=NAMESPACE)
    for fields in pack:
        ET.SubElement(root, "senml", fields)
    only_refuses(from_xml, ET.tostring(root, encoding="unicode").encode(errors="replace"))

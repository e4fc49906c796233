"""TLV, LwM2M JSON and link format mean what their specifications and real clients say."""

import json
import math
import struct
from contextlib import suppress
from pathlib import Path as FilePath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import DecodeError
from gateway.formats import linkformat
from gateway.formats.lwm2m_json import from_lwm2m_json, to_lwm2m_json
from gateway.formats.tlv import from_tlv, to_tlv
from gateway.model import ObjLink, Path, ResourceType, Value

VECTORS: list[dict[str, Any]] = json.loads(
    (FilePath(__file__).parents[1] / "data/lwm2m-formats.json").read_text(encoding="utf-8")
)["vectors"]
TLV = [v for v in VECTORS if v["area"] == "tlv"]
JSON = [v for v in VECTORS if v["area"] == "oma-json"]
LINKS = [v for v in VECTORS if v["area"] == "link-format"]


def meant(vector: dict[str, Any]) -> tuple[dict[Path, Value], dict[Path, ResourceType]]:
    values: dict[Path, Value] = {}
    types: dict[Path, ResourceType] = {}
    for node in vector["nodes"]:
        path = Path.parse(node["path"])
        kind = ResourceType({"objlnk": "objlink"}.get(node["type"], node["type"]))
        types[path.upto(3)] = kind
        match kind:
            case ResourceType.OPAQUE:
                values[path] = bytes.fromhex(node["value"])
            case ResourceType.OBJLINK:
                values[path] = ObjLink.parse(node["value"])
            case _:
                values[path] = node["value"]
    return values, types


def base(vector: dict[str, Any]) -> Path:
    return Path.parse(vector["request_path"].removeprefix("/dev0"))


@pytest.mark.parametrize("vector", TLV, ids=lambda v: v["id"])
def test_tlv_is_read_as_its_vector_says(vector: dict[str, Any]) -> None:
    payload = bytes.fromhex(vector["hex"])
    if "error" in vector:
        with pytest.raises(DecodeError):
            from_tlv(payload, base(vector), lambda _: ResourceType.INTEGER)
        return
    values, types = meant(vector)
    assert from_tlv(payload, base(vector), types.get) == values
    assert from_tlv(to_tlv(values, base(vector)), base(vector), types.get) == values


@pytest.mark.parametrize("vector", [v for v in TLV if "nodes" in v], ids=lambda v: v["id"])
def test_truncated_tlv_is_refused_or_lacks_values(vector: dict[str, Any]) -> None:
    payload = bytes.fromhex(vector["hex"])
    values, types = meant(vector)
    for end in range(len(payload)):
        try:
            partly = from_tlv(payload[:end], base(vector), types.get)
        except DecodeError:
            continue
        assert partly.items() < values.items()


def test_a_single_resource_and_an_empty_multiple_one_are_read() -> None:
    assert from_tlv(bytes.fromhex("8006"), Path(3, 0), lambda _: None) == {}
    temperature = bytes.fromhex("e4164441ac0000")
    path = Path(3303, 0, 5700)
    assert from_tlv(temperature, path, lambda _: ResourceType.FLOAT) == {path: 21.5}
    with pytest.raises(DecodeError):
        from_tlv(temperature, Path(3303, 0, 5701), lambda _: ResourceType.FLOAT)


ONE = Path(3303, 0, 5700)
SINGLES = (
    26.4,
    -0.1,
    21.5,
    1234567.25,
    134217728.0,
    16777215.0,
    3.4028235e38,
    1.4013e-45,
    1234.567,
)
"""Numbers that 32 bits stand for, and some that they hold exactly."""


@pytest.mark.parametrize("number", SINGLES)
def test_a_float_of_four_octets_is_the_number_that_was_meant(number: float) -> None:
    payload = b"\xe4\x16\x44" + struct.pack(">f", number)
    assert from_tlv(payload, ONE, lambda _: ResourceType.FLOAT) == {ONE: number}
    assert to_tlv({ONE: number}, ONE, short=True) == payload


def test_a_float_is_written_exactly_and_to_small_nodes_in_four_octets_where_they_will_do() -> None:
    assert to_tlv({ONE: 26.4}, ONE) == b"\xe8\x16\x44\x08" + struct.pack(">d", 26.4)
    assert to_tlv({ONE: 21.5}, ONE) == b"\xe4\x16\x44" + struct.pack(">f", 21.5)
    for exact in (26.399999618530273, math.pi, 1e39):
        for short in (True, False):
            payload = to_tlv({ONE: exact}, ONE, short=short)
            assert payload == b"\xe8\x16\x44\x08" + struct.pack(">d", exact)


@given(st.binary(min_size=4, max_size=4))
def test_four_octets_that_were_read_are_written_to_a_node_as_they_were(octets: bytes) -> None:
    payload = b"\xe4\x16\x44" + octets
    try:
        values = from_tlv(payload, ONE, lambda _: ResourceType.FLOAT)
    except DecodeError:
        assert not math.isfinite(struct.unpack(">f", octets)[0])
    else:
        assert to_tlv(values, ONE, short=True) == payload


LEAVES: dict[ResourceType, st.SearchStrategy[Value]] = {
    ResourceType.STRING: st.text(st.characters(max_codepoint=0x2FF), max_size=300),
    ResourceType.INTEGER: st.integers(-(2**63), 2**63 - 1),
    ResourceType.UNSIGNED: st.integers(0, 2**64 - 1),
    ResourceType.FLOAT: st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(width=32, allow_nan=False, allow_infinity=False),
    ResourceType.BOOLEAN: st.booleans(),
    ResourceType.OPAQUE: st.binary(max_size=300),
    ResourceType.OBJLINK: st.builds(ObjLink, st.integers(0, 65535), st.integers(0, 65535)),
}


@st.composite
def instances(draw: st.DrawFn) -> tuple[dict[Path, Value], dict[Path, ResourceType]]:
    values: dict[Path, Value] = {}
    types: dict[Path, ResourceType] = {}
    for id in draw(st.sets(st.integers(0, 65534), max_size=5)):
        path = Path(9999, 1, id)
        types[path] = kind = draw(st.sampled_from(list(LEAVES)))
        below = draw(st.none() | st.sets(st.integers(0, 65534), min_size=1, max_size=3))
        for place in [path] if below is None else [Path(*path, i) for i in below]:
            values[place] = draw(LEAVES[kind])
    return values, types


@given(instances(), st.sampled_from([Path(9999), Path(9999, 1)]), st.booleans())
def test_what_was_written_as_tlv_is_read_again(
    content: tuple[dict[Path, Value], dict[Path, ResourceType]], asked: Path, short: bool
) -> None:
    values, types = content
    assert from_tlv(to_tlv(values, asked, short=short), asked, types.get) == values


@given(instances(), st.sampled_from([Path(9999), Path(9999, 1)]))
def test_what_was_written_as_lwm2m_json_is_read_again(
    content: tuple[dict[Path, Value], dict[Path, ResourceType]], asked: Path
) -> None:
    values, types = content
    assert from_lwm2m_json(to_lwm2m_json(values, asked), asked, types.get) == values


@given(st.binary(max_size=60), st.sampled_from([None, *ResourceType]))
def test_random_octets_raise_nothing_but_decode_errors(
    payload: bytes, kind: ResourceType | None
) -> None:
    for asked in (Path(3), Path(3, 0), Path(3, 0, 1), Path(3, 0, 1, 0)):
        for decode in (from_tlv, from_lwm2m_json):
            try:
                values = decode(payload, asked, lambda _: kind)
            except DecodeError:
                continue
            assert all(asked.covers(path) for path in values)
    with suppress(DecodeError):
        linkformat.parse(payload.decode(errors="replace"))


@pytest.mark.parametrize("vector", JSON, ids=lambda v: v["id"])
def test_lwm2m_json_is_read_as_its_vector_says(vector: dict[str, Any]) -> None:
    values, types = meant(vector)
    payload = vector["text"].encode()
    assert from_lwm2m_json(payload, base(vector), types.get) == values


@pytest.mark.parametrize(
    "text",
    [
        "[]", '{"e":1}', '{"e":[1]}', '{"e":[{"n":"1"}]}', '{"e":[{"n":"1","v":"2"}]}',
        '{"e":[{"n":"1","v":true}]}', '{"e":[{"n":"1","v":1,"sv":"1"}]}',
        '{"bn":"/4/0/","e":[{"n":"1","v":1}]}', '{"e":[{"n":"x","v":1}]}',
        '{"e":[{"n":"1","v":NaN}]}', '{"bn":1,"e":[]}', '{"e":[{"n":"1","ov":"x"}]}',
        '{"e":[{"n":"1","v":1,"t":"now"}]}', '{"e":[{"v":1}]}', "", "{",
        '{"e":[{"n":"1","v":1' + 400 * "0" + "}]}", '{"e":[{"n":"1","v":1e999}]}',
    ],
)  # fmt: skip
def test_broken_lwm2m_json_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        from_lwm2m_json(text.encode(), Path(3, 0), lambda _: None)


def test_of_a_history_in_lwm2m_json_the_newest_value_counts() -> None:
    text = '{"bn":"/3303/0/5700","bt":1,"e":[{"v":1,"t":-5},{"v":3,"t":0},{"v":2,"t":-3}]}'
    path = Path(3303, 0, 5700)
    assert from_lwm2m_json(text.encode(), path, lambda _: ResourceType.FLOAT) == {path: 3}
    assert math.isclose(json.loads(to_lwm2m_json({path: 3.5}, path))["e"][0]["v"], 3.5)


@pytest.mark.parametrize("vector", LINKS, ids=lambda v: v["id"])
def test_link_format_is_read_as_its_vector_says(vector: dict[str, Any]) -> None:
    if "error" in vector:
        with pytest.raises(DecodeError):
            linkformat.parse(vector["text"])
        return
    links = linkformat.parse(vector["text"])
    assert len(links) == vector["text"].count("<")
    objects: dict[str, list[int]] = {}
    for link in links:
        segments = [s for s in link.target.split("/") if s]
        if segments and segments[0].isdecimal():
            objects.setdefault(segments[0], []).extend(map(int, segments[1:2]))
    if "objects" in vector:
        assert objects == vector["objects"]
    if "formats" in vector:
        assert list(map(int, links[0].attributes["ct"].split())) == vector["formats"]
    for id, version in vector.get("versions", {}).items():
        named = [link for link in links if link.target.split("/")[1] == id]
        assert named[0].attributes["ver"] == version


def test_attributes_are_read_quoted_escaped_and_without_value() -> None:
    (link,) = linkformat.parse(r'</a/>; obs ;title="a \"b\", c";rt=x y;ct=0'.replace(" y", ""))
    assert link.target == "/a"
    assert link.attributes == {"obs": "", "title": 'a "b", c', "rt": "x", "ct": "0"}

"""What nodes show and say is understood: links, payloads, definitions, registrations."""

import logging
import math
import os
import re
import struct
from contextlib import suppress
from decimal import Decimal
from pathlib import Path as FilePath

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.lowpan.coap.formats import Answer, Format
from adapters.lowpan.devices.content import Reader
from adapters.lowpan.devices.definitions import Definition, Mapping, choose, folder
from adapters.lowpan.devices.layout import read_layout
from adapters.lowpan.devices.registrations import MAX_REGISTRATIONS, Registrations, base_port
from gateway.errors import DecodeError, EncodeError
from gateway.formats.linkformat import parse
from gateway.model import ObjLink, Path, ResourceType, Value
from gateway.objects.definitions import Kind, kind_of
from gateway.objects.registry import Registry

REGISTRY = Registry.builtin()
SHIPPED = FilePath("config/devices")
TEMPERATURE = Path(3303, 0, 5700)
NOW = 1_700_000_000.0

# --- links ----------------------------------------------------------------------------------------


def test_ipso_paths_are_found_below_whatever_root() -> None:
    layout = read_layout(
        parse("</.well-known/core>;ct=40,</a/b/3303/0/5700>;obs,</a/b/3303/1>,</x>")
    )
    assert layout is not None
    assert layout.root == ("a", "b")
    assert layout.instances == (Path(3303, 0), Path(3303, 1))
    assert list(layout.resources) == [TEMPERATURE]
    assert layout.observable == {TEMPERATURE}


def test_the_recorded_links_of_contikis_ipso_example_show_its_objects() -> None:
    layout = read_layout(parse("</3/0>,</3303/0>,</0>,</1>"), lwm2m=True)
    assert layout is not None
    assert layout.instances == (Path(3, 0), Path(3303, 0))


def test_an_lwm2m_root_and_its_formats_are_read() -> None:
    layout = read_layout(
        parse('</lwm2m>;rt="oma.lwm2m";ct="110 112",</lwm2m/3/0>,</9/0/1>,</9/1/1>')
    )
    assert layout is not None
    assert layout.root == ("lwm2m",)
    assert layout.instances == (Path(3, 0),)
    assert layout.formats == {110, 112}


@pytest.mark.parametrize(
    "text",
    [
        '</cli/stats>;ct=0;rt="count";obs,</riot/board>,</rtc>',  # RIOT's gcoap, recorded
        "</led/1>,</0/0>,</1/0>,</25/0>",
        "</1/2/3/4/5>,</99999/0>",
        "</>,<>,<coap://[::1>",
        "",
    ],
)
def test_links_without_ipso_objects_show_none(text: str) -> None:
    assert read_layout(parse(text)) is None


# --- payloads -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("content_format", "payload", "base"),
    [
        (None, b"21.5", TEMPERATURE),
        (Format.TEXT, b"21.5\0", TEMPERATURE),
        (Format.CBOR, cbor2.dumps(21.5), TEMPERATURE),
        (Format.CBOR, cbor2.dumps(Decimal("21.5")), TEMPERATURE),
        (Format.SENML_JSON, b'[{"bn":"/r/3303/0/","n":"5700","v":21.5}]', Path(3303, 0)),
        (Format.SENML_JSON, b'[{"n":"5700","v":21.5}]', Path(3303, 0)),
        (Format.SENML_JSON, b'[{"n":"/3303/0/5700","v":21.5}]', TEMPERATURE),
        (Format.SENML_CBOR, cbor2.dumps([{-2: "/r/3303/0", 0: "/5700", 2: 21.5}]), Path(3303, 0)),
        (Format.TLV, bytes.fromhex("e4164441ac0000"), Path(3303, 0)),
        (Format.LWM2M_JSON, b'{"bn":"/3303/0/","e":[{"n":"5700","v":21.5}]}', Path(3303, 0)),
        (Format.LWM2M_CBOR, cbor2.dumps({(3303, 0): {5700: 21.5, 5701: None}}), Path(3303, 0)),
        (Format.LWM2M_CBOR, cbor2.dumps({(3303, 0, 5700): 21.5}), TEMPERATURE),
    ],
)
def test_a_temperature_is_read_in_every_format(
    content_format: int | None, payload: bytes, base: Path
) -> None:
    reader = Reader(REGISTRY, ("r",))
    assert reader.read(Answer(content_format, payload), base, NOW) == {TEMPERATURE: (21.5, NOW)}


def test_a_nodes_own_time_is_kept_unless_it_lies_in_the_future() -> None:
    reader = Reader(REGISTRY, ())
    pack = b'[{"n":"/3303/0/5700","t":-10,"v":1},{"n":"/3303/0/5601","t":1800000000,"v":2}]'
    values = reader.read(Answer(Format.SENML_JSON, pack), Path(3303, 0), NOW)
    assert values == {TEMPERATURE: (1, NOW - 10), Path(3303, 0, 5601): (2, NOW)}


@pytest.mark.parametrize(
    ("content_format", "payload", "base"),
    [
        (None, b"warm", TEMPERATURE),
        (None, b"\xff", TEMPERATURE),
        (None, b"21.5", Path(3303, 0)),
        (Format.CBOR, cbor2.dumps([1]), TEMPERATURE),
        (Format.CBOR, cbor2.dumps(1) + b"\0", TEMPERATURE),
        (Format.CBOR, cbor2.dumps("nowhere"), Path(3, 0, 22, 0)),
        (Format.SENML_JSON, b'[{"n":"/3304/0/5700","v":1}]', Path(3303, 0)),
        (Format.LWM2M_CBOR, cbor2.dumps({(3304, 0, 5700): 1}), Path(3303, 0)),
        (Format.LWM2M_CBOR, cbor2.dumps({("d1", 3303, 0, 5700): 1}), Path(3303, 0)),
        (Format.LINKS, b"</3303>", TEMPERATURE),
        (50, b"21.5", TEMPERATURE),
    ],
)
def test_what_is_not_as_it_says_is_refused(
    content_format: int | None, payload: bytes, base: Path
) -> None:
    with pytest.raises(DecodeError):
        Reader(REGISTRY, ()).read(Answer(content_format, payload), base, NOW)


@given(st.binary(max_size=80), st.sampled_from([None, *map(int, Format)]))
def test_random_payloads_raise_nothing_but_decode_errors(
    payload: bytes, content_format: int | None
) -> None:
    for base in (Path(3303, 0), TEMPERATURE):
        try:
            Reader(REGISTRY, ("r",)).read(Answer(content_format, payload), base, NOW)
        except DecodeError:
            continue


@pytest.mark.parametrize(
    "to", [Format.TEXT, Format.TLV, Format.LWM2M_JSON, Format.LWM2M_CBOR, Format.SENML_CBOR]
)
@pytest.mark.parametrize(
    ("path", "value"),
    [
        (Path(3311, 0, 5850), True),
        (Path(3311, 0, 5851), 20),
        (Path(3308, 0, 5900), 18.5),
        (Path(3341, 0, 5527), "hello"),
    ],
)
def test_what_is_written_is_what_would_be_read(to: Format, path: Path, value: Value) -> None:
    reader = Reader(REGISTRY, ("r",))
    payload = reader.write({path: value}, path, to)
    assert reader.read(Answer(to, payload), path, NOW)[path][0] == value


def test_a_small_node_is_written_the_number_that_it_would_say_in_four_octets() -> None:
    reader, path = Reader(REGISTRY, ()), Path(3308, 0, 5900)
    payload = reader.write({path: 21.3}, path, Format.TLV)
    assert payload == b"\xe4\x17\x0c" + struct.pack(">f", 21.3)
    assert reader.read(Answer(Format.TLV, payload), path, NOW) == {path: (21.3, NOW)}


# --- device definitions ---------------------------------------------------------------------------

GOOD = """
name = "Station"
[match]
paths = ["/sensors/temp"]
[[resource]]
path = "/sensors/temp"
object = 3303
resource = 5700
scale = 0.1
[[resource]]
path = "/relay"
object = 3312
resource = 5850
"""


def test_the_shipped_definitions_are_good_and_riots_example_is_recognised() -> None:
    texts = [file.read_text("utf-8") for file in sorted(SHIPPED.glob("*.toml*"))]
    nodes = [text for text in texts if kind_of(text) is Kind.COAP]
    definitions = [Definition.parse(text, REGISTRY) for text in nodes]
    assert len(definitions) == 4
    links = parse('</cli/stats>;ct=0;rt="count";obs,</riot/board>,</rtc>')
    chosen = choose(definitions, links)
    assert chosen is not None
    assert chosen.name == "RIOT gcoap example"


def test_a_mapping_scales_there_and_back() -> None:
    temperature, relay = Definition.parse(GOOD, REGISTRY).mappings
    assert temperature.read(Answer(0, b"215\n"), ResourceType.FLOAT) == 21.5
    assert temperature.write(21.5) == b"215"
    assert relay.read(Answer(0, b"ON"), ResourceType.BOOLEAN) is True
    assert relay.write(False) == b"0"
    with pytest.raises(DecodeError, match="warm"):
        temperature.read(Answer(0, b"warm"), ResourceType.FLOAT)
    with pytest.raises(DecodeError, match="neither on nor off"):
        relay.read(Answer(0, b"perhaps"), ResourceType.BOOLEAN)


def test_patterns_and_fields_find_the_value_within_an_answer() -> None:
    text = GOOD.replace("scale = 0.1", "pattern = 'is (\\d+) C'")
    mapping = Definition.parse(text, REGISTRY).mappings[0]
    assert mapping.read(Answer(0, b"it is 21 C"), ResourceType.FLOAT) == 21.0
    with pytest.raises(EncodeError, match="reading only"):
        mapping.write(1.0)
    text = GOOD.replace("scale = 0.1", 'format = "json"\nfield = "a.1.b"')
    mapping = Definition.parse(text, REGISTRY).mappings[0]
    assert mapping.read(Answer(50, b'{"a":[0,{"b":7}]}'), ResourceType.FLOAT) == 7
    for payload in (b"{}", b"[]", b'{"a":[0,{"b":{}}]}', b"x", b"\xff"):
        with pytest.raises(DecodeError):
            mapping.read(Answer(50, payload), ResourceType.FLOAT)
    text = GOOD.replace("scale = 0.1", 'format = "cbor"')
    mapping = Definition.parse(text, REGISTRY).mappings[0]
    assert mapping.read(Answer(60, cbor2.dumps(3)), ResourceType.FLOAT) == 3


MAPPINGS = [
    Definition.parse(GOOD.replace("scale = 0.1", extra), REGISTRY).mappings[0]
    for extra in (
        "scale = 1e300", "pattern = '(.)'", 'format = "json"', 'format = "json"\nfield = "a.0"',
        'format = "cbor"\noffset = 1.0',
    )
]  # fmt: skip


@given(
    st.sampled_from(MAPPINGS),
    st.binary(max_size=40) | st.sampled_from([b"1e308", b"-1e999", b"NaN", b'{"a":[1e999]}']),
    st.sampled_from([None, *ResourceType]),
)
def test_no_answer_breaks_a_mapping(
    mapping: Mapping, payload: bytes, kind: ResourceType | None
) -> None:
    with suppress(DecodeError):
        mapping.read(Answer(None, payload), kind)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("scale = 0.1", "scale = ", "line 9"),
        ("scale = 0.1", "scale = 0", "line 9 (resource.scale): a scale of 0"),
        ("scale = 0.1", "scale = nan", "line 9 (resource.scale)"),
        ("scale = 0.1", "scael = 0.1", "line 9 (resource.scael): extra inputs"),
        ("scale = 0.1", "pattern = '('", "line 9 (resource.pattern): not a regular expression"),
        ("scale = 0.1", "pattern = 'x'", "line 9 (resource.pattern): a pattern has exactly one"),
        ("object = 3312", "object = 99999", "line 12 (resource.object)"),
        ("resource = 5850", "", "line 10 (resource.resource): field required"),
        ("resource = 5850", "resource = 1234", "line 13 (resource.resource): nothing defines"),
        ("3312\nresource = 5850", "3303\nresource = 5700", "stands twice"),
        ('path = "/relay"', 'path = "relay"', "line 11 (resource.path)"),
        ('name = "Station"', "", "line 1 (name)"),
        ('paths = ["/sensors/temp"]', "paths = []", "line 4 (match.paths)"),
    ],
)
def test_a_bad_definition_is_refused_with_line_and_reason(old: str, new: str, fault: str) -> None:
    with pytest.raises(DecodeError, match=re.escape(fault)):
        Definition.parse(GOOD.replace(old, new, 1), REGISTRY)


def test_the_folder_takes_over_changes_and_sets_bad_files_aside(
    tmp_path: FilePath, caplog: pytest.LogCaptureFixture
) -> None:
    watched = folder(tmp_path, REGISTRY)
    assert not watched.refresh()
    file = tmp_path / "station.toml"
    file.write_text(GOOD, encoding="utf-8")
    assert watched.refresh()
    assert not watched.refresh()
    assert [d.name for d in watched.definitions] == ["Station"]
    with caplog.at_level(logging.ERROR):
        file.write_text(GOOD.replace("scale", "scael"), encoding="utf-8")
        assert not watched.refresh()
    assert f"{file} is set aside: line 9 (resource.scael)" in caplog.text
    assert "stays in force" in caplog.text
    assert [d.name for d in watched.definitions] == ["Station"]
    file.write_text(GOOD.replace('"Station"', '"Other"'), encoding="utf-8")
    os.utime(file, (1, 1))
    assert watched.refresh()
    assert [d.name for d in watched.definitions] == ["Other"]
    file.unlink()
    assert watched.refresh()
    assert not watched.definitions
    caplog.clear()
    gone = folder(tmp_path / "none", REGISTRY)
    assert not gone.refresh()
    assert not gone.refresh()
    assert caplog.text.count("cannot be read") == 1


# --- registrations --------------------------------------------------------------------------------

NODE, OTHER = b"\x02" * 8, b"\x04" * 8


def test_a_registration_lives_as_long_as_it_asked_for_and_is_renewed_by_its_node_only() -> None:
    table = Registrations()
    first = table.register(NODE, {"ep": "a", "lt": "60", "lwm2m": "1.0"}, parse("</3/0>"), 0.0)
    assert table.of(NODE) == first
    assert table.update(first.number, OTHER, {}, None, 10.0) is None
    assert table.remove(first.number, OTHER) is None
    kept = table.update(first.number, NODE, {}, None, 20.0)
    assert kept is not None
    assert kept.until == 80.0
    renewed = table.update(first.number, NODE, {"lt": "100"}, None, 50.0)
    assert renewed is not None
    assert renewed.links == first.links
    assert not table.expire(149.0)
    assert table.expire(150.0) == [renewed]
    assert table.update(first.number, NODE, {}, None, 151.0) is None
    assert table.of(NODE) is None


def test_a_node_keeps_its_location_when_it_registers_again_and_the_newest_kind_counts() -> None:
    table = Registrations()
    first = table.register(NODE, {"ep": "a", "lwm2m": "1.0", "lt": "0"}, [], 0.0)
    assert math.isinf(first.until)
    directory = table.register(NODE, {"ep": "a"}, parse("</x>"), 0.0)
    assert table.of(NODE) == directory
    again = table.register(NODE, {"ep": "b", "lwm2m": "1.1"}, [], 5.0)
    assert (again.number, again.location) == (first.number, first.location)
    assert table.of(NODE) == again


@pytest.mark.parametrize(
    "parameters",
    [{"lt": "soon"}, {"lt": "-1"}, {"lt": "4294967296"}, {"ep": "x" * 64}, {"ep": "a\nb"}],
)
def test_broken_registrations_are_refused(parameters: dict[str, str]) -> None:
    with pytest.raises(DecodeError):
        Registrations().register(NODE, parameters, [], 0.0)


def test_a_node_can_name_another_port_of_its_own_but_no_other_node() -> None:
    own = "fd00::2"
    assert base_port({}, own, 61616) == 61616
    assert base_port({"base": "coap://[fd00::2]"}, own, 61616) == 5683
    assert base_port({"base": "coap://[fd00:0::2]:7"}, own, 61616) == 7
    for base in ("coap://[fd00::3]", "coaps://[fd00::2]", "coap://node", "coap://[fd00::2]:x", ""):
        with pytest.raises(DecodeError):
            base_port({"base": base}, own, 61616)


@pytest.mark.parametrize(
    ("parameters", "queue_mode"),
    [
        ({"lwm2m": "1.0", "b": "UQ"}, True),
        ({"lwm2m": "1.1", "b": "U", "Q": ""}, True),
        ({"lwm2m": "1.1", "b": "U"}, False),
        ({"Q": ""}, False),
    ],
)
def test_a_node_says_by_lwm2m_whether_it_sleeps(
    parameters: dict[str, str], queue_mode: bool
) -> None:
    taken = Registrations().register(NODE, {"ep": "x", **parameters}, [], 0.0)
    assert taken.queue_mode is queue_mode


def test_the_table_of_registrations_has_a_bound() -> None:
    table = Registrations()
    for n in range(MAX_REGISTRATIONS + 10):
        table.register(n.to_bytes(8, "big"), {"ep": "x", "lt": str(100 + n)}, [], 0.0)
    assert len(list(table)) == MAX_REGISTRATIONS


@pytest.mark.parametrize("form", [Format.TLV, Format.LWM2M_CBOR, Format.SENML_CBOR])
def test_object_links_survive_every_format(form: Format) -> None:
    path, link = Path(3, 0, 22, 0), ObjLink(3303, 1)
    reader = Reader(REGISTRY, ())
    payload = reader.write({path: link}, Path(3, 0), form)
    assert reader.read(Answer(form, payload), Path(3, 0), NOW)[path][0] == link

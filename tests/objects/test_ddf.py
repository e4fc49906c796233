"""Definition files: read in full, or set aside with the line and the reason."""

import json
import logging
import os
import re
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import DecodeError
from gateway.model import Operations, ResourceType
from gateway.objects import registry as registry_module
from gateway.objects.ddf import MAX_FILE_OCTETS, load_folder, parse_ddf
from gateway.objects.registry import ObjectDefinition, Registry, ResourceDefinition
from tools import build_registry

VALVE = """<?xml version="1.0" encoding="UTF-8"?>
<!-- an object of nobody -->
<LWM2M xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"
       xsi:noNamespaceSchemaLocation="LWM2M-v1_1.xsd">
  <Object ObjectType="MODefinition">
    <Name> Valve </Name>
    <Description1>prose &amp; more</Description1>
    <ObjectID>42769</ObjectID>
    <ObjectURN>urn:oma:lwm2m:x:42769:1.2</ObjectURN>
    <LWM2MVersion>1.0</LWM2MVersion>
    <ObjectVersion>1.2</ObjectVersion>
    <MultipleInstances>Multiple</MultipleInstances>
    <Mandatory>Optional</Mandatory>
    <Resources>
      <Item ID="5700">
        <Name>Sensor Value</Name>
        <Operations>R</Operations>
        <MultipleInstances>Single</MultipleInstances>
        <Mandatory>Mandatory</Mandatory>
        <Type>Float</Type>
        <RangeEnumeration></RangeEnumeration>
        <Units></Units>
        <Description></Description>
      </Item>
      <Item ID="2">
        <Name>Opening</Name>
        <Operations>RW</Operations>
        <MultipleInstances>Multiple</MultipleInstances>
        <Mandatory>Optional</Mandatory>
        <Type>Unsigned Integer</Type>
        <RangeEnumeration>0..100</RangeEnumeration>
        <Units>/100</Units>
        <Description></Description>
      </Item>
      <Item ID="3">
        <Name>Close</Name>
        <Operations>E</Operations>
        <MultipleInstances>Single</MultipleInstances>
        <Mandatory>Optional</Mandatory>
        <Type></Type>
        <RangeEnumeration>16,32,48</RangeEnumeration>
        <Units></Units>
        <Description></Description>
      </Item>
    </Resources>
    <Description2></Description2>
  </Object>
</LWM2M>
"""
VALVE_DEFINITION = ObjectDefinition(
    42769, "Valve", "urn:oma:lwm2m:x:42769:1.2", "1.2", True,
    {
        2: ResourceDefinition(
            2, "Opening", Operations.READ | Operations.WRITE, ResourceType.UNSIGNED,
            multiple=True, range=(0, 100), units="/100",
        ),
        3: ResourceDefinition(3, "Close", Operations.EXECUTE, ResourceType.NONE),
        5700: ResourceDefinition(
            5700, "Sensor Value", Operations.READ, ResourceType.FLOAT, mandatory=True
        ),
    },
)  # fmt: skip
PUMP = VALVE.replace("Valve", "Pump").replace("42769", "42770")


def test_a_definition_file_is_read_in_full() -> None:
    definition = parse_ddf(VALVE.encode())
    assert definition == VALVE_DEFINITION
    assert list(definition.resources) == [2, 3, 5700]


def test_a_byte_order_mark_and_other_encodings_are_understood() -> None:
    assert parse_ddf(b"\xef\xbb\xbf" + VALVE.encode()) == VALVE_DEFINITION
    assert parse_ddf(VALVE.replace("UTF-8", "UTF-16").encode("utf-16")) == VALVE_DEFINITION
    latin = VALVE.replace("UTF-8", "ISO-8859-1").replace(" Valve ", "Klappe für Öl")
    assert parse_ddf(latin.encode("latin-1")).name == "Klappe für Öl"


def test_an_object_without_version_has_version_1_0() -> None:
    plain = VALVE.replace("<ObjectVersion>1.2</ObjectVersion>", "").replace(":1.2<", "<")
    assert parse_ddf(plain.encode()).version == "1.0"


@pytest.mark.parametrize(
    ("text", "bounds"),
    [
        ("0..1", (0, 1)), ("-40..85.5", (-40, 85.5)), ("1..65534", (1, 65534)), ("6", None),
        ("2 bytes", None), ("0..100 or more", None), ("see the specification", None),
    ],
)  # fmt: skip
def test_only_two_bounds_are_a_range(text: str, bounds: tuple[float, float] | None) -> None:
    definition = parse_ddf(VALVE.replace("0..100", text).encode())
    assert definition.resources[2].range == bounds


def without(element: str) -> tuple[str, str]:
    found = re.search(f"<{element}>.*?</{element}>", VALVE, re.DOTALL)
    assert found
    return found[0], ""


@pytest.mark.parametrize(
    ("change", "line", "reason"),
    [
        (("<LWM2M ", "<LWM "), 48, "mismatched tag"),
        (("<Object ObjectType", "<Thing/><Object ObjectType"), 3, "one Object and nothing else"),
        (("ObjectID>42769", "ObjectID>65535"), 8, "'65535' is not an id"),
        (("ObjectID>42769", "ObjectID>-1"), 8, "'-1' is not an id"),
        (("ObjectID>42769", "ObjectID>٣"), 8, "is not an id"),
        (("ObjectID>42769", "ObjectID>42768"), 9, "is not the URN of object 42768"),
        (("lwm2m:x:", "lwm2m:y:"), 9, "is not the URN"),
        (("x:42769:1.2", "x:42769:1.1"), 9, "is not the URN of object 42769 in version 1.2"),
        (("x:42769:1.2", "x:42769"), 9, "is not the URN"),
        (("ObjectVersion>1.2", "ObjectVersion>one"), 11, "'one' is not a version"),
        ((">Optional</Mandatory>\n    <R", ">Perhaps</Mandatory>\n    <R"), 13, "Mandatory, O"),
        (("<Resources>", "<Resources><Thing/>"), 14, "Resources cannot hold Thing"),
        (('ID="5700"', 'ID="x"'), 15, "'x' is not an id"),
        (('ID="5700"', ""), 15, "'' is not an id"),
        (('ID="5700"', 'ID="65535"'), 15, "'65535' is not an id"),
        (('ID="3"', 'ID="2"'), 35, "a second resource 2"),
        (("<Name>Opening</Name>", "<Name> </Name>"), 26, "an empty name"),
        (("<Type>Float", "<Type>Double"), 20, "Type must be one of String, Integer"),
        (("<Operations>RW", "<Operations>WR"), 27, "Operations must be one of nothing, R, W, RW"),
        (("<Operations>E", "<Operations>R"), 40, "executables have no type, and all others"),
        (("<Operations>RW", "<Operations>E"), 30, "resource 2: executables have no type"),
        (("0..100", "100..0"), 31, "the range 100..0 is empty"),
        (("<Units>/100", "<Unit/><Units>/100"), 32, "Item cannot hold Unit"),
        (("<Units>/100", "<Units/><Units>/100"), 32, "a second Units"),
        (("<Units>/100", "<Units><a><b/></a>"), 32, "nested too deeply"),
        (without("ObjectURN"), 5, "Object lacks ObjectURN"),
        (without("Resources"), 5, "Object lacks Resources"),
        (without("Type"), 15, "Item lacks Type"),
        (("<Resources>", "<Resources>\x01"), 14, "not XML"),
        (('encoding="UTF-8"', 'encoding="utf-99"'), 1, "not XML"),
        (('encoding="UTF-8"', 'encoding="big5"'), 1, "not XML"),
    ],
)  # fmt: skip
def test_a_faulty_file_is_refused_with_the_line_and_the_reason(
    change: tuple[str, str], line: int, reason: str
) -> None:
    assert change[0] in VALVE
    with pytest.raises(DecodeError) as refusal:
        parse_ddf(VALVE.replace(*change, 1).encode())
    assert str(refusal.value).startswith(f"line {line}: ")
    assert reason in str(refusal.value)


def test_a_document_type_is_refused_even_if_it_does_nothing() -> None:
    with pytest.raises(DecodeError, match="document type"):
        parse_ddf(VALVE.replace("<LWM2M ", "<!DOCTYPE LWM2M><LWM2M ").encode())


def test_executables_are_single() -> None:
    head, tail = VALVE.split('ID="3"')
    with pytest.raises(DecodeError, match="line 38: resource 3: executables are Single"):
        parse_ddf((head + 'ID="3"' + tail.replace(">Single", ">Multiple")).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"", b"{}", b"<LWM2M/>", b"<a/>", "<a>ü</a>".encode("latin-1"),
        b'<!DOCTYPE a [<!ENTITY b "c"><!ENTITY d "&b;&b;">]><a>&d;</a>',
        b'<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        b"<a>" * 100_000, b"<LWM2M>" + b"\n" * (MAX_FILE_OCTETS - 20) + b"</LWM2M>",
        b" " * (MAX_FILE_OCTETS + 1),
    ],
    ids=range(10),
)  # fmt: skip
def test_what_is_no_definition_at_all_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        parse_ddf(data)


@given(st.binary(max_size=40), st.integers(0, len(VALVE)), st.integers(0, 30))
def test_damaged_files_never_crash(noise: bytes, at: int, removed: int) -> None:
    data = VALVE.encode()
    try:
        parse_ddf(data[:at] + noise + data[at + removed :])
    except DecodeError:
        return


def test_good_files_are_added_and_bad_ones_set_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "a-valve.xml").write_text(VALVE)
    (tmp_path / "b-broken.xml").write_text(VALVE.replace("Float", "Double"))
    (tmp_path / "c-pump.XML").write_text(PUMP)
    (tmp_path / "d-valve-again.xml").write_text(VALVE)
    (tmp_path / "e-large.xml").write_bytes(b" " * (MAX_FILE_OCTETS + 1))
    (tmp_path / "f-folder.xml").mkdir()
    os.mkfifo(tmp_path / "g-fifo.xml")
    (tmp_path / "h-dangling.xml").symlink_to("nowhere")
    (tmp_path / "notes.txt").write_text("not for us")
    registry = Registry.builtin()
    with caplog.at_level(logging.INFO):
        faults = load_folder(tmp_path, registry)
    assert [re.sub(".*/", "", fault) for fault in faults] == [
        "b-broken.xml is set aside: line 20: Type must be one of String, Integer, "
        "Unsigned Integer, Float, Boolean, Opaque, Time, Objlnk, Corelnk, nothing; not 'Double'",
        "d-valve-again.xml is set aside: object 42769 is defined by a-valve.xml already",
        "e-large.xml is set aside: larger than 1048576 octets",
        "f-folder.xml is set aside: not a regular file",
        "g-fifo.xml is set aside: not a regular file",
        "h-dangling.xml is set aside: not a regular file",
    ]
    assert registry.object(42769) == VALVE_DEFINITION
    assert registry.object(42770)
    assert caplog.records[-1].message == f"{tmp_path}: 2 object definitions added"


def test_a_folder_that_is_not_there_is_said_and_survived(tmp_path: Path) -> None:
    assert load_folder(tmp_path / "no", Registry()) == [
        f"{tmp_path}/no cannot be read: No such file or directory; mkdir "
        f"{tmp_path}/no, or change [gateway] definitions"
    ]


def test_a_folder_has_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.objects.ddf.MAX_FILES", 1)
    (tmp_path / "a.xml").write_text(VALVE)
    (tmp_path / "b.xml").write_text(PUMP)
    registry = Registry()
    (fault,) = load_folder(tmp_path, registry)
    assert fault.startswith(f"{tmp_path}: only the first 1 of 2 files are read")
    assert [definition.id for definition in registry.objects()] == [42769]


def test_the_built_in_data_is_written_from_definition_files_and_read_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "2.xml").write_text(PUMP)
    (tmp_path / "1.xml").write_text(VALVE)
    output = tmp_path / "objects.json"
    build_registry.main(tmp_path, output)
    monkeypatch.setattr(registry_module, "_BUILTIN", output)
    registry = Registry.builtin()
    assert list(registry.objects()) == [parse_ddf(VALVE.encode()), parse_ddf(PUMP.encode())]
    assert registry.resource(3336, 5514)


def test_the_built_in_data_names_its_source_and_is_what_the_tool_writes() -> None:
    shipped = (Path(registry_module.__file__).parent / "objects.json").read_text()
    assert "BSD-3-Clause" in json.loads(shipped)["licences"][0]
    assert build_registry.document(Registry.builtin().objects()) == shipped


def test_two_meanings_of_a_reusable_resource_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "1.xml").write_text(VALVE)
    (tmp_path / "2.xml").write_text(PUMP.replace("Sensor Value", "Pressure"))
    monkeypatch.setattr(sys, "argv", ["build_registry"])
    with pytest.raises(SystemExit, match="object 42770 has another meaning of 5700"):
        build_registry.main(tmp_path, tmp_path / "objects.json")

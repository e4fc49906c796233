"""Device definitions for BLE: which devices they fit, what fields say, and how they are written."""

import logging
import re
from pathlib import Path as FilePath
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.ble.bipso import Truncated
from adapters.ble.defined import Defined
from adapters.ble.definitions import Definition, Row, choose, folder
from adapters.ble.profile import Profile
from adapters.ble.uuids import long_uuid
from adapters.sim.modules import sensor
from gateway.errors import DecodeError, EncodeError, InvalidValue, NotAllowed
from gateway.model import Path, ResourceType, Value
from gateway.objects.definitions import Kind, kind_of
from gateway.objects.registry import Registry

REGISTRY = Registry.builtin()
SHIPPED = FilePath(__file__).parents[2] / "config" / "devices"
LONG = "6e400003-b5a3-f393-e0a9-e50e24dcca9e"
T = ResourceType

GOOD = f"""
name = "Station"
manufacturer = "Example"
model = "WS-1"

[match]
characteristics = ["0xfff1", "{LONG.upper()}"]
name = "WS-*"

[[resource]]
characteristic = "0xFFF1"
format = "i16"
scale = 0.1
unknown = 0x8000
object = 3303
resource = 5700

[[resource]]
characteristic = "0xFFF1"
format = "u8"
at = 2
object = 3320
resource = 5700

[[resource]]
characteristic = "{LONG}"
format = "bool"
object = 3312
resource = 5850
writable = true
"""
UUIDS = {long_uuid(0xFFF1), LONG, long_uuid(0x2A00)}


def row(wire: str, **more: object) -> Row:
    keys: dict[str, Any] = {"characteristic": "0xfff1", "object": 3300, "resource": 5700, **more}
    return Row(format=wire, **keys)


# --- fields ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "kind", "data", "value"),
    [
        (row("u8"), T.FLOAT, "ff", 255),
        (row("i8"), T.FLOAT, "ff", -1),
        (row("u16"), T.FLOAT, "3412", 0x1234),
        (row("i16"), T.FLOAT, "feff", -2),
        (row("u24"), T.FLOAT, "010080", 0x800001),
        (row("i24"), T.FLOAT, "000080", -(2**23)),
        (row("u32"), T.INTEGER, "ffffffff", 2**32 - 1),
        (row("i32"), T.FLOAT, "ffffffff", -1),
        (row("f32"), T.FLOAT, "0000ac41", 21.5),
        (row("f32"), T.INTEGER, "0000ac41", 22),
        (row("bool"), T.BOOLEAN, "00", False),
        (row("bool"), T.BOOLEAN, "01", True),
        (row("i16", scale=0.01), T.FLOAT, "5908", 21.37),
        (row("u8", scale=2, offset=-40), T.INTEGER, "32", 60),
        (row("text"), T.STRING, "68c3a9", "hé"),
        (row("u16", at=1, unknown=0xFFFF), T.FLOAT, "00feff", 0xFFFE),
    ],
)
def test_a_field_is_read_and_written_in_its_format(
    made: Row, kind: ResourceType, data: str, value: Value
) -> None:
    octets = bytes.fromhex(data)
    assert made.read(octets, kind) == value
    assert made.read(octets + b"\7", kind) == value or made.format == "text"
    if value != 22:
        assert made.write(value) == octets[made.at :]


@pytest.mark.parametrize(
    ("made", "kind", "data", "value"),
    [
        (row("bool"), T.BOOLEAN, "7f", True),
        (row("opaque", at=1), T.OPAQUE, "00ff01", b"\xff\x01"),
        (row("text", at=2), T.STRING, "0000", ""),
        (row("text"), T.STRING, "6869000078ff", "hi"),
        (row("i16", unknown=0x8000), T.FLOAT, "0080", None),
        (row("f32"), T.FLOAT, "0000c07f", None),
        (row("f32"), T.FLOAT, "0000807f", None),
    ],
)
def test_a_field_is_read_as_the_device_means_it(
    made: Row, kind: ResourceType, data: str, value: Value | None
) -> None:
    assert made.read(bytes.fromhex(data), kind) == value


@pytest.mark.parametrize(
    ("made", "value"),
    [
        (row("u8"), 256),
        (row("u8"), -1),
        (row("i8"), 128),
        (row("i16", scale=0.01), 327.68),
        (row("u16", unknown=0xFFFF), 0xFFFF),
        (row("f32"), 1e39),
        (row("f32", scale=1e-9), 1e308),
        (row("u8"), 10**400),
        (row("u8"), True),
        (row("bool"), 1),
        (row("text"), "\ud800"),
        (row("opaque"), b""),
    ],
)
def test_what_a_field_cannot_hold_is_refused(made: Row, value: Value) -> None:
    with pytest.raises(EncodeError):
        made.write(value)


FORMATS = st.sampled_from(
    ["bool", "u8", "i8", "u16", "i16", "u24", "i24", "u32", "i32", "f32", "text", "opaque"]
)


@st.composite
def rows(draw: st.DrawFn) -> Row:
    wire = draw(FORMATS)
    numbers = st.floats(allow_nan=False, allow_infinity=False).filter(bool)
    scale = draw(st.just(1.0) if wire in {"bool", "text", "opaque"} else numbers)
    return row(wire, scale=scale, at=draw(st.integers(0, 30)))


@given(rows(), st.sampled_from(ResourceType), st.binary(max_size=40))
def test_random_bytes_make_a_value_or_a_decode_error(
    made: Row, kind: ResourceType, data: bytes
) -> None:
    try:
        value = made.read(data, kind)
    except Truncated:
        assert len(data) < made.at + made.size
    except DecodeError:
        assert made.is_scaled
    else:
        assert isinstance(value, bool | int | float | str | bytes | None)


VALUES = st.booleans() | st.integers() | st.floats() | st.text() | st.binary()


@given(rows(), VALUES)
def test_any_value_makes_a_field_or_an_encode_error(made: Row, value: Value) -> None:
    try:
        field = made.write(value)
    except EncodeError:
        return
    assert len(field) == made.size or made.format == "text"


@given(st.sampled_from(["u8", "i8", "u16", "i16", "u24", "i24", "u32", "i32"]), st.data())
def test_every_integer_comes_back(wire: str, data: st.DataObject) -> None:
    made = row(wire, scale=data.draw(st.sampled_from([1, 0.01, 0.1, 5])))
    octets = data.draw(st.binary(min_size=made.size, max_size=made.size))
    value = made.read(octets, T.FLOAT)
    assert value is not None
    assert made.write(value) == octets


# --- files ----------------------------------------------------------------------------------------


def test_a_definition_fits_by_characteristics_and_name() -> None:
    made = Definition.parse(GOOD, REGISTRY)
    assert made.fits(UUIDS, "WS-7")
    assert not made.fits(UUIDS, "Other")
    assert not made.fits(UUIDS - {LONG}, "WS-7")
    exact = Definition.parse(GOOD.replace("WS-*", "WS-7"), REGISTRY)
    assert exact.fits(UUIDS, "WS-7")
    assert not exact.fits(UUIDS, "WS-70")
    by_name = Definition.parse(re.sub("characteristics = .*", "", GOOD), REGISTRY)
    assert by_name.fits((), "WS-7")
    assert choose([by_name, made], UUIDS, "WS-7") == made
    assert choose([by_name, made], UUIDS, "X") is None


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ('"0xFFF1"', '"fff1"', "line 11 (resource.characteristic): a characteristic is"),
        ('["0xfff1"', '["0xfff12"', "line 7 (match.characteristics)"),
        ('"WS-*"', '"*WS"', "line 8 (match.name): a name may have one *"),
        ('"i16"', '"i64"', "line 12 (resource.format)"),
        ("0x8000", "0x80000", "line 10 (resource): i16 cannot hold the unknown value"),
        ("scale = 0.1", "scael = 0.1", "line 13 (resource.scael): extra inputs"),
        ("at = 2", "at = 512", "line 21 (resource.at)"),
        ('"bool"', '"bool"\nscale = 2.0', "line 25 (resource): bool has no scale"),
        ('"bool"', '"opaque"', "line 25 (resource): opaque cannot be written"),
        ('"bool"', '"u8"', "line 27 (resource.format): /3312/0/5850 is boolean"),
        ('"u8"', '"text"', "line 20 (resource.format): /3320/0/5700 is float"),
        ("at = 2", "writable = true", "line 21 (resource.writable): /3320/0/5700 (Sensor Value)"),
        ("3312", "3\ninstance = 1", "line 29 (resource.instance)"),
        ("5850", "4711", "line 29 (resource.resource): nothing defines"),
    ],
)
def test_a_bad_definition_is_refused_with_line_and_reason(old: str, new: str, fault: str) -> None:
    with pytest.raises(DecodeError, match=re.escape(fault)):
        Definition.parse(GOOD.replace(old, new, 1), REGISTRY)


def test_a_bad_file_is_set_aside_and_what_it_said_before_stays_in_force(
    tmp_path: FilePath, caplog: pytest.LogCaptureFixture
) -> None:
    watched = folder(tmp_path, REGISTRY)
    file = tmp_path / "station.toml"
    file.write_text(GOOD)
    assert watched.refresh()
    file.write_text(GOOD.replace("scale", "scael"))
    with caplog.at_level(logging.ERROR):
        assert not watched.refresh()
    assert f"{file} is set aside: line 13 (resource.scael): extra inputs" in caplog.text
    assert "stays in force" in caplog.text
    assert [d.name for d in watched.definitions] == ["Station"]
    file.write_text(GOOD.replace("[match]", '[match]\npaths = ["/a"]'))
    with caplog.at_level(logging.ERROR):
        assert not watched.refresh()
    assert f"{file} is set aside: line 6 (match): a definition has either" in caplog.text


def test_the_shipped_definitions_are_good() -> None:
    texts = [file.read_text("utf-8") for file in sorted(SHIPPED.glob("*.toml*"))]
    made = [Definition.parse(t, REGISTRY) for t in texts if kind_of(t) is Kind.BLE]
    assert len(made) == 2


# --- a device that a definition explains ----------------------------------------------------------


def profile(text: str = GOOD, *uuids: str) -> Profile:
    """Characteristics on handles 10, 11, ..."""
    found = uuids or (long_uuid(0xFFF1), LONG)
    return Profile(
        [(10 + i, uuid) for i, uuid in enumerate(found)],
        lambda _object, _key, preferred: preferred,
        Definition.parse(text, REGISTRY),
    )


def test_several_resources_come_from_one_characteristic() -> None:
    made = profile()
    assert made.handles == [10, 11]
    assert made.measures
    assert made.notified(10, bytes.fromhex("d70040")).values == {
        Path(3303, 0, 5700): 21.5,
        Path(3320, 0, 5700): 64,
    }
    assert made.notified(10, bytes.fromhex("008040")).values == {Path(3320, 0, 5700): 64}


def test_a_value_that_is_cut_gives_its_whole_fields_only_where_it_cannot_be_read() -> None:
    made = profile()
    with pytest.raises(Truncated) as cut:
        made.notified(10, bytes.fromhex("d700"))
    leading = made.leading(10, bytes.fromhex("d700"), cut.value).values
    assert leading == {Path(3303, 0, 5700): 21.5}


def test_a_read_does_not_overwrite_what_was_notified_meanwhile() -> None:
    made = profile()
    made.begin_read(10)
    made.notified(10, bytes.fromhex("d70040"))
    assert made.read(10, bytes.fromhex("000000")).values == {}


def test_the_definition_says_who_made_the_device_unless_it_says_so_itself() -> None:
    described = {Path(3, 0, 0): "Example", Path(3, 0, 1): "WS-1"}
    assert profile().described == described
    own = profile(GOOD, long_uuid(0xFFF1), long_uuid(0x2A29))
    assert own.described == {Path(3, 0, 1): "WS-1"}


def test_bipso_stays_first_unless_the_definition_names_its_characteristic() -> None:
    temperature = long_uuid(0xCC07)
    value = sensor(1.0, "C")
    assert profile(GOOD, temperature).read(10, value).values[Path(3303, 0, 5701)] == "C"
    named = profile(GOOD.replace("0xFFF1", "0xCC07"), temperature, temperature)
    assert set(named.read(10, value).values) == {Path(3303, 0, 5700), Path(3320, 0, 5700)}
    assert named.read(11, value).values[Path(3303, 0, 5701)] == "C"


# --- writing --------------------------------------------------------------------------------------

LEVEL, TEXT, ON = Path(3343, 0, 5548), Path(3341, 0, 5527), Path(3312, 0, 5850)


def written(**more: object) -> Defined:
    """A value of a u8 (on), a u16 (level) and a text."""
    on = row("bool", object=3312, resource=5850, writable=True)
    level = row("u16", at=1, object=3343, resource=5548, writable=True, **more)
    text = row("text", at=3, object=3341, resource=5527, writable=True)
    return Defined({ON: (on, T.BOOLEAN), LEVEL: (level, T.FLOAT), TEXT: (text, T.STRING)})


def test_a_write_changes_its_field_within_the_last_value() -> None:
    made = written()
    made.read(bytes.fromhex("0134126869"))
    assert made.patched({LEVEL: 2}) == bytes.fromhex("0102006869")
    assert made.patched({TEXT: "x", ON: False}) == bytes.fromhex("00341278")
    assert made.patched({TEXT: ""}) == bytes.fromhex("013412")


def test_what_was_notified_counts_as_last_value_as_far_as_it_goes() -> None:
    made = written()
    made.notified(bytes.fromhex("0134126869"))
    with pytest.raises(NotAllowed):
        made.patched({LEVEL: 2})  # a notification may be cut
    made.begin_read()
    made.notified(bytes.fromhex("00"))
    made.read(bytes.fromhex("0134126869"))
    assert made.patched({LEVEL: 2}) == bytes.fromhex("0002006869")
    made.notified(bytes.fromhex("010100"))
    assert made.patched({TEXT: "x"}) == bytes.fromhex("01010078")


def test_without_a_last_value_only_what_is_at_its_beginning_is_written() -> None:
    made = written()
    assert made.patched({ON: True}) == b"\1"
    assert made.patched({LEVEL: 2, ON: True}) == b"\1\2\0"
    with pytest.raises(NotAllowed, match="not known"):
        made.patched({LEVEL: 2})


def test_what_cannot_be_written_is_told_apart() -> None:
    made = written(unknown=0xFFFF)
    made.read(bytes(5))
    for value in (65536, 65535):
        with pytest.raises(InvalidValue):
            made.patched({LEVEL: value})
    with pytest.raises(InvalidValue, match="512 is the most"):
        made.patched({TEXT: "x" * 510})
    read_only = Defined({ON: (row("bool"), T.BOOLEAN)})
    with pytest.raises(NotAllowed, match="not writable"):
        read_only.patched({ON: True})

"""One value as CBOR: every type, tags that change nothing, and what is no value."""

import struct

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import DecodeError, EncodeError, InvalidValue
from gateway.formats.cbor import from_cbor, to_cbor, typed
from gateway.model import ObjLink, ResourceType, Value
from tests.formats import cbor_items


@pytest.mark.parametrize(
    ("value", "octets"),
    [
        ("Open", "644f70656e"),
        (-1, "20"),
        (1367491215, "1a5182428f"),
        (2**64 - 1, "1bffffffffffffffff"),
        (0.5, "f93800"),
        (100000.0, "fa47c35000"),
        (31.83, "fb403fd47ae147ae14"),
        (True, "f5"),
        (False, "f4"),
        (b"\x01\x02", "420102"),
    ],
)
def test_each_type_has_its_encoding(value: Value, octets: str) -> None:
    assert to_cbor(value).hex() == octets
    assert (read := from_cbor(bytes.fromhex(octets))) == value
    assert type(read) is type(value)


def test_a_link_is_text_until_the_definition_says_otherwise() -> None:
    text = from_cbor(to_cbor(ObjLink(3303, 0)))
    assert text == "3303:0"
    assert typed(text, ResourceType.STRING) == "3303:0"
    assert typed(text, ResourceType.OBJLINK) == ObjLink(3303, 0)
    assert typed(5, ResourceType.OBJLINK) == 5  # for registry.coerce to refuse
    with pytest.raises(InvalidValue, match="like 3303:0"):
        typed("3303", ResourceType.OBJLINK)


@pytest.mark.parametrize(
    ("octets", "value"),
    [
        ("c11a5182428f", 1367491215),
        ("c11bffffffffffffffff", 2**64 - 1),
        ("c1fb41d4609a23c0000a", struct.unpack(">d", bytes.fromhex("41d4609a23c0000a"))[0]),
        ("c074323031332d30352d30325431303a34303a31355a", 1367491215),
        ("d9d9f71864", 100),
        ("d820656c696e6b73", "links"),
        ("d903e7d903e8f5", True),
        ("c48221196ab3", 273.15),
        ("c24101", 1),
        ("d81e63316539", "1e9"),  # a fraction: hours of work, were its exponent a little longer
        ("d823645b5b615d", "[[a]"),  # a pattern: to compile this one warns
        ("d8246161", "a"),
        ("d8254101", b"\x01"),
        ("d8344101", b"\x01"),
    ],
)
def test_tags_change_nothing(octets: str, value: Value) -> None:
    assert from_cbor(bytes.fromhex(octets)) == value


@pytest.mark.parametrize(
    "octets",
    [
        "f6", "f7", "e0", "80", "a0", "8101", "a10001", "f97e00", "f97c00", "fbfff0000000000000",
        "c249010000000000000000", "3bffffffffffffffff", "c001", "c06161", "d81c81d81d00",
        "d81cd903e7d81d00", "61ff", "62c328", "5bffffffffffffffff", "9bffffffffffffffff", "",
        "0000", "1c", "ff", "5f", "c26131", "c3f6", "c48238c8c25881" + 129 * "01",
    ],
)  # fmt: skip
def test_what_is_no_value_is_refused(octets: str) -> None:
    with pytest.raises(DecodeError):
        from_cbor(bytes.fromhex(octets))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 2**64, -(2**63) - 1, "\ud800"])
def test_what_no_resource_can_be_is_not_written(value: Value) -> None:
    with pytest.raises(EncodeError):
        to_cbor(value)


@given(
    st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary()
)
def test_what_was_written_is_read_again_and_nothing_shorter(value: Value) -> None:
    octets = to_cbor(value)
    assert (read := from_cbor(octets)) == value
    assert type(read) is type(value)
    assert cbor2.loads(octets) == value
    for length in range(len(octets)):
        with pytest.raises(DecodeError):
            from_cbor(octets[:length])
    with pytest.raises(DecodeError):
        from_cbor(octets + b"\x00")


@given(st.binary(max_size=24) | cbor_items.OCTETS)
def test_random_octets_are_read_or_refused(octets: bytes) -> None:
    try:
        value = from_cbor(octets)
    except DecodeError:
        return
    assert isinstance(value, bool | int | float | str | bytes)

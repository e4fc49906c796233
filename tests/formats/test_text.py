"""Single values as plain text."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import EncodeError, InvalidValue
from gateway.formats.text import from_text, to_text
from gateway.model import ObjLink, ResourceType, Value
from tests.vectors import LWM2M

VECTORS = [v for v in LWM2M if v["area"] == "text"]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["id"])
def test_texts_of_the_specification_mean_what_they_say(vector: dict[str, str]) -> None:
    type = ResourceType(vector["type"].replace("objlnk", "objlink"))
    if "error" in vector:
        with pytest.raises(InvalidValue):
            from_text(vector["text"], type)
        return
    value = from_text(vector["text"], type)
    expected: object = vector["value"]
    match type:
        case ResourceType.OPAQUE:
            expected = bytes.fromhex(vector["value"])
        case ResourceType.OBJLINK:
            expected = ObjLink.parse(vector["value"])
        case _:
            assert to_text(value) == vector["text"]
    assert value == expected


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (21.0, "21"), (21.5, "21.5"), (-0.0, "0"), (1e22, "1" + "0" * 22), (1e-7, "0.0000001"),
        (6.667e-11, "0.00000000006667"), (0.1, "0.1"), (-37.0, "-37"), (100.0, "100"),
        (True, "1"), (False, "0"), (2**64 - 1, "18446744073709551615"), ("21.0", "21.0"),
        (b"\xff\xfe\xfd", "//79"), (ObjLink(65535, 65535), "65535:65535"),
    ],
)  # fmt: skip
def test_values_are_written_without_exponent_and_without_needless_digits(
    value: Value, text: str
) -> None:
    assert to_text(value) == text


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_cannot_be_written(number: float) -> None:
    with pytest.raises(EncodeError):
        to_text(number)


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e3", 1000.0), ("-2.5E-2", -0.025), ("5.", 5.0), (".5", 0.5), ("18", 18.0)],
)
def test_floats_are_read_with_exponent_and_as_integers(text: str, number: float) -> None:
    value = from_text(text, ResourceType.FLOAT)
    assert (type(value), value) == (float, number)


@pytest.mark.parametrize(
    ("type", "texts"),
    [
        (ResourceType.INTEGER, ["", " 1", "1 ", "1\n", "1_0", "٣", "+1", "0x1", "1e3", "1.0"]),
        (ResourceType.INTEGER, ["--1", "9" * 5000]),
        (ResourceType.TIME, ["now", "1.5"]),
        (ResourceType.UNSIGNED, ["abc"]),
        (ResourceType.FLOAT, ["", "nan", "inf", "-inf", "infinity", "1e999", "1_0.0", "٣.٥", " 1"]),
        (ResourceType.FLOAT, ["1\n", "-37°C", "1,5", ".", "e5", "0x1p3"]),
        (ResourceType.BOOLEAN, ["", "true", "false", "2", "01", " 1", "on"]),
        (ResourceType.OPAQUE, ["AQIDBAU", "AQ_-", "A", "AQI=\n", "=", "ä===", "A Q="]),
        (ResourceType.OBJLINK, ["", "1", "1:", "65536:0", "-1:1", "1:2:3"]),
        (ResourceType.NONE, ["", "1"]),
    ],
)  # fmt: skip
def test_anything_else_is_refused(type: ResourceType, texts: list[str]) -> None:
    for text in texts:
        with pytest.raises(InvalidValue):
            from_text(text, type)


def test_the_refusal_says_what_was_expected() -> None:
    with pytest.raises(InvalidValue, match=r"'-37°C' is not a decimal number"):
        from_text("-37°C", ResourceType.FLOAT)


@given(
    st.one_of(
        st.tuples(st.just(ResourceType.FLOAT), st.floats(allow_nan=False, allow_infinity=False)),
        st.tuples(st.just(ResourceType.INTEGER), st.integers(-(2**63), 2**64)),
        st.tuples(st.just(ResourceType.STRING), st.text()),
        st.tuples(st.just(ResourceType.OPAQUE), st.binary()),
        st.tuples(st.just(ResourceType.BOOLEAN), st.booleans()),
    )
)
def test_every_value_survives_the_way_there_and_back(case: tuple[ResourceType, Value]) -> None:
    type, value = case
    text = to_text(value)
    assert from_text(text, type) == value
    if type is ResourceType.FLOAT:
        assert re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", text)


@given(st.text(), st.sampled_from(ResourceType))
def test_random_text_never_crashes(text: str, type: ResourceType) -> None:
    try:
        from_text(text, type)
    except InvalidValue:
        return

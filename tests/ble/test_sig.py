from __future__ import annotations

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.ble import sig
from adapters.ble.uuids import long_uuid
from gateway.errors import DecodeError
from gateway.model import Value


def row(number: int) -> sig.Characteristic:
    characteristic = sig.characteristic_of(long_uuid(number))
    assert characteristic is not None
    return characteristic


NUMBERS = [
    (0x2A6E, "5908", 3303, {5700: 21.37, 5701: "Cel"}),
    (0x2A6E, "ffff", 3303, {5700: -0.01, 5701: "Cel"}),
    (0x2A6E, "0180", 3303, {5700: -327.67, 5701: "Cel"}),
    (0x2A6E, "ff7f", 3303, {5700: 327.67, 5701: "Cel"}),
    (0x2A6F, "1027", 3304, {5700: 100.0, 5701: "%RH"}),
    (0x2A6F, "0300", 3304, {5700: 0.03, 5701: "%RH"}),
    (0x2A6D, "cd760f00", 3315, {5700: 101345.3, 5701: "Pa"}),
    (0x2AFB, "feffff", 3301, {5700: 167772.14, 5701: "lx"}),
    (0x2AFB, "010000", 3301, {5700: 0.01, 5701: "lx"}),
    (0x2A19, "64", 3, {9: 100}),
    (0x2A19, "00", 3, {9: 0}),
    (0x2A76, "0b", 3301, {5700: 11, 5701: "UV Index"}),
    (0x2A77, "e803", 3300, {5700: 100.0, 5701: "W/m2"}),
    (0x2A6C, "ffffff", 3321, {5700: -0.01, 5701: "m"}),
    (0x2A6C, "400d03", 3321, {5700: 2000.0, 5701: "m"}),
    (0x2A70, "d204", 3346, {5700: 12.34, 5701: "m/s"}),
    (0x2A72, "d204", 3346, {5700: 12.34, 5701: "m/s"}),
    (0x2A71, "508c", 3332, {5705: 359.2}),
    (0x2A73, "0100", 3332, {5705: 0.01}),
    (0x2A78, "0c00", 3300, {5700: 12, 5701: "mm"}),
    (0x2A7B, "fb", 3303, {5700: -5, 5701: "Cel"}),
    (0x2B8C, "9a01", 3325, {5700: 410, 5701: "ppm"}),
]
numbers = pytest.mark.parametrize(("number", "data", "object_id", "resources"), NUMBERS)


@numbers
def test_a_value_becomes_the_resources_of_its_object(
    number: int, data: str, object_id: int, resources: dict[int, Value]
) -> None:
    assert row(number).object == object_id
    assert sig.decode(row(number), bytes.fromhex(data)) == resources


@numbers
def test_a_value_cut_anywhere_is_an_error_and_bytes_behind_it_are_not(
    number: int, data: str, object_id: int, resources: dict[int, Value]
) -> None:
    whole = bytes.fromhex(data)
    for length in range(len(whole)):
        with pytest.raises(DecodeError, match=f"{length} bytes instead of {len(whole)}"):
            sig.decode(row(number), whole[:length])
    assert sig.decode(row(number), bytearray(whole + b"\xff\0")) == resources


@pytest.mark.parametrize(
    ("number", "data"),
    [(0x2A6E, "0080"), (0x2A6F, "ffff"), (0x2AFB, "ffffff"), (0x2B8C, "ffff"), (0x2A6E, "0080ff")],
)
def test_unknown_is_no_value(number: int, data: str) -> None:
    assert sig.decode(row(number), bytes.fromhex(data)) == {}


@given(st.integers(-0x7FFF, 0x7FFF))
def test_every_hundredth_of_a_degree_is_a_clean_decimal(hundredths: int) -> None:
    value = sig.decode(row(0x2A6E), hundredths.to_bytes(2, "little", signed=True))[5700]
    sign = "-" if hundredths < 0 else ""
    text = f"{sign}{abs(hundredths) // 100}.{abs(hundredths) % 100:02}"
    assert json.dumps(value) == str(float(text))
    assert len(json.dumps(value)) <= len(text)


def test_a_battery_level_is_an_integer_as_the_device_object_wants() -> None:
    assert type(sig.decode(row(0x2A19), b"\x32")[9]) is int


@pytest.mark.parametrize(
    ("number", "resource"),
    [(0x2A29, 0), (0x2A24, 1), (0x2A25, 2), (0x2A26, 3), (0x2A27, 18), (0x2A28, 19)],
)
def test_device_information_fills_the_device_object(number: int, resource: int) -> None:
    assert row(number).object == 3
    assert sig.decode(row(number), b"Acme 1.2") == {resource: "Acme 1.2"}


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"Acme\0", "Acme"),
        (b"Acme\0\0\0old name", "Acme"),
        (b"\0Acme", "Acme"),
        (b"  Acme GmbH \0 ", "Acme GmbH"),
        (b"Acme\xff\xff\xff\xff", "Acme"),
        ("Müller".encode(), "Müller"),
        (b"M\xfcller", "M\ufffdller"),
        (b"x" * 512, "x" * 128),
    ],
)
def test_a_device_text_is_freed_of_its_padding_and_bounded(data: bytes, text: str) -> None:
    assert sig.decode(row(0x2A29), data) == {0: text}


@pytest.mark.parametrize("data", [b"", b"\0" * 20, b" \0 ", b"\xff" * 16])
def test_an_empty_device_text_is_no_value(data: bytes) -> None:
    assert sig.decode(row(0x2A29), data) == {}


def test_other_uuids_mean_nothing_and_letter_case_does_not_matter() -> None:
    assert sig.characteristic_of("00002A6E-0000-1000-8000-00805F9B34FB") == row(0x2A6E)
    assert sig.characteristic_of(long_uuid(0x2A37)) is None
    assert sig.characteristic_of(long_uuid(0xCC07)) is None
    assert sig.characteristic_of("") is None


@settings(deadline=None)
@given(st.sampled_from(sig.TABLE), st.binary(max_size=40))
def test_random_bytes_raise_nothing_but_decode_errors(
    characteristic: sig.Characteristic, data: bytes
) -> None:
    with contextlib.suppress(DecodeError):
        for value in sig.decode(characteristic, data).values():
            assert isinstance(value, int | float | str)

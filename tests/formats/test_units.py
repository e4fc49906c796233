"""Unit texts of devices and definitions, as SenML units."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.formats.units import senml_unit


@pytest.mark.parametrize(
    ("text", "unit"),
    [
        ("C", "Cel"), ("°C", "Cel"), ("degC", "Cel"), ("Cel", "Cel"), ("° C", "Cel"),
        ("Celsius", "Cel"), ("℃", "Cel"), ("lux", "lx"), ("Lux", "lx"), ("lx", "lx"),
        ("%RH", "%RH"), ("% RH", "%RH"), ("%rh", "%RH"), ("W", "W"), ("A", "A"), ("V", "V"),
        ("Pa", "Pa"), ("Hz", "Hz"), ("Ω", "Ohm"), ("\u2126", "Ohm"), ("ohm", "Ohm"),
        ("m/s²", "m/s2"), ("m/s", "m/s"), ("s", "s"), ("S", "S"), ("lat", "lat"), ("var", "var"),
        ("%EL", "%EL"), (" m ", "m"), ("B", "B"), ("dB", "dB"), ("pH", "pH"), ("/", "/"),
    ],
)  # fmt: skip
def test_a_unit_is_known_under_its_usual_spellings(text: str, unit: str) -> None:
    assert senml_unit(text) == unit


@pytest.mark.parametrize(
    "text",
    ["", "hPa", "kPa", "mg", "g", "uT", "µT", "ppm", "dps", "deg", "%", "/100", "ms", "min", "Wh",
     "kWh", "varh", "dBm", "dB-SPL", "mV", "mA", "MV", "mω", "°F", "F°", "l", "L", "km", "UV Index",
     "pcs/0.01cf", "1/min", "beats", "c", "v", "w", "pa", "PA", "Ws"],
)  # fmt: skip
def test_a_unit_that_would_need_another_number_is_left_out(text: str) -> None:
    assert senml_unit(text) is None


@given(st.text())
def test_any_text_is_answered(text: str) -> None:
    assert senml_unit(text) is None or senml_unit(text)

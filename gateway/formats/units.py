"""Which SenML unit a device's unit text means; never scales: a value is one number everywhere."""

# RFC 8428, 12.1, and the primary units of RFC 8798, without those that should not be produced.
# C is not among them: devices mean degrees Celsius by it, never coulombs.
_PRIMARY = {
    "m", "kg", "s", "A", "K", "cd", "mol", "Hz", "rad", "sr", "N", "Pa", "J", "W", "V", "F", "Ohm",
    "S", "Wb", "T", "H", "Cel", "lm", "lx", "Bq", "Gy", "Sv", "kat", "m2", "m3", "m/s", "m/s2",
    "m3/s", "W/m2", "cd/m2", "bit", "bit/s", "lat", "lon", "pH", "dB", "dBW", "count", "/", "%RH",
    "%EL", "EL", "1/s", "S/m", "B", "VA", "VAs", "var", "vars", "J/m", "kg/m3",
}  # fmt: skip

# Other spellings of the same unit, without blanks and in lower case.
_SPELLINGS = {
    "Cel": "°c ℃ degc °celsius celsius degreecelsius degreescelsius",
    "K": "kelvin",
    "%RH": "%rh rh% %r.h.",
    "lx": "lux",
    "lm": "lumen lumens",
    "cd": "candela",
    "Pa": "pascal pascals",
    "V": "volt volts",
    "A": "amp amps ampere amperes",
    "W": "watt watts",
    "J": "joule joules",
    "N": "newton newtons",
    "F": "farad",
    "Ohm": "ω ohm ohms",
    "Hz": "hz hertz",
    "T": "tesla",
    "m": "meter meters metre metres",
    "m2": "m² m^2",
    "m3": "m³ m^3",
    "m/s2": "m/s² m/s^2",
    "W/m2": "w/m² w/m^2",
    "kg/m3": "kg/m³ kg/m^3",
    "kg": "kilogram kilograms",
    "s": "sec second seconds",
    "rad": "radian radians",
    "pH": "ph",
}

_UNITS = {unit: unit for unit in _PRIMARY} | {"C": "Cel"}
_BY_SPELLING = {
    spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings.split()
}


def senml_unit(text: str) -> str | None:
    """The SenML primary unit that `text` (resource 5701, or a definition's units) stands for.

    None where it is unknown, or where SenML has the quantity only with another number (`hPa`,
    `ppm`, `%`, whose SenML meaning is a ratio up to 1).
    """
    compact = "".join(text.split())
    return _UNITS.get(compact) or _BY_SPELLING.get(compact.lower())

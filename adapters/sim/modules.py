"""What the virtual devices hold: sivann's BIPSO modules as their firmware and records show them.

Services, order of handles, properties and first values are those of the published firmware
images and of a recorded network of 2016; only serial numbers and versions are invented.
"""

from __future__ import annotations

import struct

from adapters.sim.peripherals import Module, Spot

DIGITAL_INPUT = 0xCC00
ANALOG_INPUT = 0xCC02
ILLUMINANCE = 0xCC05
PRESENCE = 0xCC06
TEMPERATURE = 0xCC07
HUMIDITY = 0xCC08
POWER_CONTROL = 0xCC0E
BAROMETER = 0xCC11
CURRENT = 0xCC13
LOUDNESS = 0xCC1A
CONCENTRATION = 0xCC1B
POWER = 0xCC1E
MULTISTATE_SELECTOR = 0xCC32

UV, LUX = 0, 1
"""The weather station's two illuminance characteristics by handle; their ids are 1 and 0."""


def sensor(value: float, units: str, id: int = 0) -> bytes:
    """A sensor value with its units: id, flags 1, float, text."""
    text = units.encode()
    return bytes([id, 1]) + struct.pack("<f", value) + bytes([len(text)]) + text


def _information(model: str, serial: str) -> tuple[Spot, ...]:
    texts = {
        0x2A29: "sivann",
        0x2A24: model,
        0x2A25: serial,
        0x2A26: "1.0.0",
        0x2A27: "A1",
        0x2A28: "1.0.0",
    }
    return tuple(Spot(uuid, text.encode(), "read") for uuid, text in texts.items())


def _private(config: int, period: int) -> tuple[Spot, ...]:
    """The vendor's own: 1 to measure, and the period in units of 10 ms."""
    return Spot(config, b"\x01", "read write"), Spot(period, b"\x64", "read write")


_INPUTS = {
    0xBB00: (Spot(DIGITAL_INPUT, bytes.fromhex("000000")),),
    0xBB10: (Spot(ANALOG_INPUT, bytes.fromhex("0040000000000a566f6c74616765206d56")),),
}

WEATHER_STATION = Module(
    name="WeatherStation",
    address="D0:5F:B8:22:3B:01",
    rssi_dbm=-62,
    services={
        0x180A: _information("WeatherStation", "2016-05-17-01"),
        **_INPUTS,
        0xBB80: (
            Spot(BAROMETER, bytes.fromhex("000100407c4403685061")),
            Spot(TEMPERATURE, bytes.fromhex("00017cf5cf410143")),
            Spot(HUMIDITY, bytes.fromhex("000160e7244203255248")),
            Spot(ILLUMINANCE, bytes.fromhex("01010000000008555620496e646578")),
            Spot(ILLUMINANCE, bytes.fromhex("00010000fe42036c7578")),
            Spot(LOUDNESS, bytes.fromhex("0001242137420664422d53504c")),
            Spot(CONCENTRATION, bytes.fromhex("0001000000000a7063732f302e30316366")),
            *_private(0xBB81, 0xBB82),
        ),
    },
)

POWER_METER_RELAY = Module(
    name="PowerMeterRelay",
    address="D0:5F:B8:22:3B:02",
    rssi_dbm=-71,
    services={
        0x180A: _information("PowerMeterRelay", "2016-05-17-01"),
        **_INPUTS,
        0xBB30: (
            Spot(POWER, bytes.fromhex("0001000000000157")),
            Spot(CURRENT, bytes.fromhex("0001000000000141")),
            *_private(0xBB31, 0xBB32),
        ),
        0xBB40: (Spot(POWER_CONTROL, bytes.fromhex("000000"), "read write notify"),),
        0xBB90: (Spot(PRESENCE, bytes.fromhex("00040003504952")),),
    },
)

REMOTE_CONTROL = Module(
    name="RemoteControl",
    address="D0:5F:B8:22:3B:03",
    rssi_dbm=-55,
    sleeps=True,
    services={
        0x180A: _information("RemoteControl", "2016-05-17-01"),
        0xBB70: (Spot(MULTISTATE_SELECTOR, bytes.fromhex("0001000652656d6f7465")),),
    },
)

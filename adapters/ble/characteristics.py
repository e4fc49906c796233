"""The BIPSO characteristics as data: which fields each one carries, in which order.

Knows nothing of how a field is written; that is the codec's (`bipso.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum


class Wire(Enum):
    """How a field is written: numbers little-endian, the last three behind a length byte."""

    BOOL = "bool"
    U8 = "u8"
    U16 = "u16"
    U32 = "u32"
    F32 = "f32"
    TEXT = "text"
    OPAQUE = "opaque"
    EXECUTABLE = "executable"
    """An opaque argument; there at all means that the resource can be executed."""


# Every field by its LwM2M resource id and BIPSO name; a resource is written alike in all objects.
_FIELDS = {
    Wire.BOOL: """
        5500 dInState 5502 dInPolarity 5532 incInputState 5533 decInputState 5543 digitalState
        5550 dOutState 5551 dOutPolarity 5850 onOff
    """,
    Wire.U8: """
        5501 counter 5504 edgeSelection 5526 mode 5534 eventCounter 5541 upCounter
        5542 downCounter 5547 mStateIn 5826 criticalLevel 5827 avgLoadAdjPct 5828 dutyCycle
        5851 dimmer
    """,
    Wire.U16: """
        5503 debouncePeriod 5528 xCoord 5529 yCoord 5545 maxXCoord 5546 maxYCoord
        5825 durationInMin 5852 onTime 5854 offTime 5903 busyToClearDelay 5904 clearToBusyDelay
    """,
    Wire.U32: "5506 currentTime 5518 timestamp 5824 startTime",
    Wire.F32: """
        5507 fracTime 5508 minXValue 5509 maxXValue 5510 minYValue 5511 maxYValue 5512 minZValue
        5513 maxZValue 5519 minLimit 5520 maxLimit 5521 timeDuration 5524 soundDuration
        5525 minOffTime 5531 contrast 5535 calOffset 5536 currentPos 5537 transTime
        5538 remainTime 5544 cumulTime 5548 level 5600 aInCurrValue 5601 minMeaValue
        5602 maxMeaValue 5603 minRangeValue 5604 maxRangeValue 5650 aOutCurrValue
        5700 sensorValue 5702 xValue 5703 yValue 5704 zValue 5705 compassDir 5800 instActivePwr
        5801 minMeaActivePwr 5802 maxMeaActivePwr 5803 minRangeActivePwr 5804 maxRangeActivePwr
        5805 cumulActivePwr 5806 activePwrCal 5810 instReactivePwr 5811 minMeaReactivePwr
        5812 maxMeaReactivePwr 5813 minRangeReactivePwr 5814 maxRangeReactivePwr
        5815 cumulReactivePwr 5816 reactivePwrCal 5820 pwrFactor 5821 currCal 5900 setPointValue
    """,
    Wire.TEXT: """
        5514 latitude 5515 longitude 5516 uncertainty 5527 text 5701 units 5706 colour
        5750 appType 5751 sensorType 5823 eventId 5853 mStateOut
    """,
    Wire.OPAQUE: "5517 velocity 5522 clip",
    Wire.EXECUTABLE: """
        5505 counterReset 5523 trigger 5530 clearDisplay 5605 resetMinMaxMeaValues
        5822 resetCumulEnergy
    """,
}

# Options that several characteristics share.
_PROFILES = {
    "@A": "units minMeaValue maxMeaValue minRangeValue maxRangeValue resetMinMaxMeaValues",
    "@B": """
        units minMeaValue maxMeaValue minRangeValue maxRangeValue resetMinMaxMeaValues
        calOffset appType
    """,
    "@power": """
        minMeaActivePwr maxMeaActivePwr minRangeActivePwr maxRangeActivePwr
        cumulActivePwr activePwrCal
        instReactivePwr minMeaReactivePwr maxMeaReactivePwr minRangeReactivePwr
        maxRangeReactivePwr resetMinMaxMeaValues cumulReactivePwr reactivePwrCal
        pwrFactor currCal resetCumulEnergy
    """,
}

# UUID, object id, BIPSO name: mandatory fields | optional fields, by ascending flag bit from 0.
_CHARACTERISTICS = """
0xCC00 3200 dIn: dInState | counter dInPolarity debouncePeriod edgeSelection counterReset appType sensorType
0xCC01 3201 dOut: dOutState | dOutPolarity appType
0xCC02 3202 aIn: aInCurrValue | minMeaValue maxMeaValue minRangeValue maxRangeValue resetMinMaxMeaValues appType sensorType
0xCC03 3203 aOut: aOutCurrValue | minRangeValue maxRangeValue appType
0xCC04 3300 generic: sensorValue | units minMeaValue maxMeaValue minRangeValue maxRangeValue resetMinMaxMeaValues appType sensorType
0xCC05 3301 illuminance: sensorValue | @A
0xCC06 3302 presence: dInState | counter counterReset sensorType busyToClearDelay clearToBusyDelay
0xCC07 3303 temperature: sensorValue | @A
0xCC08 3304 humidity: sensorValue | @A
0xCC09 3305 pwrMea: instActivePwr | @power
0xCC0A 3306 actuation: onOff | dimmer onTime mStateOut appType
0xCC0B 3308 setPoint: setPointValue | colour units appType
0xCC0C 3310 loadCtrl: eventId startTime durationInMin | criticalLevel avgLoadAdjPct dutyCycle
0xCC0D 3311 lightCtrl: onOff | dimmer colour units onTime cumulActivePwr pwrFactor
0xCC0E 3312 pwrCtrl: onOff | dimmer onTime cumulActivePwr pwrFactor
0xCC0F 3313 accelerometer: xValue | yValue zValue units minRangeValue maxRangeValue
0xCC10 3314 magnetometer: xValue | yValue zValue units compassDir
0xCC11 3315 barometer: sensorValue | @A
0xCC12 3316 voltage: sensorValue | @B
0xCC13 3317 current: sensorValue | @B
0xCC14 3318 frequency: sensorValue | @B
0xCC15 3319 depth: sensorValue | @B
0xCC16 3320 percentage: sensorValue | @B
0xCC17 3321 altitude: sensorValue | @B
0xCC18 3322 load: sensorValue | @B
0xCC19 3323 pressure: sensorValue | @B
0xCC1A 3324 loudness: sensorValue | @B
0xCC1B 3325 concentration: sensorValue | @B
0xCC1C 3326 acidity: sensorValue | @B
0xCC1D 3327 conductivity: sensorValue | @B
0xCC1E 3328 power: sensorValue | @B
0xCC1F 3329 powerFactor: sensorValue | @B
0xCC20 3330 distance: sensorValue | @B
0xCC21 3331 energy: sensorValue | units resetCumulEnergy appType
0xCC22 3332 direction: compassDir | minMeaValue maxMeaValue resetMinMaxMeaValues appType
0xCC23 3333 time: currentTime | fracTime appType
0xCC24 3334 gyrometer: xValue | yValue zValue units minXValue maxXValue minYValue maxYValue minZValue maxZValue resetMinMaxMeaValues minRangeValue maxRangeValue appType
0xCC25 3335 colour: colour | units appType
0xCC26 3336 gpsLocation: latitude longitude | uncertainty compassDir velocity timestamp appType
0xCC27 3337 positioner: currentPos | transTime remainTime minMeaValue maxMeaValue resetMinMaxMeaValues minLimit maxLimit appType
0xCC28 3338 buzzer: onOff minOffTime | level timeDuration appType
0xCC29 3339 audioClip: clip | trigger level soundDuration appType
0xCC2A 3340 timer: timeDuration | remainTime minOffTime trigger onOff counter cumulTime digitalState eventCounter mode appType
0xCC2B 3341 addressableTextDisplay: text | xCoord yCoord maxXCoord maxYCoord clearDisplay level contrast appType
0xCC2C 3342 onOffSwitch: dInState | counter onTime offTime appType
0xCC2D 3343 levelControl: | level onTime offTime appType
0xCC2E 3344 upDownControl: incInputState decInputState | upCounter downCounter appType
0xCC2F 3345 multipleAxisJoystick: | dInState counter xValue yValue zValue appType
0xCC30 3346 rate: sensorValue | @B
0xCC31 3347 pushButton: dInState | counter appType
0xCC32 3348 multistateSelector: mStateIn | appType
"""  # noqa: E501 - one characteristic a line

_WIDE_FLAGS = frozenset({3305})
"""The objects with four bytes of flags; all others have one, even if they have more options."""


@dataclass(frozen=True, slots=True)
class Field:
    """One resource on the wire; `name` is BIPSO's, for messages."""

    resource: int
    name: str
    wire: Wire

    def __str__(self) -> str:
        return f"{self.name} ({self.resource})"


@dataclass(frozen=True, slots=True)
class Characteristic:
    """The layout of one object: `options[i]` is there when flag bit i is set.

    Options beyond `flag_bits` are in the published table but cannot be expressed.
    """

    uuid16: int
    object: int
    name: str
    flag_bits: int
    mandatory: tuple[Field, ...]
    options: tuple[Field, ...]


def _fields() -> dict[str, Field]:
    fields = {}
    for wire, text in _FIELDS.items():
        words = text.split()
        for resource, name in zip(words[::2], words[1::2], strict=True):
            fields[name] = Field(int(resource), name, wire)
    return fields


def _characteristics() -> dict[int, Characteristic]:
    fields = _fields()
    characteristics = {}
    for line in _CHARACTERISTICS.strip().splitlines():
        title, _, layout = line.partition(":")
        uuid16, object_id, name = title.split()
        mandatory, _, options = layout.partition("|")
        options = _PROFILES.get(options.strip(), options)
        characteristics[int(object_id)] = Characteristic(
            uuid16=int(uuid16, 16),
            object=int(object_id),
            name=name,
            flag_bits=32 if int(object_id) in _WIDE_FLAGS else 8,
            mandatory=tuple(fields[word] for word in mandatory.split()),
            options=tuple(fields[word] for word in options.split()),
        )
    return characteristics


CHARACTERISTICS: Mapping[int, Characteristic] = _characteristics()
"""All BIPSO characteristics by object id."""

"""What of a device stands in one line."""

import pytest

from gateway.devices.summary import summary
from gateway.events import Resource
from gateway.model import Path, Value
from gateway.objects.registry import Registry

REGISTRY = Registry.builtin()


def resources(values: dict[Path, Value | None]) -> list[Resource]:
    return [Resource(path, value, 0.0) for path, value in sorted(values.items())]


@pytest.mark.parametrize(
    ("values", "main", "unit"),
    [
        ({Path(3303, 0, 5700): 21.5, Path(3303, 0, 5701): "Cel"}, "/3303/0/5700", "Cel"),
        ({Path(3305, 0, 5800): 4.0}, "/3305/0/5800", "W"),
        ({Path(3200, 0, 5500): True, Path(3304, 0, 5700): 40.0}, "/3304/0/5700", ""),
        ({Path(3301, 0, 5700): 1.0, Path(3303, 1, 5700): 2.0}, "/3303/1/5700", ""),
        ({Path(3, 0, 11, 0): 0, Path(3200, 0, 5500): True}, "/3200/0/5500", ""),
        ({Path(3303, 0, 5605): None, Path(3303, 0, 5601): 1.0}, None, ""),
        ({}, None, ""),
    ],
)
def test_the_main_value_is_what_people_look_for(
    values: dict[Path, Value | None], main: str | None, unit: str
) -> None:
    line = summary(resources(values), REGISTRY)
    assert (str(line.main.path) if line.main else None, line.unit) == (main, unit)


def test_battery_and_signal_are_shown_where_the_device_says_them() -> None:
    line = summary(resources({Path(3, 0, 9): 80, Path(4, 0, 2): -60}), REGISTRY)
    assert (line.battery_percent, line.rssi_dbm) == (80, -60)

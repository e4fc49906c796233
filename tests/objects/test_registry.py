"""The object definitions, and values held against them."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InvalidValue
from gateway.model import ObjLink, Operations, ResourceType, Value
from gateway.objects.registry import (
    FIRST_REUSABLE,
    ObjectDefinition,
    Registry,
    ResourceDefinition,
    coerce,
)

BUILTIN = Registry.builtin()
R, W = Operations.READ, Operations.WRITE


def resource(object_id: int, resource_id: int) -> ResourceDefinition:
    found = BUILTIN.resource(object_id, resource_id)
    assert found
    return found


def of_type(type: ResourceType, bounds: tuple[float, float] | None = None) -> ResourceDefinition:
    return ResourceDefinition(1, "Level", R | W, type, range=bounds)


def test_the_ipso_and_core_objects_come_with_the_program() -> None:
    ids = [definition.id for definition in BUILTIN.objects()]
    assert ids == sorted(ids)
    assert len(ids) == 68
    ipso = {*range(3200, 3204), *range(3300, 3351)} - {3307, 3309}
    assert set(ids) == {*range(8), 16, 19, 21, 25, 26, *ipso, 10311, 10314}


def test_an_object_is_what_the_registry_of_oma_says() -> None:
    temperature = BUILTIN.object(3303)
    assert temperature
    assert (temperature.name, temperature.urn, temperature.version, temperature.multiple) == (
        "Temperature", "urn:oma:lwm2m:ext:3303:1.1", "1.1", True,
    )  # fmt: skip
    assert list(temperature.resources) == [
        5518, 5601, 5602, 5603, 5604, 5605, 5700, 5701, 5750, 6042, 6049, 6050,
    ]  # fmt: skip
    assert temperature.resources[5700] == ResourceDefinition(
        5700, "Sensor Value", R, ResourceType.FLOAT, mandatory=True
    )
    assert temperature.resources[5605] == ResourceDefinition(
        5605, "Reset Min and Max Measured Values", Operations.EXECUTE, ResourceType.NONE
    )


def test_private_resources_ranges_units_and_instances_are_known() -> None:
    assert resource(3, 9) == ResourceDefinition(
        9, "Battery Level", R, ResourceType.INTEGER, range=(0, 100), units="/100"
    )
    assert resource(3, 11).multiple
    assert resource(3, 11).mandatory
    assert resource(3349, 5912).multiple
    assert resource(0, 0).operations is Operations.NONE
    assert resource(25, 3).type is ResourceType.CORELNK
    assert resource(26, 0).type is ResourceType.UNSIGNED
    assert resource(5, 6).range == (0, 255)
    assert resource(21, 3).name == "OSCORE AEAD Algorithm"


def test_a_reusable_resource_means_the_same_in_objects_that_do_not_list_it() -> None:
    assert resource(3336, 5514) == ResourceDefinition(5514, "Latitude", R, ResourceType.STRING)
    assert resource(3316, 5535).name == "Calibration Offset"
    assert resource(33000, 5700).type is ResourceType.FLOAT
    assert BUILTIN.resource(3303, 9) is None
    assert BUILTIN.resource(3303, 65000) is None
    assert BUILTIN.object(33000) is None


def test_every_definition_is_consistent() -> None:
    for definition in BUILTIN.objects():
        assert definition.urn.split(":")[4:] in (
            [[str(definition.id), definition.version]]
            if definition.version != "1.0"
            else [[str(definition.id)]]
        )
        assert list(definition.resources) == sorted(definition.resources)
        for entry in definition.resources.values():
            executable = entry.operations is Operations.EXECUTE
            assert executable == (entry.type is ResourceType.NONE)
            if entry.id >= FIRST_REUSABLE:
                other = resource(33000, entry.id)
                assert (entry.name, entry.type) == (other.name, other.type)


def test_a_private_resource_is_of_its_object_alone() -> None:
    registry = Registry.builtin()
    mine = {26241: ResourceDefinition(26241, "Mine", R, ResourceType.STRING)}
    registry.add(ObjectDefinition(33000, "Mine", "urn:oma:lwm2m:x:33000", "1.0", False, mine))
    assert registry.resource(33000, 26241) == mine[26241]
    assert registry.resource(3303, 26241) is None


def test_a_later_definition_replaces_the_object_but_no_reusable_meaning() -> None:
    registry = Registry.builtin()
    mine = {5700: ResourceDefinition(5700, "Mine", R, ResourceType.STRING)}
    registry.add(ObjectDefinition(3303, "Mine", "urn:oma:lwm2m:ext:3303", "1.0", False, mine))
    found = registry.resource(3303, 5700)
    assert found
    assert found.name == "Mine"
    assert registry.resource(3304, 5700) == resource(3304, 5700)
    assert registry.resource(33000, 5700) == resource(33000, 5700)
    assert BUILTIN.object(3303) != registry.object(3303)


@pytest.mark.parametrize(
    ("type", "value", "coerced"),
    [
        (ResourceType.FLOAT, 21, 21.0), (ResourceType.FLOAT, 21.5, 21.5),
        (ResourceType.INTEGER, 20.0, 20), (ResourceType.INTEGER, -(2**63), -(2**63)),
        (ResourceType.UNSIGNED, 2**64 - 1, 2**64 - 1), (ResourceType.TIME, 1.7e9, 1_700_000_000),
        (ResourceType.BOOLEAN, False, False), (ResourceType.STRING, "x", "x"),
        (ResourceType.CORELNK, "</3>", "</3>"), (ResourceType.OPAQUE, b"\0", b"\0"),
        (ResourceType.OBJLINK, ObjLink(3, 0), ObjLink(3, 0)),
    ],
)  # fmt: skip
def test_a_fitting_value_gets_exactly_the_wanted_type(
    type: ResourceType, value: Value, coerced: Value
) -> None:
    result = coerce(of_type(type), value)
    assert result == coerced
    assert result.__class__ is coerced.__class__


@pytest.mark.parametrize(
    ("type", "values"),
    [
        (ResourceType.FLOAT, [True, "21", b"", math.nan, math.inf, -math.inf, 10**400]),
        (
            ResourceType.INTEGER,
            [20.5, True, "1", 2**63, -(2**63) - 1, math.inf, math.nan, 1e300, 10**400],
        ),
        (ResourceType.UNSIGNED, [-1, 2**64, -1.0]),
        (ResourceType.TIME, ["now", 0.5]),
        (ResourceType.BOOLEAN, [0, 1, "true", 1.0]),
        (ResourceType.STRING, [1, b"x", "\ud800"]),
        (ResourceType.CORELNK, [1]),
        (ResourceType.OPAQUE, ["x", 1]),
        (ResourceType.OBJLINK, ["3:0", 3]),
        (ResourceType.NONE, [0, "", b""]),
    ],
)
def test_a_value_of_another_type_is_refused(type: ResourceType, values: list[Value]) -> None:
    for value in values:
        with pytest.raises(InvalidValue, match="Level must be"):
            coerce(of_type(type), value)


def test_a_range_bounds_numbers_and_the_octets_of_texts() -> None:
    dimmer = of_type(ResourceType.INTEGER, (0, 100))
    assert coerce(dimmer, 100) == 100
    with pytest.raises(InvalidValue, match="Level must be 0 to 100, not 101"):
        coerce(dimmer, 101)
    name = of_type(ResourceType.STRING, (1, 4))
    assert coerce(name, "öö") == "öö"
    with pytest.raises(InvalidValue, match="Level must be 1 to 4 octets, not 5"):
        coerce(name, "öö1")
    assert coerce(of_type(ResourceType.BOOLEAN, (5, 6)), True) is True


@given(
    st.sampled_from(ResourceType),
    st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
    st.none() | st.just((0, 3)),
)
def test_any_value_fits_or_is_refused(
    type: ResourceType, value: Value, bounds: tuple[float, float] | None
) -> None:
    definition = of_type(type, bounds)
    try:
        coerced = coerce(definition, value)
    except InvalidValue:
        return
    assert coerce(definition, coerced) == coerced == value

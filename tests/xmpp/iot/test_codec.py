"""Fields, requests and answers of the dialect, as its documents and schemas show them."""

import contextlib
import xml.etree.ElementTree as ET
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.xmpp.errors import StanzaError
from adapters.xmpp.iot import dialect, parameters, readout
from adapters.xmpp.iot.fields import Field, fields, interfaces
from adapters.xmpp.iot.parameters import Parameter
from adapters.xmpp.iot.readout import Node, Query
from gateway.errors import InvalidValue
from gateway.events import Resource
from gateway.model import Path, Value
from gateway.objects.registry import Registry
from tests.fakes import STATION

REGISTRY = Registry.builtin()
NOW = 1_795_217_136.241
SPACE = "urn:nf:iot:sd:1.0"
SD, CTR = f"{{{SPACE}}}", "{urn:nf:iot:ctr:1.0}"


def known(values: Mapping[str, Value | None], *, writable: bool = False) -> list[Field]:
    resources = [Resource(Path.parse(path), value, NOW) for path, value in values.items()]
    return fields(resources, REGISTRY, lambda _: writable)


def written(values: Mapping[str, Value | None], *, writable: bool = False) -> list[ET.Element]:
    """The fields of the answer to a request for everything."""
    node = Node(STATION, tuple(known(values, writable=writable)), doubtful=False)
    (answer,) = readout.responses(Query("1", SPACE, (STATION,)), [node])
    return list(answer.iter(f"{SD}ts"))


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("3303/0/5700", 21.5, "q Temperature m 21.5 °C"),
        ("3304/0/5700", 45.0, "q Relative Humidity m 45 %"),
        ("3301/0/5700", 300.0, "q Illuminance m 300"),
        ("3331/0/5805", 12.5, "q Energy m 12.5 Wh"),
        ("3305/0/5800", 12.5, "q Power m 12.5 W"),
        ("3302/0/5500", True, "b State s true"),
        ("3200/0/5501", 7, "l Counter m 7"),
        ("3311/0/5850", False, "b Lamp m false"),
        ("3311/0/5851", 30, "i Dimmer m 30"),
        ("3/0/9", 80, "q Battery Charge s 80 %"),
        ("4/0/2", -60, "q Radio, Signal Strength s -60 dBm"),
        ("3/0/0", "Acme", "s Manufacturer i Acme"),
        ("3/0/1", "X1", "s Device ID i X1"),
        ("3/0/11/2", 3, "i Error Code 2 s 3"),
        ("3/0/13", 1_795_217_136, "dt Current Time s 2026-11-20T23:25:36.000Z"),
        ("3303/0/5601", 18.0, "q Temperature, Min p 18 °C"),
        ("3303/0/5604", 90.0, "q Temperature, Max Range s 90 °C"),
        ("3303/0/5701", "Cel", "s Sensor Units s Cel"),
        ("3300/0/5700", 1.5, "q Sensor Value m 1.5"),
    ],
)
def test_each_resource_is_the_field_that_the_harmonised_interfaces_name(
    path: str, value: Value, expected: str
) -> None:
    ((field,),) = written({path: value})
    (category,) = set(field.attrib) & set(readout.CATEGORIES)
    kind = field.tag.removeprefix(SD)
    shown = [kind, field.get("n"), category, field.get("v"), field.get("u")]
    assert " ".join(filter(None, shown)) == expected
    assert field.get("ar") == "true"
    assert field.find(f"{SD}x").get("path") == path  # type: ignore[union-attr]


def test_a_unit_that_the_device_says_is_kept() -> None:
    listed = known({"3303/0/5700": 300.0, "3303/0/5701": "K", "3323/0/5700": 1.0})
    assert [f.unit for f in listed] == ["K", "", ""]


def test_a_name_that_several_would_have_is_given_to_none() -> None:
    values = {"3303/0/5700": 1.0, "3303/1/5700": 2.0, "3201/0/5550": True, "3306/0/5850": True}
    listed = known(values)
    assert [field.name for field in listed] == [
        "Temperature, Temperature 0",
        "Temperature, Temperature 1",
        "Digital Output, Digital Output 0",
        "Digital Output, Actuation 0",
    ]
    assert interfaces(listed) == []
    assert interfaces(known({"3303/1/5700": 1.0, "3/0/9": 5, "4/0/2": -60})) == [
        "identity:battery",
        "sensor:temperature",
    ]


def test_keys_and_executables_are_no_fields() -> None:
    assert known({"0/0/5": b"secret", "3303/0/5605": None, "3312/0/60000": 1}) == []


def test_fields_of_one_time_stand_together_oldest_first() -> None:
    listed = [
        Resource(Path(3303, 0, 5700), 21.5, NOW),
        Resource(Path(3304, 0, 5700), 40.0, NOW - 60),
        Resource(Path(3301, 0, 5700), 5.0, NOW, restored=True),
    ]
    node = Node(STATION, tuple(fields(listed, REGISTRY, lambda _: False)), doubtful=False)
    (answer,) = readout.responses(Query("1", SPACE, (STATION,)), [node])
    times = [(ts.get("v"), [f.get("n") for f in ts]) for ts in answer.iter(f"{SD}ts")]
    assert times == [
        ("2026-11-20T23:24:36.241Z", ["Relative Humidity"]),
        ("2026-11-20T23:25:36.241Z", ["Temperature", "Illuminance"]),
    ]
    assert [f.get("w") for f in answer.iter(f"{SD}q")] == [None, None, "true"]


def asked(attributes: str, inside: str = "") -> Query:
    return readout.parse(ET.fromstring(f"<req xmlns='{SPACE}' {attributes}>{inside}</req>"), NOW)


EVERYTHING = {"Temperature", "Temperature, Min", "Manufacturer", "Lamp"}


@pytest.mark.parametrize(
    ("attributes", "inside", "names"),
    [
        ("", "", EVERYTHING),
        ("all='true'", "", EVERYTHING),
        ("m='true'", "", {"Temperature", "Lamp"}),
        ("p='1' i='true' m='false'", "", {"Temperature, Min", "Manufacturer"}),
        ("m='true'", "<f n='Lamp'/><f n='Manufacturer'/><f n='none'/>", {"Lamp"}),
        ("from='2026-11-20T23:25:37Z'", "", set()),
        ("to='2026-11-21T00:25:36.5+01:00'", "", EVERYTHING),
        ("h='true'", "", set()),
    ],
)
def test_categories_names_and_times_narrow_a_request(
    attributes: str, inside: str, names: set[str]
) -> None:
    query = asked(f"id='7' {attributes}", inside)
    listed = known({"3303/0/5700": 21.5, "3303/0/5601": 18.0, "3/0/0": "Acme", "3311/0/5850": True})
    assert {f.name for f in listed if query.wants(f)} == names


@pytest.mark.parametrize(
    "broken",
    [
        "",
        "id=''",
        "id='1' m='yes'",
        "id='1' from='yesterday'",
        f"id='{'x' * 201}'",
    ],
)
def test_a_request_that_breaks_the_schema_is_a_bad_request(broken: str) -> None:
    with pytest.raises(StanzaError, match="bad-request"):
        asked(broken)


def test_what_we_cannot_have_is_refused_by_its_own_condition() -> None:
    with pytest.raises(StanzaError, match="feature-not-implemented"):
        asked("id='1' when='2030-01-01T00:00:00Z'")
    with pytest.raises(StanzaError, match="item-not-found"):
        asked("id='1'", "<nd id='x' src='MeteringTopology'/>")
    with pytest.raises(StanzaError, match="resource-constraint"):
        asked("id='1'", "".join(f"<nd id='{i}'/>" for i in range(dialect.MAX_NODES + 1)))


def test_a_long_answer_comes_in_parts_of_which_the_last_says_so() -> None:
    values: dict[str, Value | None] = {f"3303/{i}/5750": "<&>" * 200 for i in range(500)}
    values["3/0/1"] = "x" * 300_000
    nodes = [Node(STATION, tuple(known(values)), doubtful=False)] * 2
    parts = list(readout.responses(Query("1", SPACE, ()), nodes))
    assert [part.get("more") for part in parts] == ["true"] * (len(parts) - 1) + [None]
    assert all(len(ET.tostring(part)) < 150_000 for part in parts)
    assert sum(len(list(part.iter(f"{SD}s"))) for part in parts) == 1_000
    errors = {error.text for part in parts for error in part.iter(f"{SD}err")}
    assert errors == {"Device ID: the value is too long"}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("PT1S", 1), ("PT0.5S", 0.5), ("P1DT2H3M", 93_780), ("P1Y2M", 36_720_000)],
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert dialect.duration_s(text) == seconds


@pytest.mark.parametrize("text", ["", "P", "PT", "1", "PT1", "-PT1S", "PT1S "[::-1]])
def test_other_durations_are_malformed(text: str) -> None:
    with pytest.raises(StanzaError):
        dialect.duration_s(text)


@pytest.mark.parametrize(
    ("kind", "text", "path", "expected"),
    [
        ("b", "true", "3311/0/5850", True),
        ("b", "0", "3311/0/5850", False),
        ("i", "45", "3311/0/5851", 45),
        ("db", "45.0", "3311/0/5851", 45),
        ("l", "1", "3203/0/5650", 1.0),
        ("db", "1e-1", "3203/0/5650", 0.1),
        ("s", "hall", "3311/0/5750", "hall"),
        ("dt", "2026-11-20T23:25:36Z", "3/0/13", 1_795_217_136),
        ("", "1795217136", "3/0/13", 1_795_217_136),
        ("", "true", "3311/0/5850", True),
        ("", "45", "3311/0/5851", 45),
    ],
)
def test_a_parameter_is_the_value_that_its_resource_wants(
    kind: str, text: str, path: str, expected: Value
) -> None:
    (field,) = known({path: None}, writable=True)
    read = parameters.value(Parameter(field.name, kind, text), field.definition)
    assert (read, type(read)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("kind", "text", "path"),
    [
        ("s", "true", "3311/0/5850"),
        ("b", "on", "3311/0/5850"),
        ("i", "101", "3311/0/5851"),
        ("db", "45.5", "3311/0/5851"),
        ("db", "INF", "3203/0/5650"),
        ("dt", "now", "3/0/13"),
        ("cl", "ff0000", "3311/0/5851"),
    ],
)
def test_a_parameter_of_another_type_is_refused(kind: str, text: str, path: str) -> None:
    (field,) = known({path: None}, writable=True)
    with pytest.raises(InvalidValue):
        parameters.value(Parameter(field.name, kind, text), field.definition)


TAGS = st.sampled_from([f"{SD}nd", f"{SD}f", f"{SD}x", f"{CTR}nd", f"{CTR}b", f"{CTR}i", "x"])
ATTRIBUTES = st.dictionaries(
    st.sampled_from(["id", "src", "n", "v", "m", "all", "from", "to", "when"]), st.text(max_size=8)
)
CHILDREN = st.lists(st.builds(ET.Element, TAGS, ATTRIBUTES), max_size=4)


@given(st.sampled_from([f"{SD}req", f"{CTR}set"]), ATTRIBUTES, CHILDREN)
def test_no_request_of_odd_shape_raises_anything_but_a_refusal(
    tag: str, attributes: dict[str, str], children: list[ET.Element]
) -> None:
    element = ET.Element(tag, attributes)
    element.extend(children)
    with contextlib.suppress(StanzaError):
        readout.parse(element, NOW)
    with contextlib.suppress(StanzaError, InvalidValue):
        for parameter in parameters.parse_set(element)[1]:
            (field,) = known({"3311/0/5851": 1})
            parameters.value(parameter, field.definition)

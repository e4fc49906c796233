"""What the items hold, byte by byte where it matters to subscribers."""

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.xmpp import payload
from gateway.events import Availability, Device, Resource, State
from gateway.formats.senml import Record, from_xml, to_xml
from gateway.model import Path, Value, urn
from gateway.objects.registry import Registry
from tests.fakes import STATION

REGISTRY = Registry.builtin()
NOW = 1_795_217_136.241
BASE = "urn:dev:mac:0024befffe804ff1/"
DEVICE = Device(
    STATION, "weather", "Station", "ble", Availability(State.ONLINE, "connected", NOW - 9), NOW - 1
)


def resources(values: Mapping[str, Value | None], at: float = NOW) -> list[Resource]:
    return [Resource(Path.parse(path), value, at) for path, value in values.items()]


def pack(item: str, values: Mapping[str, Value | None]) -> payload.Pack:
    made = payload.values(urn(STATION), item, resources(values), REGISTRY)
    assert made is not None
    return made


def attributes(made: payload.Pack) -> list[dict[str, str]]:
    return [dict(record.attrib) for record in made.xml]


def test_an_instance_is_written_as_the_specification_shows_it() -> None:
    made = pack(
        "3303/0",
        {"3303/0/5700": 21.5, "3303/0/5601": 18.2, "3303/0/5602": 24.9, "3303/0/5701": "Cel"},
    )
    assert made.xml.tag == "{urn:ietf:params:xml:ns:senml}sensml"
    assert attributes(made) == [
        {"bn": f"{BASE}3303/0/", "bt": "1795217136.241", "n": "5700", "u": "Cel", "v": "21.5"},
        {"n": "5601", "u": "Cel", "v": "18.2"},
        {"n": "5602", "u": "Cel", "v": "24.9"},
        {"n": "5701", "vs": "Cel"},
    ]
    assert made.omitted == ()


@pytest.mark.parametrize(
    ("path", "value", "expected"),
    [
        ("3312/0/5850", True, {"n": "5850", "vb": "true"}),
        ("3/0/9", 87, {"n": "9", "v": "87"}),
        ("3/0/11/0", 0, {"n": "11/0", "v": "0"}),
        ("3/0/13", 1_795_000_000, {"n": "13", "v": "1795000000"}),
        ("3/0/1", 'a<b>"&\u00e9', {"n": "1", "vs": 'a<b>"&\u00e9'}),
        ("3/0/10", 2**63 - 1, {"n": "10", "v": "9223372036854775807"}),
    ],
)
def test_each_type_is_written_in_its_field(path: str, value: Value, expected: object) -> None:
    record = attributes(pack(payload.item_id(Path.parse(path), "device"), {path: value}))[0]
    assert {k: v for k, v in record.items() if k not in {"bn", "bt", "u"}} == expected


def test_a_unit_that_senml_does_not_know_stays_in_5701_only() -> None:
    made = pack("3303/0", {"3303/0/5700": 1.0, "3303/0/5701": "furlong"})
    assert "u" not in attributes(made)[0]
    assert attributes(made)[1]["vs"] == "furlong"


def test_records_of_different_age_keep_their_own_time() -> None:
    listed = [
        Resource(Path(3303, 0, 5700), 21.5, NOW),
        Resource(Path(3303, 0, 5601), 18.0, NOW - 3600.5),
    ]
    made = payload.values(urn(STATION), "3303/0", listed, REGISTRY)
    assert made is not None
    times = [record.time for record in from_xml(ET.tostring(made.xml), now=0.0)]
    assert times == [NOW, NOW - 3600.5]


def test_time_is_left_out_while_the_clock_is_not_set() -> None:
    for listed in (
        resources({"3303/0/5700": 21.5}, at=12.0),
        [Resource(Path(3303, 0, 5700), 21.5, NOW, untimed=True)],
    ):
        made = payload.values(urn(STATION), "3303/0", listed, REGISTRY)
        assert made is not None
        assert attributes(made) == [{"bn": f"{BASE}3303/0/", "n": "5700", "v": "21.5"}]
    status = payload.status(urn(STATION), DEVICE, None, None)
    assert said(status)["clock"] == "not set"
    assert not any("bt" in record for record in attributes(status))


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"3303/0/5605": None},  # executable
        {"3312/0/60000": 1},  # defined nowhere
    ],
)
def test_an_instance_without_anything_readable_has_no_item(values: Mapping[str, Value]) -> None:
    assert payload.values(urn(STATION), "3303/0", resources(values), REGISTRY) is None


def test_keys_are_never_published() -> None:
    listed = resources({"0/0/5": b"secret", "23/0/1": b"secret", "3303/0/5700": 1.0})
    assert payload.item_ids(listed, "device") == ["3303/0"]


def test_a_pack_stays_below_the_limit_by_leaving_out_the_longest_record() -> None:
    made = pack("3/0", {"3/0/0": "Acme", "3/0/1": "<" * 20_000, "3/0/2": "x" * 33_000})
    assert [record["n"] for record in attributes(made)] == ["0"]
    assert made.omitted == (f"{BASE}3/0/1", f"{BASE}3/0/2")


def test_a_pack_of_very_many_long_records_is_filled_quickly() -> None:
    listed = resources({f"3303/{i}/5750": "<&>" * (i % 90) for i in range(1_000)})
    with pytest.MonkeyPatch.context() as patch:
        calls: list[int] = []

        def counting(records: Iterable[Record], base: str = "") -> str:
            records = list(records)
            calls.append(len(records))
            return to_xml(records, base)

        patch.setattr("adapters.xmpp.payload.to_xml", counting)
        made = payload.values(urn(STATION), payload.STATE, listed, REGISTRY)
    assert made is not None
    assert sum(calls) < 10 * len(listed)
    size = len(ET.tostring(made.xml))
    assert payload.MAX_PACK_BYTES / 2 < size <= payload.MAX_PACK_BYTES + 100
    assert len(made.xml) + len(made.omitted) == len(listed)


def test_a_text_that_xml_cannot_hold_is_left_out() -> None:
    made = pack("3/0", {"3/0/0": "Ac\x00me", "3/0/3": "1.0"})
    assert [record["n"] for record in attributes(made)] == ["3"]
    assert made.omitted == (f"{BASE}3/0/0",)


@settings(suppress_health_check=[HealthCheck.too_slow])  # the first text loads a table of Unicode
@given(st.dictionaries(st.integers(0, 30), st.text(max_size=40) | st.integers() | st.booleans()))
def test_whatever_a_device_says_the_pack_can_be_read_again(values: dict[int, Value]) -> None:
    listed = resources({f"3/0/{n}": value for n, value in values.items()})
    if made := payload.values(urn(STATION), "3/0", listed, REGISTRY):
        records = from_xml(ET.tostring(made.xml), now=0.0) if len(made.xml) else []
        assert {r.name for r in records}.isdisjoint(made.omitted)


def said(made: payload.Pack) -> dict[str, object]:
    return {r.name.removeprefix(BASE): r.value for r in from_xml(ET.tostring(made.xml), now=0.0)}


def test_the_status_says_whether_since_when_and_why() -> None:
    assert said(payload.status(urn(STATION), DEVICE, -60, NOW)) == {
        "online": True,
        "state": "online",
        "reason": "connected",
        "last_seen": NOW - 1,
        "rssi": -90,
    }


def test_the_status_of_a_device_that_was_removed_says_left() -> None:
    assert said(payload.status(urn(STATION), None, None, NOW)) == {
        "online": False,
        "state": "offline",
        "reason": "left",
    }


def test_meta_and_directory_say_what_a_device_is() -> None:
    listed = resources({"3/0/0": "Acme", "3/0/3": "1.2", "3303/0/5700": 1.0, "3303/1/5700": 2.0})
    assert said(payload.meta(urn(STATION), DEVICE, listed, NOW)) == {
        "name": "Station",
        "prefix": "weather",
        "adapter": "ble",
        "manufacturer": "Acme",
        "firmware": "1.2",
        "objects": "</3/0>,</3303/0>,</3303/1>",
    }
    entry = said(payload.directory_entry(DEVICE, "iot/gateway/x", listed, NOW))
    assert entry["node"] == "iot/gateway/x"
    assert entry["objects"] == "3 3303"
    assert entry["online"] is True

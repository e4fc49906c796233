"""Notification attributes: what may be asked, what is refused, what holds where."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.coap.attributes import NONE, Attached, Attributes, in_force, requested
from gateway.errors import Busy, InvalidValue
from gateway.model import DeviceId, Path, ResourceType
from tests.vectors import LWM2M

VECTORS = [v for v in LWM2M if v["area"] == "attributes" or v["id"].startswith("cond-")]
LAMP = DeviceId("sim:00124b0001020304")
OTHER = DeviceId("sim:00124b0001020305")
FLOAT, BOOLEAN = ResourceType.FLOAT, ResourceType.BOOLEAN
VALUE = Path(3303, 0, 5700)


@pytest.fixture
def attached() -> Attached:
    return Attached()


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["id"])
def test_queries_of_the_specifications_are_taken_or_refused(
    vector: dict[str, str], attached: Attached
) -> None:
    query = vector["query"].split("&")
    path = Path.parse(vector.get("path", "/3303/0/5700"))
    type = FLOAT if path.resource is not None else None

    def use() -> None:
        if "path" in vector:
            attached.write(LAMP, path, query, type)
        requested(query, type)

    if vector["expect_code"] == "2.04":
        use()
        assert list(attached.at(LAMP, path).parameters())
    else:
        with pytest.raises(InvalidValue):
            use()


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("pmin=-1", "pmin cannot be '-1'"),
        ("pmin=1.5", "pmin cannot be"),
        ("pmin=", "pmin cannot be ''"),
        ("pmin=٣", "pmin cannot be"),
        ("pmin=1&pmin=1", "pmin stands twice"),
        ("gt=1e3", "gt cannot be"),
        ("gt=.5", "gt cannot be"),
        ("gt=+5", "gt cannot be"),
        ("gt=nan", "gt cannot be"),
        ("gt=inf", "gt cannot be"),
        ("st=0", "st must be above 0"),
        ("lt=5&gt=5", "lt must be below gt"),
        ("lt=0.7&st=0.1&gt=0.9", "lt must be below gt"),
        ("epmin=5&epmax=5", "epmin must be below epmax"),
        ("con=2", "con cannot be '2'"),
        ("con=true", "con cannot be"),
        ("hqmax=-1", "hqmax cannot be"),
        ("edge=1", "edge is for one resource that is true or false"),
        ("band", "'band' is not known"),
        ("", "'' is not known"),
        ("PMIN=1", "'PMIN' is not known"),
        ("pmin=5&c.gt=3", "'c.gt' is not known"),
    ],
)
def test_malformed_and_inconsistent_attributes_are_refused_with_the_reason(
    query: str, reason: str, attached: Attached
) -> None:
    text = reason.replace(".", r"\.")
    with pytest.raises(InvalidValue, match=text):
        attached.write(LAMP, VALUE, query.split("&"), FLOAT)
    with pytest.raises(InvalidValue, match=text):
        requested(query.split("&"), FLOAT)
    assert attached.at(LAMP, VALUE) == NONE


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("c.pmin=-1", "c.pmin must be above 0"),
        ("c.pmax=0", "c.pmax must be above 0"),
        ("c.epmin=0", "c.epmin must be above 0"),
        ("c.epmax=0.0", "c.epmax must be above 0"),
        ("c.pmin=5&c.pmax=4.9", "c.pmax must not be below c.pmin"),
        ("c.epmin=5&c.epmax=5", "c.epmax must be above c.epmin"),
        ("c.st=-1", "st must be above 0"),
        ("c.band", "c.band needs c.gt or c.lt"),
        ("c.band=1&c.gt=5", "c.band cannot be '1'"),
        ("c.gt", "c.gt cannot be ''"),
        ("c.gt=1e3", "c.gt cannot be"),
        ("c.gt=5&pmin=3", "'c.gt' is not known"),
        ("c.hqmax=3", "'c.hqmax' is not known"),
        ("c.edge=1", "edge is for one resource that is true or false"),
        ("c.con=2", "c.con cannot be '2'"),
        ("c.gt=1&c.gt=2", "c.gt stands twice"),
    ],
)
def test_malformed_conditional_parameters_are_refused_with_the_reason(
    query: str, reason: str
) -> None:
    with pytest.raises(InvalidValue, match=reason.replace(".", r"\.")):
        requested(query.split("&"), FLOAT)


@pytest.mark.parametrize("query", ["gt=1", "lt=1", "st=1", "c.gt=1", "c.band&c.lt=1", "edge=0"])
def test_conditions_on_values_need_one_resource_of_their_type(query: str) -> None:
    wrong = [None, ResourceType.STRING, ResourceType.OPAQUE, ResourceType.NONE]
    for type in [*wrong, FLOAT if query == "edge=0" else BOOLEAN]:
        with pytest.raises(InvalidValue, match="is for one resource"):
            requested(query.split("&"), type)


def test_both_dialects_ask_for_the_same() -> None:
    plain = "pmin=1 pmax=5 gt=8.5 lt=-5 st=0.5 epmin=2 epmax=3 con=1"
    draft = "c.pmin=1 c.pmax=5 c.gt=+8.5 c.lt=-5. c.st=.5 c.epmin=2.0 c.epmax=3 c.con=true"
    wanted = Attributes(pmin=1, pmax=5, gt=8.5, lt=-5, st=0.5, epmin=2, epmax=3, con=True)
    for query in (plain, draft):
        assert requested(query.split(), FLOAT) == wanted
    assert requested(["edge=0"], BOOLEAN) == requested(["c.edge=0"], BOOLEAN)
    assert requested(["hqmax=3"], FLOAT) == Attributes(hqmax=3)
    band = requested(["c.band", "c.gt=30", "c.lt=20"], FLOAT)
    assert band == Attributes(gt=30, lt=20, band=True)


def test_an_observe_without_query_asks_for_nothing_of_its_own() -> None:
    assert requested([], FLOAT) is None


def test_an_observe_cannot_take_an_attribute_back() -> None:
    with pytest.raises(InvalidValue, match="pmin cannot be ''"):
        requested(["pmin"], FLOAT)


def test_tiny_periods_are_rounded_up() -> None:
    assert requested(["c.pmin=0.001", "c.pmax=0.01"], FLOAT) == Attributes(pmin=0.1, pmax=0.1)


def test_a_lower_level_overrides_what_it_inherits(attached: Attached) -> None:
    attached.write(LAMP, Path(3303), ["pmax=60", "con=1"], None)
    attached.write(LAMP, Path(3303, 0), ["pmin=10", "epmin=2"], None)
    attached.write(LAMP, VALUE, ["pmin=1", "pmax=3"], FLOAT)
    assert list(attached.effective(LAMP, Path(3303, 0)).parameters()) == [
        ("pmin", "10"), ("pmax", "60"), ("epmin", "2"), ("con", "1"),
    ]  # fmt: skip
    assert attached.effective(LAMP, VALUE) == Attributes(pmin=1, pmax=3, epmin=2, con=True)
    assert attached.effective(LAMP, Path(*VALUE, 0)) == attached.effective(LAMP, VALUE)
    assert attached.at(LAMP, VALUE) == Attributes(pmin=1, pmax=3)
    assert attached.effective(LAMP, Path(3303, 1)) == Attributes(pmax=60, con=True)
    assert attached.effective(OTHER, VALUE) == NONE


def test_zero_and_false_override_too(attached: Attached) -> None:
    attached.write(LAMP, Path(3303), ["pmin=60", "con=1"], None)
    attached.write(LAMP, VALUE, ["pmin=0", "con=0"], FLOAT)
    assert attached.effective(LAMP, VALUE) == Attributes(pmin=0, con=False)


def test_a_name_without_value_takes_back_what_was_attached(attached: Attached) -> None:
    attached.write(LAMP, Path(3303), ["pmin=5"], None)
    attached.write(LAMP, VALUE, ["pmin=10", "gt=42.2"], FLOAT)
    attached.write(LAMP, VALUE, ["pmin", "lt=4"], FLOAT)
    assert list(attached.at(LAMP, VALUE).parameters()) == [("gt", "42.2"), ("lt", "4")]
    assert attached.effective(LAMP, VALUE).pmin == 5


def test_new_attributes_must_go_with_those_already_attached(attached: Attached) -> None:
    attached.write(LAMP, VALUE, ["lt=5", "gt=10"], FLOAT)
    with pytest.raises(InvalidValue, match="lt must be below gt"):
        attached.write(LAMP, VALUE, ["pmin=3", "st=2.5"], FLOAT)
    assert attached.at(LAMP, VALUE) == Attributes(lt=5, gt=10)
    attached.write(LAMP, VALUE, ["lt", "st=2.5"], FLOAT)


def test_what_is_attached_has_a_bound() -> None:
    attached = Attached(limit=1)
    attached.write(LAMP, VALUE, ["pmin=1"], FLOAT)
    attached.write(LAMP, VALUE, ["pmin=2"], FLOAT)
    with pytest.raises(Busy):
        attached.write(LAMP, Path(3303), ["pmin=1"], None)
    attached.write(LAMP, VALUE, ["pmin"], FLOAT)
    attached.write(LAMP, Path(3303), ["pmin=1"], None)


def test_attributes_go_with_their_device_or_instance(attached: Attached) -> None:
    for device in (LAMP, OTHER):
        attached.write(device, Path(3303), ["pmin=5"], None)
        attached.write(device, VALUE, ["gt=5"], FLOAT)
    attached.forget(LAMP, Path(3303, 0))
    assert attached.effective(LAMP, VALUE) == Attributes(pmin=5)
    attached.forget(LAMP)
    assert attached.effective(LAMP, VALUE) == NONE
    assert attached.effective(OTHER, VALUE) == Attributes(pmin=5, gt=5)


@pytest.mark.parametrize(
    ("attributes", "working"),
    [
        (NONE, Attributes(pmin=2, pmax=30)),
        (Attributes(pmin=0, pmax=0), NONE),
        (Attributes(pmin=60), Attributes(pmin=60)),
        (Attributes(pmin=30), Attributes(pmin=30, pmax=30)),
        (Attributes(pmin=9, pmax=3, gt=1), Attributes(pmin=9, gt=1)),
        (Attributes(epmin=0, epmax=0), Attributes(pmin=2, pmax=30)),
    ],
)
def test_defaults_of_the_server_hold_where_nothing_else_does(
    attributes: Attributes, working: Attributes
) -> None:
    assert in_force(attributes, default_pmin=2, default_pmax=30) == working


NAMES = st.sampled_from(["pmin", "pmax", "gt", "lt", "st", "edge", "con", "epmin", "hqmax", "band"])
SIGNS = st.sampled_from(["c.", "=", "0", "1", "5", "-", ".", "e", "\x00", "٣"])


@given(
    st.lists(st.lists(NAMES | SIGNS, max_size=5).map("".join) | st.text(max_size=8), max_size=5),
    st.none() | st.sampled_from(ResourceType),
)
def test_any_query_is_taken_or_refused(query: list[str], type: ResourceType | None) -> None:
    attached = Attached()
    with suppress(InvalidValue):
        requested(query, type)
    with suppress(InvalidValue):
        attached.write(LAMP, VALUE, query, type)
    written = attached.at(LAMP, VALUE)
    assert in_force(in_force(written)) == in_force(written)
    again = Attached()
    again.write(LAMP, VALUE, [f"{name}={value}" for name, value in written.parameters()], type)
    assert again.at(LAMP, VALUE) == written

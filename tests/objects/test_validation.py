"""Each thing that can be wrong with a server's objects is found, named and placed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.formats.linkformat import Link, parse
from gateway.model import ObjLink, Path, Value
from gateway.objects.registry import Registry
from gateway.objects.validation import Kind, Probe, Tree, check, check_gateway, check_server, needed

BUILTIN = Registry.builtin()

DEVICE: dict[str, Value] = {"/3/0/11/0": 0, "/3/0/16": "U"}
LINKS = "</3>;ver=1.2,</3/0/4>;if=core.a,</3303>;ver=1.1,</3303/0/5700>;rt=urn:oma:lwm2m:ext:3303"
FINE = DEVICE | {"/3303/0/5700": 21.5, "/3303/0/5701": "Cel"}
MANY = 5_000 * "9"
REBOOT = {Path(3, 0, 4): Probe.NOT_ALLOWED}


def tree(
    values: dict[str, Value],
    links: str = LINKS,
    probes: dict[Path, Probe] = REBOOT,
    prefix: str = "",
) -> Tree:
    return Tree(prefix, linked(links), {Path.parse(p): v for p, v in values.items()}, probes)


def linked(text: str) -> dict[Path, Link]:
    return {Path.parse(link.target): link for link in parse(text)}


def told(found: Tree) -> list[str]:
    return [f"{f.path} {f.kind.value}: {f.text}" for f in check(found, BUILTIN)]


def test_what_is_as_defined_has_no_findings() -> None:
    assert told(tree(FINE)) == []
    assert needed(tree(FINE, probes={}), BUILTIN) == [Path(3, 0, 4)]


@pytest.mark.parametrize(
    ("values", "finding"),
    [
        ({"/3303/0/5700": "warm"}, "/3303/0/5700 wrong type: Sensor Value must be a float, not 'w"),
        ({"/3/0/9": 101}, "/3/0/9 out of range: Battery Level must be 0 to 100, not 101"),
        ({"/3303/0/5603": 30.0}, "/3303/0/5700 out of range: 21.5 is outside what 5603 and 5604"),
        ({"/3303/0/5603": 30.0, "/3303/0/5604": 3.0}, "/3303/0 out of range: the lowest possible"),
        ({"/3/1/16": "U", "/3/1/11/0": 0}, "/3/1 wrong cardinality: Device is a single object"),
        ({"/3303/0/5700/0": 1.0}, "/3303/0/5700/0 wrong cardinality: Sensor Value is single"),
        ({"/3/0/11": 0}, "/3/0/11 wrong cardinality: Error Code is multiple"),
        ({"/4000/0/1": 1}, "/4000 unknown object: no definition has this object"),
        ({"/3303/0/5850": True}, "/3303/0/5850 unknown resource: Temperature 1.1 has no reso"),
        ({"/3303/0/77": 1}, "/3303/0/77 unknown resource: Temperature 1.1 has no resource 77"),
        ({"/3303/1/5701": "C"}, "/3303/1/5700 missing: Sensor Value is mandatory"),
        ({"/3303/0/5605": ""}, "/3303/0/5605 wrong operation: Reset Min and Max Measured"),
    ],
)  # fmt: skip
def test_values_and_paths_are_held_against_the_definition(
    values: dict[str, Value], finding: str
) -> None:
    (first, *_) = [line for line in told(tree(FINE | values)) if line.startswith(finding)]
    assert first


def test_what_stands_in_the_private_range_is_no_deviation() -> None:
    assert told(tree(FINE | {"/3303/0/26241": "anything"}, probes=REBOOT)) == []


@pytest.mark.parametrize(
    ("probes", "finding"),
    [
        ({Path(3, 0, 4): Probe.ABSENT}, "/3/0/4 missing: Reboot is mandatory"),
        ({Path(3, 0, 4): Probe.ANSWERED}, "/3/0/4 wrong operation: Reboot cannot be read, but"),
        (
            REBOOT | {Path(3303, 0, 5601): Probe.NOT_ALLOWED},
            "/3303/0/5601 wrong operation: Min Measured Value is readable, but a GET is answered",
        ),
        (REBOOT | {Path(3303, 0, 5601): Probe.UNCLEAR}, "/3303/0/5601 unreadable: Min Measured"),
    ],
)  # fmt: skip
def test_what_a_get_was_answered_with_tells_of_operations(
    probes: dict[Path, Probe], finding: str
) -> None:
    assert [line for line in told(tree(FINE, probes=probes)) if line.startswith(finding)]


@pytest.mark.parametrize(
    ("link", "finding"),
    [
        ("</3303/0>", "/3303 wrong link: no ver=1.1 on the object's link"),
        ("</25>,</25/0>", "/25 wrong link: no ver=2.0 on the object's link"),
        ("</3303>;ver=2.7", "/3303 unknown object: version 2.7: held against 1.1"),
        ("</3303>;ver=1.1,</3303/0/5700>;ver=1.1", "/3303/0/5700 wrong link: ver belongs on"),
        ("</3303>;ver=1.1;rt=urn:oma:lwm2m:ext:3304", "/3303 wrong link: rt names object 3304"),
        ('</3303>;ver=1.1;ct="0 json"', "/3303 wrong link: ct holds 'json'"),
        ("</3>;ver=1.2,</3/0/11>;dim=2", "/3/0/11 wrong link: dim is 2, but there are 1"),
        (f"</3>;ver=1.2,</3/0/11>;dim={MANY}", "/3/0/11 wrong link: dim is 999"),
        (f'</3303>;ver=1.1;ct="0 {MANY}"', "/3303 wrong link: ct holds '999"),
        ("</3>;ver=1.2,</3/0/4>;obs", "/3/0/4 wrong link: obs, but Reboot cannot be read"),
        ("</3>;ver=1.2,</3/0/4>;if=core.s", "/3/0/4 wrong link: if says that it is read"),
        ("</3>;ver=1.2,</3/0/16>;if=core.p", "/3/0/16 wrong link: if says that it is set"),
    ],
)
def test_link_attributes_are_held_against_the_definition(link: str, finding: str) -> None:
    assert [line for line in told(tree(FINE, link)) if line.startswith(finding)]


def test_a_link_that_leads_nowhere_is_missing() -> None:
    probes = REBOOT | {Path(3303, 0, 5605): Probe.ABSENT}
    assert "/3303/0/5605 missing: a link leads here, but 4.04 is answered" in told(
        tree(FINE, LINKS + ",</3303/0/5605>", probes)
    )


paths = st.lists(
    st.sampled_from([0, 1, 3, 4, 11, 25, 3303, 5605, 5700, 5850, 65534]), min_size=1, max_size=4
).map(lambda ids: Path(*ids))
values = st.one_of(
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.builds(ObjLink, st.integers(0, 0xFFFF), st.integers(0, 0xFFFF)),
)
attributes = st.dictionaries(
    st.sampled_from(["ver", "rt", "if", "ct", "obs", "dim", "title"]),
    st.text()
    | st.sampled_from(["core.a", "1.1", "urn:oma:lwm2m:ext:3303", f"urn:oma:lwm2m:x:{MANY}"]),
)


@given(
    st.dictionaries(paths, attributes.map(lambda a: Link("", a))),
    st.dictionaries(paths.filter(lambda p: len(p) > 2), values),
    st.dictionaries(paths.filter(lambda p: len(p) > 2), st.sampled_from(Probe)),
    st.text() | st.just(MANY),
)
def test_whatever_a_server_shows_is_judged(
    links: dict[Path, Link], held: dict[Path, Value], probes: dict[Path, Probe], prefix: str
) -> None:
    trees = [Tree("", links, held, probes), Tree(prefix, links, held, probes)]
    check_server(trees, BUILTIN)
    needed(trees[0], BUILTIN)


def gateway(prefix: str, objects: str) -> list[str]:
    own = tree({"/25/0/0": "urn:dev:x", "/25/0/1": prefix, "/25/0/3": objects})
    device = tree(FINE, prefix="d1")
    return [f"{f.path} {f.kind.value}: {f.text}" for f in check_gateway([own, device], BUILTIN)]


def test_the_gateway_object_is_held_against_what_its_devices_show() -> None:
    assert gateway("d1", "</3>;ver=1.2,</3/0>,</3303>;ver=1.1,</3303/0>") == []
    assert gateway("d1", "</3/0>,</3305/0>") == [
        "/25/0/3 missing: it does not name /d1/3303/0",
        "/25/0/3 wrong link: /d1/3305/0 does not exist",
    ]
    assert gateway("d1", "</d1/3/0>")[0].startswith("/25/0/3 wrong link: not a path like")
    assert "/25/0/1 wrong type" in gateway("7", "")[0]
    assert gateway("d2", "")[-1] == "/d1 missing: no instance of object 25 names this device"


def test_findings_are_in_the_order_of_paths_and_name_prefixes() -> None:
    found = check(tree({"/3303/10/5701": "C", "/3303/2/5701": "C"} | DEVICE, prefix="d1"), BUILTIN)
    missing = [f.path for f in found if f.kind is Kind.MISSING]
    assert missing == ["/d1/3303/0/5700", "/d1/3303/2/5700", "/d1/3303/10/5700"][1:]

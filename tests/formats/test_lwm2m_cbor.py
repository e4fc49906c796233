"""LwM2M CBOR: what OMA prints, what a real client sends, what must be refused, nothing lost."""

from random import Random

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import DecodeError, EncodeError
from gateway.formats.lwm2m_cbor import Node, from_lwm2m_cbor, to_lwm2m_cbor
from gateway.model import ObjLink, Path, Value
from tests.formats import cbor_items
from tests.vectors import LWM2M

VECTORS = [v for v in LWM2M if v["area"] == "lwm2m-cbor"]
BY_ID = {v["id"]: bytes.fromhex(v["hex"]) for v in VECTORS}


def node(path: str, value: Value | None) -> Node:
    first, _, rest = path.removeprefix("/").partition("/")
    if first.isdecimal():
        return Node(Path.parse(path), value)
    return Node(Path.parse(rest), value, first)


def nodes(vector: dict[str, list[dict[str, str]]]) -> list[Node]:
    return [node(n["path"].replace("65535", "7"), n["value"]) for n in vector["nodes"]]


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["id"])
def test_payloads_of_the_specifications_mean_what_they_say(
    vector: dict[str, list[dict[str, str]]],
) -> None:
    payload = BY_ID[str(vector["id"])]
    assert from_lwm2m_cbor(payload, 7) == nodes(vector)
    for length in range(len(payload)):
        with pytest.raises(DecodeError):
            from_lwm2m_cbor(payload[:length], 7)
    with pytest.raises(DecodeError, match="1 octets after"):
        from_lwm2m_cbor(payload + b"\x00", 7)


@pytest.mark.parametrize(
    "id",
    [
        "lwcbor-array-key",
        "lwcbor-multiple",
        "lwcbor-device",
        "lwcbor-composite",
        "lwcbor-gateway-composite",
    ],
)
def test_what_we_write_is_the_example_of_the_specification_byte_by_byte(id: str) -> None:
    assert to_lwm2m_cbor(from_lwm2m_cbor(BY_ID[id])) == BY_ID[id]


def test_several_devices_and_the_gateway_share_one_payload() -> None:
    payload = to_lwm2m_cbor(
        [
            Node(Path(3303, 0, 5700), 21.5, "d1"),
            Node(Path(3303, 1, 5700), 22.5, "d1"),
            Node(Path(3, 0, 9), 100, "d2"),
            Node(Path(3, 0, 9), 90),
        ]
    )
    assert cbor2.loads(payload) == {
        ("d1", 3303): {0: {5700: 21.5}, 1: {5700: 22.5}},
        ("d2", 3, 0, 9): 100,
        (3, 0, 9): 90,
    }


def test_a_lone_key_is_not_an_array() -> None:
    two = [Node(Path(3303, i, 5700), 1.5) for i in (0, 1)]
    assert cbor2.loads(to_lwm2m_cbor(two)) == {3303: {0: {5700: 1.5}, 1: {5700: 1.5}}}


def test_values_have_the_encodings_of_their_types() -> None:
    values: list[Value] = ["a", -1, 2**64 - 1, 0.5, True, b"\x01", ObjLink(3303, 0)]
    payload = to_lwm2m_cbor(Node(Path(9, 0, i), value) for i, value in enumerate(values))
    assert cbor2.loads(payload) == {
        (9, 0): dict(enumerate(["a", -1, 2**64 - 1, 0.5, True, b"\x01", "3303:0"]))
    }


def test_null_is_none() -> None:
    nodes = [Node(Path(3, 0, 9), None, "d1"), Node(Path(3), None)]
    assert from_lwm2m_cbor(to_lwm2m_cbor(nodes)) == nodes


def test_an_instance_without_id_needs_a_create() -> None:
    with pytest.raises(DecodeError, match="65535"):
        from_lwm2m_cbor(BY_ID["lwcbor-create-without-id"])


def test_an_instance_without_id_must_not_meet_one_with_the_chosen_id() -> None:
    with pytest.raises(DecodeError, match="/2/7/0 stands twice"):
        from_lwm2m_cbor(cbor2.dumps({(2, 65535, 0): 1, (2, 7, 0): 1}), 7)


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ([3, 0, 0], "is a map"),
        ({(3, 0): {9: 1}, (3, 0, 9): 1}, "/3/0/9 stands twice"),
        ({("d1", 3, 0, 9): 1, "d1": {(3, 0, 9): 2}}, "/3/0/9 stands twice"),
        ({3: {0: 1}}, "/3/0 cannot have a value"),
        ({(3, 0, 9): [1]}, "/3/0/9: a value is"),
        ({(3, 0, 9): float("nan")}, "/3/0/9: a value is"),
        ({(3, 0, 9): 2**64}, "/3/0/9: a value is"),
        ({(3, 0, 6, 0): {0: 1}}, "/3/0/6/0: a value is"),
        ({(3, 0, 6, 0, 0): 1}, "not a path"),
        ({(3, 0, 65535): 1}, "not a path"),
        ({(3, 0, 65536): 1}, "a key is"),
        ({(3, 0, -1): 1}, "a key is"),
        ({(3, True, 9): 1}, "a key is"),
        ({(3, 0.0, 9): 1}, "a key is"),
        ({(3, "d1", 9): 1}, "a key is"),
        ({("d1", "d2", 3, 0, 9): 1}, "a key is"),
        ({"d1": {"d2": {(3, 0, 9): 1}}}, "a key is"),
        ({3: {"d1": {0: {9: 1}}}}, "a key is"),
        ({(3, (0, 9)): 1}, "a key is"),
        ({("", 3, 0, 9): 1}, "a prefix cannot be empty"),
        ({"d1": 5}, "a path is missing after 'd1'"),
        ({(): {(3, 0, 9): 1}}, "a key cannot be empty"),
        ({(3, 0, 9): {(): 1}}, "a key cannot be empty"),
        (None, "is a map"),
    ],
)
def test_what_is_not_lwm2m_cbor_is_refused(wrong: object, text: str) -> None:
    with pytest.raises(DecodeError, match=text):
        from_lwm2m_cbor(cbor2.dumps(wrong))


def test_a_key_that_stands_twice_is_refused() -> None:
    with pytest.raises(DecodeError, match="Duplicate"):
        from_lwm2m_cbor(bytes.fromhex("a2830300090183030009 01"))


@pytest.mark.parametrize(
    "opening", ["a1", "bf00", "a100", "81", "9f", "a181", "c1", "d81c", "d903e7"]
)
def test_deep_nesting_is_refused(opening: str) -> None:
    with pytest.raises(DecodeError):
        from_lwm2m_cbor(bytes.fromhex(opening) * 100_000)


def test_an_empty_array_has_no_nodes() -> None:
    assert from_lwm2m_cbor(cbor2.dumps({(3, 0, 6): {}})) == []
    assert to_lwm2m_cbor([]) == b"\xa0"


@pytest.mark.parametrize(
    "paths", [[Path(3, 0, 9), Path(3, 0, 9)], [Path(3, 0, 6, 0), Path(3, 0, 6)]]
)
def test_one_path_cannot_be_written_twice(paths: list[Path]) -> None:
    with pytest.raises(EncodeError, match="stands twice"):
        to_lwm2m_cbor(Node(path, 1) for path in paths)


IDS = st.integers(0, 65534)
PREFIXES = st.sampled_from(["", "d1", "d2"])
VALUES = (
    st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text()
    | st.binary()
)
Tree = dict[tuple[str, int, int, int], Value | dict[int, Value]]
TREES: st.SearchStrategy[Tree] = st.dictionaries(
    st.tuples(PREFIXES, st.integers(1, 3) | IDS, st.integers(0, 2), IDS),
    VALUES | st.dictionaries(IDS, VALUES, min_size=1, max_size=3),
    max_size=8,
)


def flat(tree: Tree) -> list[Node]:
    nodes = []
    for (prefix, *ids), content in tree.items():
        if isinstance(content, dict):
            nodes += [Node(Path(*ids, last), value, prefix) for last, value in content.items()]
        else:
            nodes.append(Node(Path(*ids), content, prefix))
    return nodes


@given(TREES)
def test_what_was_written_is_read_again(tree: Tree) -> None:
    wanted = {(n.prefix, n.path): (type(n.value), n.value) for n in flat(tree)}
    read = from_lwm2m_cbor(to_lwm2m_cbor(flat(tree)))
    assert {(n.prefix, n.path): (type(n.value), n.value) for n in read} == wanted
    assert len(read) == len(wanted)


@given(TREES, st.randoms(use_true_random=False))
def test_every_grouping_means_the_same(tree: Tree, random: Random) -> None:
    """Each path is cut into keys at random places; maps and arrays are definite or not."""

    def container(major: int, length: int, content: bytes) -> bytes:
        if random.random() < 0.5:
            return bytes([major << 5 | length]) + content
        return bytes([major << 5 | 31]) + content + b"\xff"

    def branch(parts: list[str | int], value: Value | None) -> bytes:
        cut = random.randint(1, len(parts))
        key = b"".join(map(cbor2.dumps, parts[:cut]))
        if cut > 1 or random.random() < 0.5:
            key = container(4, cut, key)
        below = branch(parts[cut:], value) if parts[cut:] else cbor2.dumps(value)
        return container(5, 1, key + below)

    for node in flat(tree):
        prefix = [node.prefix] if node.prefix else []
        assert from_lwm2m_cbor(branch([*prefix, *node.path], node.value)) == [node]


TOKENS = st.sampled_from(
    [
        *(
            bytes([octet])
            for octet in b"\xa1\xa2\xbf\x82\x83\x9f\xff\xc0\xc1\xc2\xc4\x00\x03\xf5\xf6"
        ),
        *(bytes.fromhex(h) for h in ("d81c", "d81d00", "1816", "626431", "4100", "f97e00")),
    ]
)


@given(st.binary(max_size=40) | st.lists(TOKENS, max_size=16).map(b"".join) | cbor_items.OCTETS)
def test_random_octets_are_read_or_refused(octets: bytes) -> None:
    try:
        nodes = from_lwm2m_cbor(octets, 0)
    except DecodeError:
        return
    assert all(len(n.path) >= 3 or n.value is None for n in nodes)

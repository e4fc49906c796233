"""SenML-ETCH (RFC 8790): what composite requests name, set and delete, and what they must not."""

import json
from typing import Any

import cbor2
import pytest

from gateway.errors import DecodeError
from gateway.formats.senml import Pack, Record, from_cbor, from_json
from gateway.model import ObjLink, Path
from tests.vectors import LWM2M

NOW = 1_800_000_000.0
VECTORS = [v for v in LWM2M if v["area"] in {"etch", "gateway"}]
PACKS = {"GET": Pack.VALUES, "FETCH": Pack.FETCH, "iPATCH": Pack.PATCH}
LABELS = {"n": 0, "v": 2, "vs": 3, "vb": 4, "s": 5, "bn": -2, "bt": -3, "bv": -5, "t": 6, "vd": 8}


@pytest.mark.parametrize("vector", VECTORS, ids=lambda v: v["id"])
def test_packs_of_the_specifications_mean_what_they_say(vector: dict[str, Any]) -> None:
    read = from_cbor if "hex" in vector else from_json
    octets = bytes.fromhex(vector["hex"]) if "hex" in vector else vector["text"].encode()
    pack = PACKS[vector["method"]]
    for length in range(len(octets)):
        with pytest.raises(DecodeError):
            read(octets[:length], NOW, pack)
    match vector:
        case {"id": "gw-read-composite-request-erratum"}:
            wrong = [record.name for record in read(octets, NOW, pack)][1::2]
            assert wrong == ["/d01/3/0//9", "/d02/3/0//9"]
            with pytest.raises(ValueError, match="not a path"):
                Path.parse(wrong[0].removeprefix("/d01"))
        case {"error": _}:
            with pytest.raises(DecodeError):
                read(octets, NOW, pack)
        case {"paths": list(names)} | {"removed": list(names)}:
            assert read(octets, NOW, pack) == [Record(name, None) for name in names]
        case {"nodes": list(nodes)}:
            assert [(r.name, r.value) for r in read(octets, NOW, pack)] == [
                (n["path"], n["value"]) for n in nodes
            ]
        case {"before": list(before), "after": list(after)}:
            state = {r.name: r.value for r in from_json(json.dumps(before).encode(), NOW)}
            state |= {r.name: r.value for r in read(octets, NOW, pack)}
            assert state == {r.name: r.value for r in from_json(json.dumps(after).encode(), NOW)}
        case _:
            pytest.fail("a vector that nobody checks")


def read_both(pack: list[dict[str, object]]) -> list[Record]:
    """The records of the pack, which must be the same in JSON and in CBOR."""
    records = from_json(json.dumps(pack).encode(), NOW, Pack.PATCH)
    in_cbor = [{LABELS.get(label, label): v for label, v in fields.items()} for fields in pack]
    assert from_cbor(cbor2.dumps(in_cbor), NOW, Pack.PATCH) == records
    return records


def test_a_patch_pack_sets_and_deletes() -> None:
    assert read_both(
        [
            {"bn": "/d1/3/0/", "n": "14", "vs": "+02:00"},
            {"n": "6/1", "v": None},
            {"n": "9", "v": 0},
            {"bn": "/d2/", "n": "25/0/2", "vlo": "3:0"},
        ]
    ) == [
        Record("/d1/3/0/14", "+02:00"),
        Record("/d1/3/0/6/1", None),
        Record("/d1/3/0/9", 0),
        Record("/d2/25/0/2", ObjLink(3, 0)),
    ]


def test_a_base_value_does_not_keep_a_record_from_deleting() -> None:
    assert read_both([{"bn": "/3/0/", "bv": 1, "n": "6/1", "v": None}])[0].value is None


def test_a_patch_pack_may_hold_fields_that_must_be_understood_elsewhere() -> None:
    assert read_both([{"n": "/3/0/9", "v": 1, "x_": 1}]) == [Record("/3/0/9", 1)]


@pytest.mark.parametrize(
    "pack",
    [
        [],
        [{}],
        [{"n": "/3/0/9"}],
        [{"bn": "/3/0/"}, {"n": "9", "v": 1}],
        [{"n": "/3/0/9", "s": 5}],
        [{"n": "/3/0/9", "v": None, "vs": "a"}],
        [{"n": "/3/0/9", "vs": None}],
        [{"n": "/3/0/9", "vb": None}],
        [{"n": "/3/0/9", "v": None, "t": None}],
        [{"v": 1}],
    ],
)
def test_a_patch_record_has_a_name_and_one_value_or_null(pack: list[dict[str, object]]) -> None:
    with pytest.raises(DecodeError):
        read_both(pack)


def test_null_is_no_value_outside_a_patch_pack() -> None:
    for pack in (Pack.VALUES, Pack.FETCH):
        with pytest.raises(DecodeError):
            from_json(b'[{"n":"/3/0/9","v":null}]', NOW, pack)

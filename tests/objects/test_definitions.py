"""What all device definitions have in common: kinds, faults, numbers, the folder."""

import logging
import math
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path as FilePath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import DecodeError
from gateway.model import ResourceType
from gateway.objects.definitions import DefinitionFolder, Form, Kind, Target, kind_of, read_form
from gateway.objects.registry import Registry

REGISTRY = Registry.builtin()


ROOT = FilePath(__file__).parents[2]


@pytest.mark.parametrize("file", sorted(ROOT.glob("config/devices/*.toml")), ids=lambda f: f.stem)
def test_the_page_tells_of_each_definition_that_is_shipped(file: FilePath) -> None:
    page = (ROOT / "docs" / "definitions.md").read_text()
    (row,) = [line for line in page.splitlines() if line.startswith(f"| `{file.name}` |")]
    definition = tomllib.loads(file.read_text())
    shown = [
        f"/{r['object']}/{r.get('instance', 0)}/{r['resource']}" for r in definition["resource"]
    ]
    recognised = [
        *definition["match"].get("paths", ()),
        *definition["match"].get("characteristics", ()),
    ]
    assert set(re.findall(r"`(/\d+/\d+/\d+)`", row)) == set(shown)
    assert [each for each in recognised if f"`{each}`" not in row] == []


@dataclass(frozen=True)
class Named:
    name: str


@pytest.mark.parametrize(
    ("match", "kind"),
    [
        ('paths = ["/a"]', Kind.COAP),
        ('characteristics = ["0xfff1"]', Kind.BLE),
        ('name = "Thing*"', Kind.BLE),
        ('name = "Thing*"\ncharacteristics = []\nsurprise = 1', Kind.BLE),
    ],
)
def test_the_match_keys_tell_what_a_file_describes(match: str, kind: Kind) -> None:
    assert kind_of(f"[match]\n{match}") is kind


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "line 1 (match)"),
        ("match = 3", "line 1 (match)"),
        ('name = "x"\n[match]\npath = ["/a"]', "line 2 (match)"),
        ('\n\n[match]\npaths = ["/a"]\nname = "x"', "line 3 (match)"),
    ],
)
def test_a_file_that_does_not_tell_is_refused_with_its_line(text: str, line: str) -> None:
    with pytest.raises(DecodeError, match=re.escape(f"{line}: a definition has either")):
        kind_of(text)


def target(scale: float, offset: float = 0.0) -> Target:
    return Target(object=3303, resource=5700, scale=scale, offset=offset)


@pytest.mark.parametrize(
    ("raw", "scale", "offset", "number"),
    [
        (215, 0.1, 0, 21.5),
        (7, 0.1, 0, 0.7),
        (-400, 0.01, 0, -4.0),
        (50, 1, -40, 10.0),
        (3, 1, 0, 3),
    ],
)
def test_numbers_are_scaled_there_and_back_without_crumbs(
    raw: int, scale: float, offset: float, number: float
) -> None:
    made = target(scale, offset)
    assert made.scaled(raw, ResourceType.FLOAT) == number
    back = made.unscaled(number)
    assert (back, type(back)) == (raw, int)


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.001, 0.01, 0.1, 0.5, 2.0, 10.0]))
def test_every_32_bit_number_survives_scaling(raw: int, scale: float) -> None:
    assert target(scale).unscaled(target(scale).scaled(raw, ResourceType.FLOAT)) == raw


def test_numbers_beyond_all_bounds_and_scales_without_way_back_are_refused() -> None:
    for number in (10**400, 1e308, math.inf, math.nan):
        with pytest.raises(DecodeError, match="too large"):
            target(10.0).scaled(number, ResourceType.FLOAT)
    for scale in ("0", "nan", "inf"):
        text = f'name="x"\n[[resource]]\nobject=3303\nresource=5700\nscale={scale}'
        with pytest.raises(DecodeError, match=re.escape("line 5 (resource.scale)")):
            read_form(text, Form, REGISTRY)


def test_a_folder_serves_two_adapters_and_each_leaves_the_others_files_alone(
    tmp_path: FilePath, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    coap = DefinitionFolder(tmp_path, Kind.COAP, lambda _: Named("node"))
    ble = DefinitionFolder(tmp_path, Kind.BLE, lambda _: Named("tag"))
    (tmp_path / "node.toml").write_text('[match]\npaths = ["/a"]')
    (tmp_path / "tag.toml").write_text('[match]\nname = "Tag*"')
    assert coap.refresh()
    assert ble.refresh()
    assert (coap.definitions, ble.definitions) == ([Named("node")], [Named("tag")])
    assert [r.message for r in caplog.records] == [
        f"{tmp_path / 'node.toml'}: node",
        f"{tmp_path / 'tag.toml'}: tag",
    ]


def test_a_file_that_becomes_the_other_kind_moves_over(tmp_path: FilePath) -> None:
    coap = DefinitionFolder(tmp_path, Kind.COAP, lambda _: Named("node"))
    file = tmp_path / "thing.toml"
    file.write_text('[match]\npaths = ["/a"]')
    assert coap.refresh()
    file.write_text('[match]\nname = "Tag*"')
    assert coap.refresh()
    assert not coap.definitions

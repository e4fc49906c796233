from __future__ import annotations

import contextlib
import ctypes
import json
import math
import select
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.ble import bipso
from adapters.ble.bipso import Frame, Truncated
from adapters.ble.characteristics import CHARACTERISTICS, Wire
from gateway.errors import DecodeError, EncodeError
from gateway.formats.singles import meant
from gateway.model import ObjLink, Value

HERE = Path(__file__).parent
ORACLE = HERE / "oracle"
VECTORS = json.loads((HERE / "bipso-vectors.json").read_text())["vectors"]
WHOLE = [vector for vector in VECTORS if "fields" in vector]
CUT = [vector for vector in VECTORS if "complete_fields" in vector]

TEMPERATURE, GYROMETER, TIMER, AUDIO_CLIP, BUZZER, PRESENCE = 3303, 3334, 3340, 3339, 3338, 3302
WIRES = {
    field.name: field.wire
    for layout in CHARACTERISTICS.values()
    for field in layout.mandatory + layout.options
}


def plain(value: Any) -> Any:
    """A value of the vectors or the oracle, which write as objects what JSON cannot hold."""
    match value:
        case {"$bytes": text}:
            return bytes.fromhex(text)
        case {"$float": text}:
            return float(text)
    return value


def canonical(fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Comparable with ==, in wire order; of an executable only that it is there."""

    def shown(wire: Wire | None, value: Any) -> str:
        if wire is Wire.EXECUTABLE:
            return "executable"
        return repr(ctypes.c_float(value).value if wire is Wire.F32 else value)

    return [(name, shown(WIRES.get(name), plain(value))) for name, value in fields.items()]


def named(frame: Frame) -> dict[str, Any]:
    """The frame under BIPSO's names, as vectors and oracle show it."""
    layout = CHARACTERISTICS[frame.object]
    names = {field.resource: field.name for field in layout.mandatory + layout.options}
    values = {names[resource]: value for resource, value in frame.values.items()}
    return {"id": frame.id, "flags": frame.flags, **values}


def each(vectors: list[Any]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("vector", vectors, ids=[vector["id"] for vector in vectors])


@each(WHOLE)
def test_every_vector_decodes_to_its_fields(vector: Any) -> None:
    data = bytes.fromhex(vector["hex"])
    frame = bipso.decode(vector["object_id"], data)
    assert canonical(named(frame)) == canonical(vector["fields"])
    assert {str(resource) for resource in frame.values} == vector["resources"].keys()
    assert frame.trailing == bytes.fromhex(vector.get("expect_trailing", ""))


@each([vector for vector in WHOLE if vector["group"] != "decode-quirk"])
def test_every_vector_is_encoded_to_its_bytes(vector: Any) -> None:
    values = {int(resource): plain(value) for resource, value in vector["resources"].items()}
    encoded = bipso.encode(vector["object_id"], vector["instance_id"], values)
    assert encoded.hex() == vector["hex"]


@each(CUT)
def test_a_truncated_vector_still_shows_its_complete_fields(vector: Any) -> None:
    with pytest.raises(Truncated) as caught:
        bipso.decode(vector["object_id"], bytes.fromhex(vector["hex"]))
    complete = caught.value.complete
    if complete is None:
        assert "flags" not in vector["complete_fields"]
    else:
        assert canonical(named(complete)) == canonical(vector["complete_fields"])


@each(WHOLE)
def test_a_vector_cut_anywhere_is_truncated_and_its_whole_fields_are_the_same(vector: Any) -> None:
    data = bytes.fromhex(vector["hex"])
    whole = bipso.decode(vector["object_id"], data)
    fields = canonical(named(whole))
    for length in range(len(data) - len(whole.trailing)):
        with pytest.raises(Truncated) as caught:
            bipso.decode(vector["object_id"], data[:length])
        if complete := caught.value.complete:
            leading = canonical(named(complete))
            assert leading == fields[: len(leading)]
            assert fields[len(leading)][0] in caught.value.field


@each(WHOLE)
def test_bytes_behind_a_vector_are_tolerated_and_kept(vector: Any) -> None:
    data = bytes.fromhex(vector["hex"])
    alone, followed = (bipso.decode(vector["object_id"], data + t) for t in (b"", b"\xff\0"))
    assert canonical(named(followed)) == canonical(named(alone))
    assert followed.trailing == alone.trailing + b"\xff\0"


def test_a_truncated_value_names_the_field_for_the_operator() -> None:
    with pytest.raises(Truncated, match=r"truncated in units \(5701\)"):
        bipso.decode(TEMPERATURE, bytes.fromhex("0001cd4ccb410343"))


def test_the_uuid_alone_tells_the_object_in_any_letter_case() -> None:
    assert bipso.object_of("0000cc07-0000-1000-8000-00805f9b34fb") == TEMPERATURE
    assert bipso.object_of("0000CC32-0000-1000-8000-00805F9B34FB") == 3348
    assert bipso.object_of("0000cc33-0000-1000-8000-00805f9b34fb") is None
    assert bipso.object_of("0000cc07-0000-1000-8000-00805f9b34fc") is None
    assert bipso.object_of("f000ffc0-0451-4000-b000-000000000000") is None
    assert bipso.object_of("") is None
    assert bipso.uuid_of(TEMPERATURE) == "0000cc07-0000-1000-8000-00805f9b34fb"
    assert [bipso.object_of(bipso.uuid_of(i)) for i in CHARACTERISTICS] == [*CHARACTERISTICS]
    assert len(CHARACTERISTICS) == 51


def test_an_object_that_bipso_lacks_is_an_error_both_ways() -> None:
    with pytest.raises(DecodeError, match="3307"):
        bipso.decode(3307, b"\0\0")
    with pytest.raises(EncodeError, match="3307"):
        bipso.encode(3307, 0, {})


def test_a_bytearray_leaves_no_mutable_value_behind() -> None:
    frame = bipso.decode(AUDIO_CLIP, bytearray.fromhex("0000020102ff"))
    assert type(frame.values[5522]) is type(frame.trailing) is bytes


def test_any_other_byte_than_zero_is_true() -> None:
    assert [bipso.decode(PRESENCE, bytes([0, 0, b])).values[5500] for b in (0, 1, 2, 255)] == [
        False,
        True,
        True,
        True,
    ]


def test_writing_executes_only_what_is_given_an_argument() -> None:
    assert bipso.decode(TEMPERATURE, bytes.fromhex("002000000000026869")).values[5605] is None
    assert bipso.encode(TEMPERATURE, 0, {5700: 0, 5605: None}).hex() == "000000000000"
    assert bipso.encode(TEMPERATURE, 0, {5700: 0, 5605: b""}).hex() == "00200000000000"
    assert bipso.encode(TEMPERATURE, 0, {5700: 0, 5605: b"hi"}).hex() == "002000000000026869"


def test_text_is_counted_in_bytes() -> None:
    assert bipso.encode(TEMPERATURE, 0, {5700: 25.5, 5701: "°C"}).hex() == "00010000cc4103c2b043"


@pytest.mark.parametrize(
    ("object_id", "values", "complaint"),
    [
        (TEMPERATURE, {}, "needs sensorValue"),
        (TEMPERATURE, {5700: None}, "needs sensorValue"),
        (BUZZER, {5850: True}, "needs minOffTime"),
        (TEMPERATURE, {5700: 1.0, 5750: "attic"}, "no resource 5750"),
        (TEMPERATURE, {5700: 1.0, 5850: None}, "no resource 5850"),
        (GYROMETER, {5702: 1.0, 5513: 3.0}, "no flag bit for maxZValue"),
        (GYROMETER, {5702: 1.0, 5750: "x"}, "no flag bit for appType"),
        (TIMER, {5521: 1.0, 5526: 1}, "no flag bit for mode"),
        (TIMER, {5521: 1.0, 5501: 256}, "counter .* 0 to 255"),
        (TIMER, {5521: 1.0, 5501: -1}, "counter .* 0 to 255"),
        (TIMER, {5521: 1.0, 5501: 1.0}, "counter .* is u8, not float"),
        (TIMER, {5521: 1.0, 5501: True}, "counter .* is u8, not bool"),
        (TIMER, {5521: 1.0, 5538: True}, "remainTime .* is f32, not bool"),
        (TIMER, {5521: "1"}, "timeDuration .* is f32, not str"),
        (TIMER, {5521: ObjLink(3, 0)}, "not ObjLink"),
        (TIMER, {5521: 1.0, 5523: "now"}, "trigger .* is executable, not str"),
        (3333, {5506: 2**32}, "currentTime .* 0 to 4294967295"),
        (3342, {5500: True, 5852: 65536}, "onTime .* 0 to 65535"),
        (3342, {5500: 1}, "dInState .* is bool, not int"),
        (TEMPERATURE, {5700: math.nan}, "finite"),
        (TEMPERATURE, {5700: math.inf}, "finite"),
        (TEMPERATURE, {5700: 1e39}, "finite"),
        (TEMPERATURE, {5700: 10**400}, "finite"),
        (TEMPERATURE, {5700: 1.0, 5701: "é" * 128}, "at most 255 bytes, not 256"),
        (TEMPERATURE, {5700: 1.0, 5701: b"C"}, "units .* is text, not bytes"),
        (TEMPERATURE, {5700: 1.0, 5701: "\ud800"}, "not Unicode"),
        (TEMPERATURE, {5700: 1.0, 5605: bytes(256)}, "at most 255 bytes"),
        (AUDIO_CLIP, {5522: "clip"}, "clip .* is opaque, not str"),
    ],
)
def test_what_the_format_cannot_express_is_refused(
    object_id: int, values: dict[int, Value | None], complaint: str
) -> None:
    with pytest.raises(EncodeError, match=complaint):
        bipso.encode(object_id, 0, values)


@pytest.mark.parametrize("id", [-1, 256])
def test_an_instance_beyond_one_byte_is_refused(id: int) -> None:
    with pytest.raises(EncodeError, match="0 to 255"):
        bipso.encode(TEMPERATURE, id, {5700: 1.0})


CONTENT: dict[Wire, st.SearchStrategy[Any]] = {
    Wire.BOOL: st.booleans(),
    Wire.U8: st.integers(0, 0xFF),
    Wire.U16: st.integers(0, 0xFFFF),
    Wire.U32: st.integers(0, 0xFFFF_FFFF),
    Wire.F32: st.floats(width=32, allow_nan=False, allow_infinity=False),
    Wire.TEXT: st.text("aZ0 %\0°é€🌡\ufeff", max_size=63) | st.just("x" * 255),
    Wire.OPAQUE: st.binary(max_size=255),
    Wire.EXECUTABLE: st.binary(max_size=255),
}


@st.composite
def frames(draw: st.DrawFn) -> Frame:
    """Any object with any of its reachable options; executables hold their argument."""
    layout = draw(st.sampled_from([*CHARACTERISTICS.values()]))
    reachable = layout.options[: layout.flag_bits]
    chosen = [draw(st.booleans()) for _ in reachable]
    options = [option for option, there in zip(reachable, chosen, strict=True) if there]
    return Frame(
        object=layout.object,
        id=draw(st.integers(0, 255)),
        flags=sum(there << bit for bit, there in enumerate(chosen)),
        values={f.resource: draw(CONTENT[f.wire]) for f in (*layout.mandatory, *options)},
    )


@settings(deadline=None)
@given(frames())
def test_what_is_encoded_decodes_to_the_same(frame: Frame) -> None:
    decoded = bipso.decode(frame.object, bipso.encode(frame.object, frame.id, frame.values))
    assert canonical(named(decoded)) == canonical(named(frame))
    assert decoded.trailing == b""


@pytest.mark.parametrize("number", [26.4, -0.1, 1009.71, 0.1863, 16_777_216.0, 1e-7, 3.4028235e38])
def test_a_number_is_read_as_the_device_means_it(number: float) -> None:
    data = bipso.encode(TEMPERATURE, 0, {5700: number})
    assert bipso.decode(TEMPERATURE, data).values[5700] == number


@settings(deadline=None)
@given(st.binary(min_size=4, max_size=4))
def test_a_number_that_is_read_is_the_one_that_was_sent(octets: bytes) -> None:
    number = meant(struct.unpack("<f", octets)[0])
    assert math.isnan(number) or struct.pack("<f", number) == octets


@settings(deadline=None)
@given(st.sampled_from([*CHARACTERISTICS]), st.binary(max_size=64))
def test_bytes_that_mean_nothing_raise_nothing_but_truncated(object_id: int, data: bytes) -> None:
    with contextlib.suppress(Truncated):
        assert data.endswith(bipso.decode(object_id, data).trailing)


class Oracle:
    """The reference implementation in a Node process, asked a line at a time."""

    TIMEOUT_S = 60

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def parse(self, object_id: int, data: bytes) -> dict[str, Any] | None:
        """The fields, or None where the reference never answers."""
        reply = self._ask({"parse": self._uuid(object_id), "hex": data.hex()})
        fields: dict[str, Any] | None = None if reply.get("silent") else reply["fields"]
        return fields

    def frame(self, frame: Frame) -> bytes:
        """The bytes that it makes of named fields, flags included."""
        fields = {
            name: {"$bytes": value.hex()} if isinstance(value, bytes) else value
            for name, value in named(frame).items()
        }
        reply = self._ask({"frame": self._uuid(frame.object), "fields": fields})
        return bytes.fromhex(reply["hex"])

    def _uuid(self, object_id: int) -> str:
        return f"0x{CHARACTERISTICS[object_id].uuid16:04x}"

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        answered, _, _ = select.select([self._process.stdout], [], [], self.TIMEOUT_S)
        assert answered, f"the oracle does not answer to {question}"
        reply: dict[str, Any] = json.loads(self._process.stdout.readline())
        return reply


@pytest.fixture(scope="module")
def oracle() -> Iterator[Oracle]:
    for tool in ("node", "npm"):
        if shutil.which(tool) is None:
            pytest.fail(f"{tool} is not installed: BIPSO is compared with its npm package")
    if not (ORACLE / "node_modules" / "ble-packet").is_dir():
        install = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(install, cwd=ORACLE, check=True, timeout=300)
    with subprocess.Popen(
        ["node", "--no-deprecation", "oracle.js"],
        cwd=ORACLE,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield Oracle(process)


@each(VECTORS)
def test_the_reference_reads_every_vector_as_we_do(oracle: Oracle, vector: Any) -> None:
    data = bytes.fromhex(vector["hex"])
    assert_read_alike(oracle, vector["object_id"], data)


@pytest.mark.parametrize("object_id", CHARACTERISTICS)
def test_every_object_with_all_its_options_is_written_alike(oracle: Oracle, object_id: int) -> None:
    layout = CHARACTERISTICS[object_id]
    fields = layout.mandatory + layout.options[: layout.flag_bits]
    # Every field has a content of its own, so that none can be taken for another.
    content: dict[Wire, Callable[[int], Value]] = {
        Wire.BOOL: lambda place: place % 2 == 0,
        Wire.F32: lambda place: place + 0.5,
        Wire.TEXT: lambda place: "x" * place,
        Wire.OPAQUE: bytes,
        Wire.EXECUTABLE: bytes,
    }
    values = {f.resource: content.get(f.wire, int)(i) for i, f in enumerate(fields, start=1)}
    encoded = bipso.encode(object_id, 9, values)
    flags = bipso.decode(object_id, encoded).flags
    assert flags.bit_count() == len(fields) - len(layout.mandatory)
    assert encoded == oracle.frame(Frame(object_id, 9, flags, values))
    assert_read_alike(oracle, object_id, encoded)


@settings(max_examples=300, deadline=None)
@given(frames(), st.data())
def test_the_reference_reads_what_we_write(
    oracle: Oracle, frame: Frame, data: st.DataObject
) -> None:
    encoded = bipso.encode(frame.object, frame.id, frame.values)
    assert_read_alike(oracle, frame.object, encoded)
    assert_read_alike(oracle, frame.object, encoded[: data.draw(st.integers(0, len(encoded)))])


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([*CHARACTERISTICS]), st.binary(max_size=40))
def test_the_reference_reads_random_bytes_as_we_do(
    oracle: Oracle, object_id: int, data: bytes
) -> None:
    assert_read_alike(oracle, object_id, data)


@settings(max_examples=300, deadline=None)
@given(frames())
def test_we_write_what_the_reference_writes(oracle: Oracle, frame: Frame) -> None:
    # It counts UTF-16 units, so only ASCII texts can be compared.
    values = {
        resource: value.encode("ascii", "replace").decode() if isinstance(value, str) else value
        for resource, value in frame.values.items()
    }
    frame = Frame(frame.object, frame.id, frame.flags, values)
    assert bipso.encode(frame.object, frame.id, values) == oracle.frame(frame)


def assert_read_alike(oracle: Oracle, object_id: int, data: bytes) -> None:
    theirs = oracle.parse(object_id, data)
    try:
        ours = bipso.decode(object_id, data)
    except Truncated:
        assert theirs is None
    else:
        assert theirs is not None
        assert canonical(named(ours)) == canonical(theirs)


def test_ten_thousand_random_values_raise_nothing_but_the_codecs_own_error() -> None:
    random = Random(20161121)
    objects = [layout.object for layout in CHARACTERISTICS.values()]
    for _ in range(10_000):
        with contextlib.suppress(DecodeError):
            bipso.decode(random.choice(objects), random.randbytes(random.randrange(40)))

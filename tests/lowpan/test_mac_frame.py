"""MAC frames of all versions, read and written."""

import contextlib
import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.lowpan.mac import elements
from adapters.lowpan.mac.drops import Drop, Dropped
from adapters.lowpan.mac.frame import (
    FrameType,
    KeyId,
    KeyIdMode,
    MacFrame,
    SecurityHeader,
    decode,
    encode,
    open_payload_size,
)
from gateway.errors import EncodeError
from tests.lowpan.vectors import VECTORS, psdus, unhex

SHORT, LONG = st.binary(min_size=2, max_size=2), st.binary(min_size=8, max_size=8)
U16 = st.integers(0, 0xFFFF)
KEY_IDS = st.one_of(
    st.just(KeyId()),
    st.builds(KeyId, st.just(KeyIdMode.INDEX), st.integers(0, 255)),
    st.builds(
        KeyId,
        st.just(KeyIdMode.SOURCE4_INDEX),
        st.integers(0, 255),
        st.binary(min_size=4, max_size=4),
    ),
    st.builds(KeyId, st.just(KeyIdMode.SOURCE8_INDEX), st.integers(0, 255), LONG),
)


@st.composite
def frames(draw: st.DrawFn) -> MacFrame:
    destination = draw(st.just(b"") | SHORT | LONG)
    source = draw(st.just(b"") | SHORT | LONG)
    version = draw(st.integers(0, 1))
    header = st.builds(SecurityHeader, st.integers(0, 7), st.integers(0, 2**32 - 1), KEY_IDS)
    return MacFrame(
        draw(st.sampled_from(FrameType)),
        destination,
        source,
        draw(U16) if destination else None,
        draw(U16) if source else None,
        draw(st.integers(0, 255)),
        version,
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.none() | header) if version else None,
        draw(st.binary(max_size=80)),
    )


@given(frames())
def test_frames_survive_the_way_there_and_back(frame: MacFrame) -> None:
    assert decode(encode(frame)) == frame


@given(st.binary(max_size=127))
def test_random_octets_are_dropped_by_name_at_worst(psdu: bytes) -> None:
    with contextlib.suppress(Dropped):
        frame = decode(psdu)
        open_payload_size(frame)
        elements.skip_payload(frame.payload)


@pytest.mark.parametrize("entry", VECTORS["psdus"], ids=lambda e: e["scenario"])
def test_recorded_frames_are_read_and_written_back(entry: dict[str, str]) -> None:
    psdu = unhex(entry["psdu"])[:-2]
    frame = decode(psdu)
    assert (frame.type, frame.version) == (FrameType.DATA, 1)
    assert frame.source.hex() == entry["from"]
    assert frame.destination_pan == frame.source_pan
    assert frame.ack_request == (frame.destination != b"\xff\xff")
    assert encode(frame) == psdu


def test_every_truncation_of_a_header_is_named() -> None:
    secured = unhex(VECTORS["security"]["contiki"]["frames"][1]["psdu"])[:-2]
    header = decode(secured).header
    for size in range(len(header)):
        with pytest.raises(Dropped) as dropped:
            decode(secured[:size])
        assert dropped.value.reason is Drop.TRUNCATED
    assert decode(header).payload == b""


A2, B2, A8, B8 = "3412", "7856", "3412000000000002", "01aa000000000002"
_2, _8 = b"\x12\x34", unhex("0200000000001234")
S2, S8 = b"\x56\x78", unhex("020000000000aa01")


@pytest.mark.parametrize(
    ("control", "addressing", "expected"),
    [
        # IEEE 802.15.4-2015, table 7-2: destination PAN, destination, source PAN, source
        ("0120", "", (None, b"", None, b"")),
        ("4120", "2300", (0x23, b"", None, b"")),
        ("0128", "2300" + A2, (0x23, _2, None, b"")),
        ("4128", A2, (None, _2, None, b"")),
        ("01a0", "2300" + B2, (None, b"", 0x23, S2)),
        ("41a0", B2, (None, b"", None, S2)),
        ("01ec", "2300" + A8 + B8, (0x23, _8, 0x23, S8)),
        ("41ec", A8 + B8, (None, _8, None, S8)),
        ("01a8", "2300" + A2 + "2400" + B2, (0x23, _2, 0x24, S2)),
        ("41a8", "2300" + A2 + B2, (0x23, _2, 0x23, S2)),
        ("01e8", "2300" + A2 + "2400" + B8, (0x23, _2, 0x24, S8)),
        ("41e8", "2300" + A2 + B8, (0x23, _2, 0x23, S8)),
        ("01ac", "2300" + A8 + "2400" + B2, (0x23, _8, 0x24, S2)),
        ("41ac", "2300" + A8 + B2, (0x23, _8, 0x23, S2)),
        # Versions 0 and 1
        ("0188", "2300" + A2 + "2400" + B2, (0x23, _2, 0x24, S2)),
        ("4188", "2300" + A2 + B2, (0x23, _2, 0x23, S2)),
        ("01dc", "2300" + A8 + "2400" + B8, (0x23, _8, 0x24, S8)),
        ("0080", "2300" + B2, (None, b"", 0x23, S2)),
        ("0200", "", (None, b"", None, b"")),
    ],
)
def test_pan_ids_stand_where_the_version_has_them(
    control: str, addressing: str, expected: tuple[int | None, bytes, int | None, bytes]
) -> None:
    frame = decode(unhex(control + "07" + addressing) + b"payload")
    assert (
        frame.destination_pan,
        frame.destination,
        frame.source_pan,
        frame.source,
    ) == expected
    assert (frame.sequence, frame.payload) == (7, b"payload")


def test_a_frame_of_2015_may_have_no_number_and_elements_of_two_kinds() -> None:
    control = unhex("41eb")  # data, PAN compressed, no number, elements, long addresses, 2015
    header_elements = unhex("0201aabb" + "003f")  # one of two octets, then HT1
    payload_elements = unhex("0388010203" + "00f8")  # one of three octets, then termination
    frame = decode(control + unhex(A8 + B8) + header_elements + payload_elements + b"\x7a\x33")
    assert frame.sequence is None
    assert frame.payload_elements
    assert elements.skip_payload(frame.payload) == b"\x7a\x33"
    second = decode(control + unhex(A8 + B8) + unhex("0201aabb803f") + b"\x7a\x33")
    assert (second.payload_elements, second.payload) == (False, b"\x7a\x33")


@pytest.mark.parametrize(
    ("psdu", "reason"),
    [
        ("", Drop.TRUNCATED),
        ("41", Drop.TRUNCATED),
        ("4188", Drop.TRUNCATED),
        ("4788", Drop.FRAME_TYPE),
        ("41b801", Drop.FRAME_VERSION),
        ("418401" + "00" * 30, Drop.ADDRESSING),
        ("414801" + "00" * 30, Drop.ADDRESSING),
        ("418001" + "00" * 30, Drop.ADDRESSING),
        ("498801" + "00" * 30, Drop.SECURITY_HEADER),
        ("49980123003412785620" + "00" * 30, Drop.SECURITY_HEADER),
        ("49980123003412785645" + "00" * 30, Drop.SECURITY_HEADER),
        ("01a201" + "2300" + "3412" + "7f01", Drop.ELEMENTS),
        ("01a201" + "2300" + "3412" + "0080", Drop.ELEMENTS),
        ("01a201" + "2300" + "3412" + "00", Drop.ELEMENTS),
    ],
)
def test_what_breaks_the_format_is_dropped_by_name(psdu: str, reason: Drop) -> None:
    with pytest.raises(Dropped) as dropped:
        decode(unhex(psdu))
    assert dropped.value.reason is reason


@pytest.mark.parametrize(
    ("frame_type", "payload", "size"),
    [
        (FrameType.DATA, "0405", 0),
        (FrameType.COMMAND, "04", 1),
        (FrameType.BEACON, "ffcf0000abcd", 4),
        (FrameType.BEACON, "ffcf810011223300ab", 8),
        (FrameType.BEACON, "ffcf001112340102030405060708ab", 14),
    ],
)
def test_what_is_never_encrypted_is_known(frame_type: FrameType, payload: str, size: int) -> None:
    frame = MacFrame(frame_type, sequence=1, payload=unhex(payload))
    assert open_payload_size(frame) == size
    assert open_payload_size(dataclasses.replace(frame, version=2)) == 0
    with pytest.raises(Dropped):
        open_payload_size(MacFrame(FrameType.COMMAND, sequence=1))


def test_version_2_is_not_sent() -> None:
    with pytest.raises(EncodeError):
        encode(MacFrame(FrameType.DATA, version=2, sequence=1))


def test_the_recorded_frames_are_many() -> None:
    assert len(psdus()) > 130

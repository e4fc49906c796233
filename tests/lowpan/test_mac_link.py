"""The MAC as a whole: what is for us, new and genuine comes through; all else has a name."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.lowpan.mac import security
from adapters.lowpan.mac.counter import FrameCounter
from adapters.lowpan.mac.drops import Drop
from adapters.lowpan.mac.frame import (
    BROADCAST,
    DATA_REQUEST,
    FrameType,
    KeyId,
    KeyIdMode,
    MacFrame,
    SecurityHeader,
    decode,
    encode,
)
from adapters.lowpan.mac.link import Identity, MacLink, Received
from adapters.lowpan.mac.security import LAST_COUNTER, LinkSecurity
from adapters.lowpan.mac.tables import Duplicates, Replays
from gateway.errors import EncodeError
from tests.lowpan.vectors import VECTORS, psdus, unhex

US = unhex("0200000000001234")
NODE = unhex("020000000000aa01")
IDENTITY = Identity(0x23, US, b"\x00\x01")
KEY = unhex(VECTORS["security"]["contiki"]["key"])
CONTIKI = LinkSecurity(5, KEY, KeyId(KeyIdMode.INDEX, 0))
FRAME = MacFrame(FrameType.DATA, US, NODE, 0x23, 0x23, 1, ack_request=True, payload=b"\x7a\x33")


def link(how: LinkSecurity | None = None, **more: object) -> MacLink:
    counter = FrameCounter(0, lambda _: None)
    return MacLink(IDENTITY, link_security=how, counter=counter, **more)  # type: ignore[arg-type]


def secured(
    counter: int = 1,
    how: LinkSecurity = CONTIKI,
    frame: MacFrame = FRAME,
    level: int | None = None,
) -> bytes:
    header = SecurityHeader(level or how.level, counter, how.key_id)
    return security.secure(
        dataclasses.replace(frame, security=header, sequence=counter % 256),
        NODE,
        how.key,
        how.quirk,
    )


def test_a_frame_for_us_comes_with_addresses_and_payload() -> None:
    assert link().receive(encode(FRAME), 0.0) == Received(
        FrameType.DATA, NODE, US, b"\x7a\x33", 1, False, 0
    )


def test_every_recorded_frame_comes_through_at_its_destination() -> None:
    for psdu in psdus():
        frame = decode(psdu)
        assert frame.destination_pan is not None
        us = US if frame.destination == BROADCAST else frame.destination
        received = MacLink(Identity(frame.destination_pan, us)).receive(psdu, 0.0)
        assert isinstance(received, Received)
        assert received.payload == frame.payload
        assert received.destination == frame.destination


@pytest.mark.parametrize(
    "frame",
    [
        dataclasses.replace(FRAME, destination=b"\x00\x01"),
        dataclasses.replace(FRAME, destination=BROADCAST),
        dataclasses.replace(FRAME, destination_pan=0xFFFF),
        dataclasses.replace(FRAME, source=b"\x00\x02"),
        MacFrame(FrameType.COMMAND, US, NODE, 0x23, 0x23, 1, payload=bytes((DATA_REQUEST,))),
        MacFrame(FrameType.COMMAND, b"", NODE, None, 0x23, 1, payload=bytes((DATA_REQUEST,))),
        MacFrame(FrameType.BEACON, b"", NODE, None, 0x23, 1, payload=unhex("ffcf0000")),
    ],
)
def test_all_that_is_for_us_comes_through(frame: MacFrame) -> None:
    received = link().receive(encode(frame), 0.0)
    assert isinstance(received, Received)
    assert (received.type, received.payload) == (frame.type, frame.payload)


@pytest.mark.parametrize(
    ("frame", "reason"),
    [
        (dataclasses.replace(FRAME, destination=unhex("0200000000009999")), Drop.NOT_FOR_US),
        (dataclasses.replace(FRAME, destination=b"\x00\x02"), Drop.NOT_FOR_US),
        (dataclasses.replace(FRAME, destination_pan=0x24), Drop.NOT_FOR_US),
        (MacFrame(FrameType.DATA, source=NODE, source_pan=0x24, sequence=1), Drop.NOT_FOR_US),
        (dataclasses.replace(FRAME, source=US), Drop.OWN_ADDRESS),
        (dataclasses.replace(FRAME, source=b"", source_pan=None), Drop.ADDRESSING),
        (MacFrame(FrameType.ACK, sequence=1), Drop.ACKNOWLEDGEMENT),
    ],
)
def test_what_is_not_for_us_is_dropped_by_name(frame: MacFrame, reason: Drop) -> None:
    assert link().receive(encode(frame), 0.0) is reason


def test_without_a_short_address_no_short_address_is_ours() -> None:
    for short in (b"", b"\xff\xfe"):
        mac = MacLink(Identity(0x23, US, short))
        frame = dataclasses.replace(FRAME, destination=b"\xff\xfe")
        assert mac.receive(encode(frame), 0.0) is Drop.NOT_FOR_US


@given(st.binary(max_size=127))
def test_no_frame_raises_anything(psdu: bytes) -> None:
    assert isinstance(link(CONTIKI).receive(psdu, 0.0), Received | Drop)


# Repetitions.


def test_a_repeated_frame_comes_through_once_and_again_after_a_while() -> None:
    mac = link()
    psdu = encode(FRAME)
    assert isinstance(mac.receive(psdu, 0.0), Received)
    assert mac.receive(psdu, 0.5) is Drop.DUPLICATE
    pending = encode(dataclasses.replace(FRAME, frame_pending=True))
    assert mac.receive(pending, 1.0) is Drop.DUPLICATE
    assert isinstance(mac.receive(psdu, 10.0), Received)


def test_the_same_number_on_another_frame_is_no_repetition() -> None:
    mac = link()
    assert isinstance(mac.receive(encode(FRAME), 0.0), Received)
    other = dataclasses.replace(FRAME, payload=b"other")
    assert isinstance(mac.receive(encode(other), 0.0), Received)


def test_the_recorded_repetitions_of_riot_come_through_once() -> None:
    answers = [
        p
        for entry, p in zip(VECTORS["psdus"], psdus(), strict=True)
        if entry["scenario"] == "riot-gcoap-linklocal"
    ]
    frame = decode(answers[-1])
    assert frame.destination_pan is not None
    mac = MacLink(Identity(frame.destination_pan, frame.destination))
    results = [mac.receive(psdu, i * 0.01) for i, psdu in enumerate([answers[-1]] * 3)]
    assert [isinstance(r, Received) for r in results] == [True, False, False]


def test_the_memory_of_frames_and_of_counters_is_bounded() -> None:
    duplicates, replays = Duplicates(limit=10), Replays(limit=10)
    for number in range(100):
        frame = dataclasses.replace(FRAME, sequence=number)
        assert duplicates.is_new(decode(encode(frame)), 0.0)
        replays.enter(number.to_bytes(8, "big"), KeyId(), 1)
    assert len(duplicates._seen) == 10
    assert len(replays.counters()) == 10


# Security.


def test_a_secured_frame_comes_through_in_clear() -> None:
    received = link(CONTIKI).receive(secured(), 0.0)
    assert isinstance(received, Received)
    assert (received.payload, received.security_level) == (b"\x7a\x33", 5)


def test_counters_must_grow_and_a_repetition_is_not_a_replay() -> None:
    mac = link(CONTIKI)
    assert isinstance(mac.receive(secured(5), 0.0), Received)
    assert mac.receive(secured(5), 0.1) is Drop.DUPLICATE
    assert mac.receive(secured(5), 60.0) is Drop.REPLAY
    assert mac.receive(secured(4), 60.0) is Drop.REPLAY
    assert isinstance(mac.receive(secured(6), 60.0), Received)


def test_counters_are_kept_over_a_restart() -> None:
    replays = Replays()
    assert isinstance(link(CONTIKI, replays=replays).receive(secured(5), 0.0), Received)
    after = link(CONTIKI, replays=Replays(replays.counters()))
    assert after.receive(secured(5), 0.0) is Drop.REPLAY


def test_a_forged_frame_does_not_lock_out_its_alleged_sender() -> None:
    mac = link(CONTIKI)
    forged = secured(1_000_000, dataclasses.replace(CONTIKI, key=bytes(16)))
    assert mac.receive(forged, 0.0) is Drop.MIC
    assert isinstance(mac.receive(secured(1), 0.0), Received)


@pytest.mark.parametrize(
    ("how", "psdu", "reason"),
    [
        (CONTIKI, encode(FRAME), Drop.NOT_SECURED),
        (None, secured(), Drop.UNKNOWN_KEY),
        (CONTIKI, secured(how=LinkSecurity(5, KEY)), Drop.UNKNOWN_KEY),
        (CONTIKI, secured(level=4), Drop.SECURITY_TOO_WEAK),
        (CONTIKI, secured(level=1), Drop.SECURITY_TOO_WEAK),
        (CONTIKI, secured(LAST_COUNTER), Drop.COUNTER),
        (CONTIKI, secured()[:-5], Drop.TRUNCATED),
        (CONTIKI, secured()[:-1] + b"\0", Drop.MIC),
        (
            CONTIKI,
            secured(frame=dataclasses.replace(FRAME, source=b"\x00\x02")),
            Drop.UNKNOWN_SENDER,
        ),
    ],
)
def test_what_is_not_genuine_is_dropped_by_name(
    how: LinkSecurity | None, psdu: bytes, reason: Drop
) -> None:
    assert link(how).receive(psdu, 0.0) is reason


def test_a_frame_with_level_0_counts_as_clear() -> None:
    header = SecurityHeader(0, 1, KeyId())
    psdu = encode(dataclasses.replace(FRAME, security=header))
    assert link(CONTIKI).receive(psdu, 0.0) is Drop.NOT_SECURED
    received = link().receive(psdu, 0.0)
    assert isinstance(received, Received)
    assert (received.payload, received.security_level) == (b"\x7a\x33", 0)


def test_frames_in_clear_are_taken_where_security_is_not_required() -> None:
    mac = link(dataclasses.replace(CONTIKI, required=False))
    assert isinstance(mac.receive(encode(FRAME), 0.0), Received)
    assert isinstance(mac.receive(secured(), 0.0), Received)


def test_a_short_source_is_opened_by_the_eui64_behind_it() -> None:
    frame = dataclasses.replace(FRAME, source=b"\x00\x02")
    mac = link(CONTIKI, eui64_of={b"\x00\x02": NODE}.get)
    received = mac.receive(secured(frame=frame), 0.0)
    assert isinstance(received, Received)
    assert received.source == b"\x00\x02"


def test_more_keys_can_be_known_than_the_one_for_sending() -> None:
    other = KeyId(KeyIdMode.SOURCE8_INDEX, 3, b"abcdefgh")
    how = dataclasses.replace(CONTIKI, keys={other: bytes(16)})
    header = SecurityHeader(5, 1, other)
    psdu = security.secure(dataclasses.replace(FRAME, security=header), NODE, bytes(16))
    assert isinstance(link(how).receive(psdu, 0.0), Received)


# Sending.


@pytest.mark.parametrize(
    ("how", "control"),
    [(None, {BROADCAST: "41d8", NODE: "61dc"}), (CONTIKI, {BROADCAST: "49d8", NODE: "69dc"})],
)
def test_our_frames_look_like_those_of_all_stacks(
    how: LinkSecurity | None, control: dict[bytes, str]
) -> None:
    mac = link(how, first_sequence=255)
    for number, destination in ((255, BROADCAST), (0, NODE)):
        psdu = mac.data(destination, b"payload")
        assert psdu[:2].hex() == control[destination]
        assert psdu[2] == number
    node = MacLink(Identity(0x23, NODE), link_security=how, counter=FrameCounter(0, lambda _: None))
    received = node.receive(psdu, 0.0)
    assert isinstance(received, Received)
    assert (received.source, received.payload) == (US, b"payload")


@pytest.mark.parametrize(
    ("how", "limits"),
    [
        (None, (104, 110)),
        (CONTIKI, (94, 100)),
        (LinkSecurity(6, KEY), (91, 97)),
    ],
)
def test_the_longest_payload_fits_and_one_octet_more_does_not(
    how: LinkSecurity | None, limits: tuple[int, int]
) -> None:
    mac = link(how)
    for destination, limit in zip((NODE, BROADCAST), limits, strict=True):
        assert mac.payload_limit(destination) == limit
        assert len(mac.data(destination, bytes(limit))) == 125
        with pytest.raises(EncodeError):
            mac.data(destination, bytes(limit + 1))


def test_security_without_a_counter_is_refused_at_birth() -> None:
    with pytest.raises(ValueError, match="counter"):
        MacLink(IDENTITY, link_security=CONTIKI)

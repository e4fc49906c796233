"""Link security: real networks' frames open, everything else stays shut, each for its reason."""

import dataclasses

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESCCM
from hypothesis import given
from hypothesis import strategies as st

from adapters.lowpan.mac import security
from adapters.lowpan.mac.ccm import Ccm, MicQuirk
from adapters.lowpan.mac.counter import FrameCounter
from adapters.lowpan.mac.drops import Drop, Dropped
from adapters.lowpan.mac.frame import FrameType, KeyId, KeyIdMode, MacFrame, SecurityHeader, decode
from adapters.lowpan.mac.security import LAST_COUNTER, MIC_SIZES, LinkSecurity
from gateway.errors import EncodeError, StateError
from tests.lowpan.vectors import VECTORS, unhex

CONTIKI, RIOT = VECTORS["security"]["contiki"], VECTORS["security"]["riot"]
KEY = unhex(CONTIKI["key"])
SENDER = unhex("020000000000cc03")


@pytest.mark.parametrize("entry", [f for f in CONTIKI["frames"] if f["secured"]])
def test_frames_of_contiki_open_and_are_made_the_same(entry: dict[str, str]) -> None:
    psdu = unhex(entry["psdu"])[:-2]
    frame = decode(psdu)
    assert frame.security == SecurityHeader(
        5, int(entry["frame_counter"]), KeyId(KeyIdMode.INDEX, 0)
    )
    assert frame.header.hex() == entry["aad"]
    assert security.nonce(frame.source, frame.security).hex() == entry["nonce"]
    clear = security.unsecure(frame, frame.source, KEY)
    assert clear.hex() == entry["plaintext"]
    assert security.secure(dataclasses.replace(frame, payload=clear), frame.source, KEY) == psdu


@pytest.mark.parametrize("entry", RIOT["frames"])
def test_frames_of_riot_open_with_its_quirk_only(entry: dict[str, str]) -> None:
    psdu = unhex(entry["psdu"])[:-2]
    frame, key = decode(psdu), unhex(RIOT["key"])
    clear = security.unsecure(frame, frame.source, key, MicQuirk.RIOT)
    assert clear.hex() == entry.get("plaintext", clear.hex())
    assert clear[:4] == b"\x7b\x3b\x3a\x02"
    again = security.secure(
        dataclasses.replace(frame, payload=clear), frame.source, key, MicQuirk.RIOT
    )
    assert again == psdu
    with pytest.raises(Dropped) as dropped:
        security.unsecure(frame, frame.source, key)
    assert dropped.value.reason is Drop.MIC


@given(
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=13, max_size=13),
    st.binary(max_size=60),
    st.binary(max_size=100),
    st.sampled_from([4, 8, 16]),
)
def test_our_ccm_is_that_of_the_library(
    key: bytes, nonce: bytes, data: bytes, message: bytes, size: int
) -> None:
    sealed = AESCCM(key, tag_length=size).encrypt(nonce, message, data)
    assert Ccm(key, nonce, size).seal(data, message) == sealed
    assert Ccm(key, nonce, 0).seal(data, message) == sealed[:-size]
    assert Ccm(key, nonce, size, MicQuirk.RIOT).seal(data, message)[:-size] == sealed[:-size]


KEY_IDS = [
    KeyId(),
    KeyId(KeyIdMode.INDEX, 7),
    KeyId(KeyIdMode.SOURCE4_INDEX, 1, b"abcd"),
    KeyId(KeyIdMode.SOURCE8_INDEX, 255, b"abcdefgh"),
]


@pytest.mark.parametrize("level", range(1, 8))
@pytest.mark.parametrize("key_id", KEY_IDS, ids=lambda k: k.mode.name)
@pytest.mark.parametrize("quirk", MicQuirk)
@pytest.mark.parametrize("frame_type", [FrameType.DATA, FrameType.COMMAND])
def test_every_level_and_key_mode_goes_there_and_back(
    level: int, key_id: KeyId, quirk: MicQuirk, frame_type: FrameType
) -> None:
    header = SecurityHeader(level, 0x01020305, key_id)
    frame = MacFrame(
        frame_type, b"\xff\xff", SENDER, 0x23, 0x23, 9, security=header, payload=b"\x04secret"
    )
    psdu = security.secure(frame, SENDER, KEY, quirk)
    received = decode(psdu)
    assert received.security == header
    assert security.unsecure(received, SENDER, KEY, quirk) == b"\x04secret"
    assert (b"secret" in psdu) == (level < 4)
    assert (received.payload[:1] == b"\x04") == (level < 4 or frame_type is FrameType.COMMAND)
    assert len(received.payload) == 7 + MIC_SIZES[level & 3]
    if level & 3:
        for at in range(len(psdu)):
            forged = bytearray(psdu)
            forged[at] ^= 1
            try:
                parsed = decode(bytes(forged))
                changed = parsed.security is None or parsed.security.level != level
                opened = None if changed else security.unsecure(parsed, SENDER, KEY, quirk)
            except Dropped:
                opened = None
            assert opened is None


def test_a_frame_shorter_than_its_mic_is_truncated() -> None:
    psdu = unhex(CONTIKI["frames"][1]["psdu"])
    frame = decode(psdu)
    with pytest.raises(Dropped) as dropped:
        security.unsecure(decode(psdu[: len(frame.header) + 3]), frame.source, KEY)
    assert dropped.value.reason is Drop.TRUNCATED


@pytest.mark.parametrize(
    ("level", "weaker", "not_weaker"),
    [
        (1, [4], [1, 2, 3, 5, 6, 7]),
        (4, [1, 2, 3], [4, 5, 6, 7]),
        (5, [1, 2, 3, 4], [5, 6, 7]),
        (7, [1, 2, 3, 4, 5, 6], [7]),
    ],
)
def test_no_level_that_protects_less_is_accepted(
    level: int, weaker: list[int], not_weaker: list[int]
) -> None:
    how = LinkSecurity(level, KEY)
    assert all(map(how.is_too_weak, weaker))
    assert not any(map(how.is_too_weak, not_weaker))


def test_keys_are_never_printed() -> None:
    text = repr(LinkSecurity(5, b"k" * 16, keys={KeyId(): b"q" * 16}))
    assert "kkkk" not in text
    assert "qqqq" not in text


@pytest.mark.parametrize(
    ("level", "key", "key_id"),
    [
        (0, KEY, KeyId()),
        (8, KEY, KeyId()),
        (5, KEY[1:], KeyId()),
        (5, KEY, KeyId(KeyIdMode.SOURCE8_INDEX, 1, b"abcdefgh")),
    ],
)
def test_impossible_security_is_refused_at_birth(level: int, key: bytes, key_id: KeyId) -> None:
    with pytest.raises(ValueError, match=r"level|key"):
        LinkSecurity(level, key, key_id)


# Our own counter.


def test_numbers_are_stored_before_they_are_used_and_never_repeat_after_a_crash() -> None:
    stored = [0]
    used: list[int] = []
    for _ in range(5):  # each round ends in a crash
        counter = FrameCounter(stored[-1], stored.append, block=10)
        for _ in range(17):
            used.append(counter.take())
            assert stored[-1] > used[-1]
    assert used == sorted(set(used))
    assert used[0] == 0


def test_no_number_is_given_out_when_it_cannot_be_stored() -> None:
    def fail(_: int) -> None:
        raise StateError("disk full")

    counter = FrameCounter(7, fail)
    for _ in range(2):
        with pytest.raises(StateError):
            counter.take()


def test_a_key_ends_with_its_last_number() -> None:
    stored: list[int] = []
    counter = FrameCounter(LAST_COUNTER - 2, stored.append)
    assert [counter.take(), counter.take()] == [LAST_COUNTER - 2, LAST_COUNTER - 1]
    with pytest.raises(EncodeError, match="new one"):
        counter.take()
    assert stored == [LAST_COUNTER]
    with pytest.raises(EncodeError, match="new one"):
        FrameCounter(stored[-1], stored.append).take()

"""RFC 8323's framing: where a message on a stream ends."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.coap import frames
from adapters.coap.frames import MAX_MESSAGE, Message, Reassembly
from gateway.errors import DecodeError

messages = st.builds(
    Message,
    code=st.integers(0, 255),
    token=st.binary(max_size=8),
    tail=st.binary(max_size=MAX_MESSAGE - 16),
)


@pytest.mark.parametrize(
    ("message", "octets"),
    [  # the examples of RFC 8323 3.2 and 5.3, and the edges of its length field
        (Message(0x45, b"\x7f"), "01457f"),
        (Message(0xE1), "00e1"),
        (frames.capabilities(), "40e122048020"),
        (Message(1, b"", b"x" * 12), "c001" + "78" * 12),
        (Message(1, b"", b"x" * 13), "d00001" + "78" * 13),
        (Message(1, b"", b"x" * 268), "d0ff01" + "78" * 268),
        (Message(1, b"", b"x" * 269), "e0000001" + "78" * 269),
        (Message(1, b"", b"x" * 65805), "f00000000001" + "78" * 65805),
    ],
)
def test_the_length_is_written_as_the_rfc_says(message: Message, octets: str) -> None:
    assert frames.encode(message).hex() == octets


@given(st.lists(messages, max_size=5), st.integers(1, 700))
def test_a_stream_cut_anywhere_gives_the_same_messages(sent: list[Message], size: int) -> None:
    stream = b"".join(map(frames.encode, sent))
    reassembly = Reassembly()
    cuts = [stream[at : at + size] for at in range(0, len(stream), size)]
    assert [message for cut in cuts for message in reassembly.add(cut)] == sent


@given(messages)
def test_a_web_message_gives_the_same_message(message: Message) -> None:
    assert frames.decode_web(frames.encode_web(message)) == message


@given(st.binary(max_size=3000))
def test_random_octets_raise_nothing_but_their_own_error(octets: bytes) -> None:
    for read in (Reassembly().add, frames.decode_web):
        try:
            read(octets)
        except DecodeError:
            continue


def test_a_message_that_is_announced_too_long_is_refused_before_it_comes() -> None:
    with pytest.raises(DecodeError, match="longer than 1152"):
        Reassembly().add(bytes.fromhex("f0ffffffff01"))

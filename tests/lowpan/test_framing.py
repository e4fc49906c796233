"""HDLC-lite and SLIP: what goes onto the line comes off it, whatever the line does in between."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.lowpan.crc import crc16, fcs
from adapters.lowpan.framing import hdlc, slip
from adapters.lowpan.framing.delimited import BadFrame, Deframer, Fault
from tests.lowpan.vectors import VECTORS, unhex


@dataclass(frozen=True)
class Framing:
    encode: Callable[[bytes], bytes]
    decoder: Callable[[], Deframer]
    limit: int


HDLC = Framing(hdlc.encode, hdlc.decoder, hdlc.PACKET_LIMIT)
SLIP = Framing(slip.encode, slip.decoder, slip.PACKET_LIMIT)
both = pytest.mark.parametrize("framing", [HDLC, SLIP], ids=["hdlc", "slip"])

RECORDED = [
    *(
        (HDLC, unhex(packet), unhex(wire))
        for exchange in VECTORS["spinel"]["exchanges"]
        for packet, wire in [
            (exchange["tx"], exchange["tx_wire"]),
            *zip(exchange["rx"], exchange["rx_wire"], strict=True),
        ]
    ),
    *((SLIP, unhex(e["tx"]), unhex(e["tx_wire"])) for e in VECTORS["slip_radio"]["exchanges"]),
]


def feed_singly(decoder: Deframer, data: bytes) -> list[bytes | BadFrame]:
    return list(chain.from_iterable(decoder.feed(bytes((octet,))) for octet in data))


def test_both_checksums_are_those_of_the_catalogue() -> None:
    assert crc16(b"123456789", 0xFFFF) ^ 0xFFFF == 0x906E
    assert fcs(b"123456789") == (0x2189).to_bytes(2, "little")
    assert all(
        fcs(unhex(entry["psdu"])[:-2]) == unhex(entry["psdu"])[-2:] for entry in VECTORS["psdus"]
    )


@pytest.mark.parametrize(("framing", "packet", "wire"), RECORDED)
def test_recorded_packets_are_framed_as_the_firmware_does(
    framing: Framing, packet: bytes, wire: bytes
) -> None:
    assert framing.encode(packet) == wire
    assert framing.decoder().feed(wire) == [packet]
    assert feed_singly(framing.decoder(), wire) == [packet]


@both
@given(st.lists(st.binary(min_size=1, max_size=300), max_size=5), st.data())
def test_packets_come_off_the_line_whole_however_it_cuts_them(
    framing: Framing, packets: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(map(framing.encode, packets))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    decoder = framing.decoder()
    pieces = zip([0, *cuts], [*cuts, len(stream)], strict=True)
    assert list(chain.from_iterable(decoder.feed(stream[a:b]) for a, b in pieces)) == packets


@both
@given(st.binary(max_size=300))
def test_after_any_garbage_the_second_packet_arrives(framing: Framing, garbage: bytes) -> None:
    decoder = framing.decoder()
    decoder.feed(garbage)
    decoder.feed(framing.encode(b"first"))
    assert decoder.feed(framing.encode(b"second"))[-1:] == [b"second"]


@both
def test_what_comes_before_the_first_delimiter_is_dropped_without_a_word(framing: Framing) -> None:
    assert framing.decoder().feed(b"half a packet" + framing.encode(b"whole")) == [b"whole"]


@both
def test_one_delimiter_between_packets_is_enough(framing: Framing) -> None:
    first, second = framing.encode(b"one"), framing.encode(b"two")
    assert framing.decoder().feed(first + second[1:]) == [b"one", b"two"]


@both
def test_an_endless_packet_is_a_fault_and_needs_no_memory(framing: Framing) -> None:
    decoder = framing.decoder()
    decoder.feed(framing.encode(b"x"))
    for _ in range(1000):
        assert decoder.feed(b"a" * 1000) == []
    assert len(decoder._piece) <= 2 * framing.limit + 4
    assert decoder.feed(framing.encode(b"next")) == [BadFrame(Fault.TOO_LONG, 1_000_000), b"next"]


@both
def test_the_longest_packet_passes_and_one_octet_more_does_not(framing: Framing) -> None:
    longest = b"\x7e" * framing.limit if framing is HDLC else b"\xc0" * framing.limit
    assert framing.decoder().feed(framing.encode(longest)) == [longest]
    (fault,) = framing.decoder().feed(framing.encode(longest + b"a"))
    assert isinstance(fault, BadFrame)
    assert fault.fault is Fault.TOO_LONG


@pytest.mark.parametrize(
    ("wire", "fault"),
    [
        ("7e8802 01db2f7e", Fault.CHECKSUM),
        ("7e880201db2e7d7e", Fault.ESCAPE),
        ("7e007e", Fault.TOO_SHORT),
        ("7eaaaa7e", Fault.TOO_SHORT),
    ],
)
def test_a_damaged_hdlc_packet_is_named_and_the_next_one_arrives(wire: str, fault: Fault) -> None:
    damaged, good = hdlc.decoder().feed(unhex(wire) + hdlc.encode(b"good"))
    assert isinstance(damaged, BadFrame)
    assert (damaged.fault, good) == (fault, b"good")


def test_hdlc_takes_octets_that_should_have_been_escaped() -> None:
    packet = b"\x11\x13\xf8"
    escaped = hdlc.encode(packet)
    assert b"\x7d\x31\x7d\x33\x7d\xd8" in escaped
    assert hdlc.decoder().feed(escaped.replace(b"\x7d\x31\x7d\x33\x7d\xd8", packet)) == [packet]


@pytest.mark.parametrize("wire", ["c0dbc0", "c061db62c0", "c0dbdbdcc0"])
def test_a_bad_slip_escape_is_named(wire: str) -> None:
    (fault,) = slip.decoder().feed(unhex(wire))
    assert isinstance(fault, BadFrame)
    assert fault.fault is Fault.ESCAPE

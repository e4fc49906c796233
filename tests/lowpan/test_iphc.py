"""Header compression against recordings, RFC cases and itself."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.lowpan.drops import Drop, Dropped
from adapters.lowpan.ipv6 import address, options, srh, udp
from adapters.lowpan.ipv6.packet import (
    DESTINATION,
    FRAGMENT,
    HOP_BY_HOP,
    ICMPV6,
    MOBILITY,
    ROUTING,
    UDP,
    Extension,
    Packet,
    encode,
)
from adapters.lowpan.link import SHORT_IID, interface_id, link_address
from adapters.lowpan.sixlowpan import iphc
from adapters.lowpan.sixlowpan.contexts import Context
from gateway.errors import EncodeError
from tests.lowpan.networks import HERE, NETWORKS, Network, context

ALICE = interface_id(bytes.fromhex("020000000000aa01"))
BOB = interface_id(bytes.fromhex("020000000000bb02"))
MESH = {0: context("fd00::/64"), 3: context("2001:db8:3::/64")}
CASES = json.loads((HERE / "iphc-cases.json").read_text())["cases"]


def decompress(octets: bytes | str, contexts: dict[int, Context] | None = None) -> bytes:
    data = bytes.fromhex(octets) if isinstance(octets, str) else octets
    return iphc.decompress(data, ALICE, BOB, MESH if contexts is None else contexts).datagram


def reason(octets: bytes | str, contexts: dict[int, Context] | None = None) -> Drop:
    with pytest.raises(Dropped) as caught:
        decompress(octets, contexts)
    return caught.value.reason


def packet(*extensions: Extension, source: str = "fe80::1", destination: str = "fe80::2") -> Packet:
    ends = address.parse(source), address.parse(destination)
    payload = udp.encode(*ends, udp.UdpDatagram(5683, 61616, b"data"))
    return Packet(*ends, UDP, payload, extensions=extensions)


def compressed(datagram: bytes, contexts: dict[int, Context] | None = None) -> bytes:
    headers, covered = iphc.compress(datagram, ALICE, BOB, contexts or {})
    return headers + datagram[covered:]


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_recorded_datagrams_are_restored_and_compressed_as_their_senders_did(
    network: Network,
) -> None:
    whole = [f for f in network.frames if f.datagram and f.frame.payload[0] >> 5 == 3]
    assert whole
    for recorded in whole:
        frame = recorded.frame
        ends = interface_id(frame.source), interface_id(frame.destination)
        received = iphc.decompress(frame.payload, *ends, network.contexts)
        assert received.datagram == recorded.datagram
        held = {i: c for i, c in network.contexts.items() if received.contexts >> i & 1}
        headers, covered = iphc.compress(received.datagram, *ends, held)
        ours = headers + received.datagram[covered:]
        if frame.payload[1] & 0x80 and frame.payload[2] == 0:
            # Contiki-NG names context 0, which is what it would be without a name.
            without = bytes((frame.payload[0], frame.payload[1] & 0x7F)) + frame.payload[3:]
            assert ours == without
        else:
            assert ours == frame.payload


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["iphc"][:4])
def test_every_combination_means_what_the_rfc_says(case: dict[str, Any]) -> None:
    expected = case["expect"]
    if expected is None:
        assert reason(case["iphc"]) == Drop.RESERVED
        return
    datagram = decompress(case["iphc"])
    word = int.from_bytes(datagram[:4], "big")
    assert word >> 28 == 6
    assert {
        "src6": address.text(datagram[8:24]),
        "dst6": address.text(datagram[24:40]),
        "tclass": word >> 20 & 0xFF,
        "flow": word & 0xFFFFF,
        "hlim": datagram[7],
        "sport": int.from_bytes(datagram[40:42], "big"),
        "dport": int.from_bytes(datagram[42:44], "big"),
    } == expected
    assert datagram[48:] == b"ABCDEFGH"
    assert datagram[4:6] == datagram[44:46] == (16).to_bytes(2, "big")


def test_a_context_that_is_not_known_is_never_guessed() -> None:
    recorded = NETWORKS["contiki-coap"].find("/test/hello").frame.payload
    assert reason(recorded, {}) == Drop.CONTEXT_UNKNOWN
    assert reason(recorded, {1: MESH[0]}) == Drop.CONTEXT_UNKNOWN


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_headers_cut_short_are_dropped_at_every_length(network: Network) -> None:
    for recorded in network.frames:
        payload = recorded.frame.payload
        if not recorded.datagram or payload[0] >> 5 != 3:
            continue
        headers, _ = iphc.compress(recorded.datagram, ALICE, BOB, network.contexts)
        for length in range(len(headers)):
            with pytest.raises(Dropped):
                decompress(headers[:length], network.contexts)


def test_context_bits_win_over_bits_in_line() -> None:
    # RFC 6282 3.1.1: with 72 bits of context only the last 56 of the identifier in line count.
    contexts = {2: context("2001:db8:2::ab00:0:0:0/72")}
    octets = "7ad5" + "20" + "3b" + "ffffffffffffffff" + "fd00000000000009"
    datagram = decompress(octets + "", {**contexts, 0: context("fd00::/64")})
    assert address.text(datagram[8:24]) == "2001:db8:2:0:abff:ffff:ffff:ffff"


def test_a_short_address_is_its_own_identifier() -> None:
    iid = interface_id(b"\x12\x34")
    assert iid == SHORT_IID + b"\x12\x34"
    assert link_address(iid) == b"\x12\x34"
    received = iphc.decompress(bytes.fromhex("7b333b"), iid, BOB, {})
    assert address.text(received.datagram[8:24]) == "fe80::ff:fe00:1234"


def test_a_redundant_context_name_is_accepted() -> None:
    # Contiki-NG writes the octet although both contexts are 0.
    assert decompress("7ef700" + "f316f1" + "abcd") == decompress("7e77" + "f316f1" + "abcd")


@pytest.mark.parametrize("octets", ["00", "40ff", "80", "c0"])
def test_what_is_not_iphc_is_not_taken_for_it(octets: str) -> None:
    assert reason(octets) in (Drop.NHC, Drop.TRUNCATED)


@pytest.mark.parametrize(
    ("octets", "expected"),
    [
        ("7e33" + "d0", Drop.NHC),  # GHC (RFC 7400)
        ("7e33" + "ea00", Drop.NHC),  # reserved id 5
        ("7e33" + "ec00", Drop.NHC),  # reserved id 6
        ("7e33" + "ef", Drop.NHC),  # a tunnel whose next header is not in it
        ("7e33" + "ee41", Drop.TRUNCATED),
        ("7e33" + "ee4160", Drop.NHC),  # a tunnel without IPHC
        ("7e33" + "e23b05" + "0300000000", Drop.NHC_LENGTH),  # routing header not padded
        ("7e33" + "e03b", Drop.TRUNCATED),
        ("7e33" + "e03b06" + "63040000", Drop.TRUNCATED),
        ("7e33", Drop.TRUNCATED),
        ("7e33" + "e100" * 9 + "f3a1" + "abcd", Drop.NHC),  # more headers than any packet has
    ],
)
def test_headers_that_break_the_format_are_dropped(octets: str, expected: Drop) -> None:
    assert reason(octets) == expected


def test_elided_padding_is_restored() -> None:
    rpl = bytes.fromhex("63040000019b")
    without = decompress("7e33" + "e03b06" + rpl.hex())
    assert without[40:] == bytes.fromhex("3b00") + rpl
    one = decompress("7e33" + "e03b05" + "05030a0b0c")
    assert one[40:] == bytes.fromhex("3b00" + "05030a0b0c" + "00")
    all_of_it = decompress("7e33" + "e63b00")
    assert all_of_it[40:] == bytes.fromhex("3b00" + "0104" + "00000000")


@pytest.mark.parametrize(
    "extension",
    [
        Extension(HOP_BY_HOP, options.encode_rpl(options.RplOption(True, False, True, 0, 256))),
        Extension(HOP_BY_HOP, bytes.fromhex("0502000000") + b"\0"),
        Extension(HOP_BY_HOP, bytes.fromhex("0502000001020000")[:6]),
        Extension(DESTINATION, bytes.fromhex("1e0a") + bytes(10) + b"\1\0"),
        Extension(DESTINATION, bytes.fromhex("1e0a") + bytes(10) + b"\1\7"),
        Extension(DESTINATION, bytes.fromhex("010c") + bytes(12)),
        Extension(DESTINATION, bytes(6)),
        Extension(DESTINATION, bytes.fromhex("c3ff00000000")),
        Extension(MOBILITY, bytes.fromhex("3b0001020304")),
        Extension(FRAGMENT, bytes.fromhex("000012345678")),
        Extension(ROUTING, srh.encode(ALICE * 2, srh.SourceRoute(1, (ALICE + BOB,)))),
        Extension(DESTINATION, bytes(254)),
        Extension(DESTINATION, bytes(262)),
    ],
    ids=lambda extension: f"{extension.number}-{extension.body[:6].hex()}",
)
def test_extension_headers_come_back_as_they_were(extension: Extension) -> None:
    datagram = encode(packet(extension))
    octets = compressed(datagram)
    assert decompress(octets) == datagram
    assert len(octets) < len(datagram)


def test_a_chain_of_extension_headers_is_compressed_up_to_the_ports() -> None:
    rpl = Extension(HOP_BY_HOP, options.encode_rpl(options.RplOption(False, False, False, 0, 9)))
    route = srh.SourceRoute(1, (address.parse("fe80::3"),))
    routing = Extension(ROUTING, srh.encode(address.parse("fe80::2"), route))
    datagram = encode(packet(rpl, routing))
    octets = compressed(datagram)
    assert octets.hex().startswith("7e11")
    assert "e106" in octets.hex()
    assert "e30e" in octets.hex()
    assert decompress(octets) == datagram


def test_a_tunnelled_datagram_takes_its_addresses_from_the_outer_one() -> None:
    # fe80::aa01 -> fe80::bb02 around the same two, all elided, no next header within.
    datagram = decompress("7e33" + "ee" + "7a333b" + "feed")
    assert datagram[6] == 41
    assert datagram[4:6] == (42).to_bytes(2, "big")
    inner = datagram[40:]
    assert inner[8:40] == datagram[8:40]
    assert inner[6] == 59
    assert inner[40:] == b"\xfe\xed"


def test_an_elided_checksum_is_marked_where_it_can_be_computed() -> None:
    received = iphc.decompress(bytes.fromhex("7e33" + "f7a1" + "abcd"), ALICE, BOB, {})
    assert received.udp_at == 40
    filled = udp.fill_checksum(received.datagram, 40)
    parsed = udp.parse(filled[8:24], filled[24:40], filled[40:])
    assert parsed == udp.UdpDatagram(0xF0BA, 0xF0B1, b"\xab\xcd")
    assert reason("7e33" + "ee" + "7e33" + "f7a1" + "abcd") == Drop.UDP_CHECKSUM_ELIDED


def test_a_udp_header_that_lies_about_its_length_is_not_compressed() -> None:
    datagram = bytearray(encode(packet()))
    datagram[45] += 1
    assert decompress(compressed(bytes(datagram))) == datagram
    assert compressed(bytes(datagram))[2] == UDP


def test_only_ipv6_is_compressed() -> None:
    with pytest.raises(EncodeError):
        iphc.compress(bytes(40), ALICE, BOB, {})
    with pytest.raises(EncodeError):
        iphc.compress(b"\x60" + bytes(38), ALICE, BOB, {})


ADDRESSES = st.one_of(
    st.binary(min_size=16, max_size=16),
    st.sampled_from(
        [
            *(bytes(16), address.ALL_NODES, address.ALL_RPL_NODES),
            *(address.link_local(ALICE), address.link_local(BOB)),
            *(MESH[0].address(ALICE), MESH[3].address(BOB), MESH[3].address(SHORT_IID + b"ab")),
            *(
                address.solicited_node(MESH[0].address(BOB)),
                bytes.fromhex("ff05" + "00" * 9) + ALICE[3:],
            ),
            bytes.fromhex("ff3e0040fd0000000000000012345678"),
        ]
    ),
    st.builds(address.link_local, st.binary(min_size=8, max_size=8)),
    st.builds(MESH[3].address, st.binary(min_size=8, max_size=8)),
)
PORTS = st.one_of(st.integers(0, 65535), st.integers(0xF000, 0xF0FF), st.integers(0xF0B0, 0xF0BF))
UDP_PAYLOADS = st.builds(
    lambda *fields: udp.encode(bytes(16), bytes(16), udp.UdpDatagram(*fields)),
    *(PORTS, PORTS, st.binary(max_size=40)),
)
BODIES = st.integers(0, 4).flatmap(lambda n: st.binary(min_size=8 * n + 6, max_size=8 * n + 6))
EXTENSIONS = st.builds(
    lambda number, body: Extension(number, body[:6] if number == FRAGMENT else body),
    st.sampled_from([HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION, MOBILITY]),
    BODIES,
)
PACKETS = st.builds(
    lambda source, destination, payload, *rest: Packet(source, destination, *payload, *rest),
    ADDRESSES,
    ADDRESSES,
    st.one_of(
        st.tuples(st.just(UDP), UDP_PAYLOADS),
        st.tuples(st.sampled_from([ICMPV6, UDP, 59, 41]), st.binary(max_size=40)),
    ),
    st.one_of(st.integers(0, 255), st.sampled_from([1, 64, 255])),
    st.lists(EXTENSIONS, max_size=3).map(tuple),
    st.one_of(st.just(0), st.integers(0, 255)),
    st.one_of(st.just(0), st.integers(0, 0xFFFFF)),
)
CONTEXTS = st.dictionaries(
    st.integers(0, 15),
    st.sampled_from(
        [
            *(context("fd00::/64"), context("2001:db8:3::/64"), context("2001:db8:3::/48")),
            *(context("::/0"), context("fd00::bb02/128"), context("2001:db8:3::/96")),
        ]
    ),
    max_size=4,
)


@given(PACKETS, CONTEXTS)
@settings(max_examples=400, deadline=None)
def test_whatever_is_compressed_comes_back(packet: Packet, contexts: dict[int, Context]) -> None:
    datagram = encode(packet)
    octets = compressed(datagram, contexts)
    assert decompress(octets, contexts) == datagram
    assert len(octets) <= len(datagram)
    # A first fragment says the same, and knows the lengths from elsewhere.
    first = iphc.decompress(octets, ALICE, BOB, contexts, len(datagram))
    assert first.datagram == datagram


@given(st.binary(max_size=127), st.sampled_from([None, 40, 60, 1280]))
@settings(max_examples=400, deadline=None)
def test_random_octets_raise_nothing_else(octets: bytes, size: int | None) -> None:
    for data in (
        octets,
        b"\x7e\x33" + octets,
        bytes((0x60 | octets[0] & 31,)) + octets[1:] if octets else b"\x60",
    ):
        try:
            received = iphc.decompress(data, ALICE, BOB, MESH, size)
        except Dropped:
            continue
        assert len(received.datagram) >= 40

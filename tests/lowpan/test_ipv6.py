"""IPv6 packets, extension headers, UDP, ICMPv6 and source routes as octets."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.lowpan.drops import Drop, Dropped, Refused
from adapters.lowpan.ipv6 import address, extensions, icmpv6, options, packet, srh, udp
from adapters.lowpan.ipv6.icmpv6 import Message
from adapters.lowpan.ipv6.packet import Extension, Packet
from gateway.errors import EncodeError
from tests.lowpan.networks import NETWORKS
from tests.lowpan.tshark import dissect

ALICE, BOB = address.parse("fd00::aa01"), address.parse("fd00::bb02")
RECORDED = [
    recorded.datagram
    for network in NETWORKS.values()
    for recorded in network.frames
    if recorded.datagram
]


def reason(datagram: bytes) -> Drop:
    with pytest.raises(Dropped) as caught:
        packet.parse(datagram)
    return caught.value.reason


@pytest.mark.parametrize("datagram", RECORDED, ids=lambda d: d[40:48].hex())
def test_recorded_datagrams_parse_with_right_checksums_and_come_back(datagram: bytes) -> None:
    parsed = packet.parse(datagram)
    assert packet.encode(parsed) == datagram
    ends = parsed.source, parsed.destination
    if parsed.next_header == packet.UDP:
        inner = udp.parse(*ends, parsed.payload)
        assert udp.encode(*ends, inner) == parsed.payload
    else:
        message = icmpv6.parse(*ends, parsed.payload)
        assert icmpv6.encode(*ends, message) == parsed.payload


def test_a_packet_may_be_followed_by_octets_that_are_not_its() -> None:
    datagram = packet.encode(Packet(ALICE, BOB, 59, b"abc"))
    assert packet.parse(datagram + b"xyz") == packet.parse(datagram)


@pytest.mark.parametrize(
    "datagram",
    [
        b"",
        bytes(40),
        b"\x60" + bytes(38),
        packet.encode(Packet(ALICE, BOB, 59, b"abc"))[:-1],
        b"\x60" + bytes(4) + b"\x08\x00\x40" + ALICE + BOB,
        b"\x60" + bytes(4) + b"\x08\x2b\x40" + ALICE + BOB + b"\x3b\x01" + bytes(6),
        packet.encode(Packet(ALICE, BOB, 59, b"", 64, (Extension(60, bytes(6)),) * 9)),
        packet.encode(
            Packet(ALICE, BOB, 59, b"", 64, (Extension(60, bytes(6)), Extension(0, bytes(6))))
        ),
    ],
)
def test_malformed_packets_are_dropped(datagram: bytes) -> None:
    assert reason(datagram) == Drop.IPV6_MALFORMED


def test_extension_headers_need_a_length_of_whole_units() -> None:
    with pytest.raises(EncodeError):
        packet.encode(Packet(ALICE, BOB, 59, b"", 64, (Extension(0, bytes(7)),)))


def test_udp_checksums_are_checked_and_zero_is_none() -> None:
    payload = udp.encode(ALICE, BOB, udp.UdpDatagram(1, 2, b"data"))
    assert udp.parse(ALICE, BOB, payload).data == b"data"
    for wrong, why in (
        (payload[:-1] + b"A", Drop.UDP_CHECKSUM),
        (payload[:6] + b"\0\0" + payload[8:], Drop.UDP_CHECKSUM),
        (payload + b"x", Drop.UDP_MALFORMED),
        (payload[:7], Drop.UDP_MALFORMED),
    ):
        with pytest.raises(Dropped) as caught:
            udp.parse(ALICE, BOB, wrong)
        assert caught.value.reason == why


def test_a_checksum_that_would_be_zero_is_sent_as_ffff() -> None:
    # The data makes up for everything else, so that the sum is ffff.
    plain = udp.encode(ALICE, BOB, udp.UdpDatagram(1, 2, b"\0\0"))
    payload = udp.encode(ALICE, BOB, udp.UdpDatagram(1, 2, plain[6:8]))
    assert payload[6:8] == b"\xff\xff"
    assert udp.parse(ALICE, BOB, payload).data == plain[6:8]


def test_icmpv6_messages_need_a_right_checksum() -> None:
    payload = icmpv6.encode(ALICE, BOB, Message(128, 0, b"body"))
    with pytest.raises(Dropped) as caught:
        icmpv6.parse(BOB, ALICE, payload[:-1] + b"?")
    assert caught.value.reason == Drop.ICMPV6_CHECKSUM
    with pytest.raises(Dropped) as caught:
        icmpv6.parse(ALICE, BOB, payload[:3])
    assert caught.value.reason == Drop.ICMPV6_MALFORMED


def test_errors_are_never_about_errors_or_from_groups() -> None:
    echo = Packet(ALICE, BOB, packet.ICMPV6, bytes((128, 0, 0, 0)))
    error = Packet(ALICE, BOB, packet.ICMPV6, bytes((1, 4, 0, 0)))
    to_group = Packet(ALICE, address.ALL_NODES, packet.UDP, bytes(8))
    nobody = Packet(address.UNSPECIFIED, BOB, packet.UDP, bytes(8))
    assert icmpv6.may_report(echo, 1, 4)
    assert not icmpv6.may_report(error, 1, 4)
    assert not icmpv6.may_report(to_group, 1, 4)
    assert icmpv6.may_report(to_group, icmpv6.PARAMETER_PROBLEM, icmpv6.UNKNOWN_OPTION)
    assert not icmpv6.may_report(nobody, 1, 4)


def test_an_error_tells_which_of_our_datagrams_it_is_about() -> None:
    payload = udp.encode(ALICE, BOB, udp.UdpDatagram(5683, 61616, bytes(1200)))
    direct = packet.encode(Packet(ALICE, BOB, packet.UDP, payload))
    message = icmpv6.error(1, 4, direct)
    assert len(message.body) == 1280 - 44
    assert icmpv6.udp_error(message) == icmpv6.UdpError(
        BOB, 61616, 5683, "nothing listens on the port"
    )
    first, route = srh.hops([address.parse("fd00::cc03"), BOB])
    extension = Extension(packet.ROUTING, srh.encode(first, route))
    routed = packet.encode(Packet(ALICE, first, packet.UDP, payload, extensions=(extension,)))
    about = icmpv6.udp_error(icmpv6.error(1, 7, routed))
    assert about == icmpv6.UdpError(BOB, 61616, 5683, "the source route is broken")
    assert icmpv6.udp_error(Message(1, 4, bytes(20))) is None
    assert icmpv6.udp_error(Message(1, 4, bytes(60))) is None


def test_the_recorded_rpl_options_and_source_routes_are_read() -> None:
    dao = NETWORKS["contiki-rpl-1hop"].find("Advertisement Object)").packet
    option = extensions.obey(dao)
    assert option == options.RplOption(False, False, False, 0, 0x197)
    assert options.encode_rpl(option) == dao.extensions[0].body
    ack = NETWORKS["contiki-rpl-1hop"].find("Acknowledgment").packet
    assert srh.parse(ack.destination, ack.extensions[0].body) == srh.SourceRoute(0, ())
    assert extensions.obey(ack) is None
    # Contiki-NG's root to cc03 and on to cc01, one octet of cc01 in line.
    body = bytes.fromhex("0301ff7000000100000000000000")
    cc01, cc03 = address.parse("fd00::cc01"), address.parse("fd00::cc03")
    assert srh.parse(cc03, body) == srh.SourceRoute(1, (cc01,))
    assert srh.encode(cc03, srh.SourceRoute(1, (cc01,))) == body


def test_each_hop_of_a_source_route_takes_the_next_address() -> None:
    path = [address.parse(f"fd00::{hop}") for hop in ("cc01", "1234:5678:9abc:def0", "cc03")]
    destination, route = srh.hops(path)
    visited = [destination]
    while route.segments_left:
        body = srh.encode(destination, route)
        assert len(body) % 8 == 6
        destination, route = srh.advance(destination, srh.parse(destination, body))
        visited.append(destination)
    assert visited == path
    assert route.addresses == tuple(path[:2])


@pytest.mark.parametrize(
    "body",
    [
        "0201000000000000",  # another type of routing
        "0301000000",
        "0301880000000102",  # a part of an address
        "030288000000" + "00" * 8,  # more segments than addresses
        "03010000f0000102",
    ],
)
def test_malformed_source_routes_are_dropped(body: str) -> None:
    with pytest.raises(Dropped) as caught:
        srh.parse(ALICE, bytes.fromhex(body))
    assert caught.value.reason == Drop.IPV6_ROUTING


def test_a_source_route_must_make_sense_to_be_built() -> None:
    with pytest.raises(EncodeError):
        srh.encode(ALICE, srh.SourceRoute(2, (BOB,)))


ADDRESSES = st.one_of(
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=1, max_size=9).map(
        lambda tail: address.parse("fd00::")[: 16 - len(tail)] + tail
    ),
)


@given(st.lists(ADDRESSES, min_size=1, max_size=9))
@settings(deadline=None)
def test_source_routes_come_back_whatever_their_addresses_share(path: list[bytes]) -> None:
    destination, route = srh.hops(path)
    assert srh.parse(destination, srh.encode(destination, route)) == route


@pytest.mark.parametrize(
    ("type", "reason", "refused"),
    [
        (0x1E, None, False),
        (0x5E, Drop.IPV6_OPTION, False),
        (0x9E, Drop.IPV6_OPTION, True),
        (0xDE, Drop.IPV6_OPTION, True),
    ],
)
def test_unknown_options_are_treated_as_they_ask_for(
    type: int, reason: Drop | None, refused: bool
) -> None:
    body = bytes((0, 1, 0, type, 1, 0))
    received = Packet(ALICE, BOB, 59, b"", 64, (Extension(60, bytes(6)), Extension(60, body)))
    if reason is None:
        assert extensions.obey(received) is None
        return
    with pytest.raises(Dropped) as caught:
        extensions.obey(received)
    assert caught.value.reason == reason
    if refused:
        assert isinstance(caught.value, Refused)
        datagram = packet.encode(received)
        assert datagram[caught.value.pointer] == type
    else:
        assert not isinstance(caught.value, Refused)


def test_fragments_of_ipv6_itself_are_dropped() -> None:
    received = Packet(ALICE, BOB, packet.UDP, bytes(8), 64, (Extension(packet.FRAGMENT, bytes(6)),))
    with pytest.raises(Dropped) as caught:
        extensions.obey(received)
    assert caught.value.reason == Drop.IPV6_FRAGMENT


@given(st.binary(max_size=120))
@settings(deadline=None)
def test_random_packets_raise_nothing_else(octets: bytes) -> None:
    for number in (0, 43, 44, 58, 60, 135, 17):
        datagram = (
            b"\x60\0\0\0" + len(octets).to_bytes(2, "big") + bytes((number, 64)) + ALICE + BOB
        )
        try:
            parsed = packet.parse(datagram + octets)
            assert packet.encode(parsed)[40:][:1] == octets[:1]
            extensions.obey(parsed)
            udp.parse(ALICE, BOB, parsed.payload)
        except Dropped:
            pass
        try:
            icmpv6.udp_error(Message(1, 0, octets))
            srh.parse(ALICE, octets)
        except Dropped:
            pass


def test_tshark_reads_our_source_routes(tmp_path: Path) -> None:
    paths = [[address.parse(f"fd00::{i:x}:{j:x}") for j in range(1, i + 2)] for i in range(1, 8)]
    datagrams = []
    for path in paths:
        first, route = srh.hops(path)
        payload = udp.encode(ALICE, path[-1], udp.UdpDatagram(5683, 5683, b"data"))
        extension = Extension(packet.ROUTING, srh.encode(first, route))
        datagrams.append(packet.encode(Packet(ALICE, first, packet.UDP, payload, 64, (extension,))))
    fields = ("ipv6.routing.rpl.full_address", "ipv6.routing.segleft", "udp.checksum.status")
    rows = dissect(tmp_path, fields, datagrams=datagrams)
    for path, row in zip(paths, rows, strict=True):
        assert row == [",".join(map(address.text, path[1:])), str(len(path) - 1), "1"]

"""The virtual nodes' own 6LoWPAN and CoAP agree with the gateway's, and with what was recorded."""

from collections import Counter
from types import MappingProxyType

import aiocoap
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.lowpan.ipv6 import srh
from adapters.lowpan.link import LinkFrame
from adapters.lowpan.sixlowpan.adaptation import Adaptation
from adapters.lowpan.sixlowpan.fragments import ReassemblyLimits
from adapters.sim import coap, packets
from adapters.sim.sixlowpan import Reader, frames, iid

ONE, TWO = bytes.fromhex("020000000000aa01"), bytes.fromhex("020000000000bb02")
LINK_LOCAL, MESH = b"\xfe\x80" + bytes(6), b"\xfd" + bytes(7)

octets16 = st.binary(min_size=16, max_size=16)
unicast = st.sampled_from([LINK_LOCAL + iid(ONE), MESH + iid(ONE), MESH + iid(TWO)]) | octets16.map(
    lambda address: b"\x20" + address[1:]
)
multicast = st.sampled_from([packets.ALL_NODES, packets.ALL_RPL_NODES]) | octets16.map(
    lambda address: b"\xff\x05" + address[2:]
)


@st.composite
def datagrams(draw: st.DrawFn) -> bytes:
    source, destination = draw(unicast), draw(unicast | multicast)
    if draw(st.booleans()):
        ports = draw(st.sampled_from([(5683, 5683), (0xF0B1, 0xF0B2), (0xF012, 9), (9, 0xF012)]))
        packet = packets.udp(source, destination, ports, draw(st.binary(max_size=400)))
    else:
        body = draw(st.binary(max_size=400))
        packet = packets.icmp(source, destination, draw(st.sampled_from([128, 155])), 0, body)
    return packet.encode()


def gateway_side() -> Adaptation:
    return Adaptation(MappingProxyType({}), 104, ReassemblyLimits(), Counter())


@given(datagrams(), st.integers(0, 65535))
def test_the_gateway_reads_what_a_node_sends(datagram: bytes, tag: int) -> None:
    gateway = gateway_side()
    payloads = frames(datagram, ONE, TWO, tag)
    assert all(len(payload) <= 104 for payload in payloads)
    received = [gateway.receive(LinkFrame(ONE, TWO, payload), 0.0) for payload in payloads]
    assert received[-1] is not None
    assert received[-1].datagram == datagram
    assert not any(received[:-1])


@given(datagrams())
def test_a_node_reads_what_the_gateway_sends(datagram: bytes) -> None:
    reader = Reader()
    payloads = gateway_side().frames(datagram, ONE, TWO, {})
    received = [reader.feed(payload, ONE, TWO) for payload in payloads]
    assert received[-1] == datagram
    assert packets.is_intact(packets.parse(datagram))


def test_a_source_route_leads_over_every_hop_and_shows_its_way_back() -> None:
    path = [MESH + iid(bytes.fromhex(f"0200000000000{n}01")) for n in range(1, 6)]
    first, route = srh.hops(path)
    header = srh.encode(first, route)
    packet = packets.Packet(
        *(MESH + iid(ONE), first, packets.UDP, 64, b"data"),
        bytes((packets.UDP, (len(header) + 2) // 8 - 1)) + header,
    )
    visited = [packet.destination]
    while onwards := packets.forward(packet):
        packet = packets.parse(onwards.encode())
        visited.append(packet.destination)
    assert visited == path
    assert packet.route[3] == 0
    assert srh.parse(packet.destination, packet.route[2:]).addresses == tuple(path[:-1])


@given(
    st.integers(0, 65535),
    st.binary(max_size=8),
    st.lists(st.text(min_size=1, max_size=300), max_size=5),
    st.none() | st.sampled_from([0, 40, 110, 11542]),
    st.binary(max_size=64),
)
def test_aiocoap_reads_what_a_node_sends(
    mid: int, token: bytes, path: list[str], content_format: int | None, payload: bytes
) -> None:
    options = [(coap.URI_PATH, segment.encode()[:255]) for segment in path]
    options = [o for o in options if o[1].decode(errors="ignore").encode() == o[1]]
    if content_format is not None:
        options.append((coap.CONTENT_FORMAT, coap.number(content_format)))
    sent = coap.Message(coap.CON, coap.POST, mid, token, tuple(options), payload)
    read = aiocoap.Message.decode(sent.encode(), None)
    assert (read.mid, read.token, read.payload) == (mid, token, payload)
    assert list(read.opt.uri_path) == [o[1].decode() for o in options if o[0] == coap.URI_PATH]
    assert coap.parse(sent.encode()) == sent


@given(st.binary(max_size=100))
def test_random_octets_break_no_node(data: bytes) -> None:
    for read in (coap.parse, packets.parse):
        try:
            read(data)
        except (ValueError, IndexError):
            continue


@pytest.mark.parametrize("path", ["/rd?ep=a&lt=60", "/.well-known/core", "/"])
def test_a_path_becomes_options(path: str) -> None:
    message = coap.Message(0, coap.GET, 0, options=coap.path_options(path))
    assert message.path == path.partition("?")[0]

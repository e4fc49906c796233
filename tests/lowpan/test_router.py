"""The router as a whole: what it takes, what it refuses, what it never exceeds."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from adapters import lowpan
from adapters.lowpan.drops import Drop
from adapters.lowpan.effects import (
    Change,
    Effect,
    NodeChanged,
    Transmit,
    UdpReceived,
    Undeliverable,
)
from adapters.lowpan.ipv6 import address, icmpv6, udp
from adapters.lowpan.ipv6.icmpv6 import Message
from adapters.lowpan.ipv6.packet import DESTINATION, ROUTING, UDP, Extension, Packet, encode
from adapters.lowpan.link import BROADCAST, LinkFrame
from adapters.lowpan.router import MAX_UDP_DATA, Router, RouterConfig
from adapters.lowpan.routing.neighbours import MAX_NEIGHBOURS
from gateway.errors import EncodeError
from tests.lowpan.mesh import COAP, Mesh
from tests.lowpan.networks import GATEWAY, NETWORKS, Network, context
from tests.lowpan.tshark import dissect

LAYERS = ("sixlowpan", "ipv6", "routing")
OURS = {"drops.py", "effects.py", "link.py", "router.py"}
OWN = NETWORKS.keys() - {"riot-6lowpan-nd", "riot-rpl-storing", "contiki-rpl-1hop"}
"""The recordings in which nodes speak to the EUI-64 that the router has here."""


def received(effects: list[Effect]) -> list[UdpReceived]:
    return [effect for effect in effects if isinstance(effect, UdpReceived)]


@pytest.mark.parametrize("network", [NETWORKS[id] for id in sorted(OWN)], ids=sorted(OWN))
def test_a_recorded_network_is_understood_to_the_last_frame(network: Network) -> None:
    prefix = network.contexts.get(0, context("fd00:6:10:1::/64")).prefix
    mesh = Mesh(address.text(prefix))
    datagrams = []
    for recorded in network.frames:
        mesh.now += 1
        datagrams += received(mesh.hear(recorded.frame))
    assert mesh.drops() == {}
    coap = [f for f in network.frames if f.datagram and f.packet.next_header == UDP]
    assert [d.data for d in datagrams] == [f.packet.payload[8:] for f in coap]
    assert {d.link for d in datagrams} <= {f.sender for f in network.frames}


def test_nothing_that_is_sent_is_malformed_or_has_a_bad_checksum(tmp_path: Path) -> None:
    frames: list[LinkFrame] = []
    contexts = {0: context("fd00::/64")}
    for network in NETWORKS.values():
        mesh = Mesh()
        effects: list[Effect] = []
        for recorded in network.frames:
            mesh.now += 5
            frame = replace(recorded.frame, destination=GATEWAY)
            effects += mesh.hear(frame) + mesh.hear(recorded.frame) + mesh.router.expire(mesh.now)
            for node in mesh.router.nodes():
                for own in node.addresses:
                    for octets in (0, 40, 90, 400):
                        effects += mesh.send(own, bytes(octets))
        relay = mesh.node(0xCC01)
        relay.advertise(mesh.gateway)
        for far in (2, 3, 4):
            parent = mesh.node(0xCC00 + far - 1).address
            effects += mesh.node(0xCC00 + far).advertise(parent, through=relay)
            effects += mesh.send(mesh.node(0xCC00 + far).address, bytes(far * 50))
        effects += relay.udp(b"x", port=1)
        effects += mesh.node(0xAA09).register() + mesh.send(address.parse("fd00::99"))
        ping = Message(icmpv6.ECHO_REQUEST, 0, bytes(300))
        effects += relay.say(ping, mesh.gateway, source=relay.address)
        frames += [
            LinkFrame(GATEWAY, effect.destination, payload)
            for effect in effects
            if isinstance(effect, Transmit)
            for payload in effect.payloads
        ]
    assert len(frames) > 300
    fields = ("_ws.malformed", "udp.checksum.status", "icmpv6.checksum.status", "icmpv6.type")
    rows = dissect(tmp_path, fields, frames=frames, contexts=contexts)
    for frame, row in zip(frames, rows, strict=True):
        assert row[0] == "", frame.payload.hex()
        # An ICMPv6 error quotes a datagram of the node's, which tshark checks too.
        assert set(",".join(row[1:3]).split(",")) <= {"", "1"}, frame.payload.hex()
    types = {kind for row in rows for kind in row[3].split(",")}
    assert types >= {"1", "129", "134", "135", "136", "155"}


def test_a_port_that_nobody_listens_to_is_reported_unreachable() -> None:
    mesh = Mesh()
    node = mesh.node(0xCC01)
    node.register()
    effects = node.udp(b"data", port=COAP + 1)
    assert not received(effects)
    (error,) = mesh.messages(effects)
    assert (error.type, error.code) == (icmpv6.UNREACHABLE, icmpv6.PORT_UNREACHABLE)
    assert error.body[4 + 8 : 4 + 24] == node.address
    assert mesh.drops() == {Drop.UDP_PORT: 1}


def test_an_unknown_next_header_is_reported_where_it_stands() -> None:
    mesh = Mesh()
    node = mesh.node(0xCC01)
    node.register()
    extension = Extension(DESTINATION, bytes(6))
    for extensions in ((), (extension,), (extension, extension)):
        packet = Packet(node.address, mesh.gateway, 99, b"data", extensions=extensions)
        (error,) = mesh.messages(node.send(packet))
        assert (error.type, error.code) == (icmpv6.PARAMETER_PROBLEM, icmpv6.UNKNOWN_NEXT_HEADER)
        pointer = int.from_bytes(error.body[:4], "big")
        assert encode(packet)[pointer] == 99
    assert mesh.drops() == {Drop.IPV6_NEXT_HEADER: 3}


def test_errors_are_limited() -> None:
    mesh = Mesh()
    node = mesh.node(0xCC01)
    node.register()
    errors = sum(len(mesh.sent(node.udp(b"x", port=1))) for _ in range(100))
    assert errors == 19
    assert mesh.drops() == {Drop.UDP_PORT: 100, Drop.RATE_LIMITED: 81}


def test_an_error_about_our_datagram_reaches_who_sent_it() -> None:
    mesh = Mesh()
    node = mesh.node(0xCC01)
    node.register()
    (sent,) = mesh.sent(mesh.send(node.address))
    error = icmpv6.error(icmpv6.UNREACHABLE, icmpv6.PORT_UNREACHABLE, encode(sent.packet))
    effects = node.say(error, mesh.gateway, source=node.address)
    assert effects == [Undeliverable(node.address, COAP, COAP, "nothing listens on the port")]
    too_big = Message(icmpv6.TOO_BIG, 0, bytes(48))
    assert node.say(too_big, mesh.gateway, source=node.address) == []
    assert mesh.drops() == {Drop.ICMPV6_TYPE: 1}


def test_we_forward_nothing() -> None:
    mesh = Mesh()
    node, other = mesh.node(0xCC01), mesh.node(0xCC02)
    node.register()
    other.register()
    assert node.udp(b"x", destination=other.address) == []
    route = bytes((3, 1, 0xFF, 0x70, 0, 0, 2)) + bytes(7)
    (error,) = mesh.messages(node.udp(b"x", extensions=(Extension(ROUTING, route),)))
    assert (error.type, error.code) == (icmpv6.PARAMETER_PROBLEM, 0)
    assert mesh.drops() == {Drop.IPV6_NOT_FOR_US: 1, Drop.IPV6_ROUTING: 1}


def test_sources_that_cannot_be_are_dropped() -> None:
    mesh = Mesh()
    node = mesh.node(0xCC01)
    for source in (address.ALL_NODES, mesh.gateway, address.UNSPECIFIED):
        assert not received(node.udp(b"x", source=source))
    payload = b"\x7e\x33" + b"\xf3\xa1\xab\xcd"
    for link in (GATEWAY, BROADCAST):
        assert mesh.hear(LinkFrame(link, GATEWAY, payload)) == []
    assert mesh.drops() == {Drop.IPV6_SOURCE: 5}


def test_nothing_is_still_a_packet() -> None:
    mesh = Mesh()
    node = mesh.node(0xCC01)
    effects = node.send(Packet(node.address, mesh.gateway, 59, b""))
    assert [e.change for e in effects if isinstance(e, NodeChanged)] == [Change.HEARD]
    pong = Message(icmpv6.ECHO_REPLY, 0, bytes(4))
    assert node.say(pong, mesh.gateway) == []
    assert mesh.drops() == {}


def test_datagrams_of_any_size_arrive_whole() -> None:
    mesh = Mesh()
    node = mesh.node(0xCC01)
    node.register()
    for octets in (0, 1, 60, 100, 500, MAX_UDP_DATA):
        data = bytes(i & 0xFF for i in range(octets))
        (sent,) = mesh.sent(mesh.send(node.address, data))
        assert (
            udp.parse(sent.packet.source, sent.packet.destination, sent.packet.payload).data == data
        )
        (event,) = received(node.udp(data))
        assert event.data == data
    with pytest.raises(EncodeError):
        mesh.send(node.address, bytes(MAX_UDP_DATA + 1))


def test_frames_never_exceed_what_the_mac_leaves() -> None:
    mesh = Mesh(max_payload=74)
    node = mesh.node(0xCC01)
    node.register()
    mesh.node(0xCC02).advertise(node.address, through=node)
    effects = mesh.send(node.address, bytes(1000)) + mesh.wait(5)
    effects += node.solicit_router()
    sizes = [len(p) for e in effects if isinstance(e, Transmit) for p in e.payloads]
    assert max(sizes) <= 74
    assert len(sizes) > 14


def test_strangers_cannot_make_us_ask_around() -> None:
    mesh = Mesh()
    node = mesh.node(0xCC01)
    ping = Message(icmpv6.ECHO_REQUEST, 0, bytes(4))
    unknown = address.parse("fd00::99")
    assert mesh.sent(node.say(ping, mesh.gateway, source=unknown)) == []
    assert mesh.sent(node.udp(b"x", source=unknown, port=1)) == []
    assert mesh.drops() == {Drop.NO_ROUTE: 2, Drop.UDP_PORT: 1}
    (lost,) = mesh.send(mesh.gateway)
    assert isinstance(lost, Undeliverable)


def test_a_route_whose_headers_fill_the_frame_is_no_route() -> None:
    mesh = Mesh(max_payload=64)
    first = mesh.node(0xCC01)
    first.advertise(mesh.gateway)
    addresses = [mesh.prefix + bytes((i,)) * 8 for i in range(1, 6)]
    parent = first.address
    for own in addresses:
        first.advertise(parent, targets=(own,))
        parent = own
    effects = [mesh.send(own) for own in addresses]
    assert mesh.sent(effects[0])
    (lost,) = effects[-1]
    assert isinstance(lost, Undeliverable)
    assert lost.destination == addresses[-1]
    assert mesh.drops()[Drop.TOO_LONG] >= 1


def test_a_neighbour_behind_another_is_as_far_as_its_route() -> None:
    mesh = Mesh()
    near, far = mesh.node(0xCC01), mesh.node(0xCC02)
    near.advertise(mesh.gateway)
    far.advertise(near.address)
    assert {(n.link, n.hops) for n in mesh.router.nodes()} == {(near.link, 1), (far.link, 2)}


def test_groups_are_spoken_to_by_broadcast() -> None:
    mesh = Mesh()
    (near,) = mesh.sent(mesh.send(address.parse("ff02::fd")))
    assert (near.link, near.packet.source) == (BROADCAST, mesh.router.identity.link_local)
    (wide,) = mesh.sent(mesh.send(address.parse("ff05::fd")))
    assert (wide.link, wide.packet.source) == (BROADCAST, mesh.gateway)


def test_a_link_local_address_is_its_own_way() -> None:
    mesh = Mesh()
    node = mesh.node(0xAA01)
    (sent,) = mesh.sent(mesh.send(node.link_local))
    assert (sent.link, sent.packet.source) == (node.link, mesh.router.identity.link_local)
    (answer,) = received(mesh.hear(NETWORKS["riot-gcoap-linklocal"].find("2.05").frame))
    assert (answer.hops, answer.source_port) == (1, 5683)


def test_an_elided_checksum_is_accepted_only_if_configured() -> None:
    datagram = b"\x7e\x33" + b"\xf4\x16\x33\x16\x33" + b"data"
    frame = LinkFrame(bytes.fromhex("020000000000aa01"), GATEWAY, datagram)
    strict = Mesh()
    assert strict.hear(frame) == []
    assert strict.drops() == {Drop.UDP_CHECKSUM_ELIDED: 1}
    (event,) = received(Mesh(accept_elided_checksum=True).hear(frame))
    assert event.data == b"data"


def test_other_contexts_are_understood_and_used_with_who_uses_them() -> None:
    contexts = {1: context("2001:db8:1::/64")}
    mesh = Mesh(contexts=contexts)
    node = mesh.node(0xAA01).compressing()
    node.udp(b"x", source=contexts[1].address(node.address[8:]))
    (heard,) = mesh.router.nodes()
    assert heard.contexts == (0, 1)


def test_the_table_of_neighbours_is_bounded_and_keeps_who_is_registered() -> None:
    mesh = Mesh()
    registered = mesh.node(0x100)
    registered.register(60)
    for i in range(0x101, 0x100 + 2 * MAX_NEIGHBOURS):
        mesh.now += 1
        node = mesh.node(i)
        node.send(Packet(node.link_local, mesh.gateway, 59, b""))
    nodes = mesh.router.nodes()
    assert len(nodes) == MAX_NEIGHBOURS
    links = {node.link for node in nodes}
    assert registered.link in links
    assert mesh.node(0xFF + 2 * MAX_NEIGHBOURS).link in links
    assert mesh.node(0x101).link not in links


def test_when_all_neighbours_are_registered_strangers_are_dropped() -> None:
    mesh = Mesh()
    for i in range(0x100, 0x100 + MAX_NEIGHBOURS + 4):
        mesh.now += 1
        mesh.node(i).register(600)
    assert len(mesh.router.nodes()) == MAX_NEIGHBOURS
    assert mesh.drops() == {Drop.NEIGHBOURS_FULL: 4}


def test_signal_strength_is_averaged() -> None:
    mesh = Mesh()
    node = mesh.node(0xAA01)
    node.solicit_router()
    assert (mesh.router.nodes()[0].rssi_dbm, mesh.router.nodes()[0].lqi) == (-60.0, 200.0)
    frame = LinkFrame(node.link, GATEWAY, b"\x7a\x33\x3b", -68, None)
    mesh.hear(frame)
    assert (mesh.router.nodes()[0].rssi_dbm, mesh.router.nodes()[0].lqi) == (-61.0, 200.0)
    assert mesh.router.nodes()[0].last_heard == mesh.now


def test_the_next_deadline_is_always_ahead_after_expiry() -> None:
    mesh = Mesh()
    mesh.node(0xAA01).register(1)
    mesh.send(address.parse("fd00::99"))
    for _ in range(1000):
        mesh.now = mesh.router.next_deadline()
        mesh.router.expire(mesh.now)
        assert mesh.router.next_deadline() > mesh.now


@pytest.mark.parametrize(
    "wrong",
    [
        {"eui64": bytes(7)},
        {"prefix": bytes(16)},
        {"max_payload": 60},
        {"max_payload": 128},
        {"context_id": 16},
        {"contexts": {-1: context("fd00::/64")}},
    ],
)
def test_a_configuration_that_cannot_be_is_refused(wrong: dict[str, object]) -> None:
    right: dict[str, object] = {"eui64": GATEWAY, "prefix": bytes(8), "ports": frozenset()}
    with pytest.raises(ValueError, match=r"octets|context"):
        Router(RouterConfig(**(right | wrong)), 0.0)  # type: ignore[arg-type]


def test_the_network_layer_knows_no_clock_and_no_io() -> None:
    forbidden = re.compile(
        r"^\s*(?:from|import) (?:asyncio|time|datetime|socket|threading|serial)\b", re.MULTILINE
    )
    package = Path(lowpan.__file__).parent
    modules = [*package.glob("*.py"), *(p for d in LAYERS for p in (package / d).glob("*.py"))]
    pure = [path for path in modules if path.name in OURS or path.parent.name in LAYERS]
    assert len(pure) > 30
    assert not [path.name for path in pure if forbidden.search(path.read_text())]

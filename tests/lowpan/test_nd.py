"""What nodes that do neighbour discovery get: RIOT by RFC 6775, Zephyr by RFC 4861."""

import pytest

from adapters.lowpan.drops import Drop
from adapters.lowpan.effects import (
    Change,
    ForeignRouter,
    NodeChanged,
    Profile,
    Transmit,
    UdpReceived,
    Undeliverable,
)
from adapters.lowpan.ipv6 import address, icmpv6
from adapters.lowpan.ipv6.address import ALL_NODES, ALL_ROUTERS, solicited_node
from adapters.lowpan.ipv6.icmpv6 import Message
from adapters.lowpan.link import BROADCAST
from adapters.lowpan.routing import nd_messages as nd
from adapters.lowpan.routing.neighbours import MAX_ADDRESSES
from tests.lowpan.mesh import Mesh, Node
from tests.lowpan.networks import GATEWAY, NETWORKS


def advertisement_fields(body: bytes) -> dict[str, object]:
    """A router advertisement, taken apart by hand."""
    fields: dict[str, object] = {"head": body[:12].hex()}
    for type, octets in nd.options(body[12:]):
        match type:
            case nd.SOURCE_LINK:
                fields["link"] = octets[:2].hex(), octets[2:10], octets[10:].hex()
            case nd.PREFIX:
                fields["prefix"] = octets[:16].hex(), octets[16:]
            case nd.CONTEXT:
                fields["context"] = octets[:6].hex(), octets[8:]
            case nd.BORDER_ROUTER:
                fields["border"] = len(octets), octets[2:8].hex(), octets[8:]
    return fields


def test_riot_gets_the_router_advertisement_that_its_border_router_sends() -> None:
    network = NETWORKS["riot-6lowpan-nd"]
    theirs = network.find("Router Advertisement").packet
    mesh = Mesh("2001:db8:77::")
    effects = mesh.hear(network.find("Router Solicitation").frame)
    (answer,) = mesh.sent(effects)
    assert answer.link == network.frames[0].sender
    ours = answer.packet
    assert (ours.source, ours.destination) == (mesh.router.identity.link_local, theirs.destination)
    assert ours.hop_limit == theirs.hop_limit == 255
    expected = advertisement_fields(
        icmpv6.parse(theirs.source, theirs.destination, theirs.payload).body
    )
    fields = advertisement_fields(answer.message.body)
    # What differs is who we are, that we name a hop limit, and a version that is not 0.
    assert fields["head"] == "40000708" + "00" * 8
    assert expected["head"] == "00000708" + "00" * 8
    assert fields["link"] == ("0102", GATEWAY, "00" * 6)
    assert fields["prefix"] == expected["prefix"]
    assert fields["context"] == expected["context"]
    assert fields["border"] == (24, "000100000000", mesh.gateway)
    assert expected["border"] == (24, "000000000000", address.parse("2001:db8:77::1"))
    assert fields.keys() == expected.keys()
    assert len(answer.frames) <= 2


def test_riot_registers_and_can_be_reached_with_short_headers() -> None:
    network = NETWORKS["riot-coap-context"]
    mesh = Mesh("fd00:6:10:1::")
    riot = mesh.node(0xAA01)
    solicited = mesh.hear(network.find("Router Solicitation").frame)
    assert [e.change for e in solicited if isinstance(e, NodeChanged)] == [Change.HEARD]
    recorded = network.find("Neighbor Solicitation")
    effects = mesh.hear(recorded.frame)
    (answer,) = mesh.sent(effects)
    assert (answer.link, answer.packet.destination) == (riot.link, riot.address)
    assert answer.packet.source == mesh.router.identity.link_local
    request = recorded.packet.payload
    assert answer.message.body[:4] == bytes.fromhex("c0000000")
    # The registration comes back as it was, with status 0.
    assert answer.message.body[20:] == request[-16:]
    (joined,) = [e for e in effects if isinstance(e, NodeChanged)]
    assert (joined.change, joined.address, joined.node.eui64) == (
        Change.JOINED,
        riot.address,
        riot.link,
    )
    assert joined.node.profile == Profile.ND
    # Its solicitation used the context, so it holds it: both addresses are elided.
    (transmit,) = mesh.send(riot.address)
    assert isinstance(transmit, Transmit)
    assert transmit.payloads[0][:2] == bytes.fromhex("7e77")
    answered = mesh.hear(network.find("2.05").frame)
    assert [e.hops for e in answered if isinstance(e, UdpReceived)] == [1]


def test_no_context_is_used_before_the_node_has_shown_that_it_holds_it() -> None:
    mesh = Mesh()
    node = mesh.node(0xAA01)
    node.solicit_router()
    node.register()
    (plain,) = mesh.sent(mesh.send(node.address))
    assert plain.frames[0][1] == 0x00
    node.compressing().register()
    (short,) = mesh.sent(mesh.send(node.address))
    assert short.frames[0][1] == 0x77
    # A node that asks for a router has started anew.
    node.solicit_router()
    assert mesh.sent(mesh.send(node.address))[0].frames[0][1] == 0x00


def test_a_frame_that_was_decompressed_wrongly_proves_no_context() -> None:
    mesh, other = Mesh("fd00:6:10:1::"), Mesh("fd00::")
    contiki = other.node(0xCC01).compressing()
    contiki.mesh.hear = mesh.hear  # type: ignore[method-assign]
    contiki.udp(b"data")
    assert mesh.drops() == {Drop.UDP_CHECKSUM: 1}
    assert mesh.router.nodes()[0].contexts == ()


@pytest.mark.parametrize("lifetime_min", [1, 15])
def test_a_registration_ends_when_it_was_not_renewed(lifetime_min: int) -> None:
    mesh = Mesh()
    node = mesh.node(0xAA01)
    node.register(lifetime_min)
    assert not [e for e in mesh.wait(60 * lifetime_min - 1) if isinstance(e, NodeChanged)]
    node.register(lifetime_min)
    assert not [e for e in mesh.wait(60 * lifetime_min - 1) if isinstance(e, NodeChanged)]
    (left,) = [e for e in mesh.wait(12) if isinstance(e, NodeChanged)]
    assert (left.change, left.address, left.node.eui64) == (Change.LEFT, node.address, node.link)
    assert left.node.addresses == ()


def test_a_node_can_end_its_registration() -> None:
    mesh = Mesh()
    node = mesh.node(0xAA01)
    node.register()
    effects = node.register(0)
    assert [e.change for e in effects if isinstance(e, NodeChanged)] == [Change.LEFT]
    assert mesh.messages(effects)[0].body[22] == 0


def test_an_address_that_another_node_registered_is_refused() -> None:
    mesh = Mesh()
    owner, thief = mesh.node(0xAA01), mesh.node(0xAA02)
    owner.register()
    (answer,) = mesh.sent(thief.register(address=owner.address))
    assert answer.message.body[22] == 1
    # The answer goes to the address that only the asker can have.
    assert (answer.link, answer.packet.destination) == (thief.link, thief.link_local)
    assert mesh.sent(mesh.send(owner.address))[0].link == owner.link
    assert mesh.drops() == {Drop.ND_DUPLICATE: 1}
    # The same node may come back with another link address.
    (again,) = mesh.sent(thief.register(address=owner.address, eui64=owner.link))
    assert again.message.body[22] == 0


def test_our_own_addresses_cannot_be_registered() -> None:
    mesh = Mesh()
    node = mesh.node(0xAA01)
    assert mesh.sent(node.register(address=mesh.gateway)) == []
    assert mesh.drops() == {Drop.IPV6_SOURCE: 1}


def test_a_node_gets_a_bounded_number_of_addresses() -> None:
    mesh = Mesh()
    node = mesh.node(0xAA01)
    statuses = []
    for i in range(MAX_ADDRESSES + 1):
        mesh.now += 5
        (answer,) = mesh.messages(node.register(address=mesh.prefix + bytes((i + 1,)) * 8))
        statuses.append(answer.body[22])
    assert statuses == [0] * MAX_ADDRESSES + [2]
    assert mesh.drops() == {Drop.ADDRESSES_FULL: 1}


def test_addresses_of_other_networks_cannot_be_registered() -> None:
    mesh = Mesh()
    assert mesh.sent(mesh.node(0xAA01).register(address=address.parse("2001:db8::1"))) == []
    assert mesh.drops() == {Drop.ND_OUTSIDE_PREFIX: 1}


def test_discovery_from_beyond_the_link_is_ignored() -> None:
    mesh = Mesh()
    node = mesh.node(0xAA01)
    assert mesh.sent(node.register(hop_limit=64)) == []
    message = Message(icmpv6.ROUTER_SOLICITATION, 0, bytes(4))
    assert mesh.sent(node.say(message, ALL_ROUTERS, hop_limit=254)) == []
    assert mesh.drops() == {Drop.ND_HOP_LIMIT: 2}


def test_zephyr_finds_us_by_multicast_and_is_answered_there() -> None:
    mesh = Mesh("2001:db8::")
    zephyr = mesh.node(0x0E01)
    for target in (*mesh.router.identity.addresses,):
        mesh.now += 5
        question = nd.solicitation(target, zephyr.link)
        static = address.parse("2001:db8::2")
        effects = zephyr.say(question, solicited_node(target), source=static)
        (answer,) = mesh.sent(effects)
        assert (answer.link, answer.packet.destination) == (zephyr.link, static)
        assert answer.packet.source == target
        assert answer.message.body == (
            bytes.fromhex("e0000000") + target + bytes.fromhex("0202") + GATEWAY + bytes(6)
        )
    (node,) = mesh.router.nodes()
    assert (node.profile, node.addresses) == (Profile.PLAIN, (static,))
    assert mesh.sent(mesh.send(static))[0].link == zephyr.link


def test_an_address_that_a_node_wants_but_is_ours_is_defended() -> None:
    mesh = Mesh()
    node = mesh.node(0x0E01)
    question = Message(icmpv6.NEIGHBOUR_SOLICITATION, 0, bytes(4) + mesh.gateway)
    effects = node.say(question, solicited_node(mesh.gateway), source=address.UNSPECIFIED)
    (answer,) = mesh.sent(effects)
    assert (answer.link, answer.packet.destination) == (BROADCAST, ALL_NODES)
    assert answer.message.body[:4] == bytes.fromhex("a0000000")


def test_questions_for_others_are_not_answered() -> None:
    mesh = Mesh()
    node = mesh.node(0x0E01)
    # The group of our address, and another address of the same last 24 bits.
    other = address.parse("fd00::99:1234:1234")[:13] + mesh.gateway[13:]
    assert mesh.sent(node.say(nd.solicitation(other, node.link), solicited_node(other))) == []
    assert mesh.drops() == {Drop.ND_OTHER_TARGET: 1}


@pytest.mark.parametrize(
    "body",
    [
        bytes(3),
        bytes(4) + bytes(15),
        bytes(4) + ALL_NODES,
        bytes(4) + bytes(16) + b"\x01\x00" + bytes(6),
        bytes(4) + bytes(16) + b"\x01\x02" + bytes(6),
        bytes(4) + bytes(16) + b"\x01",
        bytes(4) + bytes(16) + b"\x21\x01" + bytes(6),
    ],
)
def test_malformed_questions_are_dropped(body: bytes) -> None:
    mesh = Mesh()
    node = mesh.node(0x0E01)
    message = Message(icmpv6.NEIGHBOUR_SOLICITATION, 0, body)
    assert mesh.sent(node.say(message, mesh.router.identity.link_local)) == []
    assert mesh.drops() == {Drop.ND_MALFORMED: 1}


def test_unspecified_sources_name_no_link_address() -> None:
    mesh = Mesh()
    node = mesh.node(0x0E01)
    with_link = nd.solicitation(mesh.gateway, node.link)
    node.say(with_link, solicited_node(mesh.gateway), source=address.UNSPECIFIED)
    body = bytes(4) + nd.link_option(nd.SOURCE_LINK, node.link)
    router = Message(icmpv6.ROUTER_SOLICITATION, 0, body)
    node.say(router, ALL_ROUTERS, source=address.UNSPECIFIED)
    assert mesh.drops() == {Drop.ND_MALFORMED: 2}
    plain = Message(icmpv6.ROUTER_SOLICITATION, 0, bytes(4))
    (answer,) = mesh.sent(node.say(plain, ALL_ROUTERS, source=address.UNSPECIFIED))
    assert (answer.link, answer.packet.destination) == (BROADCAST, ALL_NODES)


def test_one_node_asking_all_the_time_is_answered_twice_a_second() -> None:
    mesh = Mesh()
    noisy, quiet = mesh.node(0xAA01), mesh.node(0xAA02)
    answers = 0
    for _ in range(1000):
        mesh.now += 0.01
        answers += len(mesh.sent(noisy.solicit_router()))
    assert answers <= 4 + 20
    assert len(mesh.sent(quiet.solicit_router())) == 1
    assert mesh.drops() == {Drop.RATE_LIMITED: 1000 - answers}


def test_all_nodes_together_are_answered_twenty_times_a_second() -> None:
    mesh = Mesh()
    answers = sum(len(mesh.sent(mesh.node(i).solicit_router())) for i in range(1, 200))
    assert answers == 20


def test_whose_an_address_is_is_asked_for_when_nobody_has_said() -> None:
    mesh = Mesh()
    zephyr, static = mesh.node(0x0E01), address.parse("fd00::99")
    (question,) = mesh.sent(mesh.send(static, b"one"))
    assert (question.link, question.packet.destination) == (BROADCAST, solicited_node(static))
    assert question.packet.hop_limit == 255
    assert question.message.body == bytes(4) + static + b"\1\2" + GATEWAY + bytes(6)
    assert mesh.send(static, b"two") == []
    answer = nd.advertisement(0x60, static, nd.link_option(nd.TARGET_LINK, zephyr.link))
    effects = zephyr.say(answer, mesh.router.identity.link_local, source=static)
    sent = mesh.sent(effects)
    assert [(s.link, s.packet.payload[8:]) for s in sent] == [
        (zephyr.link, b"one"),
        (zephyr.link, b"two"),
    ]
    assert Change.JOINED in [e.change for e in effects if isinstance(e, NodeChanged)]
    assert mesh.sent(zephyr.say(answer, mesh.router.identity.link_local, source=static)) == []
    assert mesh.sent(mesh.send(static))[0].link == zephyr.link


def test_an_address_that_nobody_has_is_asked_for_three_times_and_then_left_alone() -> None:
    mesh = Mesh()
    static = address.parse("fd00::99")
    assert len(mesh.sent(mesh.send(static))) == 1
    waited = mesh.wait(3.0)
    solicitations = [s for s in mesh.sent(waited) if s.message.type == 135]
    assert len(solicitations) == 2
    (lost,) = [e for e in waited if isinstance(e, Undeliverable)]
    assert (lost.destination, lost.destination_port, lost.source_port) == (static, 5683, 5683)
    (again,) = mesh.send(static)
    assert isinstance(again, Undeliverable)
    assert mesh.drops() == {Drop.UNRESOLVED: 2}
    mesh.wait(10.0)
    assert len(mesh.sent(mesh.send(static))) == 1


def test_what_waits_for_answers_is_bounded() -> None:
    mesh = Mesh()
    results = [mesh.send(address.parse("fd00::99"), bytes((i,))) for i in range(9)]
    assert [isinstance(e, Undeliverable) for e in results[-1]] == [True]
    for i in range(100):
        mesh.send(address.parse(f"fd00::1:{i:x}"))
    assert mesh.drops() == {Drop.RESOLUTIONS_FULL: 1 + 100 - 63}


def test_an_advertisement_that_nobody_asked_for_changes_nothing() -> None:
    mesh = Mesh()
    owner, thief = mesh.node(0xAA01), mesh.node(0xAA02)
    owner.register()
    answer = nd.advertisement(0x60, owner.address, nd.link_option(nd.TARGET_LINK, thief.link))
    thief.say(answer, mesh.router.identity.link_local)
    assert mesh.sent(mesh.send(owner.address))[0].link == owner.link


def test_a_neighbour_known_from_before_a_restart_needs_no_question() -> None:
    mesh = Mesh()
    node = mesh.node(0xAA01)
    mesh.router.introduce(node.link)
    assert mesh.sent(mesh.send(node.address))[0].link == node.link


def test_another_router_is_reported_once() -> None:
    network = NETWORKS["riot-6lowpan-nd"]
    theirs = network.find("Router Advertisement").packet
    mesh = Mesh()
    router = mesh.node(0xBB01)
    message = icmpv6.parse(theirs.source, theirs.destination, theirs.payload)
    warnings = [
        effect
        for _ in range(3)
        for effect in router.say(message, ALL_NODES)
        if isinstance(effect, ForeignRouter)
    ]
    assert [(w.link, w.kind) for w in warnings] == [(router.link, "router")]
    assert mesh.drops() == {Drop.FOREIGN_ROUTER: 3}


def test_the_gateway_answers_to_prefix_1_as_well() -> None:
    mesh = Mesh()
    node = mesh.node(0xCC01)
    alias = address.parse("fd00::1")
    ping = Message(icmpv6.ECHO_REQUEST, 0, b"\x12\x34\x00\x01payload")
    node.register()
    for target in (alias, mesh.gateway):
        (answer,) = mesh.sent(node.say(ping, target, source=node.address, hop_limit=64))
        assert answer.packet.source == target
        assert answer.message == Message(icmpv6.ECHO_REPLY, 0, ping.body)


def test_a_ping_to_all_is_answered_from_the_link_local_address() -> None:
    mesh = Mesh()
    node = mesh.node(0xCC01)
    ping = Message(icmpv6.ECHO_REQUEST, 0, bytes(4))
    (answer,) = mesh.sent(node.say(ping, ALL_NODES))
    assert answer.packet.source == mesh.router.identity.link_local
    assert answer.link == node.link


def test_short_addresses_work_like_long_ones() -> None:
    mesh = Mesh()
    short, eui64 = Node(mesh, b"\x00\x07"), mesh.node(0xAA01).link
    assert short.address == address.parse("fd00::ff:fe00:7")
    question = nd.solicitation(mesh.router.identity.link_local, short.link)
    assert question.body[20:] == b"\x01\x01\x00\x07" + bytes(4)
    (answer,) = mesh.sent(short.register(eui64=eui64))
    assert answer.link == short.link
    (node,) = mesh.router.nodes()
    assert (node.link, node.eui64, node.addresses) == (short.link, eui64, (short.address,))
    assert mesh.router.eui64_of(short.link) == eui64
    assert mesh.router.eui64_of(b"\0\x08") is None
    assert mesh.sent(mesh.send(short.address))[0].link == short.link

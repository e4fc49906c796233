"""What RPL nodes get from the root: Contiki-NG in non-storing mode, RIOT in both."""

import pytest

from adapters.lowpan.drops import Drop
from adapters.lowpan.effects import (
    Change,
    Effect,
    ForeignRouter,
    NodeChanged,
    Profile,
    UdpReceived,
    Undeliverable,
)
from adapters.lowpan.ipv6 import address, icmpv6, udp
from adapters.lowpan.ipv6.address import ALL_RPL_NODES
from adapters.lowpan.ipv6.icmpv6 import Message
from adapters.lowpan.ipv6.options import RplOption, encode_rpl
from adapters.lowpan.ipv6.packet import HOP_BY_HOP, Extension, encode
from adapters.lowpan.link import BROADCAST
from adapters.lowpan.router import RouterState
from adapters.lowpan.routing import rpl_messages as rpl
from adapters.lowpan.routing.root import MAX_ROUTES, RootState, is_newer, next_sequence
from tests.lowpan.mesh import Mesh, Node, source_route
from tests.lowpan.networks import NETWORKS, Recorded

CONTIKI = NETWORKS["contiki-coap"]


def changes(effects: list[Effect]) -> list[tuple[Change, bytes]]:
    return [(e.change, e.address) for e in effects if isinstance(e, NodeChanged)]


def information(mesh: Mesh, seconds: float) -> list[Message]:
    return [m for m in mesh.messages(mesh.wait(seconds)) if (m.type, m.code) == (155, rpl.DIO)]


def advertisement(recorded: Recorded) -> Message:
    packet = recorded.packet
    return icmpv6.parse(packet.source, packet.destination, packet.payload)


def dio(
    version: int = 240, rank: int = 512, dodag_id: str = "fd00::1234", instance: int = 0
) -> Message:
    head = bytes((instance, version)) + rank.to_bytes(2, "big") + bytes((0x88, 240, 0, 0))
    return Message(icmpv6.RPL_CONTROL, rpl.DIO, head + address.parse(dodag_id))


def test_the_dio_is_the_one_that_serves_contiki_and_riot() -> None:
    mesh = Mesh()
    (sent,) = mesh.sent(mesh.wait(4.096))
    assert (sent.link, sent.packet.destination) == (BROADCAST, ALL_RPL_NODES)
    assert sent.packet.source == mesh.router.identity.link_local
    assert sent.message.type == icmpv6.RPL_CONTROL
    assert sent.message.code == rpl.DIO
    assert (
        sent.message.body.hex()
        == (
            "00f0"
            "0100"
            "88"
            "f0"
            "0000"
            + mesh.gateway.hex()  # grounded, MOP 1, rank 256
            + "040e"
            "00"
            "08"
            "0c"
            "00"
            "0800"
            "0100"
            "0001"
            "00"
            "1e"
            "003c" + "081e"
            "40"
            "40"
            "ffffffff"
            "ffffffff"
            "00000000"
            "fd000000000000000000000000000000"
        )
    )
    assert len(sent.frames) == 1


def test_the_dio_differs_from_contikis_own_root_in_its_numbers_only() -> None:
    theirs = advertisement(NETWORKS["contiki-rpl-1hop"].find("Information Object")).body
    (ours,) = information(Mesh(), 4.096)
    assert len(ours.body) == len(theirs)
    differing = {i for i, (a, b) in enumerate(zip(ours.body, theirs, strict=True)) if a != b}
    # Rank, grounded, DODAG id, maximum and minimum hop rank increase.
    assert differing == {2, 3, 4, 22, 23, 30, 32, 33}


def test_dios_come_ever_more_rarely_until_something_happens() -> None:
    mesh = Mesh()
    times: list[float] = []
    while len(times) < 12:
        mesh.now = mesh.router.next_deadline()
        times += [mesh.now] * len(mesh.sent(mesh.router.expire(mesh.now)))
    gaps = [round(b - a, 3) for a, b in zip([1000.0, *times], times, strict=False)]
    # With the middle of the second half of each interval: 3/4 I, then I/4 + 3/2 I, ...
    assert gaps[:3] == [3.072, 7.168, 14.336]
    assert gaps[-1] == 4.096 * 2**8
    mesh.node(0xCC01).solicit_dodag()
    assert len(information(mesh, 4.096)) == 1


def test_a_sleep_of_the_machine_does_not_make_up_for_lost_dios() -> None:
    mesh = Mesh()
    mesh.now += 100_000
    assert len(mesh.sent(mesh.router.expire(mesh.now))) == 1
    assert mesh.sent(mesh.router.expire(mesh.now)) == []


def test_who_asks_for_the_dodag_is_told_at_once() -> None:
    mesh = Mesh()
    effects = mesh.hear(NETWORKS["riot-rpl-mop1"].find("Solicitation)").frame)
    (answer,) = mesh.sent(effects)
    riot = NETWORKS["riot-rpl-mop1"].frames[0].sender
    assert (answer.link, answer.message.code) == (riot, rpl.DIO)
    (unicast,) = mesh.sent(mesh.node(0xCC01).solicit_dodag(mesh.router.identity.link_local))
    assert unicast.message == answer.message
    assert {node.profile for node in mesh.router.nodes()} == {Profile.RPL}


def test_who_asks_for_another_dodag_is_not() -> None:
    mesh = Mesh()
    ours = b"\x07\x13\x00\xe0" + mesh.gateway + b"\xf0"
    assert mesh.sent(mesh.node(1).solicit_dodag(options=ours))
    for other in (
        b"\x07\x13\x01\x40" + bytes(17),
        b"\x07\x13\x00\x20" + bytes(17),
        b"\x07\x13\x00\x80" + bytes(16) + b"\xf1",
    ):
        assert not mesh.sent(mesh.node(2).solicit_dodag(options=other))
    anything = b"\x07\x13\x05\x00" + bytes(16) + b"\x05"
    assert mesh.sent(mesh.node(3).solicit_dodag(options=anything))


def test_contiki_joins_is_acknowledged_and_reached_without_more_headers() -> None:
    mesh = Mesh()
    node = CONTIKI.frames[0].sender
    for recorded in CONTIKI.frames[:4]:
        assert not mesh.sent(mesh.hear(recorded.frame))
    dao = CONTIKI.find("Advertisement Object")
    effects = mesh.hear(dao.frame)
    (ack,) = mesh.sent(effects)
    assert (ack.link, ack.packet.destination) == (node, dao.packet.source)
    assert ack.packet.source == mesh.gateway
    assert (ack.message.code, ack.message.body.hex()) == (rpl.DAO_ACK, "0000f100")
    assert changes(effects) == [(Change.JOINED, dao.packet.source)]
    # Contiki-NG compressed with its only context, so we may too.
    (request,) = mesh.sent(mesh.send(dao.packet.source))
    assert request.link == node
    assert request.packet.extensions == ()
    assert request.frames[0][:2] == bytes.fromhex("7e77")
    (answer,) = [
        e for e in mesh.hear(CONTIKI.find("/test/hello").frame) if isinstance(e, UdpReceived)
    ]
    assert (answer.source, answer.hops, answer.link) == (dao.packet.source, 1, node)
    assert answer.data.endswith(b"Hello World!")
    assert mesh.drops() == {}


def test_contiki_registers_at_prefix_1_and_is_answered_from_there() -> None:
    mesh = Mesh()
    (request,) = [
        e
        for e in mesh.hear(NETWORKS["contiki-ipso"].find("/rd?").frame)
        if isinstance(e, UdpReceived)
    ]
    assert address.text(request.destination) == "fd00::1"
    (reply,) = mesh.sent(mesh.send(request.source, b"2.01", source=request.destination))
    assert (reply.packet.source, reply.link) == (request.destination, request.link)


def test_riot_in_storing_style_is_acknowledged_at_its_link_local_address() -> None:
    network = NETWORKS["riot-rpl-mop1"]
    mesh = Mesh("fd00:6:10:1::")
    dao = network.find("Advertisement Object")
    effects = mesh.hear(dao.frame)
    (ack,) = mesh.sent(effects)
    assert (ack.packet.source, ack.packet.destination) == (
        mesh.router.identity.link_local,
        dao.packet.source,
    )
    assert ack.message.body.hex() == "0000f000"
    target = address.parse("fd00:6:10:1::bb02")
    assert changes(effects)[-1] == (Change.JOINED, target)
    (request,) = mesh.sent(mesh.send(target))
    assert (request.link, request.packet.extensions) == (dao.sender, ())
    received = [e for f in network.frames[9:] for e in mesh.hear(f.frame)]
    assert [e.hops for e in received if isinstance(e, UdpReceived)] == [1, 1]


def test_targets_behind_a_storing_node_are_sent_to_it() -> None:
    mesh = Mesh()
    riot = mesh.node(0xBB01)
    far = address.parse("fd00::bb05")
    effects = riot.advertise(None, targets=(riot.address, far))
    assert {a for c, a in changes(effects) if c is Change.JOINED} == {riot.address, far}
    (sent,) = mesh.sent(mesh.send(far))
    assert (sent.link, sent.packet.destination, sent.packet.extensions) == (riot.link, far, ())


def chain(mesh: Mesh, length: int, first: int = 0xCC01) -> list[Node]:
    """Nodes of which each is the parent of the next."""
    nodes = [mesh.node(first + i) for i in range(length)]
    parent = mesh.gateway
    for node in nodes:
        node.advertise(parent, through=nodes[0])
        parent = node.address
    return nodes


def test_nodes_several_hops_away_are_reached_by_source_routes() -> None:
    mesh = Mesh()
    nodes = chain(mesh, 4)
    for hops, node in enumerate(nodes, 1):
        (sent,) = mesh.sent(mesh.send(node.address, b"hello"))
        assert sent.link == nodes[0].link
        assert source_route(sent.packet) == tuple(n.address for n in nodes[:hops])
        assert mesh.router.path(node.address) == source_route(sent.packet)
        # The checksum is over the last address, not over the next.
        datagram = udp.parse(sent.packet.source, node.address, sent.packet.payload)
        assert datagram.data == b"hello"
    # Contiki-NG's root does the same: 15 octets of the address are elided.
    (sent,) = mesh.sent(mesh.send(nodes[1].address))
    assert sent.packet.extensions[0].body.hex() == "0301ff700000" + "02" + "00" * 7
    (remote,) = [n for n in mesh.router.nodes() if n.addresses == (nodes[3].address,)]
    assert (remote.eui64, remote.link, remote.hops) == (nodes[3].link, None, 4)


def test_answers_from_afar_tell_how_far() -> None:
    mesh = Mesh()
    nodes = chain(mesh, 3)
    rank = encode_rpl(RplOption(False, False, False, 0, 768))
    option = (Extension(HOP_BY_HOP, rank),)
    message = Node(mesh, nodes[0].link).udp(b"x", source=nodes[2].address, extensions=option)
    assert [e.hops for e in message if isinstance(e, UdpReceived)] == [3]


def test_acknowledgements_travel_the_route_that_they_confirm() -> None:
    mesh = Mesh()
    nodes = chain(mesh, 2)
    (ack,) = mesh.sent(nodes[1].advertise(nodes[0].address, through=nodes[0]))
    assert source_route(ack.packet) == (nodes[0].address, nodes[1].address)
    assert ack.message.code == rpl.DAO_ACK


def test_a_node_that_changes_its_parent_is_found_there() -> None:
    mesh = Mesh()
    nodes = chain(mesh, 3)
    other = mesh.node(0xDD01)
    other.advertise(mesh.gateway)
    nodes[2].advertise(other.address, through=other)
    (sent,) = mesh.sent(mesh.send(nodes[2].address))
    assert source_route(sent.packet) == (other.address, nodes[2].address)


def test_a_route_ends_when_it_is_not_renewed_and_when_it_is_withdrawn() -> None:
    mesh = Mesh()
    node = mesh.node(0xCC01)
    node.advertise(mesh.gateway, lifetime=30)
    assert not changes(mesh.wait(30 * 60 - 1))
    node.advertise(mesh.gateway, lifetime=30)
    assert not changes(mesh.wait(30 * 60 - 1))
    assert changes(mesh.wait(12)) == [(Change.LEFT, node.address)]
    node.advertise(mesh.gateway, lifetime=255)
    assert not changes(mesh.wait(10 * 24 * 3600))
    assert changes(node.advertise(mesh.gateway, lifetime=0)) == [(Change.LEFT, node.address)]


def test_a_loop_of_parents_is_refused_without_an_answer() -> None:
    mesh = Mesh()
    nodes = chain(mesh, 3)
    assert mesh.sent(nodes[0].advertise(nodes[2].address)) == []
    assert mesh.sent(nodes[0].advertise(nodes[0].address)) == []
    assert mesh.drops() == {Drop.RPL_LOOP: 2}
    (sent,) = mesh.sent(mesh.send(nodes[2].address))
    assert len(source_route(sent.packet)) == 3


def test_routes_are_eight_hops_long_at_most() -> None:
    mesh = Mesh()
    nodes = chain(mesh, 9)
    assert mesh.drops() == {Drop.RPL_LOOP: 1}
    (sent,) = mesh.sent(mesh.send(nodes[7].address, b"x" * 8))
    assert len(source_route(sent.packet)) == 8
    assert max(map(len, sent.frames)) <= 104
    # A chain that grows at its top is cut off below.
    nodes[0].advertise(nodes[8].address)
    mesh.node(0xEE01).advertise(mesh.gateway)
    nodes[0].advertise(mesh.node(0xEE01).address)
    assert not [s for s in mesh.sent(mesh.send(nodes[7].address)) if s.packet.extensions]


def test_addresses_of_other_networks_are_refused_with_an_answer() -> None:
    mesh = Mesh()
    node = mesh.node(0xCC01)
    foreign = address.parse("2001:db8::1")
    for effects in (
        node.advertise(mesh.gateway, targets=(foreign,)),
        node.advertise(foreign),
        node.advertise(mesh.gateway, targets=(node.address, foreign)),
    ):
        (ack,) = mesh.messages(effects)
        assert ack.body.hex() == "0000f0e9"
        assert not [c for c, _ in changes(effects) if c is Change.JOINED]
    assert mesh.drops() == {Drop.RPL_OUTSIDE_PREFIX: 3}


def test_the_table_of_routes_is_bounded() -> None:
    mesh = Mesh()
    node = mesh.node(0xCC01)
    accepted = 0
    for i in range(MAX_ROUTES + 10):
        target = mesh.prefix + (i + 1).to_bytes(8, "big") if i else node.address
        (ack,) = mesh.messages(node.advertise(None, targets=(target,), sequence=i % 128))
        accepted += ack.body[3] == 0
    assert accepted == MAX_ROUTES
    assert mesh.drops() == {Drop.ROUTES_FULL: 10}
    assert node.advertise(None, targets=(node.address,))


def test_a_broken_dao_is_dropped() -> None:
    mesh = Mesh()
    node = mesh.node(0xCC01)
    good = bytes((0, 0x80, 0, 1, 5, 18, 0, 128)) + node.address + bytes((6, 4, 0, 0, 0, 30))
    for body, reason in (
        (b"\0\x80\0", Drop.RPL_MALFORMED),
        (b"\0\xc0\0\1" + bytes(15), Drop.RPL_MALFORMED),
        (good[:-1], Drop.RPL_MALFORMED),
        (good[:5] + b"\x01" + good[6:], Drop.RPL_MALFORMED),
        (good[:7] + b"\x81" + good[8:], Drop.RPL_MALFORMED),
        (good[:5] + b"\x13\0\x81" + good[8:24] + b"\0" + good[24:], Drop.RPL_MALFORMED),
        (good[:-5] + b"\x05\0\0\0\x1e\0", Drop.RPL_MALFORMED),
        (b"\x01" + good[1:], Drop.RPL_INSTANCE),
        (b"\0\xc0\0\1" + bytes(16) + good[4:], Drop.RPL_INSTANCE),
    ):
        before = mesh.drops().get(reason, 0)
        message = Message(icmpv6.RPL_CONTROL, rpl.DAO, body)
        assert not mesh.sent(node.say(message, mesh.gateway, source=node.address))
        assert mesh.drops()[reason] == before + 1, body.hex()
    for code in (rpl.DAO_ACK, 4, 0x81, 0x8A):
        node.say(Message(icmpv6.RPL_CONTROL, code, bytes(8)), mesh.gateway)
    assert mesh.drops()[Drop.RPL_CODE] == 4
    foreign = address.parse("2001:db8::1")
    node.say(Message(icmpv6.RPL_CONTROL, rpl.DAO, good), mesh.gateway, source=foreign)
    assert mesh.drops()[Drop.RPL_SOURCE] == 1


def test_dis_and_dio_come_from_the_link_only() -> None:
    mesh = Mesh()
    node = mesh.node(0xCC01)
    node.say(Message(icmpv6.RPL_CONTROL, rpl.DIS, bytes(2)), mesh.gateway, source=node.address)
    node.say(dio(), mesh.gateway, source=node.address)
    assert mesh.drops() == {Drop.RPL_SOURCE: 2}


def test_all_daos_can_be_asked_for_and_the_mesh_repaired() -> None:
    mesh = Mesh()
    mesh.wait(3600)
    mesh.router.refresh(mesh.now)
    (refreshed,) = information(mesh, 4.096)
    assert (refreshed.body[1], refreshed.body[5]) == (240, 241)
    mesh.wait(3600)
    mesh.router.repair(mesh.now)
    (repaired,) = information(mesh, 4.096)
    assert (repaired.body[1], repaired.body[5]) == (241, 241)


def test_a_restart_keeps_the_dodag_and_asks_for_the_routes() -> None:
    before = Mesh()
    before.router.repair(before.now)
    state = before.router.state
    after = Mesh(state=state)
    (first,) = information(after, 4.096)
    assert (first.body[1], first.body[5], first.body[8:24]) == (241, 241, before.gateway)
    assert after.router.state == RouterState(state.prefix, RootState(before.gateway, 241, 241))


def test_another_prefix_is_another_dodag_and_a_newer_advertisement() -> None:
    state = Mesh().router.state
    after = Mesh("fd01::", state=state)
    assert after.router.state.root == RootState(after.gateway)
    assert after.router.state.border_version == state.border_version + 1


def test_a_version_that_we_have_forgotten_is_taken_over_but_not_too_often() -> None:
    mesh = Mesh()
    node = mesh.node(0xCC01)
    node.say(dio(version=250), ALL_RPL_NODES, hop_limit=64)
    assert mesh.router.state.root.version == 251
    node.say(dio(version=253), ALL_RPL_NODES, hop_limit=64)
    assert mesh.router.state.root.version == 251
    mesh.wait(60)
    node.say(dio(version=253), ALL_RPL_NODES, hop_limit=64)
    assert mesh.router.state.root.version == 254
    mesh.wait(60)
    node.say(dio(version=245), ALL_RPL_NODES, hop_limit=64)
    assert mesh.router.state.root.version == 254
    assert mesh.drops() == {}


def test_another_root_is_reported_once() -> None:
    mesh = Mesh()
    node = mesh.node(0xCC01)
    foreign = [dio(dodag_id="fd99::1"), dio(instance=30), dio(rank=256), dio(rank=1)]
    warnings = [
        effect
        for message in foreign
        for effect in node.say(message, ALL_RPL_NODES, hop_limit=64)
        if isinstance(effect, ForeignRouter)
    ]
    assert [w.kind for w in warnings] == ["RPL root"]
    assert mesh.drops() == {Drop.FOREIGN_ROOT: 4}
    assert not node.say(dio(rank=0xFFFF, dodag_id="fd99::1"), ALL_RPL_NODES)
    assert mesh.drops() == {Drop.FOREIGN_ROOT: 4}


def test_a_packet_that_went_wrong_in_the_mesh_is_noted_and_used() -> None:
    mesh = Mesh()
    node = mesh.node(0xCC01)
    for option in (RplOption(True, False, False, 0, 512), RplOption(False, True, False, 0, 512)):
        extension = Extension(HOP_BY_HOP, encode_rpl(option))
        assert [e for e in node.udp(b"x", extensions=(extension,)) if isinstance(e, UdpReceived)]
    assert mesh.drops() == {"rpl_option_error": 2}


def test_a_broken_source_route_is_told_to_who_sent_the_datagram() -> None:
    mesh = Mesh()
    nodes = chain(mesh, 2)
    (sent,) = mesh.sent(mesh.send(nodes[1].address))
    error = icmpv6.error(icmpv6.UNREACHABLE, 7, encode(sent.packet))
    effects = nodes[0].say(error, mesh.gateway, source=nodes[0].address)
    assert effects == [Undeliverable(nodes[1].address, 5683, 5683, "the source route is broken")]


def test_a_parent_that_never_advertised_itself_leaves_no_route() -> None:
    mesh = Mesh()
    relay, far = mesh.node(0xCC01), mesh.node(0xCC05)
    assert not mesh.sent(far.advertise(relay.address, through=relay))
    (lost,) = mesh.send(far.address)
    assert isinstance(lost, Undeliverable)
    assert mesh.router.path(far.address) == ()
    assert mesh.drops() == {Drop.NO_ROUTE: 2}
    relay.advertise(mesh.gateway)
    (sent,) = mesh.sent(mesh.send(far.address))
    assert source_route(sent.packet) == (relay.address, far.address)


@pytest.mark.parametrize(
    ("value", "successor"), [(240, 241), (255, 0), (0, 1), (126, 127), (127, 0), (128, 129)]
)
def test_sequence_numbers_count_as_lollipops_do(value: int, successor: int) -> None:
    assert next_sequence(value) == successor
    assert is_newer(successor, value)
    assert not is_newer(value, successor)
    assert not is_newer(value, value)


def test_the_order_of_sequence_numbers_is_that_of_the_rfc() -> None:
    # The examples of RFC 6550 7.2.
    assert is_newer(5, 250)
    assert not is_newer(250, 5)
    assert is_newer(240, 5)
    assert not is_newer(5, 240)

"""Hostile frames in great number: nothing breaks, nothing grows, everything is accounted for.

LOWPAN_FUZZ_FRAMES sets the number (20,000 if it is not set).
"""

import os
import random

from adapters.lowpan.effects import Effect, Transmit
from adapters.lowpan.ipv6 import icmpv6, udp
from adapters.lowpan.ipv6.packet import ICMPV6, Packet
from adapters.lowpan.link import BROADCAST, LinkFrame
from adapters.lowpan.router import MAX_FOREIGN
from adapters.lowpan.routing.neighbours import MAX_ADDRESSES, MAX_NEIGHBOURS
from adapters.lowpan.routing.resolution import MAX_WAITING_IN_ALL
from adapters.lowpan.routing.root import MAX_ROUTES
from adapters.lowpan.sixlowpan.fragments import ReassemblyLimits
from tests.lowpan.mesh import Mesh, Node
from tests.lowpan.networks import GATEWAY, NETWORKS

FRAMES = int(os.environ.get("LOWPAN_FUZZ_FRAMES", "20000"))
LIMITS = ReassemblyLimits()
RECORDED = [f for network in NETWORKS.values() for f in network.frames]
PACKETS = [f.packet for f in RECORDED if f.datagram]


def mutated(rng: random.Random, octets: bytes) -> bytes:
    """With a few octets changed, inserted, removed or repeated, or cut short."""
    result = bytearray(octets)
    for _ in range(rng.choice((0, 1, 1, 2, 5))):
        at = rng.randrange(len(result) + 1)
        match rng.randrange(6):
            case 0 | 1 if at < len(result):
                result[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
            case 2 if at < len(result):
                result[at] ^= 1 << rng.randrange(8)
            case 3:
                result[at:at] = rng.randbytes(rng.randrange(1, 4))
            case 4:
                del result[at : at + rng.randrange(1, 9)]
            case _:
                del result[at:]
    return bytes(result)


class Attacker:
    """Sends frames of every kind from many link addresses."""

    def __init__(self, mesh: Mesh, seed: int) -> None:
        self.mesh = mesh
        self.rng = random.Random(seed)

    def attack(self) -> list[Effect]:
        rng = self.rng
        kind = rng.randrange(8)
        link = bytes.fromhex("020000000000") + rng.randrange(1, 1500).to_bytes(2, "big")
        if kind == 0:
            return self.frame(link, rng.randbytes(rng.randrange(128)))
        if kind == 1:
            return self.frame(
                link[-2:], bytes((rng.choice((0x41, 0x7E, 0xC1, 0xE1)),)) + rng.randbytes(90)
            )
        if kind < 5:
            recorded = rng.choice(RECORDED).frame
            source = recorded.source if rng.random() < 0.5 else link
            return self.frame(source, mutated(rng, recorded.payload))
        return self.packet(Node(self.mesh, link, contexts=rng.random() < 0.5))

    def frame(self, source: bytes, payload: bytes) -> list[Effect]:
        destination = self.rng.choice((GATEWAY, GATEWAY, BROADCAST))
        return self.mesh.hear(LinkFrame(source, destination, payload))

    def packet(self, node: Node) -> list[Effect]:
        """A packet that is changed, but whose checksum is right."""
        rng, recorded = self.rng, self.rng.choice(PACKETS)
        own = (node.link_local, node.address, bytes(16), recorded.source, rng.randbytes(16))
        source = rng.choice(own)
        destination = recorded.destination
        if destination[0] != 0xFF:
            addresses = self.mesh.router.identity.addresses
            destination = rng.choice([*sorted(addresses), rng.randbytes(16)])
        body = mutated(rng, recorded.payload[4 if recorded.next_header == ICMPV6 else 8 :])
        if recorded.next_header == ICMPV6:
            # Half of the addresses within are ours, or the node's, as a good attack has it.
            for old in {recorded.source, recorded.destination}:
                body = body.replace(old, rng.choice((self.mesh.gateway, node.address, old)))
            code = rng.choice((recorded.payload[1], rng.randrange(4)))
            kind = rng.choice((recorded.payload[0],) * 4 + (1, 3, 128, 133, 134, 135, 136, 155))
            payload = icmpv6.encode(source, destination, icmpv6.Message(kind, code, body))
        else:
            port = rng.choice((5683, rng.randrange(65536)))
            payload = udp.encode(source, destination, udp.UdpDatagram(5683, port, body))
        hop_limit = rng.choice((255, 255, 255, 64, rng.randrange(256)))
        number = recorded.next_header if rng.random() < 0.95 else rng.randrange(256)
        packet = Packet(source, destination, number, payload, hop_limit, recorded.extensions)
        to = BROADCAST if destination[0] == 0xFF else GATEWAY
        return node.send(packet, to)


def check_bounds(mesh: Mesh) -> None:
    router = mesh.router
    neighbours = list(router._neighbours)
    assert len(neighbours) <= MAX_NEIGHBOURS
    assert all(len(neighbour.addresses) <= MAX_ADDRESSES for neighbour in neighbours)
    owned = {address for neighbour in neighbours for address in neighbour.addresses}
    assert router._neighbours._by_address.keys() == owned
    assert len(router._root.routes) <= MAX_ROUTES
    assert len(router._output.resolution) <= MAX_WAITING_IN_ALL
    assert len(router._foreign) <= MAX_FOREIGN
    reassembler = router._adaptation.reassembler
    assert len(reassembler) <= LIMITS.datagrams
    assert reassembler.octets <= LIMITS.octets
    assert sum(len(b.octets) for b in reassembler._buffers.values()) == reassembler.octets


def test_hostile_frames_break_no_bound_and_are_all_accounted_for() -> None:
    mesh = Mesh()
    attacker = Attacker(mesh, seed=6282)
    transmitted = silent = 0
    for i in range(FRAMES):
        mesh.now += attacker.rng.choice((0.0, 0.001, 0.05, 0.2))
        before = mesh.router.counters.total()
        effects = attacker.attack()
        dropped = mesh.router.counters.total() - before
        silent += not effects and not dropped
        transmitted += sum(isinstance(effect, Transmit) for effect in effects)
        if mesh.router.next_deadline() <= mesh.now:
            mesh.router.expire(mesh.now)
        if i % 500 == 0:
            check_bounds(mesh)
    check_bounds(mesh)
    counters = mesh.router.counters
    # What is neither answered nor counted was in order: DIO probes, fragments, echo replies.
    assert silent < FRAMES / 4
    assert transmitted > FRAMES / 100
    if FRAMES >= 20000:
        assert len(counters) >= 35, sorted(counters)


def test_after_the_attack_a_node_joins_as_ever() -> None:
    mesh = Mesh()
    attacker = Attacker(mesh, seed=6550)
    for _ in range(FRAMES // 10):
        attacker.attack()
    mesh.wait(60)
    node = mesh.node(0xF001)
    assert mesh.sent(node.solicit_dodag())
    assert mesh.sent(node.advertise(mesh.gateway))
    assert mesh.sent(mesh.send(node.address))[0].link == node.link

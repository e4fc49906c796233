"""Reassembly with hostile and real fragments, and our own fragments against tshark."""

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.lowpan.drops import Drop, Dropped
from adapters.lowpan.ipv6 import icmpv6, packet, udp
from adapters.lowpan.ipv6.address import link_local, parse
from adapters.lowpan.ipv6.packet import Packet, encode
from adapters.lowpan.link import LinkFrame, interface_id
from adapters.lowpan.sixlowpan.adaptation import Adaptation
from adapters.lowpan.sixlowpan.contexts import Contexts
from adapters.lowpan.sixlowpan.fragments import Fragment, Reassembler, ReassemblyLimits, fragment
from adapters.lowpan.sixlowpan.iphc import Decompressed
from gateway.errors import EncodeError
from tests.lowpan.networks import NETWORKS, Network, context
from tests.lowpan.tshark import dissect

ALICE, BOB = bytes.fromhex("020000000000aa01"), bytes.fromhex("020000000000bb02")
MESH = {0: context("fd00::/64")}
LIMITS = ReassemblyLimits()


class Link:
    """Both ends of a link."""

    def __init__(self, limits: ReassemblyLimits = LIMITS, max_payload: int = 104) -> None:
        self.counters: Counter[str] = Counter()
        self.layer = Adaptation(MESH, max_payload, limits, self.counters)

    def payloads(self, datagram: bytes, contexts: Contexts | None = None) -> tuple[bytes, ...]:
        return self.layer.frames(datagram, ALICE, BOB, MESH if contexts is None else contexts)

    def receive(self, payload: bytes, now: float = 0.0, source: bytes = ALICE) -> bytes | None:
        received = self.layer.receive(LinkFrame(source, BOB, payload), now)
        return received.datagram if received else None


def datagram(octets: int, *, source: str = "fd00::aa01") -> bytes:
    """A UDP datagram of so many octets in all."""
    ends = parse(source), parse("fd00::bb02")
    data = bytes(i * 7 & 0xFF for i in range(octets - 48))
    payload = udp.encode(*ends, udp.UdpDatagram(5683, 5683, data))
    return encode(Packet(*ends, packet.UDP, payload))


def dropped(link: Link, payload: bytes, now: float = 0.0) -> Drop:
    with pytest.raises(Dropped) as caught:
        link.receive(payload, now)
    return caught.value.reason


@pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
def test_recorded_fragments_become_the_recorded_datagrams(network: Network) -> None:
    layer = Adaptation(network.contexts, 104, LIMITS, Counter())
    for recorded in network.frames:
        received = layer.receive(recorded.frame, 0.0)
        assert (received.datagram if received else None) == recorded.datagram
    assert len(layer.reassembler) == layer.reassembler.octets == 0


@pytest.mark.parametrize("network", ["riot-frag", "contiki-frag", "riot-6lowpan-nd"])
def test_our_fragments_are_those_of_real_nodes(network: str) -> None:
    """Contiki-NG fills its frames as we do; RIOT puts less in the first, the rest alike."""
    recording = NETWORKS[network]
    frames = [f.frame for f in recording.frames]
    for i, recorded in enumerate(recording.frames):
        if recorded.datagram is None or frames[i].payload[0] >> 5 != 7:
            continue
        first = max(j for j in range(i) if frames[j].payload[0] >> 3 == 0x18)
        theirs = [frame.payload for frame in frames[first : i + 1]]
        layer = Adaptation(recording.contexts, 104, LIMITS, Counter())
        ends = frames[i].source, frames[i].destination
        ours = layer.frames(recorded.datagram, *ends, recording.contexts)
        assert len(ours) in (len(theirs), len(theirs) - 1)
        if network == "contiki-frag":
            assert [p[:2] + p[4:] for p in ours] == [p[:2] + p[4:] for p in theirs]


@pytest.mark.parametrize("octets", [49, 100, 140, 141, 147, 148, 149, 300, 1279, 1280])
@pytest.mark.parametrize("contexts", [{}, MESH], ids=["stateless", "context"])
def test_datagrams_survive_fragments_in_any_order(octets: int, contexts: Contexts) -> None:
    link = Link()
    whole = datagram(octets)
    payloads = link.payloads(whole, contexts)
    assert all(len(payload) <= 104 for payload in payloads)
    for order in (payloads, payloads[::-1], payloads[1:] + payloads[:1]):
        received = [link.receive(payload) for payload in order]
        assert received[-1] == whole
        assert not any(received[:-1])


def test_frames_hold_what_the_standard_says() -> None:
    link = Link()
    one = link.payloads(datagram(40 + 8 + 94))
    assert [len(payload) for payload in one] == [103]
    first, second, third, _ = link.payloads(datagram(300), {})
    assert first[:4].hex() == "c12c0000"
    assert len(first) <= 104
    # What the first stands for and what each but the last carries are multiples of 8 octets.
    assert second[:5].hex() == f"e12c0000{second[4]:02x}"
    assert len(second) == 5 + 96
    assert third[4] == second[4] + 12
    assert link.payloads(datagram(300), {})[0][2:4] == b"\0\1"


def test_tags_differ_and_wrap() -> None:
    link = Link()
    whole = datagram(120)
    tags = [int.from_bytes(link.payloads(whole, {})[0][2:4], "big") for _ in range(300)]
    assert tags == list(range(300))
    link.layer._tag = 0xFFFF
    tags = [int.from_bytes(link.payloads(whole, {})[0][2:4], "big") for _ in range(2)]
    assert tags == [0xFFFF, 0]


def test_a_repeated_fragment_changes_nothing() -> None:
    link = Link()
    whole = datagram(400)
    first, *rest, last = link.payloads(whole)
    for payload in (first, first, *rest, *rest):
        assert link.receive(payload) is None
    assert link.receive(last) == whole


def test_an_overlap_starts_the_datagram_afresh() -> None:
    link = Link()
    whole = datagram(400)
    first, second, third, *rest = link.payloads(whole)
    link.receive(first)
    link.receive(second)
    short = second[:-8]
    assert dropped(link, short) == Drop.FRAGMENT_OVERLAP
    for payload in (third, *rest, first):
        assert link.receive(payload) is None
    assert len(link.layer.reassembler) == 1
    # The overlapping fragment is kept: only the 8 octets behind it are missing.
    end = 8 * second[4] + len(second) - 5
    gap = second[:4] + bytes(((end - 8) // 8,)) + whole[end - 8 : end]
    assert link.receive(gap) == whole


def test_sources_do_not_disturb_each_other() -> None:
    one, other = Link(), Link()
    a, b = one.payloads(datagram(400)), other.payloads(datagram(400, source="fd00::cc"))
    assert a[0][:4] == b[0][:4]
    carol = bytes.fromhex("020000000000cc03")
    received = []
    for x, y in zip(a, b, strict=False):
        received += [one.receive(x), one.receive(y, source=carol)]
    received += [one.receive(p, source=carol) for p in b[len(a) :]]
    assert datagram(400) in received
    assert datagram(400, source="fd00::cc") in received


def test_a_lost_fragment_frees_its_buffer_after_the_timeout() -> None:
    link = Link()
    link.receive(link.payloads(datagram(400))[0], 5.0)
    reassembler = link.layer.reassembler
    assert reassembler.next_deadline() == 15.0
    link.layer.expire(14.9)
    assert len(reassembler) == 1
    link.layer.expire(15.0)
    assert (len(reassembler), reassembler.octets) == (0, 0)
    assert reassembler.next_deadline() is None
    assert link.counters == {Drop.REASSEMBLY_TIMEOUT: 1}


def test_a_source_gets_two_buffers_and_its_oldest_goes_first() -> None:
    link = Link()
    starts = [link.payloads(datagram(400)) for _ in range(3)]
    for now, payloads in enumerate(starts):
        link.receive(payloads[0], float(now))
    assert len(link.layer.reassembler) == 2
    assert link.counters == {Drop.REASSEMBLY_EVICTED: 1}
    received = [link.receive(payload) for payload in starts[1][1:]]
    assert received[-1] == datagram(400)


def test_strangers_together_get_sixteen_buffers() -> None:
    link = Link()
    payloads = link.payloads(datagram(400))
    for i in range(100):
        link.receive(payloads[0], float(i) / 1000, source=i.to_bytes(8, "big"))
    assert len(link.layer.reassembler) == 16
    assert link.counters == {Drop.REASSEMBLY_EVICTED: 84}


def test_memory_is_bounded_too() -> None:
    reassembler = Reassembler(ReassemblyLimits(size=2047, octets=5000))
    evicted = 0
    for i in range(10):
        key = (i.to_bytes(8, "big"), BOB, 2000, 1)
        evicted += reassembler.add(Fragment(key, 8, bytes(8)), 0.0)[1]
    assert (len(reassembler), reassembler.octets, evicted) == (2, 4000, 8)


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        ("c5010001" + "7e33f3a1abcd", Drop.FRAGMENT_SIZE),  # 1281 octets
        ("e501000101" + "00" * 8, Drop.FRAGMENT_SIZE),
        ("c0270001" + "7e33f3a1abcd", Drop.FRAGMENT_SIZE),  # shorter than a header
        ("e027000101" + "00" * 8, Drop.FRAGMENT_SIZE),
        ("e10000010c" + "00" * 7, Drop.FRAGMENT_MALFORMED),  # not a multiple of 8
        ("e1000001ff" + "00" * 8, Drop.FRAGMENT_MALFORMED),  # behind the end
        ("e100000120" + "00" * 8, Drop.FRAGMENT_MALFORMED),
        ("e100000100" + "00" * 8, Drop.FRAGMENT_MALFORMED),  # where the first belongs
        ("e10000010c", Drop.FRAGMENT_MALFORMED),  # empty
        ("c1000001", Drop.FRAGMENT_MALFORMED),
        ("c1", Drop.FRAGMENT_MALFORMED),
        ("c1000001" + "7e33f3a1ab", Drop.TRUNCATED),
        ("c1000001" + "7e33f3a1abcd" + "00", Drop.FRAGMENT_MALFORMED),
        ("c1000001" + "c1000001", Drop.FRAGMENT_MALFORMED),
        ("c0300001" + "7e33f3a1abcd" + "00" * 8, Drop.FRAGMENT_SIZE),  # more than it says
        ("e8000001" + "00" * 8, Drop.RECOVERABLE_FRAGMENT),
    ],
)
def test_malformed_fragments_are_dropped_without_a_trace(payload: str, expected: Drop) -> None:
    link = Link()
    assert dropped(link, bytes.fromhex(payload)) == expected
    assert len(link.layer.reassembler) == 0


def test_larger_datagrams_can_be_asked_for() -> None:
    link = Link(ReassemblyLimits(size=2047))
    whole = datagram(2047)
    assert [link.receive(payload) for payload in link.payloads(whole)][-1] == whole


def test_headers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(EncodeError):
        list(fragment(bytes(60), 88, bytes(200), 0, 63))
    with pytest.raises(EncodeError):
        list(fragment(bytes(10), 40, bytes(2048), 0, 104))


def test_uncompressed_datagrams_may_be_fragmented_too() -> None:
    link = Link()
    whole = datagram(120)
    size = (0xC000 | len(whole)).to_bytes(2, "big")
    last = (0xE000 | len(whole)).to_bytes(2, "big")
    assert link.receive(size + b"\0\7\x41" + whole[:96]) is None
    assert link.receive(last + b"\0\7\x0c" + whole[96:]) == whole
    assert link.receive(b"\x41" + whole) == whole
    assert dropped(link, b"\x41" + whole + bytes(20)) == Drop.OVERSIZED


def test_an_elided_checksum_is_computed_from_the_whole_datagram_only_if_configured() -> None:
    whole = datagram(300)
    plain = Link().payloads(whole)
    # The same first fragment with the checksum left out: ports form 0 at its known place.
    at = plain[0].index(bytes.fromhex("f016331633"))
    elided = plain[0][:at] + b"\xf4" + plain[0][at + 1 : at + 5] + plain[0][at + 7 :]
    strict = Link()
    assert dropped(strict, elided) == Drop.UDP_CHECKSUM_ELIDED
    trusting = Adaptation(MESH, 104, LIMITS, Counter(), accept_elided_checksum=True)
    received: Decompressed | None = None
    for payload in (elided, *plain[1:]):
        received = trusting.receive(LinkFrame(ALICE, BOB, payload), 0.0)
    assert received is not None
    assert received.datagram == whole


def test_tshark_reassembles_our_fragments(tmp_path: Path) -> None:
    link = Link()
    frames = []
    for octets in range(100, 1280, 13):
        ends = link_local(interface_id(ALICE)), link_local(interface_id(BOB))
        message = icmpv6.Message(icmpv6.ECHO_REQUEST, 0, bytes(i % 251 for i in range(octets - 44)))
        whole = encode(Packet(*ends, packet.ICMPV6, icmpv6.encode(*ends, message)))
        for datagram_octets in (whole, datagram(octets)):
            payloads = link.payloads(datagram_octets)
            frames += [LinkFrame(ALICE, BOB, payload) for payload in payloads]
    fields = ("udp.checksum.status", "icmpv6.checksum.status", "_ws.malformed", "6lowpan.frag.size")
    rows = dissect(tmp_path, fields, frames=frames, contexts=MESH)
    assert not any(row[2] for row in rows)
    statuses = Counter(row[0] or row[1] for row in rows)
    assert statuses["1"] == 2 * len(range(100, 1280, 13))
    assert set(statuses) == {"", "1"}


@given(st.data())
@settings(max_examples=200, deadline=None)
def test_no_sequence_of_fragments_breaks_a_bound(data: st.DataObject) -> None:
    reassembler = Reassembler(LIMITS)
    now = 0.0
    for _ in range(data.draw(st.integers(1, 30))):
        now += data.draw(st.sampled_from([0.0, 0.5, 11.0]))
        size = data.draw(st.sampled_from([48, 64, 100, 1280, 1281, 2047]))
        key = (bytes((data.draw(st.integers(0, 20)),)), BOB, size, data.draw(st.integers(0, 2)))
        offset = 8 * data.draw(st.integers(0, 20))
        octets = bytes(data.draw(st.sampled_from([0, 8, 16, 40, 47, 96])))
        first = Decompressed(octets) if not offset else None
        try:
            received, _ = reassembler.add(Fragment(key, offset, octets), now, first)
        except Dropped:
            continue
        assert received is None or len(received.datagram) == size
        reassembler.expire(now)
        assert len(reassembler) <= LIMITS.datagrams
        assert reassembler.octets <= LIMITS.octets

"""The adaptation layer: link frames in, IPv6 datagrams out, and back (RFC 4944, 6282).

Does not know what is in a datagram behind its headers, nor who holds which context.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from adapters.lowpan.drops import Drop, Dropped
from adapters.lowpan.ipv6 import udp
from adapters.lowpan.link import LinkFrame, interface_id
from adapters.lowpan.sixlowpan import iphc
from adapters.lowpan.sixlowpan.contexts import Contexts
from adapters.lowpan.sixlowpan.dispatch import Dispatch, classify
from adapters.lowpan.sixlowpan.fragments import (
    FIRST_OCTETS,
    NEXT_OCTETS,
    TAGS,
    Fragment,
    Reassembler,
    ReassemblyLimits,
    fragment,
)
from adapters.lowpan.sixlowpan.iphc import Decompressed

MAX_FRAME = 127
"""Octets of a frame in 802.15.4 (aMaxPHYPacketSize): no payload is longer."""


class Adaptation:
    """One link's adaptation layer. `counters` counts what was lost without a frame to blame."""

    def __init__(
        self,
        contexts: Contexts,
        max_payload: int,
        limits: ReassemblyLimits,
        counters: Counter[str],
        *,
        accept_elided_checksum: bool = False,
    ) -> None:
        self._contexts = contexts
        self._max_payload = max_payload
        self._accept_elided_checksum = accept_elided_checksum
        self._counters = counters
        self.reassembler = Reassembler(limits)
        self._tag = 0

    def receive(self, frame: LinkFrame, now: float) -> Decompressed | None:
        """The datagram that a frame carries or completes; raises Dropped."""
        if len(frame.payload) > MAX_FRAME:
            raise Dropped(Drop.OVERSIZED)
        dispatch, data = classify(frame.payload)
        match dispatch:
            case Dispatch.FIRST_FRAGMENT | Dispatch.NEXT_FRAGMENT:
                received = self._reassemble(frame, dispatch, data, now)
            case _:
                received = self._decompress(frame, dispatch, data, None)
        if received is None or received.udp_at is None:
            return received
        return replace(received, datagram=udp.fill_checksum(received.datagram, received.udp_at))

    def frames(
        self, datagram: bytes, source: bytes, destination: bytes, contexts: Contexts
    ) -> tuple[bytes, ...]:
        """The payloads that carry a datagram between two link addresses, to be sent in a row.

        `contexts` are those that the receiver holds; raises EncodeError.
        """
        headers, covered = iphc.compress(
            datagram, interface_id(source), interface_id(destination), contexts
        )
        frames = tuple(fragment(headers, covered, datagram, self._tag, self._max_payload))
        if len(frames) > 1:
            self._tag = (self._tag + 1) % TAGS
        return frames

    def expire(self, now: float) -> None:
        """Gives up reassemblies that have waited too long."""
        if late := self.reassembler.expire(now):
            self._counters[Drop.REASSEMBLY_TIMEOUT] += late

    def _decompress(
        self, frame: LinkFrame, dispatch: Dispatch, data: bytes, size: int | None
    ) -> Decompressed:
        if dispatch is Dispatch.IPV6:
            return Decompressed(data)
        received = iphc.decompress(
            data,
            interface_id(frame.source),
            interface_id(frame.destination),
            self._contexts,
            size,
        )
        if received.udp_at is not None and not self._accept_elided_checksum:
            raise Dropped(Drop.UDP_CHECKSUM_ELIDED)
        return received

    def _reassemble(
        self, frame: LinkFrame, dispatch: Dispatch, data: bytes, now: float
    ) -> Decompressed | None:
        first, offset = None, 0
        header = FIRST_OCTETS if dispatch is Dispatch.FIRST_FRAGMENT else NEXT_OCTETS
        if len(data) <= header:
            raise Dropped(Drop.FRAGMENT_MALFORMED, "nothing in it")
        size = int.from_bytes(data[:2], "big") & 0x7FF
        tag = int.from_bytes(data[2:4], "big")
        content = data[header:]
        if dispatch is Dispatch.FIRST_FRAGMENT:
            within, content = classify(content)
            if within not in (Dispatch.IPHC, Dispatch.IPV6):
                raise Dropped(Drop.FRAGMENT_MALFORMED, "a fragment in a fragment")
            first = self._decompress(frame, within, content, size)
            content = first.datagram
        else:
            offset = 8 * data[4]
            if not offset:
                raise Dropped(Drop.FRAGMENT_MALFORMED, "offset 0")
        key = (frame.source, frame.destination, size, tag)
        received, evicted = self.reassembler.add(Fragment(key, offset, content), now, first)
        if evicted:
            self._counters[Drop.REASSEMBLY_EVICTED] += evicted
        return received

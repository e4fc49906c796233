"""The MAC of the gateway: PSDU in, payload or the reason of its drop out, and back. Pure.

It decides what is for us, new, and genuine; what payloads mean is decided above, and
acknowledgements and repetitions are the radio's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from adapters.lowpan.mac import elements, security
from adapters.lowpan.mac.counter import FrameCounter
from adapters.lowpan.mac.drops import Drop, Dropped
from adapters.lowpan.mac.frame import (
    BROADCAST,
    BROADCAST_PAN,
    FrameType,
    MacFrame,
    SecurityHeader,
    decode,
    encode,
)
from adapters.lowpan.mac.security import LinkSecurity
from adapters.lowpan.mac.tables import Duplicates, Replays
from adapters.lowpan.phy import PSDU_LIMIT
from gateway.errors import EncodeError

_UNUSABLE_SHORT = {0xFFFE.to_bytes(2, "big"), BROADCAST}


@dataclass(frozen=True, slots=True)
class Received:
    """A frame that is for us, new and, as far as the network asks for it, genuine.

    `security_level` is 0 for a frame in clear. A command's first payload octet is its id.
    """

    type: FrameType
    source: bytes
    destination: bytes
    payload: bytes
    sequence: int | None
    frame_pending: bool
    security_level: int


@dataclass(frozen=True, slots=True)
class Identity:
    """Who we are on the link. `short` is empty unless we have a short address."""

    pan_id: int
    eui64: bytes
    short: bytes = b""


class MacLink:
    """The state of one link: sequence number, frame counter, what was seen of the neighbours.

    `eui64_of` finds the EUI-64 behind a short address, which a secured frame's nonce needs.
    """

    def __init__(
        self,
        identity: Identity,
        *,
        first_sequence: int = 0,
        link_security: LinkSecurity | None = None,
        counter: FrameCounter | None = None,
        replays: Replays | None = None,
        eui64_of: Callable[[bytes], bytes | None] = lambda _: None,
    ) -> None:
        if link_security and not counter:
            raise ValueError("secured frames need a frame counter")
        self._identity = identity
        self._sequence = first_sequence
        self._security = link_security
        self._counter = counter
        self._replays = replays or Replays()
        self._duplicates = Duplicates()
        self._eui64_of = eui64_of

    def receive(self, psdu: bytes, now_s: float) -> Received | Drop:
        """Takes a frame from the radio (without FCS); `now_s` is of the monotonic clock."""
        try:
            frame = decode(psdu)
            self._check_addresses(frame)
            if not self._duplicates.is_new(frame, now_s):
                return Drop.DUPLICATE
            level, payload = self._unsecure(frame)
            if frame.payload_elements:
                payload = elements.skip_payload(payload)
        except Dropped as dropped:
            return dropped.reason
        return Received(
            frame.type,
            frame.source,
            frame.destination,
            payload,
            frame.sequence,
            frame.frame_pending,
            level,
        )

    def data(self, destination: bytes, payload: bytes, *, frame_pending: bool = False) -> bytes:
        """The PSDU of a data frame; all but broadcasts ask for an acknowledgement."""
        if len(payload) > self.payload_limit(destination):
            raise EncodeError(f"{len(payload)} octets do not fit a frame")
        how, counter = self._security, self._counter
        header = SecurityHeader(how.level, counter.take(), how.key_id) if how and counter else None
        frame = MacFrame(
            FrameType.DATA,
            destination,
            self._identity.eui64,
            self._identity.pan_id,
            self._identity.pan_id,
            self._sequence,
            frame_pending=frame_pending,
            ack_request=destination != BROADCAST,
            security=header,
            payload=payload,
        )
        self._sequence = (self._sequence + 1) % 256
        if how is None:
            return encode(frame)
        return security.secure(frame, self._identity.eui64, how.key, how.quirk)

    def payload_limit(self, destination: bytes) -> int:
        """Octets of payload that one data frame to this address takes."""
        control, sequence, pan = 2, 1, 2
        header = control + sequence + pan + len(destination) + len(self._identity.eui64)
        return PSDU_LIMIT - header - (security.overhead(self._security) if self._security else 0)

    def _check_addresses(self, frame: MacFrame) -> None:
        us = self._identity
        if frame.type is FrameType.ACK:
            raise Dropped(Drop.ACKNOWLEDGEMENT)
        if not frame.source:
            raise Dropped(Drop.ADDRESSING)
        if frame.source == us.eui64:
            raise Dropped(Drop.OWN_ADDRESS)
        pan = frame.destination_pan if frame.destination else frame.source_pan
        if pan not in {us.pan_id, BROADCAST_PAN, None}:
            raise Dropped(Drop.NOT_FOR_US)
        # Without destination a frame is for the PAN's coordinator, which we are.
        mine = {us.eui64, BROADCAST, b""} | ({us.short} - _UNUSABLE_SHORT)
        if frame.destination not in mine:
            raise Dropped(Drop.NOT_FOR_US)

    def _unsecure(self, frame: MacFrame) -> tuple[int, bytes]:
        """The security level and the clear payload."""
        how, header = self._security, frame.security
        if header is None or not header.level:
            if how and how.required:
                raise Dropped(Drop.NOT_SECURED)
            return 0, frame.payload
        if how is None:
            raise Dropped(Drop.UNKNOWN_KEY)
        if how.is_too_weak(header.level):
            raise Dropped(Drop.SECURITY_TOO_WEAK)
        if header.frame_counter == security.LAST_COUNTER:
            raise Dropped(Drop.COUNTER)
        key = how.find_key(header.key_id)
        eui64 = frame.source if len(frame.source) == 8 else self._eui64_of(frame.source)
        if eui64 is None:
            raise Dropped(Drop.UNKNOWN_SENDER)
        if not self._replays.is_new(eui64, header.key_id, header.frame_counter):
            raise Dropped(Drop.REPLAY)
        payload = security.unsecure(frame, eui64, key, how.quirk)
        self._replays.enter(eui64, header.key_id, header.frame_counter)
        return header.level, payload

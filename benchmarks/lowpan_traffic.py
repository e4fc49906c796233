"""Frames as a node sends them and as a stick tells them, for benchmarks of the 6LoWPAN stack."""

from __future__ import annotations

from itertools import count

from adapters.lowpan.framing import hdlc
from adapters.lowpan.ipv6 import udp
from adapters.lowpan.ipv6.packet import UDP, Packet, encode
from adapters.lowpan.link import interface_id
from adapters.lowpan.mac.counter import FrameCounter
from adapters.lowpan.mac.frame import KeyId, KeyIdMode
from adapters.lowpan.mac.link import Identity, MacLink
from adapters.lowpan.mac.security import LinkSecurity
from adapters.lowpan.radio import spinel
from adapters.lowpan.radio.spinel import Command, Property
from adapters.lowpan.sixlowpan import iphc
from adapters.lowpan.sixlowpan.contexts import Context

FRAME = 100
"""Octets of a frame as it goes over the air, with FCS."""

CHANNEL, PAN_ID, PORT = 26, 0xABCD, 5683
GATEWAY, NODE = bytes.fromhex("18b4300000000001"), bytes.fromhex("020000000000aa01")
PREFIX = bytes.fromhex("fd00000000000000")
OURS, THEIRS = PREFIX + interface_id(GATEWAY), PREFIX + interface_id(NODE)
SECURITY = LinkSecurity(5, bytes(range(16)), KeyId(KeyIdMode.INDEX, 1))


class Node:
    """Makes the frames that come in."""

    def __init__(self, mac: MacLink) -> None:
        self._mac = mac
        self._numbers = count()
        room = mac.payload_limit(GATEWAY) + FRAME - 127
        self._data = room - len(self._payload(b""))

    def frame(self) -> bytes:
        """A frame of 100 octets that differs from all before, its FCS left out."""
        data = next(self._numbers).to_bytes(self._data, "big")
        return self._mac.data(GATEWAY, self._payload(data))

    def _payload(self, data: bytes) -> bytes:
        content = udp.encode(THEIRS, OURS, udp.UdpDatagram(PORT, PORT, data))
        datagram = encode(Packet(THEIRS, OURS, UDP, content))
        ends = interface_id(NODE), interface_id(GATEWAY)
        headers, covered = iphc.compress(datagram, *ends, {0: Context(PREFIX + bytes(8))})
        return headers + datagram[covered:]


def mac(eui64: bytes, security: LinkSecurity | None) -> MacLink:
    """One end of the link."""
    counter = FrameCounter(0, lambda _: None)
    return MacLink(Identity(PAN_ID, eui64), link_security=security, counter=counter)


def heard(psdu: bytes) -> bytes:
    """What an RCP writes when it hears a frame, as OpenThread's does."""
    rssi_noise_flags = b"\xc4\x80\x00\x00"
    phy = bytes((CHANNEL, 200)) + bytes(8)
    octets = psdu + bytes(2)
    value = _sized(octets) + rssi_noise_flags + _sized(phy) + _sized(b"\x00") + _sized(bytes(5))
    return hdlc.encode(spinel.encode(spinel.Frame(0, Command.IS, Property.STREAM_RAW, value)))


def report(tid: int) -> bytes:
    """What an RCP writes when the frame of a transaction was acknowledged."""
    ack = b"\x02\x00\x01" + bytes(2)
    value = b"\x00\x00\x01" + _sized(ack) + b"\xc4\x80\x00\x00" + _sized(bytes(10))
    return hdlc.encode(spinel.encode(spinel.Frame(tid, Command.IS, Property.LAST_STATUS, value)))


def _sized(octets: bytes) -> bytes:
    return len(octets).to_bytes(2, "little") + octets

"""A virtual 6LoWPAN node: frames in and out, joins by its profile, serves CoAP.

It is written from the RFCs and knows nothing of the gateway's own stack.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum

from adapters.sim import packets
from adapters.sim.coap import Message
from adapters.sim.coap_node import PORT, CoapNode
from adapters.sim.ipso import Objects
from adapters.sim.packets import Packet
from adapters.sim.sixlowpan import Reader, frames, iid

BROADCAST = b"\xff\xff"
LINK_LOCAL = b"\xfe\x80" + bytes(6)


class Profile(Enum):
    """How a node joins."""

    ND = "6LoWPAN-ND"
    RPL = "RPL"
    PLAIN = "RFC 4861"


@dataclass(frozen=True, slots=True)
class Timings:
    """How patient a node is, in seconds."""

    repeat_s: float = 0.5
    """Between two solicitations that were not answered."""
    refresh_s: float = 300.0
    """Between two registrations or advertisements of itself."""
    ack_s: float = 2.0
    """CoAP's ACK_TIMEOUT."""


@dataclass(slots=True)
class _Parent:
    link: bytes
    address: bytes
    rank: int
    version: int
    dtsn: int
    dodag: bytes
    options: bytes


class Node:
    """One node. `transmit` puts a frame (without FCS) on the air."""

    def __init__(
        self,
        eui64: bytes,
        profile: Profile,
        objects: Objects,
        transmit: Callable[[bytes], None],
        *,
        pan_id: int = 0xABCD,
        timings: Timings | None = None,
    ) -> None:
        self.eui64 = eui64
        self.profile = profile
        self.objects = objects
        self.timings = timings or Timings()
        self.coap = CoapNode(self._send_coap, objects, self.timings.ack_s)
        objects.changed = self.coap.changed
        self.link_local = LINK_LOCAL + iid(eui64)
        self.address: bytes | None = None
        self.gateway: bytes | None = None
        """The gateway's address `prefix::1`, once the prefix is known."""
        self.joined = asyncio.Event()
        self.source_routes: list[bytes] = []
        """The routing headers of packets that came for this node."""
        self._transmit = transmit
        self._pan = pan_id.to_bytes(2, "little")
        self._reader = Reader()
        self._sequence = eui64[-1]
        self._tag = 0
        self._router: tuple[bytes, bytes] | None = None
        self._parent: _Parent | None = None
        self._news = asyncio.Event()
        self._acknowledged = asyncio.Event()
        self._seen: tuple[bytes, int, int] | None = None

    async def run(self) -> None:
        """Joins, stays joined and serves until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self.coap.run())
            while True:
                match self.profile:
                    case Profile.RPL:
                        await self._join_dodag()
                    case Profile.ND | Profile.PLAIN:
                        await self._register(register=self.profile is Profile.ND)
                self.joined.set()
                await self._wait(self._news, self.timings.refresh_s)
                self._news.clear()

    async def ask(
        self, method: int, path: str, content_format: int | None = None, text: str = ""
    ) -> Message:
        """The answer to a request to the gateway, at `prefix::1`; the node must have joined."""
        assert self.gateway is not None  # noqa: S101
        return await self.coap.request(
            (self.gateway, PORT), method, path, content_format, text.encode()
        )

    # --- joining --------------------------------------------------------------------------------

    async def _register(self, *, register: bool) -> None:
        while self._router is None:
            body = packets.router_solicitation(self.eui64)
            self._send_icmp(self.link_local, packets.ALL_ROUTERS, packets.RS, 0, body)
            await self._wait(self._news)
        link, router = self._router
        assert self.address is not None  # noqa: S101  (it came with the router)
        self._acknowledged.clear()
        while not self._acknowledged.is_set():
            body = packets.neighbour_solicitation(router, self.eui64, register=register)
            to = router if register else b"\xff\x02" + bytes(9) + b"\1\xff" + router[13:]
            self._send_icmp(
                self.address, to, packets.NS, 0, body, link=link if register else BROADCAST
            )
            await self._wait(self._acknowledged)

    async def _join_dodag(self) -> None:
        while self._parent is None:
            self._send_icmp(
                self.link_local, packets.ALL_RPL_NODES, packets.RPL, packets.DIS, bytes(2)
            )
            await self._wait(self._news)
        self._acknowledged.clear()
        while not self._acknowledged.is_set():
            parent = self._parent
            assert self.address is not None  # noqa: S101
            self._sequence = (self._sequence + 1) % 128
            body = packets.advertisement(self._sequence, parent.dodag, self.address, parent.address)
            self._send_icmp(self.address, parent.dodag, packets.RPL, packets.DAO, body)
            await self._wait(self._acknowledged)
        self._inform(packets.ALL_RPL_NODES, BROADCAST)

    async def _wait(self, event: asyncio.Event, limit_s: float | None = None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s or self.timings.repeat_s):
                await event.wait()

    def _inform(self, destination: bytes, link: bytes) -> None:
        if self._parent is None:
            return
        rank = self._parent.rank + packets.RANK_INCREASE
        body = packets.information(
            *(rank, self._parent.version, self._parent.dodag, self._parent.dtsn),
            self._parent.options,
        )
        self._send_icmp(self.link_local, destination, packets.RPL, packets.DIO, body, link=link)

    # --- out ------------------------------------------------------------------------------------

    def _send_coap(self, peer: tuple[bytes, int], data: bytes) -> None:
        source = self.link_local if peer[0][:8] == LINK_LOCAL else self.address
        if source is not None:
            self._send(packets.udp(source, peer[0], (PORT, peer[1]), data))

    def _send_icmp(
        self,
        source: bytes,
        destination: bytes,
        type: int,
        code: int,
        body: bytes,
        *,
        link: bytes | None = None,
    ) -> None:
        self._send(packets.icmp(source, destination, type, code, body), link)

    def _send(self, packet: Packet, link: bytes | None = None) -> None:
        if link is None:
            link = self._next_hop(packet.destination)
        if link is None:
            return
        self._tag = (self._tag + 1) % 0x10000
        for payload in frames(packet.encode(), self.eui64, link, self._tag):
            self._sequence = (self._sequence + 1) % 256
            head = b"\x41\xd8" if link == BROADCAST else b"\x61\xdc"
            addresses = link[::-1] + self.eui64[::-1]
            self._transmit(head + bytes((self._sequence,)) + self._pan + addresses + payload)

    def _next_hop(self, destination: bytes) -> bytes | None:
        if destination[0] == 0xFF:
            return BROADCAST
        if destination[:8] == LINK_LOCAL:
            return iid(destination[8:])
        if self._parent is not None:
            return self._parent.link
        return self._router[0] if self._router else None

    # --- in -------------------------------------------------------------------------------------

    def hears(self, psdu: bytes) -> bool:
        """Takes a frame from the air; whether it is acknowledged."""
        if psdu[:1] not in (b"\x41", b"\x61") or psdu[3:5] not in (self._pan, BROADCAST):
            return False
        if psdu[1] == 0xD8:
            to, sender, payload = BROADCAST, psdu[7:15][::-1], psdu[15:]
        else:
            to, sender, payload = psdu[5:13][::-1], psdu[13:21][::-1], psdu[21:]
        if to not in (self.eui64, BROADCAST) or sender == self.eui64:
            return False
        seen = sender, psdu[2], hash(payload)
        if seen != self._seen:
            self._seen = seen
            # Never within the sender's own call: the air takes time.
            asyncio.get_running_loop().call_soon(self._take, payload, sender, to)
        return to == self.eui64

    def _take(self, payload: bytes, sender: bytes, to: bytes) -> None:
        try:
            datagram = self._reader.feed(payload, sender, to)
            packet = packets.parse(datagram) if datagram else None
        except (ValueError, IndexError):
            return
        if packet is not None:
            self._route(packet, sender)

    def _route(self, packet: Packet, sender: bytes) -> None:
        own = {self.link_local, self.address}
        if packet.destination in own and packet.route and packet.route[3]:
            onwards = packets.forward(packet)
            if onwards:
                self._send(onwards, iid(onwards.destination[8:]))
        elif packet.destination in own or packet.destination[0] == 0xFF:
            if packet.route:
                self.source_routes.append(packet.route)
            if packets.is_intact(packet):
                self._deliver(packet, sender)
        elif self._parent is not None and packet.hop_limit > 1:
            upwards = Packet(
                *(packet.source, packet.destination, packet.next_header, packet.hop_limit - 1),
                packet.payload,
            )
            self._send(upwards)

    def _deliver(self, packet: Packet, sender: bytes) -> None:
        body = packet.payload
        if packet.next_header == packets.UDP:
            ports = int.from_bytes(body[:2], "big"), int.from_bytes(body[2:4], "big")
            if ports[1] == PORT:
                self.coap.received((packet.source, ports[0]), body[8:])
            return
        if packet.next_header != packets.ICMPV6:
            return
        match body[0], body[1]:
            case packets.RA, _:
                self._advertised(packet.source, body[16:], sender)
            case packets.NA, _ if packet.source == (self._router or (b"", b""))[1]:
                self._acknowledged.set()
            case packets.NS, _ if body[8:24] in {self.link_local, self.address}:
                answer = packets.neighbour_advertisement(body[8:24], self.eui64)
                self._send_icmp(body[8:24], packet.source, packets.NA, 0, answer, link=sender)
            case packets.RPL, packets.DIO:
                self._informed(body[4:], packet.source, sender)
            case packets.RPL, packets.DIS:
                self._inform(packet.source, sender)
            case packets.RPL, packets.DAO_ACK:
                self._acknowledged.set()
            case _:
                pass

    def _advertised(self, router: bytes, options: bytes, sender: bytes) -> None:
        for type, content in packets.options(options, 8):
            if type == 3 and self.profile is not Profile.RPL:
                self._take_prefix(content[14:22])
                self._router = sender, router
                self._news.set()

    def _informed(self, body: bytes, source: bytes, sender: bytes) -> None:
        rank = int.from_bytes(body[2:4], "big")
        best = self._parent.rank if self._parent else math.inf
        is_mine = self._parent is not None and self._parent.link == sender
        if self.profile is not Profile.RPL or rank == packets.INFINITE_RANK:
            return
        if rank >= best and not is_mine:
            return
        for type, content in packets.options(body[24:], 0):
            if type == 8:
                self._take_prefix(content[14:22])
                changed = self._parent is None or (
                    (self._parent.link, self._parent.dtsn, self._parent.version)
                    != (sender, body[5], body[1])
                )
                parent = body[8:24] if rank == packets.RANK_INCREASE else content[14:22]
                address = parent if len(parent) == 16 else parent + iid(sender)
                self._parent = _Parent(
                    sender, address, rank, body[1], body[5], body[8:24], body[24:]
                )
                if changed:
                    self._news.set()

    def _take_prefix(self, prefix: bytes) -> None:
        self.address = prefix + iid(self.eui64)
        self.gateway = prefix + (1).to_bytes(8, "big")

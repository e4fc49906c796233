"""A radio made of UDP datagrams, for meshes of processes: what a chip does is done here.

That is the address filter, acknowledgements both ways, and repetitions. With `listen` it also
passes frames on between the nodes, as RIOT's dispatcher does.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import socket
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adapters.lowpan.mac import frame as mac
from adapters.lowpan.mac.drops import Dropped
from adapters.lowpan.mac.frame import BROADCAST, BROADCAST_PAN, FrameType, MacFrame
from adapters.lowpan.radio import zep
from adapters.lowpan.radio.interface import (
    NO_SHORT_ADDRESS,
    Connection,
    RadioError,
    RadioFrame,
    RadioInfo,
    RadioSettings,
    Timings,
    TxResult,
    Upcalls,
)
from adapters.lowpan.radio.url import ZepUrl
from gateway.errors import DecodeError

ATTEMPTS = 4
"""One and three repetitions (macMaxFrameRetries)."""

ACK_WAIT_S = 0.05
"""A process answers in well under a millisecond unless the machine is busy."""

PEERS_LIMIT = 64
"""Nodes of one dispatcher; the one heard longest ago makes room."""

_DATAGRAM_LIMIT = 512
_ACK_CONTROL = b"\x02\x00"
_RESOLVE_S = 5.0

log = logging.getLogger(__name__)


class ZepConnector:
    """Opens the socket of a URL."""

    def __init__(self, url: ZepUrl, timings: Timings) -> None:
        self._url = url
        self._timings = timings

    @asynccontextmanager
    async def connect(self, settings: RadioSettings, upcalls: Upcalls) -> AsyncIterator[Connection]:
        url = self._url
        try:
            family, address = await _resolve(url)
            with socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as endpoint:
                (endpoint.bind if url.listen else endpoint.connect)(address)
                radio = ZepRadio(endpoint, url, settings, upcalls)
                try:
                    yield radio
                finally:
                    asyncio.get_running_loop().remove_reader(endpoint)
        except OSError as error:
            where = f"[{url.host}]:{url.port}"
            raise RadioError(f"ZEP at {where}: {error.strerror or error}") from error


class ZepRadio:
    """One life of the socket (a Connection)."""

    def __init__(
        self, endpoint: socket.socket, url: ZepUrl, settings: RadioSettings, upcalls: Upcalls
    ) -> None:
        self._endpoint = endpoint
        self._url = url
        self._settings = settings
        self._upcalls = upcalls
        self._peers: OrderedDict[tuple[object, ...], None] = OrderedDict()
        self._sequence = int.from_bytes(os.urandom(4), "big")
        self._acked: asyncio.Future[int] | None = None
        self._awaited: int | None = None
        self.error: RadioError | None = None
        self.info = RadioInfo(settings.eui64 or _made_up_eui64(url), "ZEP")
        self._device = int.from_bytes(self.info.eui64[-2:], "big")
        asyncio.get_running_loop().add_reader(endpoint, self._readable)
        if not url.listen:
            # Twice: what nobody takes is told by the next call.
            for _ in range(2):
                endpoint.send(zep.hello(settings.channel, self._device, 0, time.time()))

    async def transmit(self, psdu: bytes) -> TxResult:
        parsed = _parse(psdu)
        if parsed is None or not parsed.ack_request:
            self._send(psdu)
            return TxResult.SENT
        self._awaited = parsed.sequence
        try:
            for _ in range(ATTEMPTS):
                self._acked = asyncio.get_running_loop().create_future()
                self._send(psdu)
                try:
                    async with asyncio.timeout(ACK_WAIT_S):
                        await self._acked
                except TimeoutError:
                    continue
                return TxResult.ACKED
            return TxResult.NO_ACK
        finally:
            self._awaited = self._acked = None

    async def set_pending(self, address: bytes, pending: bool) -> None:
        log.debug("ZEP acknowledgements tell nothing of waiting frames")

    async def energy(self, channel: int, period_ms: int) -> int:
        raise RadioError("there is no energy to measure on ZEP")

    async def ping(self) -> None:
        return

    def _send(self, psdu: bytes) -> None:
        self._sequence += 1
        channel = self._settings.channel
        datagram = zep.encode(psdu, channel, self._device, self._sequence, time.time())
        try:
            if self._url.listen:
                self._pass_on(datagram, None)
            else:
                self._endpoint.send(datagram)
        except BlockingIOError:
            log.debug("the socket is full: a frame is lost, as on the air")
        except OSError as error:
            self._lost(error)

    def _pass_on(self, datagram: bytes, origin: tuple[object, ...] | None) -> None:
        for peer in self._peers:
            if peer != origin:
                self._endpoint.sendto(datagram, peer)

    def _readable(self) -> None:
        try:
            while self.error is None:
                datagram, peer = self._endpoint.recvfrom(_DATAGRAM_LIMIT)
                if self._url.listen:
                    self._meet(peer)
                    self._pass_on(datagram, peer)
                self._on_datagram(datagram)
        except BlockingIOError:
            return
        except OSError as error:
            self._lost(error)

    def _meet(self, peer: tuple[object, ...]) -> None:
        if peer not in self._peers:
            log.info("ZEP node at %s port %s", peer[0], peer[1])
        self._peers[peer] = None
        self._peers.move_to_end(peer)
        if len(self._peers) > PEERS_LIMIT:
            self._peers.popitem(last=False)

    def _on_datagram(self, datagram: bytes) -> None:
        try:
            received = zep.decode(datagram)
        except DecodeError as error:
            log.debug("dropped a datagram: %s: %s", error, datagram.hex())
            self._upcalls.line_fault("undecodable")
            return
        if received is None or received.channel != self._settings.channel:
            return
        frame = _parse(received.psdu)
        if frame is None:
            self._upcalls.line_fault("undecodable")
            return
        if frame.type is FrameType.ACK:
            if self._acked and not self._acked.done() and frame.sequence == self._awaited:
                self._acked.set_result(frame.sequence or 0)
            return
        if not self._is_ours(frame):
            return
        if frame.ack_request and frame.destination != BROADCAST and frame.sequence is not None:
            self._send(_ACK_CONTROL + bytes((frame.sequence,)))
        self._upcalls.received(
            RadioFrame(received.psdu, time.time(), lqi=received.lqi, channel=received.channel)
        )

    def _is_ours(self, frame: MacFrame) -> bool:
        own = self._settings
        pan = frame.destination_pan if frame.destination else frame.source_pan
        addresses = {self.info.eui64, BROADCAST, b""}
        if own.short_address != NO_SHORT_ADDRESS:
            addresses.add(own.short_address.to_bytes(2, "big"))
        return pan in {own.pan_id, BROADCAST_PAN, None} and frame.destination in addresses

    def _lost(self, error: OSError) -> None:
        asyncio.get_running_loop().remove_reader(self._endpoint)
        if self.error is None:
            self.error = RadioError(f"ZEP at [{self._url.host}]:{self._url.port}: {error.strerror}")
            self._upcalls.broken()


async def _resolve(url: ZepUrl) -> tuple[int, tuple[object, ...]]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_RESOLVE_S):
            found = await loop.getaddrinfo(url.host, url.port, type=socket.SOCK_DGRAM)
    except TimeoutError:
        raise RadioError(f"no answer to the question where {url.host} is") from None
    family, _, _, _, address = found[0]
    return family, address


def _parse(psdu: bytes) -> MacFrame | None:
    try:
        return mac.decode(psdu)
    except Dropped:
        return None


def _made_up_eui64(url: ZepUrl) -> bytes:
    """A locally administered EUI-64 that is the same after a restart."""
    digest = hashlib.sha256(f"{url.host}:{url.port}".encode()).digest()
    return b"\x02" + digest[1:8]

"""The southbound adapter for 6LoWPAN: a network, a CoAP endpoint in it, a session for each node.

It decides which nodes are devices and where they are; what a node says is its session's business.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import suppress
from typing import ClassVar

from adapters.lowpan.check import check
from adapters.lowpan.coap.client import Client
from adapters.lowpan.coap.directory import Directory
from adapters.lowpan.coap.endpoint import PORT, Endpoint, Peer
from adapters.lowpan.devices import definitions
from adapters.lowpan.devices.explore import Explorer
from adapters.lowpan.devices.registrations import Registration, Registrations
from adapters.lowpan.devices.session import Place, Session
from adapters.lowpan.effects import (
    Change,
    Node,
    NodeChanged,
    Profile,
    UdpReceived,
    Undeliverable,
)
from adapters.lowpan.ipv6 import address as ipv6
from adapters.lowpan.link import interface_id, link_address
from adapters.lowpan.network import Network, NetworkSettings
from adapters.lowpan.radio.interface import RadioInfo, RadioSettings
from adapters.lowpan.section import LowpanSection, link_security
from gateway.errors import AdapterError, NotFound, Unreachable
from gateway.events import Command, Outcome, Sighting
from gateway.formats.linkformat import Link
from gateway.model import DeviceId, eui64
from gateway.ports import Section, SouthPort

LOOK_S = 1.0
"""How often it is looked who is there, whether a definition or a permission has changed."""

SETTLE_S = 3.0
"""Between the first sign of a node and its registration some tenths of a second pass."""

NODES_AT_ONCE = 16
"""Nodes that are asked at the same time: one that is gone takes its turn for over a minute."""

SILENT_POLLS = 3
"""Polls without any answer before the radio itself is in doubt."""

CAPTURE_LIMIT = 1_000
"""Frames that wait for a slow capture, some seconds of a busy channel; the next ones are lost."""

log = logging.getLogger(__name__)


class Lowpan:
    """6LoWPAN nodes behind one radio."""

    Config: ClassVar[type[Section]] = LowpanSection
    check = staticmethod(check)

    def __init__(self, config: LowpanSection, port: SouthPort) -> None:
        self._config = config
        self._port = port
        self._registrations = Registrations()
        directory = Directory(
            self._registrations, self._key_of, self._links_of, self._registered, self._unregistered
        )
        self._network = Network(self._settings(), port, self)
        self._folder = definitions.folder(config.definitions, port.registry)
        self._directory = directory
        self._sessions: dict[DeviceId, tuple[Session, asyncio.Task[None]]] = {}
        self._peers: dict[bytes, Peer] = {}
        self._heard_at: dict[bytes, float] = {}
        self._turns = asyncio.Semaphore(NODES_AT_ONCE)
        self._look_now = asyncio.Event()
        self._trouble = ""
        self._is_down = False
        self._endpoint: Endpoint | None = None
        self._client: Client | None = None
        self._explorer: Explorer | None = None

    async def run(self) -> None:
        """Serves the mesh until cancelled; RadioError where there is no radio."""
        self._endpoint = endpoint = Endpoint(self._send, self._directory.site())
        self._client = Client(endpoint, self._hops, self._radio_trouble, self._config.ack_timeout)
        self._explorer = Explorer(self._client, self._port.registry, self._folder)
        self._folder.refresh()
        known = [bytes.fromhex(eui64(device.id)) for device in self._port.devices()]
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._network.run(known))
                await self._look_after(tasks)
        finally:
            self._sessions.clear()
            await endpoint.context.shutdown()

    async def execute(self, command: Command) -> Outcome:
        """Carries out a command; raises a CommandError."""
        if trouble := self._radio_trouble():
            raise Unreachable(trouble)
        if command.device not in self._sessions:
            raise NotFound(f"{command.device} was not reached since the adapter started")
        return await self._sessions[command.device][0].execute(command)

    async def answer(self, question: str) -> AsyncGenerator[object, None]:
        """`scan`: dBm by channel, once. `capture`: frames as [hex, Unix time], for ever."""
        match question:
            case "scan":
                yield await self._network.energy_scan()
            case "capture":
                frames: asyncio.Queue[tuple[str, float]] = asyncio.Queue()

                def tap(psdu: bytes, at: float) -> None:
                    if frames.qsize() < CAPTURE_LIMIT:
                        frames.put_nowait((psdu.hex(), at))

                self._network.taps.add(tap)
                try:
                    while True:
                        yield await frames.get()
                finally:
                    self._network.taps.discard(tap)
            case _:
                raise NotFound(f"{question!r} is not a question to the radio")

    # --- what the network tells -----------------------------------------------------------------

    def network_up(self, info: RadioInfo) -> None:
        config = self._config
        text = (
            f"running: {info.eui64.hex()} on channel {config.channel}, PAN 0x{config.pan_id:04x}, "
            f"prefix {ipv6.text(config.prefix + bytes(8))}/64"
        )
        self._is_down = False
        # What healed stays visible until the next start: it tends to come back.
        self._port.status(f"{text}; recovered after: {self._trouble}" if self._trouble else text)
        for session, _ in self._sessions.values():
            session.heard()
        self._look_now.set()

    def network_down(self, reason: str) -> None:
        self._port.status(f"the radio is down and is being reopened: {reason}", well=False)
        self._port.count("lowpan_radio_failures")
        if self._is_down:  # what came first is the cause; a stick that is gone is its consequence
            return
        self._is_down, self._trouble = True, reason
        for session, _ in self._sessions.values():
            session.left(f"not reached since the radio went down: {reason}")

    def udp_received(self, datagram: UdpReceived) -> None:
        if self._endpoint is not None and datagram.destination_port == PORT:
            self._endpoint.received(datagram)
        if session := self._session_of(self._link_of(datagram.source)):
            session.heard()

    def undeliverable(self, what: Undeliverable) -> None:
        if self._endpoint is not None:
            self._endpoint.undeliverable(what)

    def node_changed(self, change: NodeChanged) -> None:
        key = change.node.eui64
        session = self._session_of(key) if key else None
        match change.change:
            case Change.LEFT if session:
                session.left(f"its registration or route for {ipv6.text(change.address)} has ended")
            case Change.JOINED if session:
                session.heard()
            case _:
                pass
        self._look_now.set()

    # --- nodes and their sessions ---------------------------------------------------------------

    async def _look_after(self, tasks: asyncio.TaskGroup) -> None:
        """Starts and ends sessions, as nodes come and are permitted or forgotten."""
        while True:
            if self._network.is_up:
                self._mind_silence()
                self._look(tasks)
            if self._folder.refresh():
                for session, _ in self._sessions.values():
                    session.restart()
            self._expire()
            for counter, n in self._network.take_counters().items():
                self._port.count(f"lowpan_{counter}", n)
            self._look_now.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._look_now.wait()

    def _mind_silence(self) -> None:
        """Ends this life of the adapter if its radio seems to be deaf."""
        limit_s = self._config.silence_timeout
        silent_s = asyncio.get_running_loop().time() - self._network.heard_at
        if not limit_s or silent_s < max(limit_s, SILENT_POLLS * self._config.poll):
            return
        if any(not session.sleeps for session, _ in self._sessions.values()):
            self._port.count("lowpan_radio_silences")
            raise AdapterError(
                f"the radio {self._config.radio} has heard nothing for {silent_s:.0f} s, though "
                "there are nodes; is channel, PAN id or antenna another one?"
            )

    def _look(self, tasks: asyncio.TaskGroup) -> None:
        admitted = {device.id for device in self._port.devices()}
        for device in self._sessions.keys() - admitted:
            self._sessions.pop(device)[1].cancel()
        nodes = [(node.eui64, node) for node in self._network.nodes() if node.eui64]
        by_key = dict(nodes)
        for key, node in nodes:
            device = DeviceId(f"lowpan:{key.hex()}")
            place = self._place(key, node, by_key)
            if device in self._sessions:
                self._sessions[device][0].moved(place)
            elif (
                device in admitted or self._is_admitted(device, key, place)
            ) and self._has_settled(key, node):
                self._start(tasks, device, key, place)
        for key in self._heard_at.keys() - by_key.keys():
            del self._heard_at[key]

    def _has_settled(self, key: bytes, node: Node) -> bool:
        """Whether a node has its address in the mesh, or has had the time to get one."""
        now = asyncio.get_running_loop().time()
        if node.addresses or node.last_heard is None:
            return True
        return now >= self._heard_at.setdefault(key, now) + SETTLE_S

    def _is_admitted(self, device: DeviceId, key: bytes, place: Place) -> bool:
        registration = self._registrations.of(key)
        name = registration.endpoint if registration else ""
        return self._port.seen(Sighting(device, name, place.rssi_dbm))

    def _start(self, tasks: asyncio.TaskGroup, device: DeviceId, key: bytes, place: Place) -> None:
        assert self._client is not None  # noqa: S101  (made before the first look)
        assert self._explorer is not None  # noqa: S101
        session = Session(
            *(device, place, self._port, self._client, self._explorer),
            poll_s=self._config.poll,
            turns=self._turns,
        )
        session.registration = self._registrations.of(key)
        self._sessions[device] = session, tasks.create_task(session.run(), name=device)

    def _session_of(self, key: bytes) -> Session | None:
        entry = self._sessions.get(DeviceId(f"lowpan:{key.hex()}"))
        return entry[0] if entry else None

    def _place(self, key: bytes, node: Node, by_key: Mapping[bytes, Node]) -> Place:
        address = self._address(key, node)
        peer = self._peers.get(key) or Peer(address)
        path = self._network.path(peer.address)
        parent = path[-2] if len(path) > 1 else b""
        profile = node.profile
        if parent:
            # What our radio hears of a node beyond is the first hop's signal.
            node = by_key.get(link_address(path[0][8:]), node)
        return Place(
            peer,
            _route(profile, len(path), parent),
            ipv6.text(parent) if parent else "",
            None if node.rssi_dbm is None else round(node.rssi_dbm),
            None if node.lqi is None else round(node.lqi),
        )

    def _address(self, key: bytes, node: Node) -> bytes:
        """Where to ask a node: in the mesh if it has joined, else on the link."""
        mine = self._config.prefix
        if inside := [a for a in node.addresses if a[:8] == mine]:
            return inside[0]
        if node.addresses:
            return node.addresses[0]
        if node.last_heard is None or node.link is None:
            return mine + interface_id(key)
        return ipv6.link_local(interface_id(node.link))

    def _radio_trouble(self) -> str:
        network = self._network
        return "" if network.is_up else f"the radio is down: {network.down_reason}"

    def _hops(self, address: bytes) -> int | None:
        return len(self._network.path(address)) or None

    def _link_of(self, address: bytes) -> bytes:
        """Whose an address is: by the tables, else by its interface identifier."""
        for node in self._network.nodes():
            if node.eui64 and address in node.addresses:
                return node.eui64
        return link_address(address[8:])

    # --- registrations ----------------------------------------------------------------------------

    def _key_of(self, peer: Peer) -> bytes:
        return self._link_of(peer.address)

    async def _links_of(self, peer: Peer) -> Sequence[Link]:
        assert self._explorer is not None  # noqa: S101  (a request came through the endpoint)
        return await self._explorer.links(peer)

    def _registered(self, registration: Registration, peer: Peer) -> None:
        self._peers[registration.key] = peer
        if session := self._session_of(registration.key):
            self._port.seen(Sighting(session.device, registration.endpoint))
            session.registration = registration
            session.restart()
        self._look_now.set()

    def _unregistered(self, registration: Registration, why: str = "it has deregistered") -> None:
        self._peers.pop(registration.key, None)
        if session := self._session_of(registration.key):
            session.registration = self._registrations.of(registration.key)
            session.left(why)

    def _expire(self) -> None:
        for registration in self._registrations.expire(asyncio.get_running_loop().time()):
            self._unregistered(registration, "its registration has ended")

    # --- downwards --------------------------------------------------------------------------------

    def _send(self, to: tuple[bytes, int], data: bytes, source: bytes | None) -> None:
        self._network.send_udp(to, PORT, data, source)

    def _settings(self) -> NetworkSettings:
        config = self._config
        return NetworkSettings(
            config.radio,
            RadioSettings(
                config.channel, config.pan_id, config.eui64, tx_power_dbm=config.tx_power_dbm
            ),
            config.prefix,
            link_security(config),
            frozenset({PORT}),
        )


def _route(profile: Profile, hops: int, parent: bytes) -> str:
    """How a node is reached, for people."""
    kinds = {Profile.ND: "6LoWPAN-ND", Profile.RPL: "RPL", Profile.PLAIN: "plain neighbour"}
    kind = " and ".join(name for flag, name in kinds.items() if flag in profile) or "neighbour"
    if hops > 1:
        return f"connected: {kind}, {hops} hops, parent {ipv6.text(parent)}"
    return f"connected: {kind}, in radio reach"

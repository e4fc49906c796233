"""A throw-away Prosody, the adapter on a hub in memory, and clients that share no code with it."""

import asyncio
import functools
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path as FilePath
from typing import Any, Protocol

import pytest
from slixmpp import ClientXMPP

from adapters.sim.prosody import SERVICE, ThrowawayProsody, make_certificates
from adapters.xmpp.adapter import Xmpp
from gateway.model import Path
from gateway.objects.registry import Registry
from gateway.slots import NorthSlot
from tests.deadlines import DEADLINE_S
from tests.fakes import Clock, HubBench

SENML = "{urn:ietf:params:xml:ns:senml}senml"
PASSWORDS = {user: f"{user}-pw" for user in ("gateway", "reader", "op", "boss", "stranger")}
ROLES = {"reader@localhost": "reader", "op@localhost": "operator"}
DIRECTORY = "iot/gateway"
NODE = "iot/gateway/0024befffe804ff1"
OWN_NODE = "iot/gateway/gateway"

VALUE, UNIT, SWITCH = Path(3303, 0, 5700), Path(3303, 0, 5701), Path(3312, 0, 5850)


class Server(Protocol):
    """A server on loopback for the domain `localhost`."""

    port: int

    @property
    def ca_file(self) -> FilePath: ...


class Watched:
    """Lets a test wait for a condition that a callback may have made true."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def changed(self) -> None:
        self._changed.set()

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            raise AssertionError(f"never happened: {what or condition}") from None


class WatchedSlot(NorthSlot, Watched):
    """The adapter's slot; every status and count is a reason to look again."""

    def __init__(self, bench: HubBench) -> None:
        NorthSlot.__init__(self, "xmpp", bench.hub)
        Watched.__init__(self)
        self.texts: list[str] = []

    def status(self, text: str, *, well: bool = True) -> None:
        super().status(text, well=well)
        self.texts.append(text)
        self.changed()

    def count(self, counter: str, n: int = 1) -> None:
        super().count(counter, n)
        self.changed()


class Gateway:
    """The adapter at work on a hub in memory."""

    def __init__(self, bench: HubBench, slot: WatchedSlot, adapter: Xmpp) -> None:
        self.bench = bench
        self.slot = slot
        self.adapter = adapter

    async def settled(self) -> None:
        """Until the server has everything."""
        publisher = self.adapter._publisher
        await self.slot.until(
            lambda: len(self.slot.outbox) == 0 and publisher.waiting == 0, "everything published"
        )

    async def says(self, text: str) -> str:
        """Until a status holds `text`; gives that status."""
        await self.slot.until(lambda: any(text in t for t in self.slot.texts), text)
        return next(t for t in self.slot.texts if text in t)


class Peer(ClientXMPP, Watched):
    """Somebody else's client, on slixmpp's own pubsub plugin; keeps what events told it."""

    def __init__(self, user: str, server: Server) -> None:
        ClientXMPP.__init__(self, f"{user}@localhost/test", PASSWORDS[user])
        Watched.__init__(self)
        self.enable_direct_tls = False
        self.ca_certs = server.ca_file
        for plugin in ("xep_0004", "xep_0030", "xep_0050", "xep_0060"):
            self.register_plugin(plugin)
        self.pubsub: Any = self.plugin["xep_0060"]
        self.items: dict[tuple[str, str], list[dict[str, str]]] = {}
        self.order: list[str] = []
        self.gone: list[tuple[str, str]] = []
        self.chats: list[str] = []
        self.lost = False
        for event in ("message", "pubsub_publish", "pubsub_retract", "pubsub_delete"):
            self.add_event_handler(event, self._on_message)
        self.add_event_handler("changed_status", lambda _: self.changed())
        self.add_event_handler("changed_subscription", lambda _: self.changed())
        self.add_event_handler("disconnected", self._on_disconnected)

    def _on_disconnected(self, _: object) -> None:
        self.lost = True
        self.changed()

    def _on_message(self, message: Any) -> None:
        if message["type"] == "chat" and message["body"]:
            self.chats.append(message["body"])
        for event in message.xml.iter("{http://jabber.org/protocol/pubsub#event}items"):
            for item in event:
                key = (event.get("node"), item.get("id"))
                if item.tag.endswith("retract"):
                    self.gone.append(key)
                    self.items.pop(key, None)
                else:
                    self.items[key] = records(item)
                    self.order.append(key[1])
        for event in message.xml.iter("{http://jabber.org/protocol/pubsub#event}delete"):
            self.gone.append((event.get("node"), ""))
        self.changed()

    async def subscribe(self, node: str, service: str = SERVICE) -> None:
        await self.pubsub.subscribe(service, node)

    async def stored(self, node: str, service: str = SERVICE) -> dict[str, list[dict[str, str]]]:
        """The items that the server holds."""
        answer = await self.pubsub.get_items(service, node, timeout=DEADLINE_S)
        found = answer.xml.iter("{http://jabber.org/protocol/pubsub}item")
        return {item.get("id"): records(item) for item in found}

    def value(self, node: str, item: str, name: str) -> str | None:
        return field(self.items.get((node, item), []), name)


def records(item: Any) -> list[dict[str, str]]:
    return [dict(record.attrib) for record in item.iter(SENML)]


def field(pack: list[dict[str, str]], name: str) -> str | None:
    """The value of the record of this name in a pack, as text."""
    for record in pack:
        if record.get("n") == name:
            return next((record[k] for k in ("v", "vs", "vb", "vd", "vlo") if k in record), None)
    return None


@asynccontextmanager
async def peer_of(server: Server, user: str) -> AsyncIterator[Peer]:
    peer = Peer(user, server)
    up = asyncio.Event()
    peer.add_event_handler("session_start", lambda _: up.set())
    peer.connect("127.0.0.1", server.port)
    try:
        async with asyncio.timeout(DEADLINE_S):
            await up.wait()
            await peer.get_roster()
        peer.send_presence()
        yield peer
    finally:
        async with asyncio.timeout(DEADLINE_S):
            await peer.disconnect(1)
        peer.abort()
        for name in list(peer.scheduled_events):
            peer.cancel_schedule(name)
        if filters := peer._run_out_filters:
            filters.cancel()
            await asyncio.wait({filters})


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> FilePath:
    """An authority and a certificate for all servers of the run."""
    folder = tmp_path_factory.mktemp("certificates")
    with asyncio.Runner() as runner:
        runner.run(make_certificates(folder))
    return folder


@pytest.fixture
def server_options() -> dict[str, Any]:
    """What a test may set otherwise by `pytest.mark.parametrize`."""
    return {}


@pytest.fixture
async def server(
    certificates: FilePath, server_options: dict[str, Any]
) -> AsyncIterator[ThrowawayProsody]:
    """A server where the gateway may create nodes."""
    options: dict[str, Any] = {"admins": ["gateway"], "certificates": certificates}
    async with ThrowawayProsody(PASSWORDS, **options | server_options) as prosody:
        yield prosody


@pytest.fixture
async def reader(server: ThrowawayProsody) -> AsyncIterator[Peer]:
    """A client whose account has the role of a reader."""
    async with peer_of(server, "reader") as peer:
        yield peer


@pytest.fixture
async def operator(server: ThrowawayProsody) -> AsyncIterator[Peer]:
    """A client whose account may also write and execute."""
    async with peer_of(server, "op") as peer:
        yield peer


@pytest.fixture
async def admin(server: ThrowawayProsody) -> AsyncIterator[Peer]:
    """A client with the gateway's own account, as an administrator would use."""
    async with peer_of(server, "gateway") as peer:
        yield peer


@pytest.fixture
def bench(clock: Clock) -> HubBench:
    """A hub with all definitions and one device, that has a temperature, a switch and a maker."""
    bench = HubBench(clock, Registry.builtin())
    bench.rules()
    bench.join()
    bench.say({VALUE: 21.5, UNIT: "Cel", SWITCH: False, Path(3, 0, 0): "Acme", Path(4, 0, 2): -60})
    return bench


Run = Callable[..., Any]


@pytest.fixture
def launch(bench: HubBench, tmp_path: FilePath) -> Run:
    """Runs the adapter against any server: `async with launch(port=1) as gateway`."""

    @asynccontextmanager
    async def running(
        *, password: str = "", bench: HubBench = bench, **options: Any
    ) -> AsyncIterator[Gateway]:
        file = tmp_path / f"password{options.get('gateway', '')}"
        file.write_text(f"{password or PASSWORDS['gateway']}\n")
        defaults: dict[str, Any] = {
            "jid": "gateway@localhost",
            "password_file": file,
            "host": "127.0.0.1",
            "roles": ROLES,
        }
        slot = WatchedSlot(bench)
        adapter = Xmpp(Xmpp.Config(**defaults | options), slot)
        task = asyncio.create_task(adapter.run())
        try:
            yield Gateway(bench, slot, adapter)
        finally:
            task.cancel()
            async with asyncio.timeout(DEADLINE_S):
                await asyncio.wait({task})
            if not task.cancelled():
                task.result()

    return running


@pytest.fixture
def run(launch: Run, server: ThrowawayProsody) -> Run:
    """Runs the adapter against the server: `async with run(root="x") as gateway`."""
    return functools.partial(launch, port=server.port, ca_file=server.ca_file)

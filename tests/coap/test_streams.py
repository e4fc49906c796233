"""CoAP over TCP and WebSockets: other people's clients get what they get over UDP."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Any

import pytest
from aiocoap import GET, PUT, Context, Message
from pydantic import ValidationError
from websockets.asyncio.client import connect
from websockets.asyncio.server import serve as serve_websockets
from websockets.exceptions import ConnectionClosed, InvalidMessage, InvalidStatus

from adapters.coap import frames, streams, websocket
from adapters.coap.adapter import CoapSection
from adapters.coap.datagram import encode_tail
from adapters.coap.frames import CSM, Reassembly
from adapters.coap.messages import Code, Option
from gateway.model import Path
from gateway.policy import DeviceRule
from tests.coap.conftest import Serve
from tests.coap.peers import Served, accept, coap_client
from tests.deadlines import DEADLINE_S
from tests.fakes import METER, STATION, HubBench

VALUE = "/weather/3303/0/5700"
HERE = "127.0.0.1:0"


@pytest.fixture
async def tcp(serve: Serve) -> Served:
    return await serve(listen_tcp=(HERE,))


@pytest.fixture
async def web(serve: Serve) -> Served:
    return await serve(listen_ws=(HERE,))


class Client:
    """A client of octets over TCP."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._incomplete = Reassembly()
        self._arrived: list[frames.Message] = []
        self.writer = writer

    def send(
        self, code: int, path: str = "", *options: tuple[int, bytes], token: bytes = b""
    ) -> None:
        segments = [(Option.URI_PATH, part.encode()) for part in path.split("/") if part]
        tail = encode_tail(sorted([*segments, *options], key=lambda o: o[0]), b"")
        self.writer.write(frames.encode(frames.Message(code, token, tail)))

    async def receive(self) -> frames.Message:
        """The next message; EOFError where the server has closed."""
        async with asyncio.timeout(DEADLINE_S):
            while not self._arrived:
                data = await self._reader.read(4096)
                if not data:
                    raise EOFError
                self._arrived += self._incomplete.add(data)
        return self._arrived.pop(0)

    async def is_cut_off(self, code: int) -> bool:
        """Whether the server says this last, and closes."""
        last = await self.receive()
        with pytest.raises(EOFError):
            await self.receive()
        return last.code == code


@asynccontextmanager
async def client(served: Served, *, greeting: bool = True) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", served.ports[1])
    one = Client(reader, writer)
    try:
        assert (await one.receive()).code == CSM
        if greeting:
            one.send(CSM)
        yield one
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()


@asynccontextmanager
async def library() -> AsyncIterator[Context]:
    context = await Context.create_client_context(transports=["tcpclient", "ws"])
    yield context
    await context.shutdown()


async def test_libcoap_reads_over_tcp_what_it_reads_over_udp(tcp: Served) -> None:
    for path in (VALUE, "/weather/3303/0", "/.well-known/core", "/weather/9999"):
        over_udp = await coap_client(tcp.port, path, "-A", "0" if path == VALUE else "40")
        over_tcp = await coap_client(tcp.ports[1], path, "-A", "0" if path == VALUE else "40",
                                     scheme="coap+tcp")  # fmt: skip
        assert (over_tcp.out, over_tcp.code) == (over_udp.out, over_udp.code)
        assert over_tcp.out or over_tcp.code == "4.04"


async def test_libcoap_gets_over_tcp_what_was_measured(tcp: Served, home: HubBench) -> None:
    home.clock.advance(60)
    home.say({Path(3303, 0, 5700): 22.5})
    past = f"{VALUE}?from=1700000000&to=1700009999"
    told = await coap_client(tcp.ports[1], past, "-A", "110", scheme="coap+tcp")
    assert '"v":21.5' in told.out
    assert '"v":22.5,"t":60' in told.out


async def test_libcoap_writes_over_tcp(tcp: Served, home: HubBench) -> None:
    options = ("-m", "put", "-t", "0", "-e", "1")
    path = "/light/3311/0/5850"
    refused = await coap_client(tcp.ports[1], path, *options, scheme="coap+tcp")
    assert refused.code == "4.03"
    home.rules(meter=DeviceRule(listed=True, writable=True))
    await coap_client(tcp.ports[1], path, *options, scheme="coap+tcp")
    (command,) = home.adapter.commands
    assert command.device == METER


@pytest.mark.parametrize("scheme", ["coap+tcp", "coap+ws"])
async def test_a_library_reads_writes_and_observes(
    serve: Serve, home: HubBench, scheme: str
) -> None:
    home.rules(station=DeviceRule(listed=True), meter=DeviceRule(listed=True, writable=True))
    served = await serve(**{"listen_tcp" if scheme == "coap+tcp" else "listen_ws": (HERE,)})
    base = f"{scheme}://127.0.0.1:{served.ports[1]}"
    async with library() as context, asyncio.timeout(DEADLINE_S):
        observing = context.request(Message(code=GET, uri=base + VALUE, observe=0))
        assert (await observing.response).payload == b"21.5"
        told: Any = aiter(observing.observation)
        home.say({Path(3303, 0, 5700): 22.5}, STATION)
        assert (await anext(told)).payload == b"22.5"
        request = Message(code=PUT, uri=base + "/light/3311/0/5850", payload=b"1", content_format=0)
        assert str((await context.request(request).response).code) == "2.04 Changed"
        links = Message(code=GET, uri=base + "/.well-known/core")
        assert b"</weather/3303/0/5700>" in (await context.request(links).response).payload
        home.hub.forget(STATION)
        assert int((await anext(told)).code) == Code.NOT_FOUND


async def test_an_observation_ends_with_its_connection(tcp: Served, home: HubBench) -> None:
    async with client(tcp) as one:
        one.send(Code.GET, VALUE, (Option.OBSERVE, b""), token=b"a")
        assert (await one.receive()).code == Code.CONTENT
        for value in (1.0, 2.0):  # nothing has to be acknowledged
            home.say({Path(3303, 0, 5700): value}, STATION)
            assert (await one.receive()).token == b"a"
    async with client(tcp) as another:
        another.send(Code.GET, VALUE, accept(0), token=b"b")
        assert (await another.receive()).token == b"b"


async def test_the_past_is_told_over_a_stream_too(tcp: Served, home: HubBench) -> None:
    home.say({Path(3303, 0, 5700): 22.5}, STATION)
    query = (Option.URI_QUERY, b"from=1500000000")
    async with client(tcp) as one:
        one.send(Code.GET, VALUE, query, accept(110), token=b"h")
        answer = await one.receive()
    assert (answer.code, answer.token) == (Code.CONTENT, b"h")
    assert b"22.5" in answer.tail


async def test_who_takes_nothing_any_more_is_let_go_of_in_the_end(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "LOOK_S", 0.01)
    monkeypatch.setattr(streams, "IDLE_S", 0.2)
    monkeypatch.setattr(streams, "MAX_CLIENTS", 1)
    monkeypatch.setattr("adapters.coap.tcp.MAX_BACKLOG", 1 << 30)
    monkeypatch.setitem(streams.KEEPALIVE, "TCP_USER_TIMEOUT", 100)
    served = await serve(listen_tcp=(HERE,))
    async with client(served) as greedy:
        greedy.writer.transport.pause_reading()  # type: ignore[attr-defined]
        for _ in range(20_000):  # more than what the kernel holds for it
            greedy.send(Code.GET, "/.well-known/core")
        await greedy.writer.drain()
        async with asyncio.timeout(DEADLINE_S):
            while True:
                with suppress(EOFError, OSError):
                    async with client(served):
                        break
                await asyncio.sleep(0.1)


async def test_signals_are_answered(tcp: Served) -> None:
    async with client(tcp) as one:
        one.send(frames.PING, token=b"p")
        pong = await one.receive()
        assert (pong.code, pong.token) == (frames.PONG, b"p")
        one.send(frames.RELEASE)
        with pytest.raises(EOFError):
            await one.receive()


async def test_who_breaks_the_protocol_is_told_and_cut_off(tcp: Served) -> None:
    async with client(tcp, greeting=False) as one:
        one.send(Code.GET, VALUE)
        assert await one.is_cut_off(frames.ABORT)
    async with client(tcp) as one:
        one.send(CSM, "", (7, b""))
        last = await one.receive()
        assert (last.code, last.tail[:2]) == (frames.ABORT, b"\x21\x07")
    for broken in (b"\xf0\xff\xff\xff\xff\x01", b"\x0f\x01", b"\x10\x01\xff"):
        async with client(tcp) as one:
            one.writer.write(broken)
            assert await one.is_cut_off(frames.ABORT)


async def test_who_does_not_read_is_cut_off_and_others_are_not(tcp: Served, home: HubBench) -> None:
    async with client(tcp) as greedy, client(tcp) as other:
        greedy.writer.transport.pause_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(3 * DEADLINE_S):
            while not home.hub.counters["coap_clients_too_slow"]:
                greedy.send(Code.GET, "/.well-known/core")
                await asyncio.sleep(0)
        other.send(Code.GET, VALUE, token=b"o")
        assert (await other.receive()).token == b"o"


async def test_random_messages_disturb_nobody(tcp: Served) -> None:
    randomness = random.Random(1)
    seed = encode_tail([(Option.OBSERVE, b""), (Option.URI_PATH, b"weather")], b"x")
    async with client(tcp) as other:
        for _ in range(100):
            async with client(tcp) as one:
                for _ in range(50):
                    tail = bytearray(seed)
                    for _ in range(randomness.randrange(3)):
                        tail[randomness.randrange(len(tail))] = randomness.randrange(256)
                    code = randomness.choice([0, 1, 2, 3, 4, 5, 7, 9, 69, CSM, frames.PING, 0xFF])
                    message = frames.Message(code, randomness.randbytes(3), bytes(tail))
                    one.writer.write(frames.encode(message))
        other.send(Code.GET, VALUE, token=b"o")
        assert (await other.receive()).token == b"o"


async def test_there_is_room_for_so_many_clients(
    tcp: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "MAX_CLIENTS", 1)
    async with client(tcp) as one:
        reader, writer = await asyncio.open_connection("127.0.0.1", tcp.ports[1])
        assert await reader.read() == b""
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
        one.send(Code.GET, VALUE)
        assert (await one.receive()).code == Code.CONTENT


async def test_who_has_not_asked_for_a_websocket_yet_takes_room_too_and_leaves_no_traceback(
    web: Served,
    home: HubBench,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(streams, "MAX_CLIENTS", 1)
    _, silent = await asyncio.open_connection("127.0.0.1", web.ports[1])
    reader, another = await asyncio.open_connection("127.0.0.1", web.ports[1])
    with suppress(ConnectionResetError):
        assert await reader.read() == b""
    assert home.hub.counters["coap_clients_refused"] == 1
    for writer in (silent, another):
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
    base = f"ws://127.0.0.1:{web.ports[1]}/.well-known/coap"
    async with asyncio.timeout(DEADLINE_S):
        while True:  # until the server has noticed that there is room again
            with suppress(ConnectionClosed, OSError, InvalidMessage):
                async with connect(base, subprotocols=["coap"]) as one:  # type: ignore[list-item]
                    assert frames.decode_web(bytes(await one.recv())).code == CSM  # type: ignore[arg-type]
                    break
    assert not [record for record in caplog.records if record.exc_info]


async def test_a_stop_does_not_wait_for_who_has_not_asked_for_a_websocket_yet(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(websocket, "serve", partial(serve_websockets, open_timeout=None))
    served = await serve(listen_ws=(HERE,))
    reader, writer = await asyncio.open_connection("127.0.0.1", served.ports[1])
    await served.stop()
    with suppress(ConnectionResetError):
        assert await reader.read() == b""
    writer.close()


async def test_who_says_nothing_is_not_kept(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "LOOK_S", 0.01)
    monkeypatch.setattr(streams, "GREETING_S", 0.5)
    monkeypatch.setattr(streams, "IDLE_S", 1.0)
    served = await serve(listen_tcp=(HERE,))
    async with client(served, greeting=False) as silent:
        assert await silent.is_cut_off(frames.ABORT)
    async with client(served) as observing, client(served) as idle:
        observing.send(Code.GET, VALUE, (Option.OBSERVE, b""))
        assert (await observing.receive()).code == Code.CONTENT
        assert await idle.is_cut_off(frames.RELEASE)
        observing.send(frames.PING)
        assert (await observing.receive()).code == frames.PONG


async def test_a_browser_that_asks_elsewhere_or_sends_text_is_told_so(web: Served) -> None:
    base = f"ws://127.0.0.1:{web.ports[1]}"
    with pytest.raises(InvalidStatus, match="404"):
        await connect(f"{base}/", subprotocols=["coap"])  # type: ignore[list-item]
    path = f"{base}/.well-known/coap"
    async with connect(path, subprotocols=["coap"]) as one:  # type: ignore[list-item]
        assert frames.decode_web(bytes(await one.recv())).code == CSM  # type: ignore[arg-type]
        await one.send("GET")
        assert frames.decode_web(bytes(await one.recv())).code == frames.ABORT  # type: ignore[arg-type]
        with pytest.raises(ConnectionClosed):
            await one.recv()


def test_without_its_library_websockets_are_refused_with_the_remedy(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("adapters.coap.adapter.find_spec", lambda _: None)
    with pytest.raises(ValidationError, match=r"border-gateway\[ws\]"):
        CoapSection(listen_ws=(HERE,))

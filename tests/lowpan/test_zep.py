"""ZEP: the datagrams of RIOT's native nodes, and a radio made of them."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.lowpan.crc import fcs
from adapters.lowpan.radio import zep
from adapters.lowpan.radio.interface import RadioError, RadioSettings, TxResult
from adapters.sim.port import free_port
from gateway.errors import DecodeError
from tests.deadlines import DEADLINE_S
from tests.lowpan.radio_bench import (
    BROADCAST_IN,
    BROADCAST_OUT,
    UNICAST_IN,
    UNICAST_OUT,
    Listener,
    running,
    soon,
)
from tests.lowpan.vectors import VECTORS, psdus, unhex

HEADER = unhex(VECTORS["zep_header"])


def test_a_recorded_header_is_understood_and_made_the_same() -> None:
    psdu = bytes(0x2D - 2)
    frame = zep.decode(HEADER + psdu + fcs(psdu))
    assert frame == zep.ZepFrame(psdu, 26, 0x98E0, 0xFF, 0)
    seconds = int.from_bytes(HEADER[9:13], "big") - 2_208_988_800
    at = seconds + int.from_bytes(HEADER[13:17], "big") / 2**32
    made = zep.encode(psdu, 26, 0x98E0, 0, at)
    assert made[:14] == HEADER[:14]
    assert made[17:] == HEADER[17:] + psdu + fcs(psdu)


@given(st.sampled_from(psdus()), st.integers(11, 26), st.integers(0, 2**32 - 1), st.floats(0, 4e9))
def test_frames_survive_the_way_there_and_back(
    psdu: bytes, channel: int, sequence: int, at: float
) -> None:
    datagram = zep.encode(psdu, channel, 1, sequence, at)
    assert zep.decode(datagram) == zep.ZepFrame(psdu, channel, 1, 0xFF, sequence)
    assert zep.decode(datagram + b"more") == zep.decode(datagram)


@given(st.binary(max_size=80) | st.binary(max_size=80).map(b"EX\x02\x01".__add__))
def test_random_datagrams_raise_nothing_but_decode_errors(datagram: bytes) -> None:
    try:
        zep.decode(datagram)
    except DecodeError:
        return


def test_what_is_damaged_is_refused() -> None:
    datagram = zep.encode(UNICAST_IN, 26, 1, 1, 0.0)
    damaged = datagram[:-1] + bytes((datagram[-1] ^ 1,))
    for wrong in (damaged, *(datagram[:size] for size in range(len(datagram)))):
        with pytest.raises(DecodeError):
            zep.decode(wrong)
    with pytest.raises(DecodeError, match="version 1"):
        zep.decode(b"EX\x01" + datagram[3:])


@pytest.mark.parametrize("datagram", [zep.hello(26, 1, 0, 0.0), b"EX\x02\x02\0\0\0\1"])
def test_greetings_and_acknowledgements_carry_no_frame(datagram: bytes) -> None:
    assert zep.decode(datagram) is None


# The radio.


class Node:
    """A node or dispatcher: a socket that sends frames and acknowledges some."""

    def __init__(self) -> None:
        self.socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self.socket.setblocking(False)
        self.socket.bind(("::1", 0))
        self.port: int = self.socket.getsockname()[1]
        self.peer: tuple[object, ...] = ("::1", 0)
        self.ignores = 0
        self.frames: asyncio.Queue[bytes] = asyncio.Queue()
        self.greetings = 0

    def serve(self) -> None:
        datagram, self.peer = self.socket.recvfrom(512)
        frame = zep.decode(datagram)
        if frame is None:
            self.greetings += datagram[17 + 4 : 17 + 9] == b"HELLO"
            return
        self.frames.put_nowait(frame.psdu)
        if frame.psdu[0] & 0x20:
            if self.ignores:
                self.ignores -= 1
            else:
                self.send(b"\x02\x00" + frame.psdu[2:3])

    def send(self, psdu: bytes, channel: int = 26) -> None:
        self.socket.sendto(zep.encode(psdu, channel, 2, 1, 0.0), self.peer)


@pytest.fixture
async def node() -> AsyncIterator[Node]:
    node = Node()
    loop = asyncio.get_running_loop()
    loop.add_reader(node.socket, node.serve)
    yield node
    loop.remove_reader(node.socket)
    node.socket.close()


async def test_a_radio_joins_a_dispatcher_and_acknowledges_what_is_for_it(
    node: Node, listener: Listener
) -> None:
    async with running(f"zep://[::1]:{node.port}", listener) as radio:
        assert await radio.send(BROADCAST_OUT) is TxResult.SENT
        assert await soon(node.frames) == BROADCAST_OUT
        assert node.greetings
        assert await radio.send(UNICAST_OUT) is TxResult.ACKED
        assert await soon(node.frames) == UNICAST_OUT
        node.send(UNICAST_IN)
        assert await soon(node.frames) == b"\x02\x00" + UNICAST_IN[2:3]
        frame = await soon(listener.frames)
        assert (frame.psdu, frame.lqi, frame.channel) == (UNICAST_IN, 0xFF, 26)


async def test_what_is_not_for_us_or_on_our_channel_is_not_heard(
    node: Node, listener: Listener
) -> None:
    async with running(f"zep://[::1]:{node.port}", listener) as radio:
        await radio.send(BROADCAST_OUT)
        await soon(node.frames)
        node.send(BROADCAST_IN, channel=25)
        node.send(BROADCAST_IN[:3] + b"\x99\x99" + BROADCAST_IN[5:])
        node.send(UNICAST_IN[:5] + b"\x99" + UNICAST_IN[6:])
        node.socket.sendto(b"noise", node.peer)
        node.send(BROADCAST_IN)
        assert (await soon(listener.frames)).psdu == BROADCAST_IN
        assert listener.frames.empty()
        assert listener.faults == ["undecodable"]


async def test_frames_are_repeated_until_acknowledged(node: Node, listener: Listener) -> None:
    async with running(f"zep://[::1]:{node.port}", listener) as radio:
        node.ignores = 2
        assert await radio.send(UNICAST_OUT) is TxResult.ACKED
        assert [await soon(node.frames) for _ in range(3)] == [UNICAST_OUT] * 3
        node.ignores = 100
        assert await radio.send(UNICAST_OUT) is TxResult.NO_ACK
        assert [await soon(node.frames) for _ in range(4)] == [UNICAST_OUT] * 4


async def test_without_a_dispatcher_the_error_names_the_place(listener: Listener) -> None:
    port = free_port()
    with pytest.raises(RadioError, match=rf"ZEP at \[::1\]:{port}: Connection refused"):
        async with running(f"zep://[::1]:{port}", listener):
            pass


async def test_a_dispatcher_that_comes_back_is_found_again(listener: Listener) -> None:
    node = Node()
    async with running(f"zep://[::1]:{node.port}", listener, RadioSettings(26, 0x23)) as radio:
        before = radio.info
        node.socket.close()
        await radio.send(BROADCAST_OUT)
        await radio.send(BROADCAST_OUT)
        assert "Connection refused" in await soon(listener.downs)
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as again:
            again.bind(("::1", node.port))
            await soon(listener.ups)
            assert await radio.send(BROADCAST_OUT) is TxResult.SENT
            assert radio.info == before


async def test_a_listening_radio_serves_nodes_and_passes_their_frames_on(
    node: Node, listener: Listener
) -> None:
    port = free_port()
    second = Node()
    loop = asyncio.get_running_loop()
    loop.add_reader(second.socket, second.serve)
    try:
        async with running(f"zep://[::1]:{port}?listen=1", listener) as radio:
            node.peer = second.peer = ("::1", port)
            second.socket.sendto(zep.hello(26, 3, 0, 0.0), second.peer)
            node.send(BROADCAST_IN)
            assert (await soon(listener.frames)).psdu == BROADCAST_IN
            assert await soon(second.frames) == BROADCAST_IN
            assert await radio.send(UNICAST_OUT) is TxResult.ACKED
            async with asyncio.timeout(DEADLINE_S):
                assert await node.frames.get() == UNICAST_OUT
    finally:
        loop.remove_reader(second.socket)
        second.socket.close()


async def test_a_second_listener_at_the_same_place_is_refused(listener: Listener) -> None:
    port = free_port()
    async with running(f"zep://[::1]:{port}?listen=1", listener):
        with pytest.raises(RadioError, match="Address already in use"):
            async with running(f"zep://[::1]:{port}?listen=1", Listener()):
                pass


async def test_without_a_configured_address_each_place_has_its_own(listener: Listener) -> None:
    addresses = set()
    for port in (free_port(), free_port()):
        for _ in range(2):
            url = f"zep://[::1]:{port}?listen=1"
            async with running(url, listener, RadioSettings(26, 0x23)) as radio:
                assert radio.info
                addresses.add((port, radio.info.eui64))
    assert len({eui64 for _, eui64 in addresses}) == len(addresses) <= 2

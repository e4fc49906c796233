"""Clients that ask too often, for others, or too slowly: they are bounded, others are served."""

import asyncio
import os

import pytest

from adapters.coap.datagram import Datagram, Type, encode
from adapters.coap.messages import Code, Option
from gateway.model import Path
from gateway.policy import DeviceRule
from tests.coap.conftest import Serve
from tests.coap.network import GATEWAY, Network
from tests.coap.peers import Served, content_format, observe_number, option, resident_kb
from tests.fakes import STATION, HubBench

VALUE, LINKS = "/weather/3303/0/5700", "/.well-known/core"

REGISTRATIONS = int(os.environ.get("COAP_REGISTRATIONS", "1500"))
"""How many observations one client asks for; 100,000 take half a minute."""


async def answers_others(served: Served) -> None:
    peer = served.peer()
    assert (await peer.ask(VALUE)).payload == b"21.5"


async def test_one_client_that_registers_without_end_has_its_share_and_is_answered(
    home: HubBench, serve: Serve
) -> None:
    served = await serve()
    greedy, other = served.peer(), served.peer()
    before, accepted = resident_kb(), 0
    for number in range(REGISTRATIONS):
        answer = await greedy.observe(VALUE, number.to_bytes(4, "big"))
        assert (answer.code, answer.payload) == (Code.CONTENT, b"21.5")
        accepted += observe_number(answer) is not None
        if number % 500 == 0:
            await answers_others(served)
    assert accepted == 1_000
    assert home.hub.counters["coap_observers_refused"] == REGISTRATIONS - 1_000
    assert resident_kb() - before < 16 * 1024
    assert observe_number(await other.observe(VALUE)) is not None
    home.say({Path(3303, 0, 5700): 1.5}, STATION)
    assert (await other.receive()).payload == b"1.5"


async def test_forged_observers_give_way_to_real_ones(
    home: HubBench, network: Network, serve: Serve
) -> None:
    with network.gateway.inside():
        served = await serve(listen=(f"{GATEWAY}:0",), max_observers=10)
    with network.client.inside():
        forged = [served.peer(GATEWAY) for _ in range(12)]
        real = served.peer(GATEWAY)
    for peer in forged:
        await peer.observe(VALUE)
    assert observe_number(await real.observe(VALUE)) is not None
    home.say({Path(3303, 0, 5700): 1.5}, STATION)
    told = await real.receive()
    real.acknowledge(told)
    for peer in forged:
        await peer.observe(VALUE, b"again")
    home.say({Path(3303, 0, 5700): 2.5}, STATION)
    assert (await real.receive()).payload == b"2.5"


async def test_resets_of_somebody_else_end_no_observation(home: HubBench, served: Served) -> None:
    peer, enemy = served.peer(), served.peer()
    await peer.observe(VALUE, kind=Type.NON)
    home.say({Path(3303, 0, 5700): 1.5}, STATION)
    told = await peer.receive()
    for mid in (*range(0, 0x10000, 16), told.mid):
        enemy.send(encode(Datagram(Type.RST, 0, mid, b"")))
        if mid % 100 == 0:
            await asyncio.sleep(0)
    for mid in range(0, told.mid, 7):  # and of a forged address, which guesses the message ID
        peer.send(encode(Datagram(Type.RST, 0, mid, b"")))
        if mid % 100 == 0:
            await asyncio.sleep(0)
    home.say({Path(3303, 0, 5700): 2.5}, STATION)
    assert (await peer.receive()).payload == b"2.5"


@pytest.mark.parametrize("code", [Code.POST, Code.PUT])
async def test_a_replayed_command_is_carried_out_once(
    home: HubBench, served: Served, code: Code
) -> None:
    home.rules(meter=DeviceRule(listed=True, writable=True))
    peer = served.peer()
    path = "/light/3340/0/5523" if code == Code.POST else "/light/3311/0/5850"
    payload = b"" if code == Code.POST else b"1"
    octets = peer.request(path, content_format(0), code=code, payload=payload)
    for number in range(300):
        peer.send(octets)
        answer = await peer.receive()
        assert (answer.code, answer.mid) == (Code.CHANGED, peer.mid)
        if number % 100 == 0:
            await answers_others(served)
    assert len(home.adapter.commands) == 1


async def test_slow_clients_each_get_one_list_while_devices_come_and_others_are_served(
    home: HubBench, served: Served
) -> None:
    slow = [served.peer() for _ in range(40)]
    etags, bodies = {}, {}
    for number, peer in enumerate(slow):
        first = await peer.ask(LINKS, (Option.BLOCK2, b"\x04"))
        etags[peer], bodies[peer] = option(first, Option.ETAG), first.payload
        home.say({Path(3303, 10 + number, 5700): 1.0}, STATION)
    going, number = set(slow), 0
    while going:
        number += 1
        await answers_others(served)
        home.say({Path(3303, 60, 5700): float(number)}, STATION)
        wanted = (number << 4 | 4).to_bytes((number >> 4 > 0) + 1, "big")
        for peer in list(going):
            answer = await peer.ask(LINKS, (Option.BLOCK2, wanted))
            assert option(answer, Option.ETAG) == etags[peer]
            bodies[peer] += answer.payload
            if not (option(answer, Option.BLOCK2) or b"\0")[-1] & 8:
                going.remove(peer)
    for number, peer in enumerate(slow):
        listed = [f"</weather/3303/{n}>".encode() in bodies[peer] for n in range(10, 50)]
        assert listed == [n < 10 + number for n in range(10, 50)]

"""Other people's clients: libcoap's and aiocoap's, on IPv4, IPv6 and wildcard addresses."""

import asyncio
import logging
from collections.abc import AsyncIterator

import aiocoap
import pytest

from adapters.coap.observe import Observers
from gateway.events import Execute, Write
from gateway.model import Path
from gateway.policy import DeviceRule
from tests.coap.conftest import Serve
from tests.coap.peers import Served, coap_client, observe_number
from tests.deadlines import DEADLINE_S
from tests.fakes import METER, STATION, HubBench

VALUE = "/weather/3303/0/5700"


# --- libcoap ---


async def test_libcoap_reads_a_value_and_a_pack(served: Served) -> None:
    assert (await coap_client(served.port, VALUE)).out == "21.5\n"
    pack = await coap_client(served.port, "/weather/3303/0", "-A", "110")
    assert pack.out.startswith('[{"bn":"/weather/3303/0/"')


async def test_libcoap_sees_why_a_request_fails(served: Served) -> None:
    assert (await coap_client(served.port, "/nobody/3303")).code == "4.04"
    assert (await coap_client(served.port, "/weather/3303/0/5605")).code == "4.05"
    refused = await coap_client(
        served.port, "/light/3311/0/5850", "-m", "put", "-t", "0", "-e", "1"
    )
    assert refused.code == "4.03"
    assert "writable" in refused.err


async def test_libcoap_writes_and_executes(home: HubBench, served: Served) -> None:
    home.rules(meter=DeviceRule(listed=True, writable=True))
    pack = '[{"n":"/light/3311/0/5850","vb":true},{"n":"/light/3311/0/5851","v":30}]'
    put = ["-m", "put", "-t", "110", "-b", "32", "-e", pack]
    written = await coap_client(served.port, "/light/3311/0", *put)
    executed = await coap_client(served.port, "/light/3340/0/5523", "-m", "post", "-e", "1='x'")
    assert (written.err, executed.err) == ("", "")
    write, execute = home.adapter.commands
    assert isinstance(write, Write)
    assert write.values == {Path(3311, 0, 5850): True, Path(3311, 0, 5851): 30}
    assert write.origin.startswith("coap 127.0.0.1:")
    assert isinstance(execute, Execute)
    assert (execute.path, execute.arguments) == (Path(3340, 0, 5523), "1='x'")


async def test_libcoap_writes_a_part_of_an_instance(home: HubBench, served: Served) -> None:
    home.rules(meter=DeviceRule(listed=True, writable=True))
    post = ["-m", "post", "-t", "110", "-e", '[{"n":"/light/3311/0/5851","v":30}]']
    assert (await coap_client(served.port, "/light/3311/0", *post)).err == ""
    (write,) = home.adapter.commands
    assert isinstance(write, Write)
    assert write.values == {Path(3311, 0, 5851): 30}


async def test_libcoap_attaches_attributes_and_discovers_them(served: Served) -> None:
    attached = await coap_client(served.port, f"{VALUE}?pmin=10&gt=25", "-m", "put")
    assert attached.err == ""
    found = await coap_client(served.port, VALUE, "-A", "40")
    assert found.out == "</3303/0/5700>;pmin=10;gt=25\n"


async def test_libcoap_ends_its_observation_when_its_time_is_over(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Observers, "unreachable", lambda *_: None)  # that would end it, too
    served = await serve(max_observers=1)
    assert (await coap_client(served.port, VALUE, "-s", "1")).out.startswith("21.5")
    assert observe_number(await served.peer().observe(VALUE)) is not None


@pytest.mark.parametrize("block", [16, 64, 1024])
async def test_libcoap_fetches_the_links_block_by_block(served: Served, block: int) -> None:
    links = await coap_client(served.port, "/.well-known/core", "-b", str(block))
    assert links.out.startswith('</>;rt="oma.lwm2m"')
    assert links.out.rstrip().endswith('if="core.a"')
    found = await coap_client(served.port, "/.well-known/core?rt=oma.lwm2m&title=a*")
    assert found.out.count("<") == 2


async def test_libcoap_observes(home: HubBench, served: Served) -> None:
    process = await asyncio.create_subprocess_exec(
        "coap-client-notls", "-s", "20", "-w", f"coap://127.0.0.1:{served.port}{VALUE}",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    try:
        for value in ("21.5", "22.5", "-3"):
            async with asyncio.timeout(DEADLINE_S):
                assert await process.stdout.readline() == f"{value}\n".encode()
            home.say({Path(3303, 0, 5700): {"21.5": 22.5, "22.5": -3.0}.get(value, 0.0)})
    finally:
        process.kill()
        await process.wait()


async def test_a_lost_datagram_costs_time_only(served: Served) -> None:
    assert (await coap_client(served.port, VALUE, "-l", "1")).out == "21.5\n"


# --- addresses ---


async def test_ipv4_and_ipv6_are_served_at_once(serve: Serve) -> None:
    served = await serve(listen=("127.0.0.1:0", "[::1]:0"))
    assert served.status.endswith("for this machine only; [coap] listen opens it to the network")
    assert (await coap_client(served.ports[0], VALUE)).out == "21.5\n"
    assert (await coap_client(served.ports[1], VALUE, host="[::1]")).out == "21.5\n"


@pytest.mark.parametrize(("listen", "host"), [("0.0.0.0:0", "127.0.0.2"), ("[::]:0", "[::1]")])
async def test_a_wildcard_address_answers_from_where_it_was_asked_and_takes_no_commands(
    home: HubBench, serve: Serve, listen: str, host: str
) -> None:
    home.rules(meter=DeviceRule(listed=True, writable=True))
    served = await serve(listen=(listen,))
    assert "whoever reaches these can read" in served.status
    assert (await coap_client(served.port, VALUE, host=host)).out == "21.5\n"
    put = ["-m", "put", "-t", "0", "-e", "1"]
    refused = await coap_client(served.port, "/light/3311/0/5850", *put, host=host)
    assert refused.code == "4.03"
    assert "secured transport" in refused.err
    assert home.adapter.commands == []


# --- aiocoap ---


@pytest.fixture
async def client() -> AsyncIterator[aiocoap.Context]:
    logging.getLogger("coap").setLevel(logging.WARNING)
    context = await aiocoap.Context.create_client_context(transports=["udp6"])
    yield context
    await context.shutdown()


async def ask(
    client: aiocoap.Context, port: int, path: str, code: aiocoap.Code = aiocoap.GET, **more: object
) -> aiocoap.Message:
    message = aiocoap.Message(code=code, uri=f"coap://127.0.0.1:{port}{path}", **more)
    async with asyncio.timeout(DEADLINE_S):
        return await client.request(message).response


async def test_aiocoap_reads_writes_and_discovers(
    home: HubBench, served: Served, client: aiocoap.Context
) -> None:
    home.rules(meter=DeviceRule(listed=True, writable=True))
    read = await ask(client, served.port, VALUE)
    assert (str(read.code), read.payload, int(read.opt.content_format)) == (
        "2.05 Content", b"21.5", 0,
    )  # fmt: skip
    links = await ask(client, served.port, "/.well-known/core")
    assert len(links.payload) > 2000
    written = await ask(
        client, served.port, "/light/3311/0/5851", aiocoap.PUT, payload=b"50", content_format=0
    )
    assert str(written.code) == "2.04 Changed"
    long = b'[{"n":"/light/3311/0/5851","v":50}' + b',{"n":"/light/3311/0/5999","v":1}' * 60 + b"]"
    refused = await ask(
        client, served.port, "/light/3311/0", aiocoap.POST, payload=long, content_format=110
    )
    assert str(refused.code) == "4.00 Bad Request"
    assert b"twice" in refused.payload


async def test_aiocoap_observes_until_the_device_is_gone(
    home: HubBench, served: Served, client: aiocoap.Context
) -> None:
    uri = f"coap://127.0.0.1:{served.port}{VALUE}"
    request = client.request(aiocoap.Message(code=aiocoap.GET, uri=uri, observe=0))
    values = [(await request.response).payload]
    async with asyncio.timeout(DEADLINE_S):
        home.say({Path(3303, 0, 5700): 22.5})
        async for notification in request.observation:
            values.append(notification.payload)
            if notification.payload == b"22.5":
                home.hub.forget(STATION)
            else:
                break
    assert values[:2] == [b"21.5", b"22.5"]
    assert b"no such device" in values[2]
    assert home.north.device_by_id(METER)

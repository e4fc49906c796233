"""The section, and what the adapter does when an address cannot be had or it is stopped."""

import asyncio
import contextlib
import socket
from collections.abc import Iterator

import pytest
from pydantic import ValidationError

from adapters.coap.adapter import Coap, CoapSection
from adapters.coap.messages import Code
from gateway.configuration.listen import parse_listen
from gateway.errors import AdapterError
from gateway.model import Path
from gateway.overview import Condition
from gateway.policy import ReportRule
from tests.coap.conftest import Serve
from tests.coap.network import GATEWAY, GATEWAY_6, Machine
from tests.deadlines import DEADLINE_S
from tests.fakes import STATION, HubBench


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Iterator[Machine]:
    """A machine that has no address but those of loopback yet, and is looked at often."""
    monkeypatch.setattr("gateway.configuration.listen.LOOK_S", 0.01)
    with contextlib.closing(Machine()) as machine:
        yield machine


def test_by_default_only_this_machine_is_served() -> None:
    assert CoapSection().listen == ("127.0.0.1:5683", "[::1]:5683")


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("127.0.0.1:5683", ("127.0.0.1", 5683)),
        ("[::1]:5683", ("::1", 5683)),
        ("[fe80::1%eth0]:0", ("fe80::1%eth0", 0)),
        ("0.0.0.0:61616", ("0.0.0.0", 61616)),
    ],
)
def test_an_address_is_read_as_people_write_it(text: str, parsed: tuple[str, int]) -> None:
    assert parse_listen(text) == parsed


@pytest.mark.parametrize(
    "listen",
    [[], ["localhost:5683"], ["127.0.0.1"], ["::1:5683"], ["1.2.3.4.5:1"], ["[::1]:70000"]],
)
def test_an_address_that_cannot_be_is_an_error(listen: list[str]) -> None:
    with pytest.raises(ValidationError):
        CoapSection.model_validate({"listen": listen})


async def test_an_address_in_use_ends_the_adapter_with_a_sentence(home: HubBench) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        listen = f"127.0.0.1:{other.getsockname()[1]}"
        coap = Coap(CoapSection(listen=("127.0.0.1:0", listen)), home.north)
        in_use = f"cannot listen on {listen}: Address already in use: stop who has it"
        with pytest.raises(AdapterError, match=in_use):
            await coap.run()


async def test_an_address_that_the_machine_lacks_does_not_stop_the_others(serve: Serve) -> None:
    served = await serve(listen=("203.0.113.1:0", "127.0.0.1:0"))
    assert (await served.peer().ask("/3/0/0")).payload == b"Border Gateway"


async def test_addresses_that_come_after_boot_are_served_and_told_of_once(
    home: HubBench, serve: Serve, late: Machine, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "gateway.slots")
    home.north.starts()
    late_6, here = f"[{GATEWAY_6}]:5683", "127.0.0.1:5683"
    with late.inside():
        served = await serve(
            listen=(f"{GATEWAY}:5683", here),
            listen_tcp=(here, late_6),
            listen_ws=(f"{GATEWAY}:8683",),
        )
        missing = f"{GATEWAY}:5683 and tcp {late_6} and ws {GATEWAY}:8683"
        assert served.status.startswith(f"listens on {here} and tcp {here}, and {missing} once")
        assert home.north.state().condition is Condition.DEGRADED
        assert (await served.peer().ask("/3/0/0")).payload == b"Border Gateway"
        for address in (GATEWAY, GATEWAY_6):
            late.run("ip", "address", "add", address, "dev", "lo")
        await told(home, f"listens on {GATEWAY}:5683 and {here} and tcp")
        assert home.north.state().condition is Condition.RUNNING
        assert (await served.peer(GATEWAY).ask("/3/0/0")).payload == b"Border Gateway"
        for host, port in ((GATEWAY_6, 5683), (GATEWAY, 8683)):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write_eof()
            await reader.read()  # until the server has closed too
            writer.close()
        late.run("ip", "address", "del", f"{GATEWAY}/32", "dev", "lo")
        await told(home, f"listens on {here} and tcp {here} and tcp {late_6}, and {GATEWAY}:5683")
    assert len([r for r in caplog.records if "listens on" in r.getMessage()]) == 3


async def told(home: HubBench, beginning: str) -> None:
    async with asyncio.timeout(DEADLINE_S):
        while not home.north.text.startswith(beginning):
            await asyncio.sleep(0.01)


async def test_a_machine_without_ipv6_lacks_nothing(
    home: HubBench, serve: Serve, late: Machine
) -> None:
    home.north.starts()
    late.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1")
    with late.inside():
        served = await serve(listen=("127.0.0.1:5683", "[::1]:5683"))
        assert "and [::1]:5683 once this machine has that address" in served.status
    assert home.north.state().condition is Condition.RUNNING


async def test_without_any_address_there_is_no_server(home: HubBench) -> None:
    coap = Coap(CoapSection(listen=("203.0.113.1:0",)), home.north)
    with pytest.raises(AdapterError, match="cannot listen on 203"):
        await coap.run()


async def test_a_stopped_adapter_gives_its_address_back_and_starts_again(
    home: HubBench, serve: Serve
) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for _ in range(2):
        coap = Coap(CoapSection(listen=(f"127.0.0.1:{port}",)), home.north)
        task = asyncio.create_task(coap.run())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    served = await serve(listen=(f"127.0.0.1:{port}",))
    assert (await served.peer().ask("/3/0/0")).payload == b"Border Gateway"


async def test_a_device_that_joins_is_listed_and_served_at_once(
    home: HubBench, serve: Serve
) -> None:
    served = await serve()
    peer = served.peer()
    links = await peer.ask("/.well-known/core", (15, b"href=/weather/3304*"))
    assert links.payload == b""
    home.say({Path(3304, 0, 5700): 55.0})
    assert (await peer.ask("/weather/3304/0/5700")).payload == b"55"
    links = await peer.ask("/.well-known/core", (15, b"href=/weather/3304*"))
    assert links.payload.startswith(b"</weather/3304>")


@pytest.mark.parametrize("path", ["/weather/3303/0/5700", "/weather/3303/0", "/weather/3303"])
async def test_a_read_gives_the_newest_value_whether_it_was_told_to_observers_or_not(
    home: HubBench, serve: Serve, path: str
) -> None:
    home.rules(report=ReportRule(deadband=100.0))
    peer = (await serve()).peer()
    seen = set()
    for value in range(10):
        home.say({Path(3303, 0, 5700): float(value)})
        seen.add((await peer.ask(path)).payload)
        seen.add((await peer.ask(path)).payload)
    assert len(seen) == 10


async def test_what_is_gone_is_gone_at_once(home: HubBench, serve: Serve) -> None:
    peer = (await serve()).peer()
    for _ in range(2):
        assert (await peer.ask("/weather/3303/0/5700")).payload == b"21.5"
    home.south.withdraw(STATION, Path(3303, 0, 5700))
    assert (await peer.ask("/weather/3303/0/5700")).code == Code.NOT_FOUND
    home.hub.forget(STATION)
    assert (await peer.ask("/weather/3/0/0")).code == Code.NOT_FOUND


@pytest.mark.parametrize(
    ("listen", "who"), [(("0.0.0.0:0",), "nobody"), (("0.0.0.0:0", "[::1]:0"), "this machine over")]
)
async def test_the_status_says_who_can_write(
    serve: Serve, listen: tuple[str, ...], who: str
) -> None:
    served = await serve(listen=listen)
    assert f"can read, {who}" in served.status

"""A gateway with a weather station and a light, and the real CoAP server in front of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping

import pytest

from adapters.coap.adapter import Coap, CoapSection
from gateway.model import Path, Value
from gateway.objects.registry import Registry
from tests.coap.network import Network
from tests.coap.peers import Served
from tests.deadlines import DEADLINE_S
from tests.fakes import METER, STATION, Clock, HubBench

BUILTIN = Registry.builtin()

Serve = Callable[..., Awaitable[Served]]

STATION_VALUES: Mapping[Path, Value | None] = {
    Path(3, 0, 0): "ACME",
    Path(3, 0, 9): 87,
    Path(3, 0, 11, 0): 0,
    Path(3, 0, 11, 1): 2,
    Path(3303, 0, 5700): 21.5,
    Path(3303, 0, 5701): "Cel",
    Path(3303, 0, 5605): None,
    Path(3303, 1, 5700): -3.25,
}
LIGHT_VALUES: Mapping[Path, Value | None] = {
    Path(3311, 0, 5850): False,
    Path(3311, 0, 5851): 20,
    Path(3340, 0, 5521): 5.0,
    Path(3340, 0, 5523): None,
    Path(3339, 0, 5522): b"\x00\xffclip",
}


@pytest.fixture
def home(clock: Clock) -> HubBench:
    """A hub with /weather and /light."""
    bench = HubBench(clock, BUILTIN)
    bench.join(STATION, "weather")
    bench.join(METER, "light")
    bench.say(STATION_VALUES, STATION)
    bench.say(LIGHT_VALUES, METER)
    bench.north.outbox.take_all()
    return bench


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    """A cable between the gateway's machine and a client's."""
    network = Network()
    yield network
    network.close()


@pytest.fixture
async def serve(home: HubBench) -> AsyncIterator[Serve]:
    """Starts the adapter on the home's hub; more than one at a time if a test wants."""
    bugs: list[object] = []
    started: list[Served] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: bugs.append(context))

    async def start(**section: object) -> Served:
        section.setdefault("listen", ("127.0.0.1:0",))
        home.north.status("starting")
        coap = Coap(CoapSection.model_validate(section), home.north)
        task = asyncio.create_task(coap.run())
        async with asyncio.timeout(DEADLINE_S):
            while not home.north.text.startswith("listens"):
                assert not task.done(), task.exception()
                await asyncio.sleep(0)
        started.append(Served(home.north.text, task))
        return started[-1]

    yield start
    for served in started:
        await served.stop()
    assert not bugs


@pytest.fixture
async def served(serve: Serve) -> Served:
    """The adapter on 127.0.0.1, on a free port."""
    return await serve()

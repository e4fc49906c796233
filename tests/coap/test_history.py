"""What was measured in a time, as clients ask for it: which part, in which format, how much."""

import json
from dataclasses import replace

import aiocoap
import cbor2
import pytest

from adapters.coap import history
from adapters.coap.messages import Code, Format, Request, Response
from adapters.coap.server import Server
from gateway.errors import InvalidValue, StateError
from gateway.events import Entry
from gateway.model import Path
from gateway.patterns import PathPattern
from gateway.policy import DeviceRule, ResourceRule, Rules
from gateway.readings.journal import Query
from tests.coap.peers import Served, accept, coap_client, option
from tests.fakes import STATION, HubBench

VALUE = Path(3303, 0, 5700)
BASE = "/weather/3303/0/"
NAME = f"{BASE}5700"
T0 = 1_700_001_000


@pytest.fixture
def past(home: HubBench) -> HubBench:
    """The station measured 21.5 at T0, and then 0.0, 1.0, ... once a minute for two hours."""
    for minute in range(120):
        home.clock.advance(60)
        home.say({VALUE: float(minute)})
    return home


@pytest.fixture
def server(past: HubBench) -> Server:
    return Server(past.north, past.clock.wall)


async def get(server: Server, path: str, *query: str, form: int = 110) -> Response:
    segments = tuple(path[1:].split("/"))
    return await server.history(Request(Code.GET, segments, query, accept=Format(form)))


async def records(server: Server, path: str, *query: str) -> list[tuple[float, object]]:
    """Times since T0 and values of a JSON answer."""
    pack = json.loads((await get(server, path, *query)).payload)
    base = pack[0]["bt"] if pack else 0
    return [(base + r.get("t", 0) - T0, r.get("v", r.get("vs"))) for r in pack]


# --- other people's clients ---


async def test_libcoap_gets_values_with_their_times(past: HubBench, served: Served) -> None:
    query = f"{NAME}?from={T0 + 119 * 60}&to={T0 + 7200}"
    pack = json.loads((await coap_client(served.port, query, "-A", "110")).out)
    assert pack == [{"bn": BASE, "bt": T0 + 7200, "n": "5700", "u": "Cel", "v": 119.0}]


@pytest.mark.parametrize("block", [64, 1024])
async def test_libcoap_gets_two_hours_block_by_block(
    past: HubBench, served: Served, block: int
) -> None:
    query = f"{NAME}?from={T0 - 1}&to={T0 + 7200}"
    pack = json.loads((await coap_client(served.port, query, "-A", "110", "-b", str(block))).out)
    assert [record["v"] for record in pack] == [21.5, *map(float, range(120))]
    assert [record.get("t", 0) for record in pack] == [60 * n for n in range(121)]


async def test_aiocoap_gets_them_in_cbor(past: HubBench, served: Served) -> None:
    context = await aiocoap.Context.create_client_context()
    uri = f"coap://127.0.0.1:{served.port}{NAME}?from={T0 + 7140}&to={T0 + 7200}"
    try:
        answer = await context.request(aiocoap.Message(code=aiocoap.GET, uri=uri)).response
    finally:
        await context.shutdown()
    assert int(answer.opt.content_format) == 112
    assert cbor2.loads(answer.payload) == [{-2: BASE, -3: T0 + 7200, 0: "5700", 1: "Cel", 2: 119.0}]


async def test_libcoap_is_told_what_is_wrong_with_a_time(past: HubBench, served: Served) -> None:
    wrong = await coap_client(served.port, f"{NAME}?from=yesterday", "-A", "110")
    assert wrong.code == "4.00"
    assert "from= takes Unix seconds" in wrong.err


async def test_a_read_and_a_history_of_one_resource_do_not_mix(
    past: HubBench, served: Served
) -> None:
    peer = served.peer()
    now = await peer.ask(NAME)
    query = [(15, f"from={T0 + 7140}".encode()), (15, f"to={T0 + 7200}".encode())]
    then = await peer.ask(NAME, *query, accept(110))
    again = await peer.ask(NAME)
    assert (now.payload, again.payload) == (b"119", b"119")
    assert option(then, 14) == b""  # Max-Age 0: more may come
    assert json.loads(then.payload)[0]["v"] == 119.0


# --- which part of the past ---


async def test_from_is_left_out_and_to_is_in(server: Server) -> None:
    assert await records(server, NAME, f"from={T0}", f"to={T0 + 120}") == [(60, 0.0), (120, 1.0)]
    assert await records(server, NAME, f"from={T0 + 7200}", f"to={T0 + 9999}") == []


async def test_the_etag_of_a_history_matches_that_history(server: Server) -> None:
    query = (f"from={T0 - 1}", f"to={T0 + 60}")
    first = await get(server, NAME, *query)
    segments = tuple(NAME[1:].split("/"))
    again = Request(Code.GET, segments, query, accept=Format(110), if_match=(first.etag,))
    assert (await server.history(again)).code == Code.CONTENT
    later = replace(again, query=(query[0], f"to={T0 + 120}"))
    assert (await server.history(later)).code == Code.PRECONDITION_FAILED


async def test_times_may_count_from_now(server: Server) -> None:
    assert await records(server, NAME, "from=-90") == [(7140, 118.0), (7200, 119.0)]
    assert await records(server, NAME, "from=-150", "to=-60.5") == [(7080, 117.0)]


async def test_an_instance_and_an_object_have_a_history_too(server: Server, past: HubBench) -> None:
    past.clock.advance(1)
    past.say({Path(3303, 1, 5700): 7.0, Path(3303, 0, 5701): "K"})
    object_pack = json.loads((await get(server, "/weather/3303", "from=-1")).payload)
    assert {r["n"]: r.get("v", r.get("vs")) for r in object_pack} == {"1/5700": 7.0, "0/5701": "K"}
    assert await records(server, "/weather/3303/0", "from=-1") == [(7201, "K")]


async def test_a_long_history_is_read_on_from_its_last_time(
    server: Server, past: HubBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history, "MAX_RECORDS", 20)
    got: list[tuple[float, object]] = []
    start = T0 - 1.0
    while more := await records(server, NAME, f"from={start}"):
        assert len(more) <= 20
        got += more
        start = T0 + more[-1][0]
    assert got == [(0, 21.5), *((60 * (n + 1), float(n)) for n in range(120))]


# --- what cannot be ---


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        (("from=now",), "Unix seconds"),
        (("from=",), "Unix seconds"),
        (("to=1e9",), "Unix seconds"),
        (("from=nan",), "Unix seconds"),
        (("from=-10", "to=-20"), "later than"),
        (("from=-10", "from=-20"), "twice"),
        (("from=-10", "pmin=5"), "does not go with"),
    ],
)
def test_a_wrong_time_is_refused_with_a_reason(query: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(InvalidValue, match=complaint):
        history.period(query, T0)


async def test_what_has_no_history_says_so(server: Server) -> None:
    past = ("from=-10",)
    codes = [
        (await get(server, path, *past)).code
        for path in ("/weather/3304", "/nobody/3303", "/3/0", "/weather/3303/0/5605")
    ]
    assert codes == [
        Code.NOT_FOUND, Code.NOT_FOUND, Code.NOT_FOUND, Code.METHOD_NOT_ALLOWED
    ]  # fmt: skip
    assert (await get(server, NAME, *past, form=0)).code == Code.NOT_ACCEPTABLE
    observe = Request(Code.GET, tuple(NAME[1:].split("/")), past, observe=0)
    assert (await server.history(observe)).code == Code.BAD_REQUEST


async def test_of_hidden_resources_nothing_is_shown(server: Server, past: HubBench) -> None:
    past.say({Path(3303, 1, 5700): 7.0})
    hidden = ResourceRule(PathPattern.parse("3303/0/5700"), hidden=True)
    past.hub.rules = Rules({STATION: DeviceRule(True, "weather", resources=(hidden,))})
    pack = json.loads((await get(server, "/weather/3303", f"from={T0}")).payload)
    assert [(r["bn"], r["n"], r["v"]) for r in pack] == [("/weather/3303/1/", "5700", 7.0)]


async def test_a_journal_that_cannot_be_read_is_the_servers_fault(
    server: Server, past: HubBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(query: Query) -> list[Entry]:
        raise StateError("state.db: disk I/O error")

    monkeypatch.setattr(past.hub.journal, "find", broken)
    answer = await get(server, NAME, "from=-10")
    assert (answer.code, answer.payload) == (
        Code.INTERNAL_SERVER_ERROR,
        b"state.db: disk I/O error",
    )

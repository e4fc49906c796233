"""Composites: several devices read or observed in one request."""

import asyncio
import json
from typing import Any

import aiocoap
import cbor2
import pytest

from adapters.coap.composite import MAX_NAMES
from adapters.coap.datagram import Datagram, Type
from adapters.coap.messages import Code, Format, Option, Request, Response
from adapters.coap.server import Server
from gateway.formats import senml
from gateway.model import Path, Value
from tests.coap.conftest import Serve
from tests.coap.peers import Served, coap_client, content_format, observe_number
from tests.deadlines import DEADLINE_S
from tests.fakes import METER, STATION, HubBench
from tests.vectors import LWM2M

VECTORS = {v["id"]: v for v in LWM2M}
JSON, CBOR = Format.SENML_JSON, Format.SENML_CBOR
ON, LEVEL = Path(3311, 0, 5850), Path(3311, 0, 5851)
MODE = Path(3308, 0, 5900)


@pytest.fixture
def server(home: HubBench) -> Server:
    return Server(home.north)


def names(*paths: str) -> bytes:
    return json.dumps([{"n": path} for path in paths]).encode()


def fetch(
    server: Server,
    payload: bytes,
    form: Format | None = JSON,
    accept: Format | None = JSON,
    **more: Any,
) -> Response:
    return server.read(
        Request(Code.FETCH, (), accept=accept, content_format=form, payload=payload, **more)
    )


def read(answer: Response) -> dict[str, Value | None]:
    assert (answer.code, answer.format) == (Code.CONTENT, JSON)
    return {record.name: record.value for record in senml.from_json(answer.payload, 0)}


# --- Read-Composite ---


def test_one_fetch_reads_of_several_devices_and_of_the_gateway(server: Server) -> None:
    answer = fetch(server, names("/light/3311/0/5850", "/weather/3303/0", "/25/0/1"))
    assert read(answer) == {
        "/light/3311/0/5850": False,
        "/weather/3303/0/5700": 21.5,
        "/weather/3303/0/5701": "Cel",
        "/25/0/1": "weather",
    }
    assert {r.name: r.unit for r in senml.from_json(answer.payload, 0)}[
        "/weather/3303/0/5700"
    ] == "Cel"
    assert answer.max_age_s == 60


@pytest.mark.parametrize("form", [CBOR, Format.ETCH_CBOR, Format.LWM2M_CBOR])
def test_a_key_longer_than_any_number_that_python_writes_is_refused(
    server: Server, form: Format
) -> None:
    pack: object = [{0: "/light", 1 << 15_000: 1}]
    if form is Format.LWM2M_CBOR:
        pack = {1 << 15_000: None}
    assert fetch(server, cbor2.dumps(pack), form).code == Code.BAD_REQUEST


def test_what_is_not_there_or_cannot_be_read_is_left_out(server: Server) -> None:
    absent = ("/nobody/3303", "/weather/3304", "/weather/3303/0/5605", "/0", "/light/3311/0/5999")
    assert read(fetch(server, names("/weather/3303/1/5700", *absent))) == {
        "/weather/3303/1/5700": -3.25
    }
    answer = fetch(server, names(*absent))
    assert (answer.code, answer.payload) == (Code.CONTENT, b"[]")
    assert fetch(server, names(*absent), accept=Format.LWM2M_CBOR).payload == b"\xa0"


def test_nothing_is_shown_twice(server: Server) -> None:
    answer = fetch(server, names("/light/3311/0/5850", "/light/3311/0", "/light", "/light/"))
    shown = [record.name for record in senml.from_json(answer.payload, 0)]
    assert len(shown) == len(set(shown)) == 4


@pytest.mark.parametrize("other", ["/light/3311/0/5850", "/light/3311/9"])
def test_a_name_that_adds_nothing_leaves_the_max_age_as_it_is(server: Server, other: str) -> None:
    assert fetch(server, names("/light/3311", other)).max_age_s == 60


def test_a_root_is_all_of_a_device_or_of_the_gateway(server: Server) -> None:
    assert "/25/1/1" in read(fetch(server, names("/")))
    assert not any(name.startswith("/weather") for name in read(fetch(server, names("/"))))
    assert "/weather/3/0/11/1" in read(fetch(server, names("/weather")))


def test_a_root_shows_no_keys(server: Server, home: HubBench) -> None:
    home.say({Path(23, 0, 0): "key", Path(3303, 0, 5700): 20.0})
    assert not any(
        name.startswith("/weather/23") for name in read(fetch(server, names("/weather")))
    )


@pytest.mark.parametrize(
    ("form", "payload"),
    [
        (Format.SENML_JSON, names("/light/3311/0/5850")),
        (Format.ETCH_JSON, b'[{"bn":"/light/3311/0/","n":"5850"}]'),
        (Format.SENML_CBOR, cbor2.dumps([{0: "/light/3311/0/5850"}])),
        (Format.ETCH_CBOR, cbor2.dumps([{-2: "/light", 0: "/3311/0/5850"}])),
        (Format.LWM2M_CBOR, cbor2.dumps({("light", 3311, 0, 5850): None})),
    ],
)
@pytest.mark.parametrize("accept", [None, *Format])
def test_the_names_and_the_answer_have_their_formats(
    server: Server, form: Format, payload: bytes, accept: Format | None
) -> None:
    answer = fetch(server, payload, form, accept)
    if accept is None or accept in {
        Format.SENML_JSON, Format.SENML_CBOR, Format.SENML_XML, Format.LWM2M_CBOR
    }:  # fmt: skip
        assert (answer.code, answer.format) == (Code.CONTENT, accept or Format.SENML_CBOR)
    else:
        assert answer.code == Code.NOT_ACCEPTABLE


@pytest.mark.parametrize(
    ("form", "payload", "code"),
    [
        (JSON, b"", Code.BAD_REQUEST),
        (JSON, b"[]", Code.BAD_REQUEST),
        (JSON, b'{"n":1}', Code.BAD_REQUEST),
        (JSON, b'[{"n":"/light/3311/0/5850","vb":true}]', Code.BAD_REQUEST),
        (JSON, b'[{"n":"light/3311"}]', Code.BAD_REQUEST),
        (JSON, b'[{"n":"/light/x"}]', Code.BAD_REQUEST),
        (JSON, b'[{"n":"/light/1/2/3/4/5"}]', Code.BAD_REQUEST),
        (JSON, b'[{"n":"/light/3311","u":"Cel"}]', Code.BAD_REQUEST),
        (JSON, b'[{"n":"/light/3311","t":-5}]', Code.BAD_REQUEST),
        (
            JSON,
            VECTORS["gw-read-composite-request-erratum"]["text"].encode(),
            Code.BAD_REQUEST,
        ),
        (Format.ETCH_JSON, VECTORS["etch-fetch-with-value"]["text"].encode(), Code.BAD_REQUEST),
        (Format.LWM2M_CBOR, cbor2.dumps({3: {0: {0: 1}}}), Code.BAD_REQUEST),
        (None, names("/light"), Code.BAD_REQUEST),
        (Format.TEXT, b"/light", Code.UNSUPPORTED_CONTENT_FORMAT),
        (Format.TLV, b"", Code.UNSUPPORTED_CONTENT_FORMAT),
        (JSON, names(*["/light"] * (MAX_NAMES + 1)), Code.REQUEST_ENTITY_TOO_LARGE),
    ],
)
def test_a_fetch_that_names_nothing_is_refused(
    server: Server, form: Format | None, payload: bytes, code: Code
) -> None:
    assert fetch(server, payload, form).code == code


def test_a_fetch_without_observe_has_no_query_and_is_for_the_root(server: Server) -> None:
    assert fetch(server, names("/light"), query=("pmin=1",)).code == Code.BAD_REQUEST
    request = Request(Code.FETCH, ("light",), content_format=JSON, payload=names("/light"))
    assert server.read(request).code == Code.METHOD_NOT_ALLOWED


def test_omas_gateway_example_is_answered_as_printed(home: HubBench) -> None:
    home.hub.forget(STATION)
    home.hub.forget(METER)
    home.rules()
    for device, prefix, company, battery in ((STATION, "d01", "A", 100), (METER, "d02", "B", 65)):
        home.join(device, prefix)
        home.say({Path(3, 0, 0): f"Company {company}", Path(3, 0, 9): battery}, device)
    request = VECTORS["gw-read-composite-request"]["text"].encode()
    answer = fetch(Server(home.north), request, JSON, Format.LWM2M_CBOR)
    assert answer.payload.hex() == VECTORS["lwcbor-gateway-composite"]["hex"]


# --- on the wire ---


async def test_libcoap_fetches_more_than_fits_a_block(served: Served) -> None:
    many = [f"/light/3311/{number}/5850" for number in range(60)]
    asked = names("/weather/3303/0/5700", *many).decode()
    read = await coap_client(served.port, "/", "-m", "fetch", "-t", "110", "-A", "110", "-e", asked)
    assert {r["n"] for r in json.loads(read.out)} == {"/weather/3303/0/5700", "/light/3311/0/5850"}


@pytest.mark.parametrize("more", [0, 60])
async def test_names_and_answers_of_several_blocks_go_together(
    home: HubBench, served: Served, more: int
) -> None:
    home.say({Path(3303, number, 5700): float(number) for number in range(2, 150)})
    body = names("/weather/3303", *(f"/light/3311/{number}/5850" for number in range(more)))
    uri = f"coap://127.0.0.1:{served.port}/"
    context = await aiocoap.Context.create_client_context()
    request = aiocoap.Message(
        code=aiocoap.FETCH, uri=uri, payload=body, content_format=110, accept=110
    )
    async with asyncio.timeout(DEADLINE_S):
        answer = await context.request(request).response
    await context.shutdown()
    assert len(json.loads(answer.payload)) == 151 + bool(more)


async def observe(served: Served, payload: bytes, *more: tuple[int, bytes]) -> tuple[Any, Datagram]:
    peer = served.peer()
    answer = await peer.ask(
        "/", (Option.OBSERVE, b""), content_format(110), (Option.ACCEPT, b"\x6e"), *more,
        code=Code.FETCH, payload=payload, kind=Type.NON,
    )  # fmt: skip
    return peer, answer


async def test_a_composite_is_observed_across_devices(home: HubBench, served: Served) -> None:
    payload = names("/weather/3303/0/5700", "/light/3311/0/5850")
    peer, first = await observe(served, payload)
    assert (first.code, observe_number(first) is not None) == (Code.CONTENT, True)
    for device, values in ((STATION, {Path(3303, 0, 5700): 22.0}), (METER, {ON: True})):
        home.say(values, device)
        told = await peer.receive()
        assert told.payload.count(b'"n"') == 2
    home.hub.forget(STATION)
    left = await peer.receive()
    assert (left.code, left.payload.count(b'"n"')) == (Code.CONTENT, 1)


async def test_composites_of_different_names_are_different_observations(
    home: HubBench, served: Served
) -> None:
    one, _ = await observe(served, names("/weather/3303/0/5700"))
    two, _ = await observe(served, names("/weather/3303/0/5700", "/weather/3303/1/5700"))
    home.say({Path(3303, 0, 5700): 22.0})
    assert (await one.receive()).payload.count(b'"n"') == 1
    assert (await two.receive()).payload.count(b'"n"') == 2


async def test_each_name_of_an_observed_composite_counts(serve: Serve) -> None:
    served = await serve(max_observers=6, max_observers_per_client=4)
    absent = [f"/weather/3303/{number}" for number in range(7, 10)]
    for named, observed in ((["/light", *absent], False), (absent, True), (["/light"], True)):
        _, answer = await observe(served, names(*named))
        assert answer.code == Code.CONTENT
        assert (observe_number(answer) is not None) is observed


async def test_a_whole_device_is_observed_in_a_composite(home: HubBench, served: Served) -> None:
    peer, _ = await observe(served, names("/light"))
    home.say({Path(3311, 9, 5850): True}, METER)
    assert b"3311/9/5850" in (await peer.receive()).payload


TWO = names("/weather/3303/0/5700", "/light/3311/0/5850")


@pytest.mark.parametrize("query", [b"pmin=1", b"epmin=1"])
async def test_a_composite_observation_has_periods_but_no_thresholds(
    home: HubBench, served: Served, query: bytes
) -> None:
    peer, first = await observe(served, TWO, (Option.URI_QUERY, query))
    assert observe_number(first) is not None
    home.say({Path(3303, 0, 5700): 22.0})
    home.say({Path(3303, 0, 5700): 23.0})
    told = await peer.receive()
    assert b'"v":23' in told.payload
    _, refused = await observe(served, TWO, (Option.URI_QUERY, b"gt=1"))
    assert refused.code == Code.BAD_REQUEST


async def test_a_composite_is_told_again_in_time_though_nothing_changed(served: Served) -> None:
    peer, first = await observe(served, TWO, (Option.URI_QUERY, b"c.pmax=0.1"))
    again = await peer.receive()
    assert (again.code, again.payload) == (Code.CONTENT, first.payload)


@pytest.mark.parametrize(("con", "kind"), [(b"con=0", Type.NON), (b"con=1", Type.CON)])
async def test_a_composite_is_told_confirmably_if_its_query_says_so(
    home: HubBench, served: Served, con: bytes, kind: Type
) -> None:
    peer, _ = await observe(served, TWO, (Option.URI_QUERY, con))
    home.say({ON: True}, METER)
    assert (await peer.receive()).type is kind


async def test_a_composite_does_not_heed_what_is_attached(home: HubBench, served: Served) -> None:
    attached = await served.peer().ask(
        "/weather/3303", (Option.URI_QUERY, b"pmin=600"), code=Code.PUT
    )
    assert attached.code == Code.CHANGED
    peer, _ = await observe(served, TWO)
    home.say({Path(3303, 0, 5700): 23.0})
    assert b'"v":23' in (await peer.receive()).payload


async def test_observe_1_ends_the_observation_of_a_composite(
    home: HubBench, served: Served
) -> None:
    peer, _ = await observe(served, TWO)
    ended = await peer.ask(
        "/", (Option.OBSERVE, b"\x01"), content_format(110), code=Code.FETCH, payload=TWO
    )
    assert (ended.code, observe_number(ended)) == (Code.CONTENT, None)
    other, _ = await observe(served, TWO)
    home.say({ON: True}, METER)
    await other.receive()  # whoever observed it first would have been told first
    peer.send(b"\x40\x00\x30\x39")
    assert (await peer.receive()).type is Type.RST


async def test_libcoap_observes_a_composite(home: HubBench, served: Served) -> None:
    asked = ["-m", "fetch", "-t", "110", "-A", "110", "-e", TWO.decode(), "-s", "20", "-w"]
    process = await asyncio.create_subprocess_exec(
        "coap-client-notls", *asked, f"coap://127.0.0.1:{served.port}/",
        stdout=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout
    try:
        for is_on in (False, True):
            async with asyncio.timeout(DEADLINE_S):
                pack = json.loads(await process.stdout.readline())
            assert [record["vb"] for record in pack if "vb" in record] == [is_on]
            home.say({ON: True}, METER)
    finally:
        process.kill()
        await process.wait()


async def test_what_is_not_there_cannot_be_observed(served: Served) -> None:
    _, answer = await observe(served, names("/nobody/3303"))
    assert (answer.code, answer.payload, observe_number(answer)) == (Code.CONTENT, b"[]", None)

"""Create and Delete by their decision table (LwM2M Core 6.3.6, 6.3.7)."""

from collections.abc import Mapping

import cbor2
import pytest

from adapters.coap.messages import Code, Format, Option, Request, Response
from adapters.coap.server import Server
from gateway.errors import NotAllowed
from gateway.events import Command, Create, Delete, Write
from gateway.model import Path, Value
from gateway.policy import DeviceRule
from tests.coap.peers import Served, coap_client
from tests.fakes import METER, HubBench

JSON, TLV, LWM2M_CBOR = Format.SENML_JSON, Format.TLV, Format.LWM2M_CBOR
ON = {Path(3311, 1, 5850): True}


@pytest.fixture
def server(home: HubBench) -> Server:
    home.rules(station=DeviceRule(listed=True), meter=DeviceRule(listed=True, writable=True))
    return Server(home.north)


async def ask(
    server: Server, code: Code, path: str, form: Format | None = None, payload: bytes = b""
) -> Response:
    segments = tuple(path[1:].split("/"))
    return await server.command(Request(code, segments, content_format=form, payload=payload))


@pytest.mark.parametrize(
    ("form", "payload", "values"),
    [
        (JSON, b'[{"n":"/light/3311/1/5850","vb":true}]', ON),
        (JSON, b'[{"n":"/light/3311/7/5850","vb":true}]', {Path(3311, 7, 5850): True}),
        (TLV, bytes.fromhex("080104e116da01"), ON),
        (TLV, bytes.fromhex("e116da01"), ON),  # the lowest free instance
        (LWM2M_CBOR, cbor2.dumps({("light", 3311, 65535): {5850: True}}), ON),
        (LWM2M_CBOR, cbor2.dumps({("light", 3311, 1): {5850: True, 5805: 3.5}}), ON),  # 5805: R
        (JSON, b'[{"bn":"/light/3311/1/","n":"5850","vb":true},{"n":"9999","v":1}]', ON),
        (Format.SENML_CBOR, cbor2.dumps([{0: "/light/3311/1/5850", 4: True}]), ON),
        (
            Format.SENML_XML,
            b'<sensml xmlns="urn:ietf:params:xml:ns:senml">'
            b'<senml n="/light/3311/1/5850" vb="true"/></sensml>',
            ON,
        ),
        (Format.LWM2M_JSON, b'{"e":[{"n":"1/5850","bv":true}]}', ON),
    ],
)
async def test_a_create_reaches_the_device_and_answers_where_the_instance_is(
    server: Server, home: HubBench, form: Format, payload: bytes, values: Mapping[Path, Value]
) -> None:
    answer = await ask(server, Code.POST, "/light/3311", form, payload)
    (instance,) = {path.upto(2) for path in values}
    assert answer == Response(Code.CREATED, location=("light", "3311", str(instance[1])))
    assert home.adapter.commands == [Create(METER, instance, values, "coap ")]


@pytest.mark.parametrize(
    ("path", "form", "payload", "code"),
    [
        ("/light/3311", None, b"", Code.BAD_REQUEST),
        ("/light/3311", Format.TEXT, b"1", Code.UNSUPPORTED_CONTENT_FORMAT),
        ("/light/3311", JSON, b'[{"n":"/light/3311/0/5850","vb":true}]', Code.BAD_REQUEST),
        ("/light/3311", JSON, b'[{"n":"/light/3311/1/5851","v":5}]', Code.BAD_REQUEST),
        ("/light/3311", JSON, b'[{"n":"/light/3311/1/5850","v":5}]', Code.BAD_REQUEST),
        ("/light/3311", JSON, b'[{"n":"/3311/1/5850","vb":true}]', Code.BAD_REQUEST),
        ("/light/3311", JSON, b'[{"n":"/light/3312/1/5850","vb":true}]', Code.BAD_REQUEST),
        (
            "/light/3311",
            JSON,
            b'[{"n":"/light/3311/1/5850","vb":true},{"n":"/light/3311/2/5850","vb":true}]',
            Code.BAD_REQUEST,
        ),
        ("/light/3311", TLV, bytes.fromhex("ff"), Code.BAD_REQUEST),
        ("/light/9999", TLV, bytes.fromhex("e116da01"), Code.NOT_FOUND),
        ("/nobody/3311", TLV, bytes.fromhex("e116da01"), Code.NOT_FOUND),
        ("/weather/3", TLV, b"", Code.METHOD_NOT_ALLOWED),
        ("/weather/3303", TLV, b"", Code.FORBIDDEN),
        ("/25", TLV, b"", Code.METHOD_NOT_ALLOWED),
        ("/21", TLV, b"", Code.UNAUTHORIZED),
    ],
)
async def test_a_create_that_cannot_be_is_refused_before_the_device_hears_of_it(
    server: Server, home: HubBench, path: str, form: Format | None, payload: bytes, code: Code
) -> None:
    assert (await ask(server, Code.POST, path, form, payload)).code == code
    assert home.adapter.commands == []


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/light/3311/0", Code.DELETED),
        ("/light/3311", Code.METHOD_NOT_ALLOWED),
        ("/light/3311/0/5850", Code.METHOD_NOT_ALLOWED),
        ("/light/3311/1", Code.NOT_FOUND),
        ("/light/3304/0", Code.NOT_FOUND),
        ("/nobody/3311/0", Code.NOT_FOUND),
        ("/light", Code.BAD_REQUEST),
        ("/weather/3/0", Code.METHOD_NOT_ALLOWED),
        ("/weather/3/0/11/0", Code.METHOD_NOT_ALLOWED),
        ("/weather/3303/0", Code.FORBIDDEN),
        ("/25/0", Code.METHOD_NOT_ALLOWED),
        ("/0/0", Code.UNAUTHORIZED),
        ("/.well-known/core", Code.METHOD_NOT_ALLOWED),
    ],
)
async def test_a_delete_reaches_the_device_if_it_may(
    server: Server, home: HubBench, path: str, code: Code
) -> None:
    assert (await ask(server, Code.DELETE, path)).code == code
    wanted = [Delete(METER, Path(3311, 0), "coap ")] if code == Code.DELETED else []
    assert home.adapter.commands == wanted


TEXTS = Path(3349, 0, 5912)
ONE, TWO, THREE = (Path(*TEXTS, number) for number in range(3))


@pytest.mark.parametrize(
    ("code", "path", "form", "payload", "commands"),
    [
        (Code.PUT, f"{TEXTS}/1", Format.TEXT, b"x", [Write(METER, {TWO: "x"}, "coap ")]),
        (
            Code.POST,
            f"{TEXTS}",
            JSON,
            b'[{"n":"/light/3349/0/5912/2","vs":"c"}]',
            [Write(METER, {THREE: "c"}, "coap ")],
        ),
        (
            Code.PUT,
            f"{TEXTS}",
            TLV,
            bytes.fromhex("a3171841007a"),
            [Delete(METER, TWO, "coap "), Write(METER, {ONE: "z"}, "coap ")],
        ),
        (
            Code.PUT,
            f"{TEXTS}",
            JSON,
            b'[{"n":"/light/3349/0/5912/2","vs":"c"}]',
            [
                Delete(METER, ONE, "coap "),
                Delete(METER, TWO, "coap "),
                Write(METER, {THREE: "c"}, "coap "),
            ],
        ),
        (Code.DELETE, f"{TEXTS}/1", None, b"", [Delete(METER, TWO, "coap ")]),
    ],
)
async def test_an_array_is_merged_by_post_and_replaced_by_put(
    server: Server,
    home: HubBench,
    code: Code,
    path: str,
    form: Format | None,
    payload: bytes,
    commands: list[Command],
) -> None:
    home.say({ONE: "a", TWO: "b"}, METER)
    answer = await ask(server, code, f"/light{path}", form, payload)
    assert answer.code in {Code.CHANGED, Code.DELETED}
    assert home.adapter.commands == commands


async def test_an_array_is_not_shortened_by_halves(server: Server, home: HubBench) -> None:
    home.say({ONE: "a", TWO: "b"}, METER)
    home.adapter.answer = NotAllowed("its objects are what they are")
    payload = b'[{"n":"/light/3349/0/5912/0","vs":"z"}]'
    answer = await ask(server, Code.PUT, f"/light{TEXTS}", JSON, payload)
    assert answer.code == Code.METHOD_NOT_ALLOWED
    assert home.adapter.commands == [Delete(METER, TWO, "coap ")]
    home.adapter.commands.clear()
    wrong = b'[{"n":"/light/3349/0/5912/0","v":1}]'
    assert (await ask(server, Code.PUT, f"/light{TEXTS}", JSON, wrong)).code == Code.BAD_REQUEST
    assert home.adapter.commands == []


@pytest.mark.parametrize(
    ("code", "path", "answer"),
    [
        (Code.POST, "/light/3311", Code.METHOD_NOT_ALLOWED),
        (Code.POST, "/light/3312", Code.NOT_FOUND),
        (Code.DELETE, "/light/3311/0", Code.METHOD_NOT_ALLOWED),
    ],
)
async def test_most_devices_can_do_neither(
    server: Server, home: HubBench, code: Code, path: str, answer: Code
) -> None:
    home.adapter.answer = NotAllowed("its objects are what they are")
    assert (await ask(server, code, path, TLV, bytes.fromhex("e116da01"))).code == answer


async def test_libcoap_creates_and_deletes(server: Server, home: HubBench, served: Served) -> None:
    body = '[{"n":"/light/3311/1/5850","vb":true}]'
    created = await coap_client(served.port, "/light/3311", "-m", "post", "-t", "110", "-e", body)
    deleted = await coap_client(served.port, "/light/3311/0", "-m", "delete")
    assert (created.err, deleted.err) == ("", "")
    assert [type(command) for command in home.adapter.commands] == [Create, Delete]


async def test_libcoap_deletes_an_element(server: Server, home: HubBench, served: Served) -> None:
    home.say({ONE: "a", TWO: "b"}, METER)
    assert (await coap_client(served.port, f"/light{TEXTS}/1", "-m", "delete")).err == ""
    (delete,) = home.adapter.commands
    assert isinstance(delete, Delete)
    assert delete.path == TWO


def test_the_location_stands_in_its_option() -> None:
    options = list(Response(Code.CREATED, location=("light", "3311", "1")).options())
    assert options == [(Option.LOCATION_PATH, part) for part in (b"light", b"3311", b"1")]

"""What a request is answered with: the decision table of LwM2M Transport 6.4 and its formats."""

import json
from typing import Any

import cbor2
import pytest

from adapters.coap.messages import Block, Code, Format, Request, Response
from adapters.coap.server import Server
from gateway.errors import (
    Asleep,
    Busy,
    CommandError,
    DeviceRefused,
    InvalidValue,
    NotAllowed,
    NotFound,
    TimedOut,
    Unreachable,
    WritesDisabled,
)
from gateway.events import Delete, Execute, Write
from gateway.formats import senml
from gateway.model import Path, Value
from gateway.policy import DeviceRule
from tests.fakes import METER, STATION, HubBench

TEXT, OPAQUE, JSON, CBOR = Format.TEXT, Format.OPAQUE, Format.SENML_JSON, Format.SENML_CBOR
AT = 1_700_001_000


@pytest.fixture
def server(home: HubBench) -> Server:
    home.rules(
        station=DeviceRule(listed=True, writable=True), meter=DeviceRule(listed=True, writable=True)
    )
    return Server(home.north)


def segments(path: str) -> tuple[str, ...]:
    return tuple(path[1:].split("/")) if path != "/" else ()


def get(server: Server, path: str, accept: Format | None = None, *query: str) -> Response:
    return server.read(Request(Code.GET, segments(path), query, accept))


async def send(
    server: Server,
    code: Code,
    path: str,
    payload: bytes = b"",
    form: Format | None = None,
    **more: object,
) -> Response:
    request = Request(code, segments(path), content_format=form, payload=payload, **more)  # type: ignore[arg-type]
    return await server.command(request)


# --- reading ---


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("/weather/3303/0/5700", Code.CONTENT),
        ("/weather/3303/0", Code.CONTENT),
        ("/weather/3303", Code.CONTENT),
        ("/weather/3/0/11/1", Code.CONTENT),
        ("/weather/3/0/11", Code.CONTENT),
        ("/3/0/0", Code.CONTENT),
        ("/25", Code.CONTENT),
        ("/weather", Code.BAD_REQUEST),
        ("/", Code.METHOD_NOT_ALLOWED),
        ("/nobody/3303/0/5700", Code.NOT_FOUND),
        ("/nobody", Code.NOT_FOUND),
        ("/weather/3304", Code.NOT_FOUND),
        ("/weather/3303/2", Code.NOT_FOUND),
        ("/weather/3303/0/5601", Code.NOT_FOUND),
        ("/weather/3/0/11/7", Code.NOT_FOUND),
        ("/3303/0/5700", Code.NOT_FOUND),
        ("/weather/x", Code.METHOD_NOT_ALLOWED),
        ("/weather/3303/0/x", Code.METHOD_NOT_ALLOWED),
        ("/weather/3303/0/", Code.METHOD_NOT_ALLOWED),
        ("/weather/3303/00/5700", Code.METHOD_NOT_ALLOWED),
        ("/weather/3303/65535", Code.METHOD_NOT_ALLOWED),
        ("/65535/0", Code.METHOD_NOT_ALLOWED),
        ("/123456/0", Code.METHOD_NOT_ALLOWED),
        ("/03303/0", Code.METHOD_NOT_ALLOWED),
        ("/weather/3303/0/99999", Code.METHOD_NOT_ALLOWED),
        ("/weather/3/0/11/0/0", Code.METHOD_NOT_ALLOWED),
        ("/weather/3303/0/5700/0", Code.METHOD_NOT_ALLOWED),
        ("/weather/3303/0/5605", Code.METHOD_NOT_ALLOWED),
        ("/weather/0", Code.UNAUTHORIZED),
        ("/21/0", Code.UNAUTHORIZED),
        ("/23", Code.UNAUTHORIZED),
    ],
)
def test_a_read_is_answered_as_lwm2m_says(server: Server, path: str, code: Code) -> None:
    assert get(server, path).code == code


@pytest.mark.parametrize(
    ("path", "accept", "form"),
    [
        ("/weather/3303/0/5700", None, TEXT),
        ("/weather/3303/0/5700", JSON, JSON),
        ("/light/3339/0/5522", None, OPAQUE),
        ("/light/3339/0/5522", TEXT, TEXT),
        ("/weather/3303/0", None, CBOR),
        ("/weather/3/0/11", None, CBOR),
        ("/weather/3/0/11/0", None, TEXT),
        ("/weather/3303/0", TEXT, None),
        ("/weather/3/0/11", TEXT, None),
        ("/weather/3303/0/5700", OPAQUE, None),
        ("/weather/3303/0", OPAQUE, None),
        ("/weather/3303/0", Format.LINK, Format.LINK),
        ("/.well-known/core", None, Format.LINK),
        ("/.well-known/core", JSON, None),
    ],
)
def test_the_format_is_the_accepted_one_or_the_natural_one(
    server: Server, path: str, accept: Format | None, form: Format | None
) -> None:
    answer = get(server, path, accept)
    assert answer.code == (Code.NOT_ACCEPTABLE if form is None else Code.CONTENT)
    assert answer.format == form


def test_one_resource_is_its_bare_value(server: Server) -> None:
    assert get(server, "/weather/3303/0/5700").payload == b"21.5"
    assert get(server, "/light/3311/0/5850").payload == b"0"
    assert get(server, "/light/3339/0/5522").payload == b"\x00\xffclip"
    assert get(server, "/light/3339/0/5522", TEXT).payload == b"AP9jbGlw"


def test_an_instance_is_a_pack_with_prefix_time_and_unit(server: Server) -> None:
    answer = get(server, "/weather/3303/0", JSON)
    assert json.loads(answer.payload) == [
        {"bn": "/weather/3303/0/", "bt": AT, "n": "5700", "u": "Cel", "v": 21.5},
        {"n": "5701", "vs": "Cel"},
    ]
    assert cbor2.loads(get(server, "/weather/3303/0").payload) == [
        {-2: "/weather/3303/0/", -3: AT, 0: "5700", 1: "Cel", 2: 21.5},
        {0: "5701", 3: "Cel"},
    ]


def test_each_record_has_the_time_of_its_own_measurement(server: Server, home: HubBench) -> None:
    home.clock.advance(60)
    home.say({Path(3303, 0, 5601): 1.5})
    pack = json.loads(get(server, "/weather/3303/0", JSON).payload)
    times = {record["n"]: pack[0]["bt"] + record.get("t", 0) for record in pack}
    assert times == {"5601": AT + 60, "5700": AT, "5701": AT}


def test_the_unit_of_a_definition_is_shown_where_the_device_names_none(server: Server) -> None:
    records = json.loads(get(server, "/light/3340/0", JSON).payload)
    assert records == [{"bn": "/light/3340/0/", "bt": AT, "n": "5521", "u": "s", "v": 5.0}]


def test_resource_instances_and_the_gateways_own_objects_have_their_names(server: Server) -> None:
    errors = json.loads(get(server, "/weather/3/0/11", JSON).payload)
    assert errors == [
        {"bn": "/weather/3/0/", "bt": AT, "n": "11/0", "v": 0},
        {"n": "11/1", "v": 2},
    ]
    assert json.loads(get(server, "/25/0/1", JSON).payload) == [
        {"bn": "/25/0/", "bt": AT, "n": "1", "vs": "weather"}
    ]


def test_a_value_is_fresh_only_while_its_device_is_there(server: Server, home: HubBench) -> None:
    assert get(server, "/weather/3303/0").max_age_s == 60
    home.south.lost(STATION, "silent")
    assert get(server, "/weather/3303/0").max_age_s == 0
    assert get(server, "/weather/3303/0/5700").payload == b"21.5"


def test_what_is_asked_by_query_and_not_understood_is_refused(server: Server) -> None:
    assert get(server, "/weather/3303/0/5700", None, "gt=20").code == Code.BAD_REQUEST


# --- writing ---


@pytest.mark.parametrize(
    ("path", "form", "payload", "values"),
    [
        ("/light/3311/0/5850", TEXT, b"1", {Path(3311, 0, 5850): True}),
        ("/light/3311/0/5851", TEXT, b"30", {Path(3311, 0, 5851): 30}),
        ("/light/3340/0/5521", TEXT, b"7", {Path(3340, 0, 5521): 7.0}),
        ("/light/3339/0/5522", OPAQUE, b"\x01", {Path(3339, 0, 5522): b"\x01"}),
        ("/light/3339/0/5522", TEXT, b"AQ==", {Path(3339, 0, 5522): b"\x01"}),
        (
            "/light/3311/0/5850",
            JSON,
            b'[{"n":"/light/3311/0/5850","vb":true}]',
            {Path(3311, 0, 5850): True},
        ),
        (
            "/light/3311/0",
            JSON,
            b'[{"bn":"/light/3311/0/","n":"5850","vb":true},{"n":"5851","v":50}]',
            {Path(3311, 0, 5850): True, Path(3311, 0, 5851): 50},
        ),
        (
            "/light/3311/0",
            CBOR,
            cbor2.dumps([{-2: "/light/3311/0/", 0: "5850", 4: True}, {0: "5851", 2: 50}]),
            {Path(3311, 0, 5850): True, Path(3311, 0, 5851): 50},
        ),
        (
            "/light/3311/0",
            JSON,
            b'[{"bn":"/light/3311/0/","n":"5850","vb":true},{"n":"5851","v":50},'
            b'{"n":"5999","v":50}]',
            {Path(3311, 0, 5850): True, Path(3311, 0, 5851): 50},
        ),
    ],
)
async def test_a_write_reaches_the_device_in_the_type_of_the_definition(
    server: Server, home: HubBench, path: str, form: Format, payload: bytes, values: object
) -> None:
    answer = await send(server, Code.PUT, path, payload, form, origin="[::1]:4711")
    assert answer == Response(Code.CHANGED)
    assert home.adapter.commands == [Write(METER, values, "coap [::1]:4711")]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "form", "payload", "code"),
    [
        ("/light/3311/0/5850", None, b"1", Code.BAD_REQUEST),
        ("/light/3311/0/5850", TEXT, b"true", Code.BAD_REQUEST),
        ("/light/3311/0/5850", TEXT, b"", Code.BAD_REQUEST),
        ("/light/3311/0/5850", TEXT, b"\xff", Code.BAD_REQUEST),
        ("/light/3311/0/5851", TEXT, b"101", Code.BAD_REQUEST),
        ("/light/3311/0/5851", TEXT, b"20.5", Code.BAD_REQUEST),
        ("/light/3311/0/5851", OPAQUE, b"1", Code.UNSUPPORTED_CONTENT_FORMAT),
        ("/light/3311/0/5851", Format.LINK, b"1", Code.UNSUPPORTED_CONTENT_FORMAT),
        ("/light/3311/0", TEXT, b"1", Code.UNSUPPORTED_CONTENT_FORMAT),
        ("/light/3311/0/5850", JSON, b"no", Code.BAD_REQUEST),
        ("/light/3311/0/5850", JSON, b"[]", Code.BAD_REQUEST),
        ("/light/3311/0/5850", JSON, b'[{"n":"/light/3311/0/5850","vb":1}]', Code.BAD_REQUEST),
        ("/light/3311/0/5850", JSON, b'[{"n":"/light/3311/0/5850","v":1}]', Code.BAD_REQUEST),
        ("/light/3311/0/5850", JSON, b'[{"n":"/3311/0/5850","vb":true}]', Code.BAD_REQUEST),
        ("/light/3311/0/5850", JSON, b'[{"n":"/weather/3311/0/5850","vb":true}]', Code.BAD_REQUEST),
        ("/light/3311/0/5850", JSON, b'[{"n":"/light/3311/0/5851","v":1}]', Code.BAD_REQUEST),
        ("/light/3311/0/5850", JSON, b'[{"n":"/light/3311/0/x","v":1}]', Code.BAD_REQUEST),
        ("/light/3311/0/5850", JSON, b'[{"n":"/light/3311/0/5850","s":1}]', Code.BAD_REQUEST),
        (
            "/light/3311/0/5850",
            JSON,
            b'[{"n":"/light/3311/0/5850","vb":true,"t":5}]',
            Code.BAD_REQUEST,
        ),
        (
            "/light/3311/0/5850",
            JSON,
            b'[{"n":"/light/3311/0/5850","vb":true},{"n":"/light/3311/0/5850","vb":false}]',
            Code.BAD_REQUEST,
        ),
        ("/light/3311/0", JSON, b'[{"n":"/light/3311/0/5851","v":1}]', Code.BAD_REQUEST),
        ("/light/3311", JSON, b'[{"n":"/light/3311/0/5850","vb":true}]', Code.METHOD_NOT_ALLOWED),
        ("/weather/3303/0/5700", TEXT, b"1", Code.METHOD_NOT_ALLOWED),
        (
            "/weather/3303/0",
            JSON,
            b'[{"n":"/weather/3303/0/5700","v":1}]',
            Code.METHOD_NOT_ALLOWED,
        ),
        ("/weather/3303/0/5605", TEXT, b"1", Code.METHOD_NOT_ALLOWED),
        ("/light/3311/0/5706", TEXT, b"1", Code.NOT_FOUND),
        ("/light/3311/1/5850", TEXT, b"1", Code.NOT_FOUND),
        ("/nobody/3311/0/5850", TEXT, b"1", Code.NOT_FOUND),
        ("/light/3311/0/5850/0", TEXT, b"1", Code.METHOD_NOT_ALLOWED),
        ("/light", TEXT, b"1", Code.BAD_REQUEST),
        (
            "/light/3311/0/5850",
            JSON,
            b'[{"bn":"/light/3311/0/","bt":5,"n":"5850","vb":true}]',
            Code.BAD_REQUEST,
        ),
        ("/", TEXT, b"1", Code.METHOD_NOT_ALLOWED),
        ("/.well-known/core", TEXT, b"1", Code.METHOD_NOT_ALLOWED),
        ("/0/0/0", TEXT, b"1", Code.UNAUTHORIZED),
    ],
)
async def test_a_write_that_cannot_be_is_refused_before_the_device_hears_of_it(
    server: Server, home: HubBench, path: str, form: Format | None, payload: bytes, code: Code
) -> None:
    assert (await send(server, Code.PUT, path, payload, form)).code == code
    assert home.adapter.commands == []


async def test_a_post_changes_some_resources_of_an_instance(server: Server, home: HubBench) -> None:
    payload = b'[{"n":"/light/3311/0/5851","v":50}]'
    assert (await send(server, Code.POST, "/light/3311/0", payload, JSON)).code == Code.CHANGED
    assert home.adapter.commands == [Write(METER, {Path(3311, 0, 5851): 50}, "coap ")]


SWITCH, DIMMER = Path(3311, 0, 5850), Path(3311, 0, 5851)


@pytest.mark.parametrize(
    ("writable", "values", "code"),
    [
        (True, {SWITCH: True, DIMMER: 50}, Code.CHANGED),
        (True, {SWITCH: True}, Code.METHOD_NOT_ALLOWED),
        (True, {DIMMER: 50}, Code.BAD_REQUEST),
        ((SWITCH,), {SWITCH: True}, Code.CHANGED),
        ((SWITCH,), {SWITCH: True, DIMMER: 50}, Code.FORBIDDEN),
        ((DIMMER,), {DIMMER: 50}, Code.CHANGED),
        (False, {SWITCH: True}, Code.FORBIDDEN),
    ],
)
async def test_a_replacement_of_an_instance_names_all_that_the_client_can_write(
    server: Server, home: HubBench, writable: Any, values: dict[Path, Value], code: Code
) -> None:
    home.say({Path(3311, 0, 5805): 1.5}, METER)  # only the device writes that
    home.rules(meter=DeviceRule(listed=True, writable=writable))
    pack = senml.to_json(senml.Record(f"/light{path}", value) for path, value in values.items())
    assert (await send(server, Code.PUT, "/light/3311/0", pack, JSON)).code == code
    written = [c.values for c in home.adapter.commands if isinstance(c, Write)]
    assert written == ([values] if code == Code.CHANGED else [])


async def test_a_replacement_of_an_instance_shortens_its_arrays(
    server: Server, home: HubBench
) -> None:
    home.say({Path(3349, 0, 5910): 1, **{Path(3349, 0, 5912, n): "a" for n in range(3)}}, METER)
    pack = b'[{"bn":"/light/3349/0/","n":"5912/1","vs":"b"}]'
    assert (await send(server, Code.PUT, "/light/3349/0", pack, JSON)).code == Code.CHANGED
    assert [c.path[3] for c in home.adapter.commands if isinstance(c, Delete)] == [0, 2]


async def test_preconditions_are_kept(server: Server, home: HubBench) -> None:
    path = "/light/3311/0/5850"
    none_match = await send(server, Code.PUT, path, b"1", TEXT, if_none_match=True)
    match = await send(server, Code.PUT, path, b"1", TEXT, if_match=(b"zz",))
    assert none_match.code == match.code == Code.PRECONDITION_FAILED
    assert home.adapter.commands == []
    existing = await send(server, Code.PUT, path, b"1", TEXT, if_match=(b"",))
    assert existing.code == Code.CHANGED


async def test_the_root_cannot_be_deleted(server: Server, home: HubBench) -> None:
    assert (await send(server, Code.DELETE, "/")).code == Code.METHOD_NOT_ALLOWED
    assert home.adapter.commands == []


@pytest.mark.parametrize("value", [None, b"image"])
def test_what_can_only_be_written_is_not_read(
    server: Server, home: HubBench, value: bytes | None
) -> None:
    home.say({Path(5, 0, 0): value, Path(5, 0, 3): 0})
    assert get(server, "/weather/5/0/0").code == Code.METHOD_NOT_ALLOWED
    pack = json.loads(get(server, "/weather/5/0", JSON).payload)
    assert [record["n"] for record in pack] == ["3"]


@pytest.mark.parametrize("path", ["/light/3311/0/5850", "/light/3311/0", "/light/3311", "/light"])
@pytest.mark.parametrize("code", [Code.FETCH, Code.PATCH, Code.IPATCH])
async def test_other_methods_are_not_allowed(server: Server, code: Code, path: str) -> None:
    assert (await send(server, code, path)).code == Code.METHOD_NOT_ALLOWED


TLV = Format.TLV


@pytest.mark.parametrize(
    ("code", "path", "form", "payload", "answer"),
    [
        (Code.POST, "/light/3311/0", TLV, "e116db32", Code.CHANGED),
        (Code.POST, "/light/3311/0", TLV, "e116db32e10f9f01", Code.CHANGED),  # 3999 is unknown
        (Code.POST, "/light/3311/0", Format.CBOR, "f5", Code.UNSUPPORTED_CONTENT_FORMAT),
        (Code.PUT, "/light/3311/0", TLV, "e116db32", Code.BAD_REQUEST),  # 5850 is mandatory
        (Code.POST, "/light/3311/0", TLV, "e10f9f01", Code.NOT_FOUND),
        (Code.POST, "/weather/3303/0", TLV, "e4164441ac0000", Code.METHOD_NOT_ALLOWED),
        (Code.POST, "/light/3311/0/5851", TLV, "e116db32", Code.METHOD_NOT_ALLOWED),
        (Code.POST, "/weather/3/0/11", TLV, "8303410002", Code.METHOD_NOT_ALLOWED),
        (Code.PUT, "/25/0/1", Format.CBOR, "616a", Code.METHOD_NOT_ALLOWED),
        (Code.POST, "/light/3340/0/5523", TLV, "", Code.METHOD_NOT_ALLOWED),
        (Code.PATCH, "/", JSON, "5b5d", Code.METHOD_NOT_ALLOWED),
        (Code.POST, "/", JSON, "5b5d", Code.METHOD_NOT_ALLOWED),
    ],
)
async def test_writing_follows_the_tree_in_every_format(
    server: Server, code: Code, path: str, form: Format | None, payload: str, answer: Code
) -> None:
    assert (await send(server, code, path, bytes.fromhex(payload), form)).code == answer


# --- executing ---


@pytest.mark.parametrize("arguments", ["", "5", "2='10.3'", "7,0=' <https://www.x.org>'", "0=''"])
async def test_an_execute_reaches_the_device_with_its_arguments(
    server: Server, home: HubBench, arguments: str
) -> None:
    answer = await send(server, Code.POST, "/light/3340/0/5523", arguments.encode())
    assert answer == Response(Code.CHANGED)
    assert home.adapter.commands == [Execute(METER, Path(3340, 0, 5523), "coap ", arguments)]


@pytest.mark.parametrize(
    ("path", "form", "payload", "code"),
    [
        *(
            ("/light/3340/0/5523", TEXT, arguments, Code.BAD_REQUEST)
            for arguments in [
                b"a",
                b"10",
                b"0=x",
                b"0,0",
                b"0='a'b'",
                b"0,",
                b",0",
                b"0='",
                b"\xff",
            ]
        ),
        ("/light/3340/0/5523", JSON, b"", Code.METHOD_NOT_ALLOWED),
        ("/light/3340/0/5523", Format.CBOR, b"", Code.METHOD_NOT_ALLOWED),
        ("/light/3311/0/5850", TEXT, b"", Code.METHOD_NOT_ALLOWED),
        ("/light/3349/0/5912", TEXT, b"x", Code.METHOD_NOT_ALLOWED),
        ("/light/3349/0/5912", None, b"", Code.METHOD_NOT_ALLOWED),
        ("/weather/3/0/11/0", TEXT, b"", Code.METHOD_NOT_ALLOWED),
        ("/light/3340/0/5999", TEXT, b"", Code.NOT_FOUND),
        ("/light/3340", TEXT, b"", Code.UNSUPPORTED_CONTENT_FORMAT),  # that is a Create
    ],
)
async def test_an_execute_that_cannot_be_is_refused(
    server: Server, home: HubBench, path: str, form: Format, payload: bytes, code: Code
) -> None:
    home.say({Path(3349, 0, 5912, 0): "a"}, METER)
    assert (await send(server, Code.POST, path, payload, form)).code == code
    assert home.adapter.commands == []


async def test_an_execute_with_a_query_is_refused(server: Server, home: HubBench) -> None:
    asked = send(server, Code.POST, "/light/3340/0/5523", query=("x=1",))
    assert (await asked).code == Code.BAD_REQUEST
    assert home.adapter.commands == []


# --- rights and failures ---


async def test_writing_is_off_until_enabled_and_the_answer_names_the_key(home: HubBench) -> None:
    server = Server(home.north)
    answer = await send(server, Code.PUT, "/light/3311/0/5850", b"1", TEXT)
    assert answer.code == Code.FORBIDDEN
    assert b"writable" in answer.payload
    assert b"3311/0/5850" in answer.payload


@pytest.mark.parametrize(
    ("code", "path"), [(Code.PUT, "/light/3311/0/5850"), (Code.POST, "/light/3340/0/5523")]
)
async def test_an_open_address_takes_no_commands_even_if_enabled(
    server: Server, home: HubBench, code: Code, path: str
) -> None:
    payload, form = (b"1", TEXT) if code == Code.PUT else (b"", None)
    answer = await send(server, code, path, payload, form, secure=False)
    assert answer.code == Code.FORBIDDEN
    assert b"secured transport" in answer.payload
    assert home.adapter.commands == []


@pytest.mark.parametrize(
    ("error", "code", "max_age_s"),
    [
        (NotFound("x"), Code.NOT_FOUND, None),
        (NotAllowed("x"), Code.METHOD_NOT_ALLOWED, None),
        (WritesDisabled("x"), Code.FORBIDDEN, None),
        (InvalidValue("x"), Code.BAD_REQUEST, None),
        (Busy("x"), Code.SERVICE_UNAVAILABLE, 2),
        (Asleep("x", 30.9), Code.SERVICE_UNAVAILABLE, 30),
        (Unreachable("x"), Code.GATEWAY_TIMEOUT, None),
        (TimedOut("x"), Code.GATEWAY_TIMEOUT, None),
        (DeviceRefused("x"), Code.BAD_GATEWAY, None),
        (CommandError("x"), Code.BAD_GATEWAY, None),
    ],
)
async def test_what_goes_wrong_on_the_way_has_its_code_and_its_text(
    server: Server, home: HubBench, error: CommandError, code: Code, max_age_s: int | None
) -> None:
    home.adapter.answer = error
    answer = await send(server, Code.PUT, "/light/3311/0/5850", b"1", TEXT)
    assert answer == Response(code, b"x", max_age_s=max_age_s)


# --- blocks ---


async def test_a_write_in_blocks_is_put_together(server: Server, home: HubBench) -> None:
    payload = b'[{"n":"/light/3340/0/5521","v":60}]'
    for number in range(0, len(payload), 16):
        part = payload[number : number + 16]
        block = Block(number // 16, more=number + 16 < len(payload), exponent=0)
        answer = await send(server, Code.PUT, "/light/3340/0", part, JSON, block1=block)
        assert answer.block1 == block
        assert answer.code == (Code.CONTINUE if block.more else Code.CHANGED)
    assert len(home.adapter.commands) == 1


async def test_two_writes_of_one_client_in_blocks_are_told_apart_by_request_tag(
    server: Server, home: HubBench
) -> None:
    payloads = {
        b"a": b'[{"n":"/light/3311/0/5851","v":11}]',
        b"b": b'[{"n":"/light/3311/0/5851","v":22}]',
    }
    for number in range(3):
        for tag, payload in payloads.items():
            part = payload[16 * number : 16 * number + 16]
            block = Block(number, more=number < 2, exponent=0)
            answer = await send(
                server, Code.POST, "/light/3311/0", part, JSON, block1=block, request_tag=(tag,)
            )
            assert answer.code == (Code.CONTINUE if block.more else Code.CHANGED)
    assert [c.values for c in home.adapter.commands if isinstance(c, Write)] == [
        {Path(3311, 0, 5851): 11},
        {Path(3311, 0, 5851): 22},
    ]


@pytest.mark.parametrize("announced", [True, False])
async def test_a_body_that_is_too_large_is_refused_with_the_size_that_is_not(
    server: Server, announced: bool
) -> None:
    size1 = 100_000 if announced else None
    for number in range(70):
        block = Block(number, more=True, exponent=6)
        answer = await send(
            server, Code.PUT, "/light/3311/0", bytes(1024), JSON, block1=block, size1=size1
        )
        if answer.code != Code.CONTINUE:
            break
    assert (answer.code, answer.size1) == (Code.REQUEST_ENTITY_TOO_LARGE, 65_536)
    assert number == (0 if announced else 64)


def test_the_size_of_a_list_is_told_to_who_asks(server: Server) -> None:
    first = server.read(Request(Code.GET, (".well-known", "core"), wants_size=True))
    assert first.size2
    last = Block(first.size2 // 1024, more=False, exponent=6)
    answer = server.read(Request(Code.GET, (".well-known", "core"), block2=last))
    assert (len(answer.payload), answer.size2) == (first.size2 % 1024, None)


def test_the_list_of_links_stays_the_same_under_a_transfer(server: Server, home: HubBench) -> None:
    def block(number: int) -> Response:
        wanted = Block(number, more=False, exponent=5)
        return server.read(Request(Code.GET, (".well-known", "core"), block2=wanted))

    whole = get(server, "/.well-known/core")
    assert whole.block2 == Block(0, more=True, exponent=6)
    first = block(0)
    home.say({Path(3303, 9, 5700): 1.0})
    server.directory.forget(STATION)
    body, number = first.payload, 0
    while True:
        number += 1
        answer = block(number)
        assert answer.etag == first.etag
        body += answer.payload
        assert answer.block2
        if not answer.block2.more:
            break
    assert b"</weather/3303/9>" not in body
    assert body.count(b",<") + 1 == len(body.split(b",<"))
    assert block(number + 1).code == Code.BAD_REQUEST
    assert block(0).etag != first.etag


def test_a_list_that_the_client_has_already_is_not_sent_again(server: Server) -> None:
    first = get(server, "/.well-known/core")
    again = server.read(Request(Code.GET, (".well-known", "core"), etags=(first.etag,)))
    assert (again.code, again.payload) == (Code.VALID, b"")

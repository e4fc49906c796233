"""The same resources in each content format, and the same write in each."""

import contextlib
from typing import Any

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.coap import formats
from adapters.coap.formats import Item
from adapters.coap.messages import Code, Format, Refusal, Request, Response
from adapters.coap.server import Server
from gateway.errors import DecodeError, InvalidValue
from gateway.events import Write
from gateway.model import Path, ResourceType
from gateway.policy import DeviceRule
from tests.fakes import METER, HubBench
from tests.vectors import LWM2M

VECTORS = {v["id"]: v for v in LWM2M}
AT = 1_700_001_000
ON = Path(3311, 0, 5850)
LEVEL = Path(3311, 0, 5851)
CLIP = Path(3339, 0, 5522)


@pytest.fixture
def server(home: HubBench) -> Server:
    home.rules(meter=DeviceRule(listed=True, writable=True))
    return Server(home.north)


def get(server: Server, path: str, accept: Format) -> Response:
    return server.read(Request(Code.GET, tuple(path[1:].split("/")), accept=accept))


async def put(server: Server, path: str, form: Format, payload: bytes) -> Code:
    request = Request(Code.PUT, tuple(path[1:].split("/")), content_format=form, payload=payload)
    return (await server.command(request)).code


@pytest.mark.parametrize(
    ("path", "accept", "payload"),
    [
        ("/weather/3303/0/5700", Format.CBOR, "f94d60"),
        ("/weather/3303/0/5701", Format.CBOR, "6343656c"),
        ("/light/3311/0/5850", Format.CBOR, "f4"),
        ("/light/3339/0/5522", Format.CBOR, "4600ff636c6970"),
        ("/light/3339/0/5522", Format.OPAQUE, "00ff636c6970"),
        ("/weather/3303/0/5700", Format.TLV, "e4164441ac0000"),
        ("/weather/3303/0", Format.TLV, "e4164441ac0000e3164543656c"),
        ("/weather/3/0/11", Format.TLV, "860b410000410102"),
        ("/weather/3/0/11/1", Format.TLV, "830b410102"),
        ("/light/3311", Format.TLV, "080008e116da00e116db14"),
        ("/weather/3303/0/5700", Format.LWM2M_CBOR, None),
        ("/25/0/1", Format.LWM2M_CBOR, "a183181900016777656174686572"),
    ],
)
def test_a_read_shows_the_octets_that_the_format_defines(
    server: Server, path: str, accept: Format, payload: str | None
) -> None:
    answer = get(server, path, accept)
    assert (answer.code, answer.format) == (Code.CONTENT, accept)
    if payload is not None:
        assert answer.payload.hex() == payload
    else:
        assert cbor2.loads(answer.payload) == {("weather", 3303, 0, 5700): 21.5}


def test_lwm2m_cbor_of_an_instance_begins_with_prefix_and_ids(server: Server) -> None:
    answer = get(server, "/weather/3303/0", Format.LWM2M_CBOR)
    assert cbor2.loads(answer.payload) == {("weather", 3303, 0): {5700: 21.5, 5701: "Cel"}}


def test_xml_has_one_element_a_record(server: Server) -> None:
    assert get(server, "/weather/3303/0", Format.SENML_XML).payload.decode() == (
        "<sensml xmlns='urn:ietf:params:xml:ns:senml'>"
        f'<senml bn="/weather/3303/0/" bt="{AT}" n="5700" u="Cel" v="21.5"/>'
        '<senml n="5701" vs="Cel"/></sensml>'
    )


@pytest.mark.parametrize(
    ("path", "accept"),
    [
        ("/weather/3303/0", Format.CBOR),
        ("/weather/3/0/11", Format.CBOR),
        ("/weather/3303/0", Format.LWM2M_JSON),
        ("/weather/3303/0", Format.ETCH_JSON),
        ("/weather/3303/0/5700", Format.ETCH_CBOR),
        ("/weather/3303/0/5700", Format.OPAQUE),
    ],
)
def test_a_format_that_cannot_show_it_is_not_acceptable(
    server: Server, path: str, accept: Format
) -> None:
    assert get(server, path, accept).code == Code.NOT_ACCEPTABLE


def test_what_is_listed_as_ct_is_what_can_be_accepted(server: Server) -> None:
    answer = server.read(Request(Code.GET, (".well-known", "core"), ("href=/light/3311/0/5850",)))
    listed = answer.payload.decode().partition('ct="')[2].partition('"')[0]
    assert [int(form) for form in listed.split()] == [
        form for form in Format if get(server, "/light/3311/0/5850", form).code == Code.CONTENT
        and form is not Format.LINK
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("path", "form", "payload", "values"),
    [
        (ON, Format.CBOR, "f5", {ON: True}),
        (ON, Format.CBOR, "c1f5", {ON: True}),
        (LEVEL, Format.CBOR, "1832", {LEVEL: 50}),
        (ON, Format.TLV, "e116da01", {ON: True}),
        (Path(3311, 0), Format.TLV, "e116da01e116db32", {ON: True, LEVEL: 50}),
        (ON, Format.LWM2M_CBOR, "a1656c69676874a1190cefa100a11916daf5", {ON: True}),
        (
            Path(3311, 0),
            Format.LWM2M_CBOR,
            "bf83656c69676874190cef00bf1916daf51916db1832ffff",
            {ON: True, LEVEL: 50},
        ),
        (
            Path(3311, 0),
            Format.SENML_XML,
            b'<sensml xmlns="urn:ietf:params:xml:ns:senml">'
            b'<senml bn="/light/3311/0/" n="5850" vb="true"/><senml n="5851" v="50"/></sensml>',
            {ON: True, LEVEL: 50},
        ),
        (
            Path(3311, 0),
            Format.LWM2M_JSON,
            b'{"bn":"/3311/0/","e":[{"n":"5850","bv":true},{"n":"5851","v":50}]}',
            {ON: True, LEVEL: 50},
        ),
        (ON, Format.LWM2M_JSON, b'{"e":[{"n":"","bv":true}]}', {ON: True}),
    ],
)
async def test_a_write_in_each_format_reaches_the_device(
    server: Server, home: HubBench, path: Path, form: Format, payload: str | bytes, values: object
) -> None:
    octets = bytes.fromhex(payload) if isinstance(payload, str) else payload
    assert await put(server, f"/light{path}", form, octets) == Code.CHANGED
    assert home.adapter.commands == [Write(METER, values, "coap ")]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "form", "payload", "code"),
    [
        (ON, Format.CBOR, "01", Code.BAD_REQUEST),
        (ON, Format.CBOR, "f6", Code.BAD_REQUEST),
        (ON, Format.CBOR, "f5f5", Code.BAD_REQUEST),
        (ON, Format.CBOR, "", Code.BAD_REQUEST),
        (Path(3311, 0), Format.CBOR, "f5", Code.UNSUPPORTED_CONTENT_FORMAT),
        (ON, Format.TLV, "e116da02", Code.BAD_REQUEST),
        (ON, Format.TLV, "e116db32", Code.BAD_REQUEST),
        (Path(3311, 0), Format.TLV, "e116da", Code.BAD_REQUEST),
        (Path(3311, 0), Format.TLV, "", Code.BAD_REQUEST),
        (ON, Format.LWM2M_CBOR, "a1190cefa100a11916daf5", Code.BAD_REQUEST),
        (ON, Format.LWM2M_CBOR, "a1656c69676874a1190cefa100a11916daf6", Code.BAD_REQUEST),
        (ON, Format.LWM2M_CBOR, "a0", Code.BAD_REQUEST),
        (
            ON,
            Format.LWM2M_JSON,
            b'{"bn":"/3311/1/","e":[{"n":"5850","bv":true}]}',
            Code.BAD_REQUEST,
        ),
        (ON, Format.SENML_XML, b"<sensml/>", Code.BAD_REQUEST),
        (ON, Format.ETCH_JSON, b"[]", Code.UNSUPPORTED_CONTENT_FORMAT),
        (ON, Format.ETCH_CBOR, b"", Code.UNSUPPORTED_CONTENT_FORMAT),
    ],
)
async def test_a_payload_that_is_nonsense_in_its_format_is_refused(
    server: Server, home: HubBench, path: Path, form: Format, payload: str | bytes, code: Code
) -> None:
    octets = bytes.fromhex(payload) if isinstance(payload, str) else payload
    assert await put(server, f"/light{path}", form, octets) == code
    assert home.adapter.commands == []


async def test_cbor_and_tlv_write_octets(server: Server, home: HubBench) -> None:
    home.say({Path(5, 0, 0): b"old"}, METER)
    for form, payload in ((Format.CBOR, b"\x43new"), (Format.TLV, b"\xc3\x00new")):
        home.adapter.commands.clear()
        assert await put(server, "/light/5/0/0", form, payload) == Code.CHANGED
        assert home.adapter.commands == [Write(METER, {Path(5, 0, 0): b"new"}, "coap ")]


def test_a_composite_is_written_as_omas_gateway_example_shows_it() -> None:
    items = [
        Item("d01", Path(3, 0, 0), "Company A"),
        Item("d01", Path(3, 0, 9), 100),
        Item("d02", Path(3, 0, 0), "Company B"),
        Item("d02", Path(3, 0, 9), 65),
    ]
    expected = VECTORS["lwcbor-gateway-composite"]["hex"]
    assert formats.write(items, Format.LWM2M_CBOR).hex() == expected


@given(st.binary(max_size=60), st.sampled_from(list(Format)), st.booleans())
def test_random_octets_are_refused_and_nothing_else(
    payload: bytes, form: Format, single: bool
) -> None:
    def type_of(path: Path) -> ResourceType:
        return ResourceType.BOOLEAN

    calls: list[Any] = [
        lambda: formats.read(payload, form, ("light", ON), type_of, single=single),
        lambda: formats.read_composite(payload, form, type_of),
        lambda: formats.read_names(payload, form),
    ]
    for call in calls:
        with contextlib.suppress(DecodeError, InvalidValue, Refusal):
            call()

"""Datagrams: what is CoAP, what must be rejected, which options count."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.coap.datagram import Datagram, Type, decode, encode, known_options, request
from adapters.coap.messages import Block, Code, Format, Option, Refusal
from gateway.errors import DecodeError

NUMBERS = st.one_of(st.integers(0, 30), st.integers(0, 0xFFFF))
OPTIONS = st.lists(st.tuples(NUMBERS, st.binary(max_size=300)), max_size=6).map(
    lambda options: tuple(sorted(options, key=lambda option: option[0]))
)
DATAGRAMS = st.builds(
    Datagram,
    st.sampled_from(Type),
    st.integers(1, 255),
    st.integers(0, 0xFFFF),
    st.binary(max_size=8),
    OPTIONS,
    st.binary(max_size=40),
)


def test_the_example_of_rfc_7252_is_read_as_it_says() -> None:
    """Figure 16: GET /temperature with its piggybacked answer."""
    get = bytes.fromhex("40017d34bb") + b"temperature"
    assert decode(get) == Datagram(Type.CON, 1, 0x7D34, b"", ((11, b"temperature"),))
    content = bytes.fromhex("60457d34ff") + b"22.3 C"
    assert decode(content) == Datagram(Type.ACK, 0x45, 0x7D34, b"", (), b"22.3 C")


@given(DATAGRAMS)
def test_what_is_written_is_read_back(datagram: Datagram) -> None:
    assert decode(encode(datagram)) == datagram


@given(DATAGRAMS, st.data())
def test_a_cut_datagram_is_rejected_or_still_well_formed(
    datagram: Datagram, data: st.DataObject
) -> None:
    octets = encode(datagram)
    cut = octets[: data.draw(st.integers(0, len(octets)))]
    try:
        read = decode(cut)
    except DecodeError:
        return
    assert encode(read) == cut


@given(st.binary(max_size=80))
def test_random_octets_raise_nothing_but_decode_errors(octets: bytes) -> None:
    try:
        read = decode(octets)
    except DecodeError:
        return
    with contextlib.suppress(Refusal):
        request(read.code, read.options, read.payload)


@pytest.mark.parametrize(
    "octets",
    [
        b"",
        b"\x40\x01\x00",
        b"\x00\x01\x00\x01",
        b"\x80\x01\x00\x01",
        b"\x49\x01\x00\x01123456789",
        b"\x4f\x01\x00\x01123456789012345",
        b"\x48\x01\x00\x0112",
        b"\x41\x00\x00\x01\xaa",
        b"\x40\x00\x00\x01\xffx",
        b"\x40\x01\x00\x01\xf0abc",
        b"\x40\x01\x00\x01\xbfabc",
        b"\x40\x01\x00\x01\xb8abc",
        b"\x40\x01\x00\x01\xe0\x01",
        b"\x40\x01\x00\x01\xd0",
        b"\x40\x01\x00\x01\xb13\xff",
        b"\x40\x01\x00\x01\xe0\xff\xff",
    ],
    ids=[
        "nothing", "3 octets", "version 0", "version 2", "token of 9", "token of 15",
        "cut token", "empty with token", "empty with payload", "delta 15", "length 15",
        "cut value", "cut extended delta", "no extended delta", "marker without payload",
        "option above 65535",
    ],
)  # fmt: skip
def test_what_rfc_7252_calls_a_format_error_is_rejected(octets: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(octets)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ([(9999, b"x")], Code.BAD_OPTION),
        ([(17, b""), (17, b"\x32")], Code.BAD_OPTION),
        ([(17, b"123456789")], Code.BAD_OPTION),
        ([(3, b"a"), (3, b"b")], Code.BAD_OPTION),
        ([(3, b"")], Code.BAD_OPTION),
        ([(3, b"\xff")], Code.BAD_OPTION),
        ([(11, b"\xff\xfe")], Code.BAD_OPTION),
        ([(15, b"\xff\xfe")], Code.BAD_OPTION),
        ([(11, b"a" * 256)], Code.BAD_OPTION),
        ([(23, b"\x00\x00\x00\x06")], Code.BAD_OPTION),
        ([(23, b"\x07")], Code.BAD_REQUEST),
        ([(35, b"coap://127.0.0.1/x")], Code.PROXYING_NOT_SUPPORTED),
        ([(39, b"http")], Code.PROXYING_NOT_SUPPORTED),
        ([(17, b"\xfd\xe8")], Code.NOT_ACCEPTABLE),
        ([(12, b"\xfd\xe8")], Code.UNSUPPORTED_CONTENT_FORMAT),
    ],
)
def test_a_critical_option_that_cannot_be_honoured_is_refused(
    options: list[tuple[int, bytes]], code: Code
) -> None:
    with pytest.raises(Refusal) as refusal:
        request(Code.GET, options, b"")
    assert refusal.value.code == code


@pytest.mark.parametrize(
    "options", [[(9998, b"x")], [(6, b"\x00\x00\x00\x00")], [(6, b""), (6, b"\x01")]]
)
def test_an_elective_option_that_makes_no_sense_is_ignored(
    options: list[tuple[int, bytes]],
) -> None:
    assert request(Code.GET, options, b"").observe in {None, 0}


def test_a_request_has_its_options_by_name() -> None:
    options = [
        (Option.URI_PATH, b"weather"), (Option.URI_PATH, b"3303"), (Option.CONTENT_FORMAT, b"n"),
        (Option.URI_QUERY, b"a=1"), (Option.ACCEPT, b"p"), (Option.BLOCK2, b"\x16"),
    ]  # fmt: skip
    read = request(Code.PUT, options, b"x")
    assert (read.path, read.query) == (("weather", "3303"), ("a=1",))
    assert (read.content_format, read.accept) == (Format.SENML_JSON, Format.SENML_CBOR)
    assert read.block2 == Block(1, more=False, exponent=6)


def test_unknown_methods_are_not_allowed() -> None:
    with pytest.raises(Refusal) as refusal:
        request(31, [], b"")
    assert refusal.value.code == Code.METHOD_NOT_ALLOWED


@given(OPTIONS)
def test_no_option_is_counted_twice_that_may_stand_once(
    options: tuple[tuple[int, bytes], ...],
) -> None:
    try:
        known = known_options(options)
    except Refusal:
        return
    repeatable = {Option.IF_MATCH, Option.ETAG, Option.URI_PATH, Option.URI_QUERY}
    repeatable.add(Option.REQUEST_TAG)
    assert all(len(values) == 1 or number in repeatable for number, values in known.items())

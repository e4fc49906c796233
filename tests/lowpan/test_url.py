"""Radio URLs: what they mean, and what people are told when they mean nothing."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.lowpan.radio import url
from adapters.lowpan.radio.url import SerialProtocol, SerialUrl, ZepUrl

SPINEL, SLIP = SerialProtocol.SPINEL, SerialProtocol.SLIP
BY_ID = "/dev/serial/by-id/usb-Nabu_Casa_SkyConnect_v1.0_90de-if00-port0"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            f"spinel+hdlc://{BY_ID}?baudrate=460800&rtscts=1",
            SerialUrl(SPINEL, BY_ID, 460800, True),
        ),
        (" spinel+hdlc:///dev/ttyACM0 ", SerialUrl(SPINEL, "/dev/ttyACM0")),
        ("spinel+hdlc:///dev/ttyACM0?rtscts=no", SerialUrl(SPINEL, "/dev/ttyACM0")),
        ("slip-radio:///dev/ttyUSB0?baudrate=115200", SerialUrl(SLIP, "/dev/ttyUSB0", 115200)),
        ("SLIP-RADIO:///dev/with%20space", SerialUrl(SLIP, "/dev/with space")),
        ("zep://[::1]:17754", ZepUrl("::1", 17754)),
        ("zep://127.0.0.1", ZepUrl("127.0.0.1", 17754)),
        ("zep://[::1]:4711/?listen=1", ZepUrl("::1", 4711, True)),
    ],
)
def test_a_url_names_a_radio(text: str, expected: url.RadioUrl) -> None:
    assert url.parse(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the scheme is missing; known: slip-radio, spinel.hdlc, zep; for example spinel"),
        ("/dev/ttyACM0", "the scheme is missing"),
        ("spinel:///dev/ttyACM0", r"unknown scheme 'spinel'; did you mean spinel\+hdlc\?"),
        ("spinel+hdlc+uart:///dev/ttyACM0", r"did you mean spinel\+hdlc\?"),
        ("spinel+hdlc://dev/ttyACM0", r"three slashes .* not two: spinel\+hdlc:///dev"),
        ("spinel+hdlc:ttyACM0", "the path of the serial device is missing"),
        ("spinel+hdlc:///", "the path of the serial device is missing"),
        ("spinel+hdlc:///dev/x?baud=1", "unknown option 'baud'; did you mean baudrate"),
        ("spinel+hdlc:///dev/x?baudrate=fast", "baudrate is a number like .* not 'fast'"),
        ("spinel+hdlc:///dev/x?baudrate=", "baudrate is a number"),
        ("spinel+hdlc:///dev/x?baudrate=0", "baudrate is a number"),
        ("spinel+hdlc:///dev/x?baudrate=9600&baudrate=19200", "baudrate is given twice"),
        ("spinel+hdlc:///dev/x?rtscts=maybe", "rtscts is 0 or 1, not 'maybe'"),
        ("spinel+hdlc:///dev/x#y", "neither user nor fragment"),
        ("zep://", "the address is missing"),
        ("zep://[::1]:99999", "not a radio URL"),
        ("zep://[::1", "not a radio URL"),
        ("zep://[::1]/path", "has no path"),
        ("zep://[::1]?baudrate=9600", "unknown option 'baudrate'; known: listen"),
    ],
)
def test_what_is_no_radio_is_refused_with_what_to_write(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        url.parse(text)


@given(st.text(max_size=60) | st.text(max_size=30).map("spinel+hdlc:///".__add__))
def test_no_text_raises_anything_else(text: str) -> None:
    with contextlib.suppress(ValueError):
        url.parse(text)

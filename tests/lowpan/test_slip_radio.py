"""Slip-radios of both dialects, their codec against recorded exchanges, their moods on a pty."""

import asyncio
import os
import pty
import tty
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.lowpan.framing import slip
from adapters.lowpan.radio import slip_protocol as protocol
from adapters.lowpan.radio import url
from adapters.lowpan.radio.interface import (
    RadioError,
    RadioReplacedError,
    RadioSettings,
    TxResult,
)
from adapters.lowpan.radio.opener import make_radio
from adapters.lowpan.radio.slip_protocol import Address, Parameter, Reception, Report, Text
from gateway.errors import DecodeError, EncodeError
from tests.deadlines import DEADLINE_S
from tests.lowpan.radio_bench import (
    BROADCAST_IN,
    BROADCAST_OUT,
    IMPATIENT,
    UNICAST_OUT,
    Listener,
    running,
    soon,
)
from tests.lowpan.vectors import VECTORS, psdus, unhex

EXCHANGES = {exchange["name"]: exchange for exchange in VECTORS["slip_radio"]["exchanges"]}
SETTINGS = RadioSettings(channel=15, pan_id=0xABCD)
EUI64 = unhex("020000000000dd01")


# The codec.


@pytest.mark.parametrize(
    ("name", "messages"),
    [
        ("?M", [Address(EUI64)]),
        ("?V channel", [Parameter(1, 26), Text("EUnknown command")]),
        ("?V panid", [Parameter(2, 0x23), Text("EUnknown command")]),
        ("!S broadcast no attrs", [Report(7, 0, 1)]),
        ("!S unicast nobody", [Report(9, 2, 8)]),
        ("!X unknown", [Text("EUnknown command")]),
    ],
)
def test_recorded_answers_are_understood(name: str, messages: list[protocol.Message]) -> None:
    assert [protocol.decode(unhex(text)) for text in EXCHANGES[name]["rx"]] == messages


def test_recorded_requests_are_made_the_same() -> None:
    assert protocol.ASK_ADDRESS.hex() == EXCHANGES["?M"]["tx"]
    assert protocol.set_parameter(1, 26).hex() == EXCHANGES["!V set channel 26"]["tx"]
    assert protocol.set_parameter(2, 0x23).hex() == EXCHANGES["!V set pan 0x0023"]["tx"]
    request = unhex(EXCHANGES["!S broadcast no attrs"]["tx"])
    assert protocol.transmit(7, request[4:]) == request


def test_every_recorded_frame_is_told_from_control_messages() -> None:
    frames = [unhex(text) for text in EXCHANGES["listen for RIOT RS (raw rx frame)"]["rx"][1:]]
    for psdu in [*frames, *psdus()]:
        assert protocol.decode(psdu) == Reception(psdu)


def test_a_frame_that_begins_like_a_control_message_is_a_frame() -> None:
    # Data, acknowledgement asked for, no PAN compression: its first octet is "!".
    psdu = unhex("21cc01") + unhex("2300341200000000000223 0001aa000000000002") + b"payload"
    assert protocol.decode(psdu) == Reception(psdu)


@pytest.mark.parametrize("text", [b"\rboot", b"Contiki-NG started\r\n", b"?M", b"Err 5", b"\r\n"])
def test_debug_text_is_no_frame(text: bytes) -> None:
    assert isinstance(protocol.decode(text), Text)


def test_one_octet_behind_zephyr_s_messages_is_ignored() -> None:
    assert protocol.decode(b"!M" + EUI64 + b"\0") == Address(EUI64)
    assert protocol.decode(b"!R\x05\0\x01\0") == Report(5, 0, 1)


@pytest.mark.parametrize("packet", [b"!M1234", b"!R\0\0", b"!V\0\x01\0", bytes(126)])
def test_nonsense_is_refused(packet: bytes) -> None:
    with pytest.raises(DecodeError):
        protocol.decode(packet)


def test_a_border_router_mote_is_recognised() -> None:
    with pytest.raises(DecodeError, match="border-router mote"):
        protocol.decode(b"!M020000000000dd01")


@given(st.binary(max_size=200))
def test_random_octets_raise_nothing_but_decode_errors(data: bytes) -> None:
    try:
        protocol.decode(data)
    except DecodeError:
        return


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (0, TxResult.ACKED),
        (1, TxResult.CHANNEL_BUSY),
        (2, TxResult.NO_ACK),
        (4, TxResult.REFUSED),
        (6, TxResult.QUEUE_FULL),
        (0xF0, TxResult.CHANNEL_BUSY),
        (0xB0, TxResult.NO_ACK),
        (0xFB, TxResult.REFUSED),
    ],
)
def test_both_dialects_of_status_are_understood(status: int, result: TxResult) -> None:
    assert protocol.result(Report(1, status, 1), UNICAST_OUT) is result


@pytest.mark.parametrize("size", [0, 126])
def test_what_is_no_frame_is_not_sent(size: int) -> None:
    with pytest.raises(EncodeError):
        protocol.transmit(0, bytes(size))


# The radio.


class Stick:
    """A slip-radio on a pty; `dialect` is contiki or zephyr."""

    def __init__(self, dialect: str = "contiki") -> None:
        self.master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self.master, False)
        self.path = os.ttyname(self._slave)
        self.dialect = dialect
        self.eui64 = EUI64
        self.status = 0
        self.answers = True
        self.reports = True
        self.channel = 26
        self.pan_id = 0x1234
        self.frames: list[bytes] = []
        self._decoder = slip.decoder()

    def say(self, packet: bytes) -> None:
        os.write(self.master, slip.encode(packet))

    def serve(self) -> None:
        for packet in self._decoder.feed(os.read(self.master, 4096)):
            assert isinstance(packet, bytes)
            if self.answers:
                self._receive(packet)

    def _receive(self, packet: bytes) -> None:
        more = b"" if self.dialect == "contiki" else b"\0"
        match packet[:2]:
            case b"?M":
                self.say(b"!M" + self.eui64 + more)
            case b"!S":
                assert packet[3] == 0, "attributes make some radios drop the frame"
                self.frames.append(packet[4:])
                if self.reports:
                    self.say(b"!R" + bytes((packet[2], self.status, 1)) + more)
            case b"!V" if self.dialect == "contiki":
                value = int.from_bytes(packet[4:6], "big")
                if packet[3] == 1:
                    self.channel = value
                elif packet[3] == 2:
                    self.pan_id = value
            case b"!C" if self.dialect == "zephyr":
                self.channel = packet[2]
            case _ if self.dialect == "contiki":
                self.say(b"EUnknown command")

    def close(self) -> None:
        os.close(self._slave)
        os.close(self.master)


@pytest.fixture(params=["contiki", "zephyr"])
async def stick(request: pytest.FixtureRequest) -> AsyncIterator[Stick]:
    stick = Stick(request.param)
    loop = asyncio.get_running_loop()
    loop.add_reader(stick.master, stick.serve)
    yield stick
    loop.remove_reader(stick.master)
    stick.close()


async def test_frames_go_out_and_come_in(stick: Stick, listener: Listener) -> None:
    async with running(f"slip-radio://{stick.path}", listener, SETTINGS) as radio:
        assert radio.info
        assert radio.info.eui64 == EUI64
        assert await radio.send(BROADCAST_OUT) is TxResult.SENT
        assert await radio.send(UNICAST_OUT) is TxResult.ACKED
        assert stick.frames == [BROADCAST_OUT, UNICAST_OUT]
        assert stick.channel == 15
        assert stick.pan_id == (0xABCD if stick.dialect == "contiki" else 0x1234)
        stick.say(b"Contiki says hello")
        stick.say(BROADCAST_IN)
        frame = await soon(listener.frames)
        assert (frame.psdu, frame.rssi_dbm, frame.lqi) == (BROADCAST_IN, None, None)


async def test_many_frames_use_each_number_in_turn(stick: Stick, listener: Listener) -> None:
    async with running(f"slip-radio://{stick.path}", listener, SETTINGS) as radio:
        results = [await radio.send(UNICAST_OUT) for _ in range(40)]
    assert set(results) == {TxResult.ACKED}


async def test_a_frame_without_report_is_refused_and_the_radio_goes_on(
    stick: Stick, listener: Listener
) -> None:
    address = f"slip-radio://{stick.path}?baudrate=115200"
    async with running(address, listener, SETTINGS, IMPATIENT) as radio:
        stick.reports = False
        assert await radio.send(UNICAST_OUT) is TxResult.REFUSED
        stick.reports = True
        assert await radio.send(UNICAST_OUT) is TxResult.ACKED
        assert listener.downs.empty()


async def test_a_radio_that_hangs_is_noticed_and_taken_back(
    stick: Stick, listener: Listener
) -> None:
    address = f"slip-radio://{stick.path}?baudrate=115200"
    async with running(address, listener, SETTINGS, IMPATIENT) as radio:
        stick.answers = False
        assert "hangs" in await soon(listener.downs)
        stick.answers = True
        await soon(listener.ups)
        assert await radio.send(UNICAST_OUT) is TxResult.ACKED


async def test_a_radio_that_forgot_its_channel_is_set_again(
    stick: Stick, listener: Listener
) -> None:
    async with running(f"slip-radio://{stick.path}", listener, SETTINGS, IMPATIENT) as radio:
        stick.channel = 26
        stick.reports = False
        await radio.send(UNICAST_OUT)  # no report: the radio is asked, and set again
        stick.reports = True
        assert await radio.send(UNICAST_OUT) is TxResult.ACKED
        assert stick.channel == 15


async def test_another_address_in_the_same_place_ends_the_radio(
    stick: Stick, listener: Listener
) -> None:
    address = url.parse(f"slip-radio://{stick.path}?baudrate=115200")
    life = asyncio.ensure_future(make_radio(address, SETTINGS, listener, IMPATIENT).run())
    await soon(listener.ups)
    stick.eui64 = unhex("020000000000dd02")
    assert "another EUI-64" in await soon(listener.downs)
    with pytest.raises(RadioReplacedError, match="is 020000000000dd02, not 020000000000dd01"):
        await asyncio.wait_for(life, DEADLINE_S)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (RadioSettings(15, 1, eui64=unhex("0200000000009999")), "cannot be given another"),
        (RadioSettings(15, 1, short_address=1), "cannot be given a short address"),
    ],
)
async def test_what_a_slip_radio_cannot_do_is_said(
    stick: Stick, listener: Listener, settings: RadioSettings, message: str
) -> None:
    with pytest.raises(RadioError, match=message):
        async with running(f"slip-radio://{stick.path}", listener, settings):
            pass


async def test_without_energy_and_waiting_frames_life_goes_on(
    stick: Stick, listener: Listener
) -> None:
    async with running(f"slip-radio://{stick.path}", listener, SETTINGS) as radio:
        await radio.set_pending(EUI64, True)
        with pytest.raises(RadioError, match="energy"):
            await radio.energy_scan()
        assert await radio.send(UNICAST_OUT) is TxResult.ACKED

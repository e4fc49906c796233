"""The Spinel codec and the order in which an RCP is brought up, held against recorded exchanges."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.lowpan.radio import rcp, spinel
from adapters.lowpan.radio.interface import RadioError, RadioInfo, RadioSettings
from adapters.lowpan.radio.rcp import Procedure, Refused, Request
from adapters.lowpan.radio.spinel import Command, Fields, Frame, Property, Status
from gateway.errors import DecodeError, EncodeError
from tests.lowpan.vectors import VECTORS, unhex

EXCHANGES = {exchange["name"]: exchange for exchange in VECTORS["spinel"]["exchanges"]}
RECEIVED = (
    "2d00" + "55" * 43 + "ffff" + "ec8000000a001a00a0019713f290000000000100000500" + "0000000000"
)
SETTINGS = RadioSettings(channel=26, pan_id=0x0023)


@pytest.mark.parametrize("exchange", EXCHANGES.values(), ids=EXCHANGES)
def test_every_recorded_frame_is_read_and_written_back(exchange: dict[str, str]) -> None:
    for text in [exchange["tx"], *exchange["rx"]]:
        assert spinel.encode(spinel.decode(unhex(text))) == unhex(text)


@given(
    st.integers(0, 15),
    st.sampled_from([c for c in Command if c not in {Command.NOOP, Command.RESET}]),
    st.integers(0, spinel.MAX_PACKED),
    st.binary(max_size=50),
)
def test_frames_survive_the_way_there_and_back(
    tid: int, command: int, prop: int, value: bytes
) -> None:
    frame = Frame(tid, command, prop, value)
    assert spinel.decode(spinel.encode(frame)) == frame


@given(st.binary(max_size=80))
def test_random_octets_raise_nothing_but_decode_errors(data: bytes) -> None:
    for read in (spinel.decode, spinel.reception, spinel.transmission):
        try:
            read(data)
        except DecodeError:
            continue


def test_packed_integers_are_little_endian_base_128() -> None:
    assert spinel.packed(0x1303) == b"\x83\x26"
    assert Fields(b"\x83\x26").packed() == 0x1303
    with pytest.raises(EncodeError):
        spinel.packed(-1)
    with pytest.raises(DecodeError):
        Fields(b"\xff\xff\xff\x01").packed()


def test_a_frame_from_the_air_comes_with_all_its_metadata() -> None:
    frame = spinel.reception(unhex(RECEIVED))
    assert frame == spinel.Reception(b"\x55" * 43, -20, 0, 26, None, 0x90F21397_01A0)


@pytest.mark.parametrize("size", [47, 48, 49, 51, 63, 66])
def test_firmware_that_leaves_out_fields_is_understood(size: int) -> None:
    assert spinel.reception(unhex(RECEIVED)[:size]).psdu == b"\x55" * 43


@pytest.mark.parametrize(
    "phy", ["0000", "01001a", "02001a37", "06001a3700000000", "0c001a37" + "00" * 10]
)
def test_older_and_newer_metadata_is_understood(phy: str) -> None:
    frame = spinel.reception(unhex(RECEIVED)[:51] + unhex(phy))
    assert (frame.psdu, frame.rssi_dbm) == (b"\x55" * 43, -20)
    assert (frame.channel, frame.lqi) in {(None, None), (26, None), (26, 0x37)}


@pytest.mark.parametrize("size", [0, 1, 20, 46])
def test_a_truncated_frame_is_none(size: int) -> None:
    with pytest.raises(DecodeError):
        spinel.reception(unhex(RECEIVED)[:size])


def test_a_failed_reception_has_no_frame_but_an_error() -> None:
    failed = spinel.reception(unhex("0000" + "80800000" + "0a00" + "1a00" + "00" * 8 + "010004"))
    assert (failed.psdu, failed.error) == (b"", 4)


def test_a_transmission_says_that_header_and_security_are_done() -> None:
    sent = spinel.decode(unhex(EXCHANGES["tx broadcast no ack"]["tx"]))
    psdu = Fields(sent.value).sized()[:-2]
    assert spinel.stream_raw(psdu, 26) == sent.value


@pytest.mark.parametrize("size", [0, 126])
def test_what_is_no_frame_is_not_transmitted(size: int) -> None:
    with pytest.raises(EncodeError):
        spinel.stream_raw(bytes(size), 26)


@pytest.mark.parametrize(
    ("name", "status"),
    [
        ("tx broadcast no ack", Status.OK),
        ("tx unicast nobody acks", Status.NO_ACK),
        ("tx with no metadata", 9),
        ("tx while phy disabled", Status.INVALID_STATE),
    ],
)
def test_the_end_of_a_transmission_is_read(name: str, status: int) -> None:
    answer = spinel.decode(unhex(EXCHANGES[name]["rx"][0]))
    assert spinel.transmission(answer.value).status == status


# The order of bringing up.

RCP = {
    Property.PROTOCOL_VERSION: b"\x04\x03",
    Property.CAPS: unhex("050c182281044041"),
    Property.NCP_VERSION: b"OPENTHREAD/1\0",
    Property.RCP_API_VERSION: b"\x0b",
    Property.RCP_MIN_HOST_API_VERSION: b"\x04",
    Property.HWADDR: unhex("18b4300000000001"),
}


def play(
    procedure: Procedure[RadioInfo], answers: dict[Property, bytes], refusals: set[Property]
) -> tuple[list[Request], RadioInfo]:
    """Runs a procedure against canned answers; a SET answers with its own value."""
    requests = []
    try:
        request = next(procedure)
        while True:
            requests.append(request)
            if request.property in refusals:
                request = procedure.throw(Refused(request, Status.PROP_NOT_FOUND))
            else:
                request = procedure.send(answers.get(request.property, request.value))
    except StopIteration as stop:
        info: RadioInfo = stop.value
        return requests, info


def test_an_rcp_is_identified_before_it_is_configured_and_receives_last() -> None:
    requests, info = play(rcp.bring_up(SETTINGS), RCP, set())
    assert info == RadioInfo(unhex("18b4300000000001"), "OPENTHREAD/1")
    sets = [(r.property, r.value) for r in requests if r.command is Command.SET]
    assert [prop for prop, _ in sets] == [
        Property.PHY_ENABLED,
        Property.PHY_CHAN,
        Property.MAC_15_4_PANID,
        Property.MAC_15_4_LADDR,
        Property.MAC_15_4_SADDR,
        Property.MAC_PROMISCUOUS_MODE,
        Property.SRC_MATCH_ENABLED,
        Property.MAC_RAW_STREAM_ENABLED,
    ]
    assert dict(sets)[Property.MAC_15_4_PANID] == b"\x23\x00"
    assert dict(sets)[Property.MAC_15_4_LADDR] == unhex("18b4300000000001")


def test_a_configured_address_wins_over_the_factory_s() -> None:
    eui64 = unhex("0200000000001234")
    requests, info = play(rcp.bring_up(RadioSettings(26, 0x23, eui64, 0x0001, 8)), RCP, set())
    values = {r.property: r.value for r in requests}
    assert info.eui64 == values[Property.MAC_15_4_LADDR] == eui64
    assert values[Property.MAC_15_4_SADDR] == b"\x01\x00"
    assert values[Property.PHY_TX_POWER] == b"\x08"


def test_old_firmware_without_api_version_and_source_matching_will_do() -> None:
    answers = RCP | {Property.CAPS: unhex("22 8104")}
    requests, info = play(rcp.bring_up(SETTINGS), answers, {Property.SRC_MATCH_ENABLED})
    assert info.firmware == "OPENTHREAD/1"
    asked = {r.property for r in requests}
    assert not asked & {Property.RCP_API_VERSION, Property.RCP_MIN_HOST_API_VERSION}
    assert requests[-1].property is Property.MAC_RAW_STREAM_ENABLED


@pytest.mark.parametrize(
    ("prop", "value", "reason"),
    [
        (Property.PROTOCOL_VERSION, b"\x05\x00", "speaks Spinel 5.0"),
        (Property.CAPS, b"\x05\x0c", "no RCP"),
        (Property.RCP_API_VERSION, b"\x03", "older than 4"),
        (Property.RCP_MIN_HOST_API_VERSION, b"\x0c", "wants a host of interface 12"),
        (Property.HWADDR, b"\x00", "no EUI-64"),
    ],
)
def test_firmware_that_cannot_be_used_is_refused_with_the_reason(
    prop: Property, value: bytes, reason: str
) -> None:
    with pytest.raises(RadioError, match=reason):
        play(rcp.bring_up(SETTINGS), RCP | {prop: value}, set())


def test_a_refused_setting_names_the_setting() -> None:
    with pytest.raises(RadioError, match="refuses SET PHY_CHAN = 1a: PROP_NOT_FOUND"):
        play(rcp.bring_up(SETTINGS), RCP, {Property.PHY_CHAN})


@pytest.mark.parametrize(
    "arguments",
    [
        {"channel": 10},
        {"channel": 27},
        {"pan_id": 0x10000},
        {"eui64": b"short"},
        {"tx_power_dbm": 200},
    ],
)
def test_settings_that_no_radio_has_are_refused_at_birth(arguments: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"channel|PAN|EUI-64|power"):
        RadioSettings(**{"channel": 26, "pan_id": 1} | arguments)  # type: ignore[arg-type]

"""The virtual RCP answers as the recorded firmware did."""

import json
from pathlib import Path

import pytest

from adapters.sim import spinel
from adapters.sim.spinel import Id, Responder, Transmit

RECORDED = json.loads(
    (Path(__file__).parents[1] / "lowpan" / "link-vectors.json").read_text(encoding="utf-8")
)["spinel"]["exchanges"]
VERSION = bytes.fromhex(RECORDED[1]["rx"][0])[3:-1].decode()


class Firmware:
    """A responder in the state in which the exchanges were recorded."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.responder = Responder(
            bytes.fromhex("18b4300000000001"),
            VERSION,
            self.sent.append,
            self.transmit,
            lambda channel: -30,
        )
        settings = {Id.PHY_ENABLED: "01", Id.PHY_CHAN: "1a", Id.PANID: "2300", Id.RAW_STREAM: "01"}
        for prop, value in settings.items():
            self.responder.values[prop] = bytes.fromhex(value)

    def transmit(self, request: Transmit) -> None:
        wants_ack = request.psdu[0] & 0x20
        self.responder.transmitted(request, spinel.NO_ACK if wants_ack else spinel.OK)


def test_every_recorded_request_gets_the_recorded_answer() -> None:
    firmware = Firmware()
    for exchange in RECORDED:
        if exchange["name"] == "get RCP_TIMESTAMP":  # a clock that no host here asks for
            continue
        firmware.sent.clear()
        firmware.responder.receive(bytes.fromhex(exchange["tx"]))
        assert [frame.hex() for frame in firmware.sent] == exchange["rx"], exchange["name"]


@pytest.mark.parametrize("exchange", RECORDED, ids=lambda exchange: exchange["name"])
def test_frames_are_on_the_line_as_recorded(exchange: dict[str, str]) -> None:
    for frame, wire in zip(exchange["rx"], exchange["rx_wire"], strict=True):
        assert spinel.hdlc(bytes.fromhex(frame)).hex() == wire
        assert spinel.HdlcReader().feed(bytes.fromhex("00" + wire)) == [bytes.fromhex(frame)]


def test_without_the_link_switched_on_nothing_can_be_set() -> None:
    firmware = Firmware()
    firmware.responder.reset()
    firmware.responder.receive(bytes.fromhex("810321" + "1a"))
    assert firmware.sent == [bytes.fromhex("80060070"), bytes.fromhex("81060004")]

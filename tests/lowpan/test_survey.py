"""Surveys: an operator learns which networks are on which channel."""

import asyncio

import pytest

from adapters.lowpan.radio import url
from adapters.lowpan.radio.interface import RadioError, RadioFrame
from adapters.lowpan.radio.survey import Network, Survey, survey
from adapters.sim.rcp import VirtualRcp
from adapters.sim.spinel import Id
from tests.lowpan.radio_bench import BROADCAST_IN, QUICK
from tests.lowpan.vectors import VECTORS, psdus, unhex

NODE = unhex("020000000000aa01")


def test_frames_are_sorted_by_channel_and_pan() -> None:
    heard = Survey()
    contiki = [unhex(f["psdu"])[:-2] for f in VECTORS["security"]["contiki"]["frames"]]
    for psdu in [*contiki, b"", b"\xff" * 20, b"\x02\x00\x01"]:
        heard.received(RadioFrame(psdu, 0.0, rssi_dbm=-70, channel=15))
    heard.channel = 20
    for i, psdu in enumerate(psdus()):
        heard.received(RadioFrame(psdu, 0.0, rssi_dbm=-90 + i % 10))
    first, *others = heard.networks()
    senders = {unhex("020000000000cc00"), unhex("020000000000cc03")}
    assert first == Network(15, 0x23, 14, 13, -70, senders)
    assert {network.channel for network in others} == {20}
    assert {network.rssi_dbm for network in others} <= set(range(-90, -80))


async def test_networks_of_all_channels_are_found() -> None:
    async with VirtualRcp(lambda psdu: False) as rcp:
        other = BROADCAST_IN[:3] + b"\x99\x00" + BROADCAST_IN[5:]

        async def chatter() -> None:
            while True:
                match rcp.settings[Id.PHY_CHAN][0]:
                    case 15:
                        rcp.deliver(BROADCAST_IN, rssi_dbm=-50)
                    case 20:
                        rcp.deliver(other, rssi_dbm=-80)
                await asyncio.sleep(0.005)

        async with asyncio.TaskGroup() as group:
            nodes = group.create_task(chatter())
            address = url.parse(f"spinel+hdlc://{rcp.path}?baudrate=460800")
            networks = await survey(address, dwell_s=0.1, timings=QUICK)
            nodes.cancel()
    assert [(n.channel, n.pan_id, n.rssi_dbm, n.senders) for n in networks] == [
        (15, 0x23, -50, {NODE}),
        (20, 0x99, -80, {NODE}),
    ]
    assert all(n.frames for n in networks)


async def test_a_survey_without_a_radio_says_so() -> None:
    with pytest.raises(RadioError, match="there is no /dev/ttyNONE"):
        await survey(url.parse("spinel+hdlc:///dev/ttyNONE"))

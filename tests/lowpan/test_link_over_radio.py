"""MAC, radio and virtual RCP together: what one end says in secret, the other end understands."""

import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.lowpan.framing import hdlc, slip
from adapters.lowpan.mac.counter import FrameCounter
from adapters.lowpan.mac.drops import Drop
from adapters.lowpan.mac.frame import KeyId, KeyIdMode
from adapters.lowpan.mac.link import Identity, MacLink, Received
from adapters.lowpan.mac.security import LinkSecurity
from adapters.lowpan.radio.interface import RadioFrame, Timings, TxResult, Upcalls
from adapters.lowpan.radio.slip_radio import SlipRadio
from adapters.lowpan.radio.spinel_radio import SpinelRadio
from adapters.sim.rcp import Faults, VirtualRcp
from tests.lowpan.radio_bench import SETTINGS, Listener, running, soon

SECURITY = LinkSecurity(5, bytes(range(16)), KeyId(KeyIdMode.INDEX, 1))
GATEWAY, NODE = bytes.fromhex("0200000000001234"), bytes.fromhex("020000000000aa01")


def link(eui64: bytes) -> MacLink:
    counter = FrameCounter(0, lambda _: None)
    return MacLink(Identity(0x23, eui64), link_security=SECURITY, counter=counter)


async def test_a_secured_echo_survives_repetitions_in_both_directions() -> None:
    node, gateway, listener = link(NODE), link(GATEWAY), Listener()

    def on_air(psdu: bytes) -> bool:
        heard = node.receive(psdu, time.monotonic())
        assert isinstance(heard, Received)
        rcp.deliver(node.data(heard.source, heard.payload[::-1]))
        return True

    faults = Faults(duplicate=0.5)
    async with (
        VirtualRcp(on_air, faults=faults) as rcp,
        running(f"spinel+hdlc://{rcp.path}?baudrate=460800", listener) as radio,
    ):
        results: list[Received | Drop] = []
        for number in range(20):
            payload = b"\x7a" + number.to_bytes(93, "big")
            assert await radio.send(gateway.data(NODE, payload)) is TxResult.ACKED
            answer = None
            while not isinstance(answer, Received):
                frame = await soon(listener.frames)
                results.append(answer := gateway.receive(frame.psdu, time.monotonic()))
            assert (answer.payload, answer.source) == (payload[::-1], NODE)
            assert answer.security_level == 5
    assert Drop.DUPLICATE in results


Feed = Callable[[Upcalls], Callable[[bytes], None]]


@pytest.mark.parametrize(
    ("encode", "feed"),
    [
        (hdlc.encode, lambda upcalls: SpinelRadio(SETTINGS, upcalls, Timings()).feed),
        (slip.encode, lambda upcalls: SlipRadio(SETTINGS, upcalls, Timings()).feed),
    ],
    ids=["spinel", "slip"],
)
@given(st.binary(max_size=90) | st.binary(max_size=90).map(b"\x80\x06\x71".__add__))
def test_nothing_that_a_stick_says_raises_anything(
    encode: Callable[[bytes], bytes], feed: Feed, packet: bytes
) -> None:
    frames: list[RadioFrame] = []
    upcalls = Upcalls(frames.append, lambda fault: None, lambda: None)
    feed(upcalls)(encode(packet))
    assert all(1 <= len(frame.psdu) <= 125 for frame in frames)

"""Hostile frames all the way from the serial line to the router: every one is accounted for.

LOWPAN_FUZZ_FRAMES sets the number (20,000 if it is not set).
"""

import json
import os
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from adapters.lowpan.framing import hdlc
from adapters.lowpan.link import LinkFrame
from adapters.lowpan.mac.counter import FrameCounter
from adapters.lowpan.mac.drops import Drop
from adapters.lowpan.mac.link import Identity, MacLink
from adapters.lowpan.mac.security import LinkSecurity
from adapters.lowpan.radio import spinel
from adapters.lowpan.radio.interface import RadioFrame, RadioSettings, Timings, Upcalls
from adapters.lowpan.radio.spinel import Command, Property
from adapters.lowpan.radio.spinel_radio import SpinelRadio
from tests.lowpan.mesh import Mesh
from tests.lowpan.networks import GATEWAY, HERE

FRAMES = int(os.environ.get("LOWPAN_FUZZ_FRAMES", "20000"))
PAN_ID = 0x0023
SECURITY = LinkSecurity(level=5, key=bytes(16), required=False)
RECORDED = [
    bytes.fromhex(frame["psdu"])[:-2]
    for scenario in json.loads(Path(HERE, "networks.json").read_text())["scenarios"]
    for frame in scenario["frames"]
]


def on_the_line(psdu: bytes) -> bytes:
    """What an RCP writes when it hears a frame: PSDU with FCS, RSSI, noise floor, flags."""
    octets = psdu + bytes(2)
    value = len(octets).to_bytes(2, "little") + octets + b"\xc4\x80\x00\x00"
    return hdlc.encode(spinel.encode(spinel.Frame(0, Command.IS, Property.STREAM_RAW, value)))


def mutated(rng: Random, octets: bytes) -> bytes:
    """With up to five octets changed, inserted or removed."""
    result = bytearray(octets)
    for _ in range(rng.randrange(6)):
        at = rng.randrange(len(result) + 1)
        match rng.randrange(3):
            case 0 if at < len(result):
                result[at] ^= 1 << rng.randrange(8)
            case 1:
                result[at:at] = rng.randbytes(1)
            case _:
                del result[at : at + rng.randrange(4)]
    return bytes(result[:125])


@pytest.mark.parametrize("security", [None, SECURITY])
def test_damaged_frames_from_the_line_are_routed_or_counted_and_never_raise(
    security: LinkSecurity | None,
) -> None:
    rng, mesh, frames = Random(154), Mesh(), list[RadioFrame]()
    faults, counters, routed = 0, Counter[Drop](), 0

    def fault(_: object) -> None:
        nonlocal faults
        faults += 1

    upcalls = Upcalls(frames.append, fault, lambda: None)
    radio = SpinelRadio(RadioSettings(26, PAN_ID), upcalls, Timings())
    counter = FrameCounter(0, lambda _: None) if security else None
    mac = MacLink(Identity(PAN_ID, GATEWAY), link_security=security, counter=counter)
    for number in range(FRAMES):
        mesh.now += 0.01
        line = on_the_line(mutated(rng, rng.choice(RECORDED)))
        if number % 4 == 0:
            line = mutated(rng, line)
        radio.feed(line + b"\x7e")
        for frame in frames:
            taken = mac.receive(frame.psdu, mesh.now)
            if isinstance(taken, Drop):
                counters[taken] += 1
            else:
                routed += 1
                mesh.hear(LinkFrame(taken.source, taken.destination, taken.payload))
        frames.clear()
    assert routed > FRAMES / 10
    assert faults > FRAMES / 20
    assert len(counters) >= 4
    assert routed + faults + counters.total() >= FRAMES * 0.98

"""Captures: Wireshark's own dissector agrees with our MAC on every field, and opens our frames."""

import asyncio
import dataclasses
import io
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from adapters.lowpan.mac import security
from adapters.lowpan.mac.frame import (
    FrameType,
    KeyId,
    KeyIdMode,
    MacFrame,
    SecurityHeader,
    decode,
    encode,
)
from adapters.lowpan.radio import capture, url
from adapters.lowpan.radio.capture import Capture
from adapters.lowpan.radio.opener import make_radio
from adapters.sim.rcp import VirtualRcp
from tests.lowpan.radio_bench import BROADCAST_IN, SETTINGS, UNICAST_OUT, Listener, soon
from tests.lowpan.vectors import VECTORS, psdus, unhex

TSHARK = shutil.which("tshark")
KEY = unhex(VECTORS["security"]["contiki"]["key"])
SENDER, US = unhex("020000000000cc03"), unhex("0200000000001234")
FIELDS = [
    "wpan.fcs_ok",
    "wpan.frame_type",
    "wpan.version",
    "wpan.seq_no",
    "wpan.pending",
    "wpan.ack_request",
    "wpan.dst_pan",
    "wpan.dst16",
    "wpan.dst64",
    "wpan.src16",
    "wpan.src64",
    "wpan.aux_sec.sec_level",
    "wpan.aux_sec.key_id_mode",
    "wpan.aux_sec.frame_counter",
    "wpan.mic",
    "_ws.malformed",
]


def tshark(path: Path, fields: list[str], *options: str) -> list[list[str]]:
    assert TSHARK, "tshark is missing: make test installs it"
    arguments = [TSHARK, "-n", "-r", str(path), "-T", "fields", *options]
    for field in fields:
        arguments += ["-e", field]
    done = subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=60)
    return [[_bit(field) for field in line.split("\t")] for line in done.stdout.splitlines()]


def _bit(field: str) -> str:
    """A field as tshark 4.0 writes it; tshark 4.4 writes bits as words."""
    return {"True": "1", "False": "0"}.get(field, field)


def write(path: Path, frames: list[bytes]) -> Path:
    with path.open("wb") as stream:
        taken = Capture(stream)
        assert all(taken.add(psdu, 1_700_000_000.25 + i) for i, psdu in enumerate(frames))
    return path


def expected(psdu: bytes) -> list[str]:
    """What the dissector must say if it agrees with our decoder."""
    frame = decode(psdu)
    aux = frame.security
    short = {len(a): a for a in (frame.destination,)}
    source = {len(a): a for a in (frame.source,)}
    mic_size = security.MIC_SIZES[aux.level & 3] if aux else 0
    return [
        "1",
        f"0x{frame.type:04x}",
        str(frame.version),
        "" if frame.sequence is None else str(frame.sequence),
        _flag(frame.frame_pending),
        _flag(frame.ack_request),
        "" if frame.destination_pan is None else f"0x{frame.destination_pan:04x}",
        f"0x{short[2].hex()}" if 2 in short else "",
        short[8].hex(":") if 8 in short else "",
        f"0x{source[2].hex()}" if 2 in source else "",
        source[8].hex(":") if 8 in source else "",
        f"0x{aux.level:02x}" if aux else "",
        f"0x{aux.key_id.mode:02x}" if aux else "",
        str(aux.frame_counter) if aux else "",
        psdu[-mic_size:].hex() if mic_size else "",
        "",
    ]


def _flag(value: bool) -> str:
    return "1" if value else "0"


def ours() -> list[bytes]:
    """Frames of every addressing that we can write, in clear."""
    addresses = [b"", b"\x12\x34", US]
    sources = [b"\x56\x78", SENDER]
    return [
        encode(
            MacFrame(
                FrameType.DATA,
                destination,
                source,
                0x23 if destination else None,
                source_pan,
                7,
                version,
                pending,
                not pending,
                payload=b"\x00\x01\x02\x03",
            )
        )
        for destination in addresses
        for source in sources
        for source_pan in (0x23, 0x24)
        for version in (0, 1)
        for pending in (False, True)
    ]


def test_the_dissector_agrees_on_every_field(tmp_path: Path) -> None:
    contiki = [unhex(f["psdu"])[:-2] for f in VECTORS["security"]["contiki"]["frames"]]
    frames = [*psdus(), *contiki, *ours(), bytes.fromhex("02001b")]
    assert tshark(write(tmp_path / "a.pcap", frames), FIELDS) == [expected(f) for f in frames]


async def test_a_radio_s_traffic_can_be_captured(tmp_path: Path) -> None:
    path, listener = tmp_path / "a.pcap", Listener()
    async with VirtualRcp(lambda psdu: True) as rcp:
        address = url.parse(f"spinel+hdlc://{rcp.path}?baudrate=460800")
        with path.open("wb") as stream:
            radio = make_radio(address, SETTINGS, listener, tap=Capture(stream).add)
            life = asyncio.ensure_future(radio.run())
            await soon(listener.ups)
            await radio.send(UNICAST_OUT)
            rcp.deliver(BROADCAST_IN)
            await soon(listener.frames)
            life.cancel()
            await asyncio.wait({life})
    assert tshark(path, FIELDS) == [expected(UNICAST_OUT), expected(BROADCAST_IN)]


def test_a_wrong_fcs_would_be_seen(tmp_path: Path) -> None:
    damaged = bytearray(capture.file_header() + capture.record(psdus()[0], 0.0))
    damaged[-1] ^= 1
    path = tmp_path / "a.pcap"
    path.write_bytes(damaged)
    assert tshark(path, ["wpan.fcs_ok"]) == [["0"]]


@pytest.mark.parametrize("level", [1, 2, 3, 5, 6, 7])
@pytest.mark.parametrize("key_id", [KeyId(), KeyId(KeyIdMode.INDEX, 7)], ids=["mode0", "mode1"])
def test_the_dissector_opens_what_we_secured(tmp_path: Path, level: int, key_id: KeyId) -> None:
    payload = b"\x00\x01\x02\x03\x04"
    frame = MacFrame(FrameType.DATA, US, SENDER, 0x23, 0x23, 1, payload=payload)
    secured = [
        security.secure(
            dataclasses.replace(frame, sequence=i, security=SecurityHeader(level, 9 + i, key_id)),
            SENDER,
            key,
        )
        for i, key in enumerate([KEY, bytes(16)])
    ]
    path = write(tmp_path / "a.pcap", secured)
    table = f'uat:ieee802154_keys:"{KEY.hex()}","{key_id.index}","No hash"'
    good, bad = tshark(path, ["data.data", "_ws.expert.message"], "-o", table)
    assert good == [payload.hex(), ""]
    assert bad != [payload.hex(), ""]


def test_the_time_of_a_frame_is_exact_to_the_microsecond(tmp_path: Path) -> None:
    path = tmp_path / "a.pcap"
    path.write_bytes(
        capture.file_header()
        + capture.record(psdus()[0], 1_700_000_000.999_999_9)
        + capture.record(psdus()[0], 1_700_000_001.000_002)
    )
    assert tshark(path, ["frame.time_epoch"]) == [
        ["1700000001.000000000"],
        ["1700000001.000002000"],
    ]


def test_a_forgotten_capture_does_not_fill_the_disk() -> None:
    stream = io.BytesIO()
    taken = Capture(stream, limit=200)
    frames = 0
    while taken.add(bytes(60), 0.0):
        frames += 1
    assert frames == 2
    assert len(stream.getvalue()) == 24 + 2 * (16 + 62)
    assert struct.unpack_from("<I", stream.getvalue(), 20) == (195,)

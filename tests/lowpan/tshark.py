"""tshark as a second opinion: many frames in one capture, one process, fields out."""

import struct
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from adapters.lowpan.ipv6 import address
from adapters.lowpan.link import LinkFrame
from adapters.lowpan.sixlowpan.contexts import Contexts
from tests.lowpan.networks import psdu

IEEE802154_WITHOUT_FCS = 230
IPV6 = 229

# The data of a datagram says nothing here: tshark would guess a protocol by its random ports.
_OPTIONS = ("-n", "-T", "fields", "-E", "separator=|", "-d", "udp.port==0-65535,data")


def capture(packets: Iterable[bytes], link_type: int) -> bytes:
    """A pcap file, one packet a second."""
    octets = bytearray(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, link_type))
    for second, packet in enumerate(packets):
        octets += struct.pack("<IIII", second, 0, len(packet), len(packet)) + packet
    return bytes(octets)


def dissect(
    folder: Path,
    fields: Sequence[str],
    *,
    frames: Sequence[LinkFrame] = (),
    datagrams: Sequence[bytes] = (),
    contexts: Contexts | None = None,
) -> list[list[str]]:
    """The fields of each frame or datagram; several occurrences are joined by commas."""
    file = folder / "frames.pcap"
    link_type = IEEE802154_WITHOUT_FCS if frames else IPV6
    file.write_bytes(capture([*map(psdu, frames), *datagrams], link_type))
    command = ["tshark", "-r", str(file), *_OPTIONS, "-o", "udp.check_checksum:TRUE"]
    for i, context in (contexts or {}).items():
        prefix = address.text(context.prefix)
        command += ["-o", f"6lowpan.context{i}:{prefix}/{context.length}"]
    for name in fields:
        command += ["-e", name]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)
    rows = [line.split("|") for line in done.stdout.splitlines()]
    assert len(rows) == len(frames) + len(datagrams)
    return rows

"""The recorded networks, and just enough of the MAC to read and write their frames."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from adapters.lowpan.ipv6 import address
from adapters.lowpan.ipv6.packet import Packet, parse
from adapters.lowpan.link import LinkFrame
from adapters.lowpan.sixlowpan.contexts import Context

HERE = Path(__file__).parent
GATEWAY = bytes.fromhex("0200000000001234")
"""The EUI-64 to which the recorded nodes spoke."""


@dataclass(frozen=True)
class Recorded:
    """A recorded frame, what it was, and the datagram that it carries or completes."""

    frame: LinkFrame
    info: str
    datagram: bytes | None
    sender: bytes

    @property
    def packet(self) -> Packet:
        assert self.datagram is not None
        return parse(self.datagram)


@dataclass(frozen=True)
class Network:
    """A recording, with the contexts that its nodes had."""

    id: str
    contexts: dict[int, Context]
    frames: list[Recorded]

    def find(self, info: str, index: int = 0) -> Recorded:
        return [f for f in self.frames if info in f.info][index]


def context(text: str) -> Context:
    prefix, _, length = text.partition("/")
    return Context(address.parse(prefix), int(length))


def link_frame(psdu: bytes) -> LinkFrame:
    """A recorded data frame (long or short addresses, one PAN) without its header and FCS."""
    control = int.from_bytes(psdu[:2], "little")
    lengths = {2: 2, 3: 8}
    middle = 5 + lengths[control >> 10 & 3]
    end = middle + lengths[control >> 14 & 3]
    return LinkFrame(psdu[middle:end][::-1], psdu[5:middle][::-1], psdu[end:-2])


def psdu(frame: LinkFrame) -> bytes:
    """The frame on the air, without FCS."""
    unicast = len(frame.destination) == 8
    control = (0xDC61 if unicast else 0xD841).to_bytes(2, "little")
    ends = frame.destination[::-1] + frame.source[::-1]
    return control + b"\x01" + b"\x23\x00" + ends + frame.payload


def networks() -> Iterator[Network]:
    for scenario in json.loads((HERE / "networks.json").read_text())["scenarios"]:
        yield Network(
            scenario["id"],
            {int(i): context(text) for i, text in scenario["contexts"].items()},
            [
                Recorded(
                    link_frame(bytes.fromhex(frame["psdu"])),
                    frame["info"],
                    bytes.fromhex(frame["ipv6"]) if "ipv6" in frame else None,
                    bytes.fromhex(frame["from"]),
                )
                for frame in scenario["frames"]
            ],
        )


NETWORKS = {network.id: network for network in networks()}

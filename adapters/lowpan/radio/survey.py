"""Who is on the air: listens on one channel after the other, and tells which networks were heard.

For the operator whose nodes do not join: most often PAN or channel are other than thought.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from adapters.lowpan.mac.drops import Dropped
from adapters.lowpan.mac.frame import BROADCAST_PAN, decode
from adapters.lowpan.phy import CHANNELS
from adapters.lowpan.radio.interface import (
    RadioError,
    RadioFrame,
    RadioInfo,
    RadioSettings,
    Timings,
)
from adapters.lowpan.radio.opener import make_radio
from adapters.lowpan.radio.url import RadioUrl

DWELL_S = 5.0
"""A node that looks for a network says so every second (Zephyr), 10 s (RIOT) or 30 s (Contiki)."""

NETWORKS_LIMIT = 256
SENDERS_LIMIT = 64


@dataclass(slots=True)
class Network:
    """What was heard of one PAN on one channel; `senders` are addresses as printed."""

    channel: int
    pan_id: int
    frames: int = 0
    secured: int = 0
    rssi_dbm: int | None = None
    senders: set[bytes] = field(default_factory=set)


class Survey:
    """Sorts frames by channel and PAN; a RadioListener."""

    def __init__(self) -> None:
        self.channel = CHANNELS[0]
        self._networks: dict[tuple[int, int], Network] = {}

    def networks(self) -> Sequence[Network]:
        """The networks heard so far, by channel and PAN."""
        return [self._networks[key] for key in sorted(self._networks)]

    def received(self, frame: RadioFrame) -> None:
        try:
            header = decode(frame.psdu)
        except Dropped:
            return
        pan = header.source_pan if header.source_pan is not None else header.destination_pan
        if pan is None or pan == BROADCAST_PAN:
            return
        key = (frame.channel or self.channel, pan)
        if key not in self._networks and len(self._networks) >= NETWORKS_LIMIT:
            return
        network = self._networks.setdefault(key, Network(*key))
        network.frames += 1
        network.secured += header.security is not None
        if frame.rssi_dbm is not None:
            network.rssi_dbm = max(frame.rssi_dbm, network.rssi_dbm or frame.rssi_dbm)
        if header.source and len(network.senders) < SENDERS_LIMIT:
            network.senders.add(header.source)

    def radio_up(self, info: RadioInfo) -> None:
        """Nothing to do: the survey waits for it."""

    def radio_down(self, reason: str) -> None:
        """Nothing to do: the next change of channel fails."""

    def line_fault(self, fault: str) -> None:
        """Nothing to do."""


async def survey(
    url: RadioUrl,
    channels: Sequence[int] = CHANNELS,
    dwell_s: float = DWELL_S,
    timings: Timings | None = None,
) -> Sequence[Network]:
    """Listens `dwell_s` on each channel; RadioError if the radio cannot. Nothing is sent."""
    heard = Survey()
    settings = RadioSettings(channels[0], BROADCAST_PAN, promiscuous=True)
    radio = make_radio(url, settings, heard, timings)
    try:
        async with asyncio.TaskGroup() as group:
            life = group.create_task(radio.run())
            await radio.opened()
            for channel in channels:
                await radio.configure(replace(settings, channel=channel))
                heard.channel = channel
                await asyncio.sleep(dwell_s)
            life.cancel()
    except ExceptionGroup as failed:
        if all(isinstance(error, RadioError) for error in failed.exceptions):
            raise failed.exceptions[0] from None
        raise
    return heard.networks()

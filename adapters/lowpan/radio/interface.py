"""What every 802.15.4 radio offers to the layers above, whatever protocol its stick speaks.

Frames are PSDUs without their FCS everywhere above the radio, at most 125 octets. Addresses are
octets as printed (most significant first): 8 for an EUI-64, 2 for a short address.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from adapters.lowpan.phy import CHANNELS
from gateway.errors import AdapterError

NO_SHORT_ADDRESS = 0xFFFE
"""Associated, but to be addressed by EUI-64 only."""


class RadioError(AdapterError):
    """The radio does not answer, answers nonsense or is gone; the text says which."""


class RadioReplacedError(RadioError):
    """Another radio answers in the place of the one whose address the mesh knows."""


@dataclass(frozen=True, slots=True)
class RadioSettings:
    """What a radio is set to. Without `eui64` it keeps the one it was made with."""

    channel: int
    pan_id: int
    eui64: bytes | None = None
    short_address: int = NO_SHORT_ADDRESS
    tx_power_dbm: int | None = None

    def __post_init__(self) -> None:
        if self.channel not in CHANNELS:
            raise ValueError(f"channel is {CHANNELS[0]} to {CHANNELS[-1]}, not {self.channel}")
        if not 0 <= self.pan_id <= 0xFFFF or not 0 <= self.short_address <= 0xFFFF:
            raise ValueError("PAN id and short address are 0 to 0xffff")
        if self.eui64 is not None and len(self.eui64) != 8:
            raise ValueError(f"an EUI-64 has 8 octets, not {len(self.eui64)}")
        if self.tx_power_dbm is not None and not -128 <= self.tx_power_dbm <= 127:
            raise ValueError(f"the transmit power is -128 to 127 dBm, not {self.tx_power_dbm}")


@dataclass(frozen=True, slots=True)
class RadioInfo:
    """What is known of the radio once it is up. `firmware` is its own text, unsanitised."""

    eui64: bytes
    firmware: str


@dataclass(frozen=True, slots=True)
class RadioFrame:
    """A frame from the air. `at` is Unix seconds; None stands for what the radio did not tell."""

    psdu: bytes
    at: float
    rssi_dbm: int | None = None
    lqi: int | None = None
    channel: int | None = None
    timestamp_us: int | None = None


class TxResult(Enum):
    """How a transmission ended; the radio has done all repetitions by itself."""

    ACKED = "acknowledged"
    SENT = "sent, no acknowledgement was asked for"
    NO_ACK = "no acknowledgement"
    CHANNEL_BUSY = "channel busy"
    REFUSED = "refused by the radio"
    QUEUE_FULL = "too many frames wait for the radio"
    DOWN = "the radio is down"

    @property
    def ok(self) -> bool:
        """Whether the frame went out and was acknowledged where that was asked for."""
        return self in {TxResult.ACKED, TxResult.SENT}


class RadioListener(Protocol):
    """Who is told what the radio does. All calls are synchronous and must not block or raise."""

    def radio_up(self, info: RadioInfo) -> None:
        """The radio is configured and receives, for the first time or again."""

    def radio_down(self, reason: str) -> None:
        """The radio failed and is being reopened; `reason` is for people, told when it changes."""

    def received(self, frame: RadioFrame) -> None:
        """A frame came from the air: undecoded, perhaps a duplicate, perhaps not for us.

        Only between `radio_up` and `radio_down`.
        """

    def line_fault(self, fault: str) -> None:
        """The serial line damaged a packet (`bad checksum`), or its content made no sense."""


Tap = Callable[[bytes, float], object]
"""Gets a PSDU and the time in Unix seconds, as `capture.Capture.add` does."""


class Radio(Protocol):
    """A radio that reopens itself: the same object serves through resets, hangs and unplugging."""

    @property
    def info(self) -> RadioInfo | None:
        """The radio's identity once it was up; None before."""

    @property
    def is_up(self) -> bool:
        """Whether frames go out now."""

    async def run(self) -> None:
        """Lives until cancelled: opens, configures, serves, reopens within seconds.

        Raises RadioError if the first opening fails, RadioReplacedError if another radio
        with an address of its own has taken the place.
        """

    async def opened(self) -> RadioInfo:
        """Waits until the radio is up for the first time; `run` must be running."""

    async def send(self, psdu: bytes) -> TxResult:
        """Sends one frame with CSMA, acknowledgement and repetitions; frames go out in order."""

    async def set_pending(self, address: bytes, pending: bool) -> None:
        """Whether acknowledgements tell this sleepy neighbour that a frame waits for it.

        Kept over reopening. Never raises: a radio that cannot do it lets all neighbours wait.
        """

    async def energy_scan(
        self, channels: Iterable[int] = CHANNELS, period_ms: int = 100
    ) -> Mapping[int, int]:
        """The strongest energy in dBm by channel; RadioError if the radio cannot tell."""


@dataclass(frozen=True, slots=True)
class Timings:
    """How patient the shells are, in seconds."""

    reply_s: float = 2.0
    """What OpenThread's own host waits for a reply."""

    probe_s: float = 0.5
    """The same while the baud rate is being found: five rates, two questions each."""

    transmit_s: float = 5.0
    """Seven repetitions on a busy channel stay far below; beyond it the radio hangs."""

    ping_s: float = 10.0
    """Silence after which the radio is asked whether it still lives."""

    reopen_s: float = 1.0
    """Between a failure and the next opening: USB needs about this to come back."""


class Connection(Protocol):
    """One life of a radio, from opening to the first failure. Used by one task at a time."""

    @property
    def info(self) -> RadioInfo:
        """What the radio told while it was opened."""

    @property
    def error(self) -> RadioError | None:
        """Why this life is over, once it is."""

    async def transmit(self, psdu: bytes) -> TxResult:
        """Sends one frame; raises RadioError if the radio fails over it."""

    async def set_pending(self, address: bytes, pending: bool) -> None:
        """Adds to or removes from the source match table, where there is one."""

    async def energy(self, channel: int, period_ms: int) -> int:
        """The strongest energy on the channel in dBm; RadioError where it cannot be measured."""

    async def ping(self) -> None:
        """Raises RadioError unless the radio is there and still set up."""


@dataclass(frozen=True, slots=True)
class Upcalls:
    """Where a connection delivers: frames, line faults, and a nudge when its life is over."""

    received: Callable[[RadioFrame], None]
    line_fault: Callable[[str], None]
    broken: Callable[[], None]


class Connector(Protocol):
    """Opens one connection after another to the same radio."""

    def connect(
        self, settings: RadioSettings, upcalls: Upcalls
    ) -> AbstractAsyncContextManager[Connection]:
        """Entering opens and configures the radio, or raises RadioError; leaving closes it."""

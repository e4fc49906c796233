"""A virtual OpenThread RCP on a pty: the gateway opens its path as it would open a stick.

Behind it is no air but a hook, which gets every frame that the gateway sends; virtual nodes send
theirs with `deliver`. On request it misbehaves as sticks and channels do.
"""

from __future__ import annotations

import asyncio
import os
import pty
import random
import tempfile
import tty
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from adapters.sim import spinel
from adapters.sim.spinel import Id, Responder, Transmit

EUI64 = bytes.fromhex("18b4300000000001")
"""What OpenThread's simulation calls its first node."""

_ACKED_WITH_PENDING = 0x0010
_ACK_REQUEST = 0x20
_READ_SIZE = 4096
_HELD_S = 0.2
"""A frame to be overtaken goes on alone after this time."""


@dataclass(frozen=True, slots=True)
class Faults:
    """How bad the air is: probabilities from 0 to 1, times in seconds."""

    tx_loss: float = 0.0
    """A frame of the gateway is neither heard nor acknowledged."""
    rx_loss: float = 0.0
    """A frame of a node is not heard."""
    duplicate: float = 0.0
    """A frame of a node comes twice, since its acknowledgement was lost."""
    reorder: float = 0.0
    """A frame of a node comes after the one behind it."""
    delay_s: float = 0.0
    """The longest time that a frame takes, in either direction."""


@dataclass(frozen=True, slots=True)
class Ack:
    """The RCP has acknowledged a node's frame; `pending` says: stay awake, something waits."""

    pending: bool


class VirtualRcp:
    """Used as `async with VirtualRcp(on_air) as rcp`; then `rcp.path` can be opened.

    `on_air` gets each PSDU (without FCS) that the gateway sends, and returns whether a node
    has acknowledged it. With `leaves_bus` a reset unplugs it for a moment, as it does with
    older firmware on USB.
    """

    def __init__(
        self,
        on_air: Callable[[bytes], bool],
        *,
        eui64: bytes = EUI64,
        version: str = "OPENTHREAD/virtual; SIMULATION",
        faults: Faults | None = None,
        seed: int = 0,
        leaves_bus: bool = False,
    ) -> None:
        self._on_air = on_air
        self.faults = faults or Faults()
        self._random = random.Random(seed)  # noqa: S311 (faults must repeat, not be secret)
        self._firmware = Responder(eui64, version, self._send, self._transmit)
        if leaves_bus:
            self._firmware.restart = self._leave_bus
        self._reader = spinel.HdlcReader()
        self._folder = tempfile.TemporaryDirectory(prefix="rcp-")
        self._fds: tuple[int, int] | None = None
        self._timers: set[asyncio.TimerHandle] = set()
        self._held: list[bytes] = []
        self._hangs = False
        self._started = 0.0

    @property
    def path(self) -> str:
        """What to open; the same after unplugging and plugging in again."""
        return str(Path(self._folder.name) / "rcp")

    async def __aenter__(self) -> Self:
        self._started = asyncio.get_running_loop().time()
        self.plug()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.unplug()
        self._folder.cleanup()

    def plug(self) -> None:
        """Makes the device appear, its firmware freshly started."""
        if self._fds:
            return
        master, slave = pty.openpty()
        tty.setraw(slave)  # kept open, so that closing by the gateway is no hang-up here
        os.set_blocking(master, False)
        self._fds = master, slave
        Path(self.path).symlink_to(os.ttyname(slave))
        self._hangs = False
        self._firmware.reset()
        asyncio.get_running_loop().add_reader(master, self._readable)

    def unplug(self) -> None:
        """Makes the device vanish: whoever has it open sees a hang-up."""
        if not self._fds:
            return
        master, slave = self._fds
        asyncio.get_running_loop().remove_reader(master)
        Path(self.path).unlink()
        self._fds = None
        for timer in self._timers:
            timer.cancel()
        self._timers.clear()
        self._held.clear()
        os.close(slave)
        os.close(master)

    def replace_stick(self, eui64: bytes) -> None:
        """Puts another stick into the same place."""
        self.unplug()
        self._firmware.eui64 = eui64
        self.plug()

    def debug(self, text: str) -> None:
        """Lets the firmware print a line."""
        self._firmware.tell(0, Id.STREAM_DEBUG, text.encode())

    def reset(self) -> None:
        """Restarts the firmware out of the blue, as a watchdog does."""
        self._firmware.reset()

    def hang(self) -> None:
        """From now on takes everything and answers nothing, until `plug` or `wake`."""
        self._hangs = True

    def wake(self) -> None:
        """Ends `hang`."""
        self._hangs = False

    def say(self, data: bytes) -> None:
        """Puts octets onto the line as they are: noise."""
        self._write(data)

    @property
    def settings(self) -> dict[int, bytes]:
        """The firmware's properties by number, as the gateway has set them."""
        return self._firmware.values

    @property
    def sleepy(self) -> set[bytes]:
        """The neighbours whose acknowledgements say that something waits for them."""
        return self._firmware.sleepy

    def deliver(self, psdu: bytes, *, rssi_dbm: int = -60, lqi: int = 200) -> Ack | None:
        """A node sends a frame (without FCS); the RCP's acknowledgement, if it gives one."""
        firmware = self._firmware
        if not self._fds or self._hangs or not firmware.flag(Id.RAW_STREAM):
            return None
        promiscuous = firmware.flag(Id.PROMISCUOUS)
        if not (promiscuous or self._is_for_host(psdu)) or self._happens(self.faults.rx_loss):
            return None
        ack = None
        if psdu[0] & _ACK_REQUEST and not promiscuous:
            matching = firmware.flag(Id.SRC_MATCH_ENABLED)
            ack = Ack(not matching or _source(psdu) in firmware.sleepy)
        value = spinel.reception(
            psdu + bytes(2),
            rssi_dbm=rssi_dbm,
            lqi=lqi,
            channel=firmware.values[Id.PHY_CHAN][0],
            flags=_ACKED_WITH_PENDING if ack and ack.pending else 0,
            timestamp_us=round((asyncio.get_running_loop().time() - self._started) * 1_000_000),
        )
        copies = [value] * (1 + self._happens(self.faults.duplicate))
        if self._happens(self.faults.reorder):
            self._held += copies
            self._later(self._release, _HELD_S)
        else:
            self._later(lambda: self._receive(copies))
        return ack

    def _leave_bus(self) -> None:
        self._later(lambda: self.replace_stick(self._firmware.eui64))

    def _receive(self, values: list[bytes]) -> None:
        for value in values:
            self._firmware.tell(0, Id.STREAM_RAW, value)
        self._release()

    def _release(self) -> None:
        held, self._held = self._held, []
        for value in held:
            self._firmware.tell(0, Id.STREAM_RAW, value)

    def _transmit(self, request: Transmit) -> None:
        acked = not self._happens(self.faults.tx_loss) and self._on_air(request.psdu)
        wanted = bool(request.psdu[0] & _ACK_REQUEST)
        status = spinel.NO_ACK if wanted and not acked else spinel.OK
        self._later(lambda: self._firmware.transmitted(request, status))

    def _is_for_host(self, psdu: bytes) -> bool:
        mode = psdu[1] >> 2 & 3
        if not mode:
            return True
        pan, address = psdu[3:5], psdu[5 : 13 if mode == 3 else 7]
        values = self._firmware.values
        mine = {b"\xff\xff", values[Id.LADDR][::-1], values[Id.SADDR]}
        return pan in {b"\xff\xff", values[Id.PANID]} and address in mine

    def _happens(self, probability: float) -> bool:
        return self._random.random() < probability

    def _later(self, action: Callable[[], None], at_least_s: float = 0.0) -> None:
        """Runs the action after the delay of the air, and never before this call has returned."""
        delay_s = at_least_s + self._random.uniform(0, self.faults.delay_s)

        def run() -> None:
            self._timers.discard(timer)
            action()

        timer = asyncio.get_running_loop().call_later(delay_s, run)
        self._timers.add(timer)

    def _readable(self) -> None:
        if not self._fds:
            return
        with suppress(BlockingIOError):
            data = os.read(self._fds[0], _READ_SIZE)
            if self._hangs:
                return
            for frame in self._reader.feed(data):
                self._firmware.receive(frame)

    def _send(self, frame: bytes) -> None:
        if not self._hangs:
            self._write(spinel.hdlc(frame))

    def _write(self, data: bytes) -> None:
        if self._fds:
            # Nobody reads and the line is full: octets are lost, as on a UART.
            with suppress(BlockingIOError):
                os.write(self._fds[0], data)


def _source(psdu: bytes) -> bytes:
    """The source address, most significant octet first, of a frame of version 0 or 1."""
    control = int.from_bytes(psdu[:2], "little")
    sizes = {0: 0, 2: 2, 3: 8}
    to_size, from_size = sizes.get(control >> 10 & 3, 0), sizes.get(control >> 14 & 3, 0)
    at = 3 + (2 + to_size if to_size else 0) + (0 if control & 0x40 else 2)
    return psdu[at : at + from_size][::-1]

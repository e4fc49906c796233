"""A slip-radio on a serial line: finds its address, sets channel and PAN, moves frames."""

from __future__ import annotations

import logging
import time

from adapters.lowpan.framing import slip
from adapters.lowpan.radio import slip_protocol as protocol
from adapters.lowpan.radio.interface import (
    NO_SHORT_ADDRESS,
    RadioError,
    RadioFrame,
    RadioInfo,
    RadioReplacedError,
    RadioSettings,
    Timings,
    TxResult,
    Upcalls,
)
from adapters.lowpan.radio.line import Framing, Line, SilentError
from gateway.errors import DecodeError
from gateway.model import printable

_FRAMING = Framing(slip.encode, slip.decoder)
_ATTEMPTS = 2  # the first question may end a packet that the radio had half received

log = logging.getLogger(__name__)


class SlipRadio:
    """One life of a slip-radio (a Dialogue)."""

    def __init__(self, settings: RadioSettings, upcalls: Upcalls, timings: Timings) -> None:
        self._settings = settings
        self._upcalls = upcalls
        self._timings = timings
        self._line: Line[protocol.Address | protocol.Report] = Line(
            _FRAMING, self._on_packet, upcalls
        )
        self.attach, self.feed, self.lost = self._line.attach, self._line.feed, self._line.lost
        self._sequence: int | None = None
        self._last_sequence = 0
        self.info = RadioInfo(bytes(8), "")

    @property
    def error(self) -> RadioError | None:
        return self._line.error

    async def start(self, reply_s: float, gently: bool) -> None:
        address = await self._ask_address(reply_s)
        if (wanted := self._settings.eui64) not in {None, address.eui64}:
            raise RadioReplacedError(
                f"this radio's EUI-64 is {address.eui64.hex()}, not {(wanted or b'').hex()}, "
                "and a slip-radio cannot be given another"
            )
        self.info = RadioInfo(address.eui64, "slip-radio")
        if self._settings.short_address != NO_SHORT_ADDRESS:
            raise RadioError("a slip-radio cannot be given a short address")
        self._configure()

    async def transmit(self, psdu: bytes) -> TxResult:
        self._last_sequence = (self._last_sequence + 1) % protocol.SEQUENCES
        self._sequence = self._last_sequence
        try:
            report = await self._line.ask(
                protocol.transmit(self._sequence, psdu), self._timings.reply_s
            )
        except TimeoutError:
            # Lost on the line, which has no checksum, or the radio hangs: that is found out now.
            self._sequence = None
            await self.ping()
            return TxResult.REFUSED
        finally:
            self._sequence = None
        if isinstance(report, protocol.Report):
            return protocol.result(report, psdu)
        return TxResult.REFUSED

    def _configure(self) -> None:
        settings = self._settings
        for packet in protocol.set_channel(settings.channel):
            self._line.send(packet)
        self._line.send(protocol.set_parameter(protocol.PARAMETER_PAN_ID, settings.pan_id))
        if settings.tx_power_dbm is not None:
            power = protocol.set_parameter(protocol.PARAMETER_TX_POWER, settings.tx_power_dbm)
            self._line.send(power)

    async def set_pending(self, address: bytes, pending: bool) -> None:
        log.debug("a slip-radio has no table of waiting frames")

    async def energy(self, channel: int, period_ms: int) -> int:
        raise RadioError("a slip-radio cannot measure the energy on a channel")

    async def ping(self) -> None:
        address = await self._ask_address(self._timings.reply_s)
        if address.eui64 != self.info.eui64:
            raise self.lost(RadioError("the slip-radio restarted with another EUI-64"))
        # Nothing tells of a restart that forgot the channel, so it is set again each time.
        self._configure()

    async def _ask_address(self, reply_s: float) -> protocol.Address:
        for _ in range(_ATTEMPTS):
            try:
                answer = await self._line.ask(protocol.ASK_ADDRESS, reply_s)
            except TimeoutError:
                continue
            if isinstance(answer, protocol.Address):
                return answer
        raise self.lost(SilentError("the slip-radio hangs: it does not tell its address"))

    def _on_packet(self, packet: bytes) -> None:
        try:
            message = protocol.decode(packet)
        except DecodeError as error:
            log.debug("dropped what the slip-radio sent: %s: %s", error, packet.hex())
            self._upcalls.line_fault("undecodable")
            return
        match message:
            case protocol.Reception(psdu):
                self._upcalls.received(RadioFrame(psdu, time.time()))
            case protocol.Report(sequence):
                if sequence == self._sequence:
                    self._line.answer(message)
            case protocol.Address():
                if self._sequence is None:
                    self._line.answer(message)
            case protocol.Parameter(number, value):
                log.debug("slip-radio parameter %d is %d", number, value)
            case protocol.Text(text):
                log.debug("slip-radio says: %s", printable(text))

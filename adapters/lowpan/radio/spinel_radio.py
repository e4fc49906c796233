"""An OpenThread RCP on a serial line: runs the procedures of `rcp`, moves frames both ways."""

from __future__ import annotations

import asyncio
import logging
import time

from adapters.lowpan.framing import hdlc
from adapters.lowpan.phy import PSDU_LIMIT
from adapters.lowpan.radio import rcp, spinel
from adapters.lowpan.radio.interface import (
    RadioError,
    RadioFrame,
    RadioInfo,
    RadioSettings,
    Timings,
    TxResult,
    Upcalls,
)
from adapters.lowpan.radio.line import Framing, Line, SilentError
from adapters.lowpan.radio.rcp import Procedure, Refused, Request, T
from adapters.lowpan.radio.spinel import Command, Fields, Property, RxFlags, Status
from gateway.errors import DecodeError
from gateway.model import printable

_FRAMING = Framing(hdlc.encode, hdlc.decoder)
_ACK_REQUEST = 0x20
_TID_LIMIT = 15
_DEBUG_LIMIT = 200  # characters of firmware text in one log line

log = logging.getLogger(__name__)


class SpinelRadio:
    """One life of an RCP (a Dialogue)."""

    def __init__(self, settings: RadioSettings, upcalls: Upcalls, timings: Timings) -> None:
        self._settings = settings
        self._upcalls = upcalls
        self._timings = timings
        self._reply_s = timings.reply_s
        self._line: Line[spinel.Frame] = Line(_FRAMING, self._on_packet, upcalls)
        self.attach, self.feed, self.lost = self._line.attach, self._line.feed, self._line.lost
        self._tid = 0
        self._resetting = False
        self._scan: asyncio.Future[int] | None = None
        self.info = RadioInfo(bytes(8), "")

    @property
    def error(self) -> RadioError | None:
        return self._line.error

    async def start(self, reply_s: float, gently: bool) -> None:
        self._reply_s = reply_s
        if not gently:
            await self._reset()
        self.info = await self._run(rcp.bring_up(self._settings))
        self._reply_s = self._timings.reply_s

    async def transmit(self, psdu: bytes) -> TxResult:
        value = spinel.stream_raw(psdu, self._settings.channel)
        request = Request(Command.SET, Property.STREAM_RAW, value)
        answer = await self._exchange(request, self._timings.transmit_s)
        try:
            status = spinel.transmission(answer.value).status
        except DecodeError as error:
            raise self.lost(RadioError(f"the RCP's transmission report: {error}")) from error
        match status:
            case Status.OK:
                return TxResult.ACKED if psdu[0] & _ACK_REQUEST else TxResult.SENT
            case Status.NO_ACK:
                return TxResult.NO_ACK
            case Status.CCA_FAILURE:
                return TxResult.CHANNEL_BUSY
            case Status.INVALID_STATE:
                raise self.lost(RadioError("the RCP has turned its radio off by itself"))
            case _:
                log.debug("the RCP refuses a frame: %s", spinel.status_name(status))
                return TxResult.REFUSED

    async def set_pending(self, address: bytes, pending: bool) -> None:
        await self._run(rcp.source_match(address, pending))

    async def energy(self, channel: int, period_ms: int) -> int:
        self._scan = asyncio.get_running_loop().create_future()
        try:
            await self._run(rcp.start_energy_scan(channel, period_ms))
            async with asyncio.timeout(period_ms / 1000 + self._timings.reply_s):
                return await self._scan
        except TimeoutError:
            raise self.lost(RadioError("the RCP did not finish an energy scan")) from None
        finally:
            self._scan = None

    async def ping(self) -> None:
        try:
            await self._run(rcp.check_alive())
        except RadioError as error:
            raise self.lost(error) from error

    async def _reset(self) -> None:
        """Asks for a reset; firmware that tells nothing of it is simply asked what it is next."""
        self._resetting = True
        try:
            for kind in (spinel.ResetKind.STACK, spinel.ResetKind.PLATFORM):
                try:
                    await self._line.ask(spinel.reset(kind), self._reply_s)
                except TimeoutError:
                    continue
                return
        finally:
            self._resetting = False

    async def _run(self, procedure: Procedure[T]) -> T:
        try:
            request = next(procedure)
            while True:
                try:
                    value = await self._request(request)
                except Refused as refused:
                    request = procedure.throw(refused)
                else:
                    request = procedure.send(value)
        except StopIteration as stop:
            result: T = stop.value
            return result
        except DecodeError as error:
            raise self.lost(RadioError(f"the RCP's answer to {request}: {error}")) from error

    async def _request(self, request: Request) -> bytes:
        answer = await self._exchange(request, self._reply_s)
        if answer.property == Property.LAST_STATUS:
            status = Fields(answer.value).packed()
            if status != Status.OK:
                raise Refused(request, status)
            return b""
        if answer.property != request.property:
            raise DecodeError(f"it tells property {answer.property} instead")
        return answer.value

    async def _exchange(self, request: Request, timeout_s: float) -> spinel.Frame:
        self._tid = self._tid % _TID_LIMIT + 1
        frame = spinel.Frame(self._tid, request.command, request.property, request.value)
        try:
            return await self._line.ask(spinel.encode(frame), timeout_s)
        except TimeoutError:
            question = f"{request.command.name} {request.property.name}"
            error = SilentError(f"the RCP hangs: no answer to {question} in {timeout_s:g} s")
            raise self.lost(error) from None

    def _on_packet(self, packet: bytes) -> None:
        try:
            frame = spinel.decode(packet)
            if frame.tid:
                if frame.tid == self._tid:
                    self._line.answer(frame)
            elif frame.command == Command.IS:
                self._on_property(frame)
        except DecodeError as error:
            log.debug("dropped what the RCP sent: %s: %s", error, packet.hex())
            self._upcalls.line_fault("undecodable")

    def _on_property(self, frame: spinel.Frame) -> None:
        match frame.property:
            case Property.STREAM_RAW:
                self._on_reception(spinel.reception(frame.value))
            case Property.STREAM_DEBUG:
                text = frame.value.decode("utf-8", "replace").strip()
                log.debug("RCP says: %s", printable(text, _DEBUG_LIMIT))
            case Property.MAC_ENERGY_SCAN_RESULT:
                fields = Fields(frame.value)
                fields.unsigned(1)  # the channel, of which there is one at a time
                energy_dbm = fields.signed()
                if self._scan is not None and not self._scan.done():
                    self._scan.set_result(energy_dbm)
            case Property.LAST_STATUS:
                self._on_reset(frame)
            case _:
                log.debug("RCP tells property %s: %s", frame.property, frame.value.hex())

    def _on_reset(self, frame: spinel.Frame) -> None:
        reason = Fields(frame.value).packed()
        if reason not in spinel.RESET_REASONS:
            return
        if self._resetting:
            self._line.answer(frame)
        else:
            self.lost(RadioError(f"the RCP restarted by itself (reset reason {reason})"))

    def _on_reception(self, frame: spinel.Reception) -> None:
        if frame.error or frame.flags & (RxFlags.TRANSMITTED | RxFlags.BAD_FCS):
            return
        if not 1 <= len(frame.psdu) <= PSDU_LIMIT:
            raise DecodeError(f"a frame of {len(frame.psdu)} octets")
        self._upcalls.received(
            RadioFrame(
                frame.psdu,
                time.time(),
                frame.rssi_dbm,
                frame.lqi,
                frame.channel,
                frame.timestamp_us,
            )
        )

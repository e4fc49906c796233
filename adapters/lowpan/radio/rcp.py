"""What has to be asked of an RCP and in which order. Pure: each step yields one request.

Whoever runs a procedure sends the request, and gives back the value of the reply; a request
that the RCP refuses comes back as Refused.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import TypeVar

from adapters.lowpan.radio.interface import RadioError, RadioInfo, RadioSettings
from adapters.lowpan.radio.spinel import Capability, Command, Fields, Property, status_name, text

SPINEL_MAJOR = 4
OLDEST_RCP_API = 4
HOST_API = 11
"""The newest RCP interface that this host was held against."""

_ON, _OFF = b"\x01", b"\x00"

T = TypeVar("T")


class Refused(RadioError):
    """The RCP answered a request with an error."""

    def __init__(self, request: Request, status: int) -> None:
        super().__init__(f"the RCP refuses {request}: {status_name(status)}")
        self.status = status


@dataclass(frozen=True, slots=True)
class Request:
    """One question to the RCP."""

    command: Command
    property: Property
    value: bytes = b""

    def __str__(self) -> str:
        value = f" = {self.value.hex()}" if self.value else ""
        return f"{self.command.name} {self.property.name}{value}"


Procedure = Generator[Request, bytes, T]


def bring_up(settings: RadioSettings) -> Procedure[RadioInfo]:
    """After a reset: learn what the RCP is, then configure it and let it receive."""
    firmware = yield from _check_firmware()
    factory_eui64 = yield Request(Command.GET, Property.HWADDR)
    if len(factory_eui64) != 8:
        raise RadioError(f"the RCP has no EUI-64: {factory_eui64.hex()}")
    eui64 = settings.eui64 or factory_eui64
    yield _set(Property.PHY_ENABLED, _ON)
    yield _set(Property.PHY_CHAN, bytes((settings.channel,)))
    yield _set(Property.MAC_15_4_PANID, settings.pan_id.to_bytes(2, "little"))
    yield _set(Property.MAC_15_4_LADDR, eui64)
    yield _set(Property.MAC_15_4_SADDR, settings.short_address.to_bytes(2, "little"))
    yield _set(Property.MAC_PROMISCUOUS_MODE, _OFF)
    # While source matching is off, every acknowledgement says that a frame waits, and sleepy
    # neighbours stay awake for nothing. Firmware without it cannot do better.
    yield from _tolerated(_set(Property.SRC_MATCH_ENABLED, _ON))
    if settings.tx_power_dbm is not None:
        yield _set(Property.PHY_TX_POWER, _octet(settings.tx_power_dbm))
    yield _set(Property.MAC_RAW_STREAM_ENABLED, _ON)
    return RadioInfo(eui64, firmware)


def source_match(address: bytes, pending: bool) -> Procedure[None]:
    """Adds an address to the table of neighbours with waiting frames, or takes it out."""
    command = Command.INSERT if pending else Command.REMOVE
    is_short = len(address) == 2
    table = Property.SRC_MATCH_SHORT if is_short else Property.SRC_MATCH_EXT
    yield from _tolerated(Request(command, table, address[::-1] if is_short else address))


def start_energy_scan(channel: int, period_ms: int) -> Procedure[None]:
    """One channel: the RCP takes no more at a time; its result comes unasked."""
    yield _set(Property.MAC_SCAN_MASK, bytes((channel,)))
    yield _set(Property.MAC_SCAN_PERIOD, period_ms.to_bytes(2, "little"))
    yield _set(Property.MAC_SCAN_STATE, b"\x02")


def check_alive() -> Procedure[None]:
    """The RCP answers, and its link is still on: a reset that went unnoticed turns it off."""
    if (yield Request(Command.GET, Property.PHY_ENABLED)) != _ON:
        raise RadioError("the RCP has lost its settings")


def _check_firmware() -> Procedure[str]:
    version = Fields((yield Request(Command.GET, Property.PROTOCOL_VERSION)))
    major, minor = version.packed(), version.packed()
    if major != SPINEL_MAJOR:
        raise RadioError(f"the RCP speaks Spinel {major}.{minor}, not {SPINEL_MAJOR}.x")
    capabilities = set(_packed_list((yield Request(Command.GET, Property.CAPS))))
    if not {Capability.CONFIG_RADIO, Capability.MAC_RAW} <= capabilities:
        raise RadioError("the firmware is no RCP (perhaps an NCP): flash an OpenThread RCP")
    firmware = text((yield Request(Command.GET, Property.NCP_VERSION)))
    if Capability.RCP_API_VERSION in capabilities:
        api = Fields((yield Request(Command.GET, Property.RCP_API_VERSION))).packed()
        if api < OLDEST_RCP_API:
            raise RadioError(f"the RCP's interface {api} is older than {OLDEST_RCP_API}: update it")
    if Capability.RCP_MIN_HOST_API_VERSION in capabilities:
        request = Request(Command.GET, Property.RCP_MIN_HOST_API_VERSION)
        if (wanted := Fields((yield request)).packed()) > HOST_API:
            raise RadioError(f"the RCP wants a host of interface {wanted}, this one has {HOST_API}")
    return firmware


def _octet(value: int) -> bytes:
    return value.to_bytes(1, "little", signed=True)


def _set(target: Property, value: bytes) -> Request:
    return Request(Command.SET, target, value)


def _tolerated(request: Request) -> Procedure[None]:
    try:
        yield request
    except Refused:
        return


def _packed_list(value: bytes) -> Iterable[int]:
    fields = Fields(value)
    while fields:
        yield fields.packed()

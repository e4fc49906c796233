"""The `[lowpan]` section of the configuration file, and the link key, which has its own file."""

from __future__ import annotations

import contextlib
import re
import stat
from ipaddress import IPv6Network
from pathlib import Path as FilePath
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from adapters.lowpan.mac.ccm import KEY_SIZE, MicQuirk
from adapters.lowpan.mac.frame import KeyId, KeyIdMode
from adapters.lowpan.mac.security import LinkSecurity
from adapters.lowpan.phy import CHANNELS
from adapters.lowpan.radio import url
from gateway.configuration.secret import read_secret
from gateway.errors import AdapterError
from gateway.ports import Duration, Section

PREFIX_BITS = 64


def _prefix(value: object) -> bytes:
    try:
        network = IPv6Network(str(value))
    except ValueError as error:
        raise ValueError(f"expected a /64 such as fd00::/64: {error}") from None
    if network.prefixlen != PREFIX_BITS or network.is_multicast or network.is_link_local:
        raise ValueError("expected a /64 of unicast addresses such as fd00::/64")
    return network.network_address.packed[:8]


def _eui64(value: object) -> bytes:
    digits = re.sub("[:-]", "", str(value))
    if not re.fullmatch("[0-9a-fA-F]{16}", digits):
        raise ValueError("expected 16 hex digits, such as 00124b0001020304")
    return bytes.fromhex(digits)


def _pan_id(value: object) -> object:
    if not isinstance(value, str):
        return value
    try:
        return int(value, 0)
    except ValueError:
        raise ValueError('expected a number such as "0xabcd"') from None


class LowpanSection(Section):
    """6LoWPAN nodes that speak CoAP, through an 802.15.4 stick on a serial port."""

    radio: Annotated[url.RadioUrl, BeforeValidator(lambda text: url.parse(str(text)))] = Field(
        examples=[
            "spinel+hdlc:///dev/serial/by-id/usb-Nordic_Semiconductor_nRF528xx_OpenThread_Device-if00"
        ]
    )
    """The stick: spinel+hdlc:// for an OpenThread RCP, slip-radio:// for Contiki-NG's slip-radio
    or Zephyr's wpan_serial; add ?baudrate=460800&rtscts=1 where they are known. Use the name below
    /dev/serial/by-id, which does not change. zep://[::1]:17754 joins simulated nodes."""
    channel: Annotated[int, Field(ge=CHANNELS[0], le=CHANNELS[-1])] = 26
    """The nodes' channel, 11 to 26. Contiki-NG and RIOT come with 26."""
    pan_id: Annotated[int, Field(ge=0, lt=0xFFFF), BeforeValidator(_pan_id)] = Field(
        default=0xABCD, examples=["0xabcd"]
    )
    """The nodes' PAN id. Contiki-NG and Zephyr have 0xabcd, RIOT 0x0023."""
    prefix: Annotated[bytes, BeforeValidator(_prefix)] = Field(
        default=b"\xfd" + bytes(7), examples=["fd00::/64"]
    )
    """The nodes' IPv6 prefix. With fd00::/64 Contiki-NG compresses addresses out of the box."""
    eui64: Annotated[bytes, BeforeValidator(_eui64)] | None = Field(
        default=None, examples=["00124b0001020304"]
    )
    """The gateway's own address in the mesh, to keep it when the stick is replaced.

    Without it, the stick's.
    """
    tx_power_dbm: Annotated[int, Field(ge=-128, le=127)] | None = Field(default=None, examples=[8])
    """The transmit power; without it, the stick's own."""
    key_file: FilePath | None = Field(default=None, examples=["/etc/border-gateway/lowpan.key"])
    """A file, readable by the gateway only, with the link key as 32 hex digits. Without it, frames
    are neither encrypted nor checked."""
    security_level: Annotated[int, Field(ge=1, le=7)] = 5
    """The nodes' security level: 5, 6, 7 encrypt with a MIC of 32, 64, 128 bits."""
    key_index: Annotated[int, Field(ge=-1, le=255)] = 0
    """How frames name the key: its index (Contiki-NG: 0), or -1 for implicitly (RIOT)."""
    mic: Literal["standard", "riot"] = "standard"
    """`riot` for RIOT's nodes, which compute the MIC otherwise than the standard."""
    require_security: bool = True
    """Whether frames in clear are dropped where there is a key."""
    poll: Annotated[Duration, Field(ge=1)] = 60.0
    """How often what a node does not report by itself is asked for."""
    ack_timeout: Annotated[Duration, Field(gt=0)] = 2.0
    """How long a node within radio reach may take to acknowledge before it is asked again; one
    further away gets twice as long."""
    silence_timeout: Duration = 900.0
    """The radio is started anew when nothing at all was heard for this long (and three polls),
    though there are nodes that do not sleep. "0s": never."""
    definitions: FilePath | None = Field(default=None, examples=["/etc/border-gateway/devices"])
    """A folder with descriptions of nodes that do not speak IPSO by themselves; changes in it are
    taken over while the gateway runs."""


def link_security(section: LowpanSection) -> LinkSecurity | None:
    """How frames are secured, if they are; AdapterError where the key file cannot be used."""
    if section.key_file is None:
        return None
    implicit = section.key_index < 0
    return LinkSecurity(
        section.security_level,
        _read_key(section.key_file),
        KeyId() if implicit else KeyId(KeyIdMode.INDEX, section.key_index),
        section.require_security,
        MicQuirk(section.mic) if section.mic == "riot" else MicQuirk.NONE,
    )


def _read_key(file: FilePath) -> bytes:
    with contextlib.suppress(OSError):
        if file.stat().st_mode & (stat.S_IRWXO | stat.S_IWGRP):
            raise AdapterError(f"{file} is open to others: chmod 640 {file}")
    text = read_secret(file, "link key")
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != KEY_SIZE:
        raise AdapterError(
            f"{file} does not hold a key of 32 hex digits: put the nodes' link key there, or a "
            "new one (openssl rand -hex 16) there and into the nodes"
        )
    return key

"""What a radio's URL says. Pure; every refusal is a ValueError whose text tells what to write."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from enum import Enum
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

ZEP_PORT = 17754
"""The port that RIOT's ZEP dispatcher and native nodes use."""

_BAUDRATES = range(1200, 4_000_001)
_EXAMPLES = {
    "spinel+hdlc": "spinel+hdlc:///dev/serial/by-id/...?baudrate=460800&rtscts=1",
    "slip-radio": "slip-radio:///dev/ttyACM0?baudrate=115200",
    "zep": f"zep://[::1]:{ZEP_PORT}",
}
_SWITCH = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}


class SerialProtocol(Enum):
    """What the firmware of a stick speaks; the value is the URL's scheme."""

    SPINEL = "spinel+hdlc"
    SLIP = "slip-radio"


@dataclass(frozen=True, slots=True)
class SerialUrl:
    """A stick on a serial port. Without `baudrate` the usual ones are tried."""

    protocol: SerialProtocol
    path: str
    baudrate: int | None = None
    rtscts: bool = False

    def __str__(self) -> str:
        return f"{self.protocol.value}://{self.path}"


@dataclass(frozen=True, slots=True)
class ZepUrl:
    """ZEP over UDP: joins the dispatcher at the address, or with `listen` is one itself."""

    host: str
    port: int = ZEP_PORT
    listen: bool = False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"zep://{host}:{self.port}"


RadioUrl = SerialUrl | ZepUrl


def parse(text: str) -> RadioUrl:
    """The radio that `text` names."""
    try:
        parts = urlsplit(text.strip())
        port = parts.port
    except ValueError as error:
        raise ValueError(f"not a radio URL: {error}") from None
    if parts.scheme not in _EXAMPLES:
        raise ValueError(_unknown("scheme", parts.scheme, _EXAMPLES) + _example("spinel+hdlc"))
    if parts.fragment or parts.username is not None:
        raise ValueError("a radio URL has neither user nor fragment" + _example(parts.scheme))
    if parts.scheme == "zep":
        return _zep(parts, port)
    return _serial(parts)


def _serial(parts: SplitResult) -> SerialUrl:
    path = unquote(parts.path)
    if parts.netloc:
        raise ValueError(
            f"three slashes come before a device path, not two: {parts.scheme}:///{parts.netloc}..."
        )
    if not path.startswith("/") or path.endswith("/"):
        raise ValueError("the path of the serial device is missing" + _example(parts.scheme))
    options = _options(parts, {"baudrate", "rtscts"})
    baudrate = options.get("baudrate")
    if baudrate is not None and not (
        baudrate.isascii() and baudrate.isdecimal() and int(baudrate) in _BAUDRATES
    ):
        raise ValueError(f"baudrate is a number like 115200 or 460800, not {baudrate!r}")
    return SerialUrl(
        SerialProtocol(parts.scheme),
        path,
        int(baudrate) if baudrate else None,
        _switch(options, "rtscts"),
    )


def _zep(parts: SplitResult, port: int | None) -> ZepUrl:
    if not parts.hostname:
        raise ValueError("the address is missing" + _example("zep"))
    if parts.path not in {"", "/"}:
        raise ValueError("a ZEP URL has no path" + _example("zep"))
    options = _options(parts, {"listen"})
    return ZepUrl(parts.hostname, ZEP_PORT if port is None else port, _switch(options, "listen"))


def _options(parts: SplitResult, known: set[str]) -> dict[str, str]:
    options: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in known:
            raise ValueError(_unknown("option", name, known))
        if name in options:
            raise ValueError(f"the option {name} is given twice")
        options[name] = value
    return options


def _switch(options: dict[str, str], name: str) -> bool:
    value = options.get(name, "0")
    if value.lower() not in _SWITCH:
        raise ValueError(f"{name} is 0 or 1, not {value!r}")
    return _SWITCH[value.lower()]


def _unknown(what: str, name: str, known: set[str] | dict[str, str]) -> str:
    nearest = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {nearest[0]}?" if nearest else f"known: {', '.join(sorted(known))}"
    return f"unknown {what} {name!r}; {hint}" if name else f"the {what} is missing; {hint}"


def _example(scheme: str) -> str:
    return f"; for example {_EXAMPLES[scheme]}"

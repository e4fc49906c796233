"""Where a server listens, as the configuration spells it: an IP address and a port."""

from __future__ import annotations

import ipaddress
import re
from typing import Annotated

from pydantic import AfterValidator

_LISTEN = re.compile(r"\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]:(\d{1,5})|([0-9.]+):(\d{1,5})")


def parse_listen(text: str) -> tuple[str, int]:
    """The address and port in `127.0.0.1:5683` or `[::1]:5683`; ValueError otherwise."""
    match = _LISTEN.fullmatch(text)
    if not match or int(match[2] or match[4]) > 0xFFFF:
        raise ValueError('expected an address and a port, such as "127.0.0.1:5683", "[::]:5683"')
    host = match[1] or match[3]
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ValueError(f"{host} is not an IP address") from None
    return host, int(match[2] or match[4])


def _checked(text: str) -> str:
    parse_listen(text)
    return text


Listen = Annotated[str, AfterValidator(_checked)]
"""A key of the configuration that `parse_listen` understands."""

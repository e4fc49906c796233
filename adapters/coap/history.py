"""Which part of the past a GET asks for (`?from=..&to=..`), and how much one answer holds. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from adapters.coap.messages import Code, Format, Refusal, Request
from gateway.errors import InvalidValue
from gateway.formats.senml import RELATIVE_BELOW_S

MAX_RECORDS = 250
"""In one answer: 2 ms of the event loop, and about ten blocks. Who wants more asks again."""

FORMATS = (Format.SENML_JSON, Format.SENML_CBOR, Format.SENML_XML)
"""What can say the time of each value."""

_PARAMETER = re.compile(r"(from|to)=(.*)", re.DOTALL)
_TIME = re.compile(r"-?\d{1,12}(\.\d{1,9})?")


def asked(request: Request) -> bool:
    """Whether a request is for the past."""
    return request.code == Code.GET and any(map(_PARAMETER.fullmatch, request.query))


def period(query: Sequence[str], now: float) -> tuple[float, float]:
    """The times, in Unix seconds, after which and until which; InvalidValue says what is wrong.

    A number below 2**28 counts from `now`, as in SenML (RFC 8428 4.5.3).
    """
    times: dict[str, float] = {}
    for parameter in query:
        match = _PARAMETER.fullmatch(parameter)
        if match is None:
            raise InvalidValue(f"{parameter!r} does not go with from= and to=")
        name, text = match.groups()
        if name in times:
            raise InvalidValue(f"{name}= stands twice")
        if not _TIME.fullmatch(text):
            raise InvalidValue(f"{name}= takes Unix seconds, or like -3600 seconds from now")
        time = float(text)
        times[name] = time if time >= RELATIVE_BELOW_S else now + time
    start, end = times.get("from", float("-inf")), times.get("to", now)
    if start > end:
        raise InvalidValue("from= is later than to=")
    return start, end


def choose(accept: Format | None) -> Format:
    """The format of the answer; Refusal 4.06 where the accepted one knows no times."""
    form = Format.SENML_CBOR if accept is None else accept
    if form not in FORMATS:
        raise Refusal(Code.NOT_ACCEPTABLE, "accept 110, 112 or 310 here")
    return form

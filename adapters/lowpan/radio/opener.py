"""Which radio a URL means. The only module that knows all kinds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

from adapters.lowpan.radio.interface import (
    Connector,
    Radio,
    RadioListener,
    RadioSettings,
    Tap,
    Timings,
)
from adapters.lowpan.radio.line import DialogueFactory, SerialConnector
from adapters.lowpan.radio.reopening import ReopeningRadio
from adapters.lowpan.radio.slip_radio import SlipRadio
from adapters.lowpan.radio.spinel_radio import SpinelRadio
from adapters.lowpan.radio.url import RadioUrl, SerialProtocol, SerialUrl, ZepUrl
from adapters.lowpan.radio.zep_radio import ZepConnector

_DIALOGUES: Mapping[SerialProtocol, DialogueFactory] = {
    SerialProtocol.SPINEL: SpinelRadio,
    SerialProtocol.SLIP: SlipRadio,
}


def make_radio(
    url: RadioUrl,
    settings: RadioSettings,
    listener: RadioListener,
    timings: Timings | None = None,
    tap: Tap | None = None,
) -> Radio:
    """The radio that a URL names; it opens nothing before its `run`.

    `tap` gets every frame that goes out or comes in, for a capture.
    """
    timings = timings or Timings()
    return ReopeningRadio(_connector(url, timings), settings, listener, timings, tap)


def _connector(url: RadioUrl, timings: Timings) -> Connector:
    match url:
        case SerialUrl(protocol):
            return SerialConnector(url, timings, _DIALOGUES[protocol])
        case ZepUrl():
            return ZepConnector(url, timings)
        case _:
            assert_never(url)

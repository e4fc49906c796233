"""What an admin may do with the gateway itself, as the steps of one ad-hoc command.

Who may join, what a device is called, that it is forgotten; and that everything is published anew.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from adapters.xmpp.control import Control
from adapters.xmpp.forms import Field
from gateway.errors import Busy, InvalidValue, StateError
from gateway.formats.durations import parse_duration
from gateway.model import GATEWAY, printable

log = logging.getLogger(__name__)

ACTIONS = {
    "permit": "Let devices join for a while",
    "rename": "Name a device",
    "remove": "Forget a device",
    "republish": "Publish everything again",
}

LONGEST_PERMIT_S = 3_600.0
"""A window that is left open is one for strangers."""

Values = Mapping[str, str]


class Administration:
    """The actions; each checks the asker's role, and is logged with who asked for it."""

    def __init__(self, control: Control, republish: Callable[[], None]) -> None:
        self._control = control
        self._republish = republish

    def choose(self, asker: str, _: Values) -> Sequence[Field]:
        """The first step: what is to be done."""
        return [Field("action", "What to do", "list-single", options=list(ACTIONS.items()))]

    def details(self, asker: str, values: Values) -> Sequence[Field]:
        """The second step: what the action needs to know."""
        devices = [d for d in self._control.devices(asker) if d.id != GATEWAY]
        options = [(d.prefix, f"{d.name} ({d.prefix})" if d.name else d.prefix) for d in devices]
        device = Field("device", "Device", "list-single", options=options)
        match values["action"]:
            case "permit":
                return [Field("for", "How long (0s ends it)", value="5min")]
            case "rename":
                return [device, Field("name", "Name (empty: the device's own)")]
            case "remove":
                return [device]
            case "republish":
                return []
            case action:
                raise InvalidValue(f"there is no action {printable(action)!r}")

    def run(self, asker: str, values: Values) -> str:
        """Does it; says what was done. A CommandError if it cannot be."""
        self._control.administer(asker)
        try:
            done = self._done(asker, values)
        except StateError as error:
            raise Busy(str(error)) from error
        log.info("xmpp %s: %s", asker.partition("/")[0], done)
        return done

    def _done(self, asker: str, values: Values) -> str:
        port, action = self._control.port, values["action"]
        if action == "permit":
            duration_s = _duration_s(values["for"])
            port.permit(duration_s)
            return f"devices may join for {duration_s:g} s" if duration_s else "none may join now"
        if action == "republish":
            self._republish()
            return "everything is published again"
        device = self._control.device(asker, values["device"])
        if action == "remove":
            port.forget(device.id)
            return f"{device.prefix} is forgotten"
        port.rename(device.id, values["name"])
        return f"{device.prefix} is named {printable(values['name'])!r}"


def _duration_s(text: str) -> float:
    try:
        duration_s = parse_duration(text)
    except ValueError as error:
        raise InvalidValue(str(error)) from error
    if duration_s > LONGEST_PERMIT_S:
        raise InvalidValue("devices may join for an hour at most")
    return duration_s

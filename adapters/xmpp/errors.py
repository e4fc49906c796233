"""What can go wrong between two XMPP entities; the text is for people."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Mapping

from gateway.errors import (
    AdapterError,
    Asleep,
    Busy,
    CommandError,
    DeviceRefused,
    InvalidValue,
    NotAllowed,
    NotFound,
    TimedOut,
    Unreachable,
    WritesDisabled,
)


class SessionLost(AdapterError):
    """The connection to the server is gone."""


class CannotLogIn(AdapterError):
    """There is no session; trying again later may help."""


class BadCredentials(CannotLogIn):
    """The server refuses account or password; a person has to do something."""


class NoAnswer(AdapterError):
    """A request was not answered in time."""


class StanzaError(AdapterError):
    """A request was refused. `condition` and `type` as in RFC 6120 8.3; `detail` says more."""

    def __init__(
        self,
        condition: str,
        type: str = "cancel",
        text: str = "",
        detail: ET.Element | None = None,
    ) -> None:
        super().__init__(f"{condition}: {text}" if text else condition)
        self.condition = condition
        self.type = type
        self.text = text
        self.detail = detail


class Forbidden(CommandError):
    """The asker has no role that allows this."""


_REFUSALS: Mapping[type[CommandError], tuple[str, str]] = {
    Asleep: ("recipient-unavailable", "wait"),
    Busy: ("resource-constraint", "wait"),
    DeviceRefused: ("not-acceptable", "modify"),
    Forbidden: ("forbidden", "auth"),
    InvalidValue: ("bad-request", "modify"),
    NotAllowed: ("not-allowed", "cancel"),
    NotFound: ("item-not-found", "cancel"),
    TimedOut: ("remote-server-timeout", "wait"),
    Unreachable: ("recipient-unavailable", "wait"),
    WritesDisabled: ("not-allowed", "cancel"),
}


def refusal(error: CommandError) -> StanzaError:
    """A command that was not carried out, as a request is refused (RFC 6120 8.3.3)."""
    condition, type = _REFUSALS.get(error.__class__, ("internal-server-error", "cancel"))
    return StanzaError(condition, type, str(error))

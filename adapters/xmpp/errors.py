"""What can go wrong between two XMPP entities; the text is for people."""

from __future__ import annotations

from gateway.errors import AdapterError, CommandError


class SessionLost(AdapterError):
    """The connection to the server is gone."""


class CannotLogIn(AdapterError):
    """There is no session; trying again later may help."""


class BadCredentials(CannotLogIn):
    """The server refuses account or password; a person has to do something."""


class NoAnswer(AdapterError):
    """A request was not answered in time."""


class StanzaError(AdapterError):
    """A request was refused. `condition` and `type` as in RFC 6120 8.3."""

    def __init__(self, condition: str, type: str = "cancel", text: str = "") -> None:
        super().__init__(f"{condition}: {text}" if text else condition)
        self.condition = condition
        self.type = type
        self.text = text


class Forbidden(CommandError):
    """The asker has no role that allows this."""

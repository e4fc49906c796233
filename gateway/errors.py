"""The one error tree. Shells translate their library's errors into these at the boundary."""


def reason(error: Exception) -> str:
    """Why, in the words of the system, without those of Python."""
    match error:
        case UnicodeError():
            return "it is no text in UTF-8"
        case OSError(strerror=str(text)):
            return text
        case _:
            return str(error) or type(error).__name__


class GatewayError(Exception):
    """Whatever can go wrong that the gateway knows about; the text is for people."""


class ConfigError(GatewayError):
    """The configuration cannot be used; the text holds every fault, one a line."""


class StateError(GatewayError):
    """The state database cannot be used."""


class StateUnusable(StateError):
    """It cannot be used, and trying again does not help: an operator has to do something."""


class CodecError(GatewayError):
    """Bytes or values that a codec cannot translate."""


class DecodeError(CodecError):
    """The peer sent bytes that break the format."""


class EncodeError(CodecError):
    """We asked for something that the format cannot express."""


class AdapterError(GatewayError):
    """An adapter cannot go on; the supervisor shows the text and starts it again."""


class CommandError(GatewayError):
    """A command was not carried out; each server answers it in its own language."""


class NotFound(CommandError):
    """No such device, object, instance or resource."""


class NotAllowed(CommandError):
    """The resource has no such operation."""


class WritesDisabled(CommandError):
    """The operator has not enabled writing here; the text names the key to set."""


class InvalidValue(CommandError):
    """Wrong type, out of range, or not expressible on the device."""


class Busy(CommandError):
    """Too many commands wait for this device; try again later."""


class Unreachable(CommandError):
    """The device, or the radio it is behind, cannot be reached."""


class Asleep(CommandError):
    """The device sleeps and takes commands only when it wakes."""

    def __init__(self, message: str, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class TimedOut(CommandError):
    """The device did not answer in time."""


class DeviceRefused(CommandError):
    """The device answered and said no."""

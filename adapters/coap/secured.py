"""What a client says under a key, whatever protects it; knows no cipher."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from aiocoap import Message

from adapters.coap.datagram import Datagram
from adapters.coap.messages import Option

Options = Sequence[tuple[int, bytes]]


@dataclass(frozen=True, slots=True)
class Unprotected:
    """A request of the client of this name, and how to answer so that only it understands."""

    client: str
    code: int
    options: Options
    payload: bytes
    protect: Callable[[Message], Message]


class Recovery(Exception):
    """After a restart nobody knows what was said before: the client is to show that it is new."""

    def __init__(self, answer: Message) -> None:
        super().__init__("the request may be a replayed one")
        self.answer = answer


class Keys(Protocol):
    """The keys of all clients."""

    def take(self, message: Datagram) -> Unprotected:
        """What a protected request says; a Refusal where that cannot be found out, or Recovery."""


def is_protected(options: Options) -> bool:
    """Whether a request has the OSCORE option."""
    return any(number == Option.OSCORE for number, _ in options)


def options_of(message: Message) -> Options:
    """The options of a message as numbers and octets."""
    return [(int(option.number), option.encode()) for option in message.opt.option_list()]

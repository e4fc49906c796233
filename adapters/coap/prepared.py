"""Answers kept as octets, so that who asks in the same words is answered by a look-up; pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

PREPARED = 4_096
"""Requests kept with their answers; when they are more, all are dropped and made anew.

2 MB where they are of single resources; 20 MB if each answer fills a block.
"""

PREPARED_OCTETS = 128
"""The options of what is kept: a path, a host, a format. Who pads them is answered, but slowly."""

PREPARED_S = 1.0
"""A prepared answer is used this long, so that its Max-Age is right to the second."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """An answer's octets after the token; they hold while `source()` gives what it gave."""

    source: Callable[[], object]
    given: object
    until: float
    tail: bytes

    def holds(self, now: float) -> bool:
        """Whether a GET would be answered so now."""
        if now >= self.until:
            return False
        given = self.source()
        return given is self.given or given == self.given


class PreparedAnswers(dict[bytes, Prepared]):
    """By the options of the GET, which are all that follows its token."""

    def keep(self, options: bytes, source: Callable[[], object], tail: bytes, now: float) -> None:
        """Keeps an answer's tail, unless the options are long."""
        if len(options) > PREPARED_OCTETS:
            return
        if len(self) >= PREPARED:
            self.clear()
        self[options] = Prepared(source, source(), now + PREPARED_S, tail)

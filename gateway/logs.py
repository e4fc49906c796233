"""How much is logged, and in which form. Only our own modules: what a library would log at debug
level can hold passwords.
"""

from __future__ import annotations

import difflib
import logging
import os
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from gateway.errors import InvalidValue, NotFound
from gateway.model import printable

log = logging.getLogger(__name__)

OURS = ("gateway", "adapters")

LEVELS = ("debug", "info", "warning", "error")


TAIL_LINES = 300
"""Log lines kept in memory: what a person scrolls through, about 100 kB."""

LONGEST_LINE = 500
"""Characters of a kept line; a longer one is cut."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of the log; `number` counts all since the start, `at` is in Unix seconds."""

    number: int
    at: float
    level: str
    module: str
    text: str


class Tail(logging.Handler):
    """Keeps the end of the log in memory, for who looks at a page and not into the journal."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: deque[LogLine] = deque(maxlen=TAIL_LINES)
        self._number = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Keeps a record as one printable line; of an exception only what it says."""
        try:
            text = " ".join(record.getMessage().splitlines())
        except (TypeError, ValueError, LookupError):  # a library's mistake must not end its caller
            text = str(record.msg)
        if record.exc_info and (error := record.exc_info[1]):
            text += f" ({type(error).__name__}: {error})"
        self._number += 1
        line = printable(text, LONGEST_LINE)
        self._lines.append(
            LogLine(self._number, record.created, record.levelname.lower(), record.name, line)
        )

    def since(self, number: int) -> Sequence[LogLine]:
        """The kept lines after a number, the oldest first."""
        self.acquire()
        try:
            return [line for line in self._lines if line.number > number]
        finally:
            self.release()


TAIL = Tail()
"""The end of this process's log."""


def configure_logging(level: str) -> None:
    """Logs to stderr; under systemd with the priority prefixes that the journal reads."""
    handler = logging.StreamHandler(sys.stderr)
    if os.environ.get("JOURNAL_STREAM"):
        handler.setFormatter(_JournalFormatter("%(name)s: %(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler, TAIL], force=True)
    set_level(level)


def set_level(level: str) -> None:
    """How much is logged from now on, by every module."""
    for name in modules():
        logging.getLogger(name).setLevel(logging.NOTSET)
    for name in OURS:
        logging.getLogger(name).setLevel(level.upper())


def set_module_level(level: str, name: str) -> str:
    """How much one module, or an adapter (`ble`), logs from now on; its full name. NotFound."""
    known = sorted({*modules(), *filter(_is_ours, sys.modules)})
    full = next((n for n in (name, f"adapters.{name}", f"gateway.{name}") if n in known), None)
    if full is None:
        close = difflib.get_close_matches(name, [k.partition(".")[2] for k in known], n=1)
        nearest = f"; did you mean {close[0]!r}?" if close else ""
        raise NotFound(f"no module {name!r} runs here{nearest}; known are {_short(known)}")
    logging.getLogger(full).setLevel(level.upper())
    return full


def change(level: str, module: str | None) -> str:
    """Changes the level of a module, or of all, until the daemon ends; gives a sentence."""
    if level not in LEVELS:
        raise InvalidValue(f"{level!r} is no level; levels are {', '.join(LEVELS)}")
    if module is None:
        set_level(level)
    what = set_module_level(level, module) if module else "everything"
    log.info("%s logs at level %s until the daemon ends", what, level)
    return f"{what} logs at level {level} until the daemon ends"


def modules() -> Sequence[str]:
    """Our modules that log, and the packages that they are in."""
    return sorted(filter(_is_ours, logging.root.manager.loggerDict))


def _is_ours(name: str) -> bool:
    return name.partition(".")[0] in OURS


def _short(known: Sequence[str]) -> str:
    """The core, and one name an adapter."""
    return ", ".join(["gateway", *sorted({n.split(".")[1] for n in known if n[:9] == "adapters."})])


class _JournalFormatter(logging.Formatter):
    _PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))

    def format(self, record: logging.LogRecord) -> str:
        priority = next((p for level, p in self._PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())

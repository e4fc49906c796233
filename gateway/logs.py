"""How much is logged, and in which form. Only our own modules: what a library would log at debug
level can hold passwords.
"""

from __future__ import annotations

import difflib
import logging
import os
import sys
from collections.abc import Sequence

from gateway.errors import InvalidValue, NotFound

log = logging.getLogger(__name__)

OURS = ("gateway", "adapters")

LEVELS = ("debug", "info", "warning", "error")


def configure_logging(level: str) -> None:
    """Logs to stderr; under systemd with the priority prefixes that the journal reads."""
    handler = logging.StreamHandler(sys.stderr)
    if os.environ.get("JOURNAL_STREAM"):
        handler.setFormatter(_JournalFormatter("%(name)s: %(message)s"))
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    set_level(level)


def set_level(level: str) -> None:
    """How much is logged from now on, by every module."""
    for name in modules():
        logging.getLogger(name).setLevel(logging.NOTSET)
    for name in OURS:
        logging.getLogger(name).setLevel(level.upper())


def set_module_level(level: str, name: str) -> str:
    """How much one module, or an adapter (`ble`), logs from now on; its full name. NotFound."""
    known = modules()
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
    return sorted(n for n in logging.root.manager.loggerDict if n.partition(".")[0] in OURS)


def _short(known: Sequence[str]) -> str:
    """The core, and one name an adapter."""
    return ", ".join(["gateway", *sorted({n.split(".")[1] for n in known if n[:9] == "adapters."})])


class _JournalFormatter(logging.Formatter):
    _PRIORITIES = ((logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))

    def format(self, record: logging.LogRecord) -> str:
        priority = next((p for level, p in self._PRIORITIES if record.levelno >= level), 7)
        return "\n".join(f"<{priority}>{line}" for line in super().format(record).splitlines())

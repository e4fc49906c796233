"""Damaged databases, set aside beside their successor for somebody to look into."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Sequence
from pathlib import Path as FilePath

log = logging.getLogger(__name__)

_DAMAGED = ".damaged-"
"""In the name of one, before the time in Unix seconds."""

_BESIDE = ("-shm", "-wal", "")
"""What SQLite keeps with a database, and itself as the last."""


def set_aside(file: FilePath) -> None:
    """Moves a database away, if it is there. Of several, the first and the last are kept, so that a
    worn disk is not filled with them.
    """
    latest = [int(each.name.rpartition("-")[2]) for each in lying_aside(file)[-1:]]
    number = max([round(time.time()), *(each + 1 for each in latest)])  # a clock may be unset
    aside = file.with_suffix(f"{_DAMAGED}{number}")
    if file.exists():
        log.error("%s is set aside as %s", file, aside)
    for end in _BESIDE:
        with contextlib.suppress(FileNotFoundError):
            FilePath(f"{file}{end}").rename(f"{aside}{end}")
    for between in lying_aside(file)[1:-1]:
        for end in _BESIDE:
            with contextlib.suppress(OSError):
                FilePath(f"{between}{end}").unlink()


def lying_aside(file: FilePath) -> Sequence[FilePath]:
    """Those that still lie beside a database, the latest one last."""
    with contextlib.suppress(OSError):  # a disk that cannot be read is found by who writes to it
        found = file.parent.glob(f"{file.stem}{_DAMAGED}*")
        numbered = (each for each in found if each.name.rpartition("-")[2].isdecimal())
        return sorted(numbered, key=lambda each: (len(each.name), each.name))
    return []

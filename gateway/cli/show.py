"""Text for people: tables, and how long ago something was."""

from __future__ import annotations

import time
from collections.abc import Sequence

import click


def ago(at: float | None) -> str:
    """How long ago a time in Unix seconds was, such as "5 min ago"."""
    if at is None:
        return "never"
    seconds = max(0, int(time.time() - at))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def table(rows: Sequence[tuple[str, ...]]) -> None:
    """Prints rows of equal length, the first one the heading, in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())

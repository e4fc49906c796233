"""Text for people: tables that fit the terminal, ages, values; and JSON for programs.

Whatever a device may have written is made printable here, so that it cannot speak to the terminal.
"""

from __future__ import annotations

import json
import shutil
import sys
import time
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

import click

from gateway.formats.durations import about
from gateway.formats.text import to_words
from gateway.model import printable

WIDEST_CELL = 24
"""Columns of a cell that is not the last one: a device id has 23."""

NARROWEST_END = 16
"""Columns that the last cell is worth; rather another column is left out."""

NO_TERMINAL = (10_000, 10_000)
"""What is piped to another program is not cut."""

_LONGEST = 10_000
_GAP = "  "


def say(data: object, text: str, *, as_json: bool) -> None:
    """Prints what was done: sentences, one a line, or JSON."""
    click.echo(json.dumps(data, indent=2) if as_json else clean(text))


def clean(text: str) -> str:
    """Lines of text without anything that a terminal obeys."""
    return "\n".join(map(_line, text.split("\n")))


def ago(at: float | None) -> str:
    """How long ago a time in Unix seconds was, such as "5 min"."""
    return "never" if at is None else about(time.time() - at)


def with_unit(value: int | float | str | None, unit: str) -> str:
    """A number and its unit; nothing where there is none."""
    return "" if value is None else f"{value} {unit}".rstrip()


def bare_value_of(resource: Mapping[str, Any]) -> str:
    """A resource's value for people, without its unit; nothing where it cannot be read."""
    return "" if resource["value"] is None else to_words(resource["value"])


def value_of(resource: Mapping[str, Any]) -> str:
    """A resource's value for people, with its unit; a dash where it cannot be read."""
    if resource["value"] is None:
        return "-"
    shown = with_unit(bare_value_of(resource), resource["unit"])
    marks = {"restored": "from before the restart", "untimed": "measured before the clock was set"}
    told = ", ".join(text for mark, text in marks.items() if resource[mark])
    return f"{shown} ({told})" if told else shown


def terminal() -> tuple[int, int]:
    """Columns and lines to fill."""
    is_one = sys.stdout is not None and sys.stdout.isatty()  # it is None where it was closed
    return shutil.get_terminal_size(NO_TERMINAL) if is_one else NO_TERMINAL


def table(
    heading: Sequence[str], rows: Sequence[Sequence[str]], droppable: Sequence[str] = ()
) -> None:
    """Prints rows in columns, without those that are empty everywhere; nothing without rows.

    What does not fit the terminal is cut from the last column; before that becomes too narrow,
    `droppable` columns are left out in this order.
    """
    columns = {
        name: [name, *map(_line, cells)]
        for name, *cells in zip(heading, *rows, strict=True)
        if any(cells)
    }
    if not columns:
        return
    room = _room(columns)
    for name in droppable:
        if room < NARROWEST_END and name in columns:
            del columns[name]
            room = _room(columns)
    *names, last = columns
    widths = {name: _width_of(columns[name]) for name in names} | {last: max(room, NARROWEST_END)}
    for row in zip(*columns.values(), strict=True):
        cells = (_cut(cell, widths[name]) for name, cell in zip(columns, row, strict=True))
        padded = (_padded(cell, widths[name]) for name, cell in zip(names, cells, strict=False))
        end = _cut(row[-1], widths[last])
        click.echo(_GAP.join([*padded, end]).rstrip())


def _line(text: str) -> str:
    return printable(text, _LONGEST)


def _room(columns: Mapping[str, Sequence[str]]) -> int:
    """What the other columns leave to the last one."""
    *others, _ = columns.values()
    return terminal()[0] - sum(_width_of(cells) + len(_GAP) for cells in others)


def _width_of(cells: Sequence[str]) -> int:
    return min(max(map(_width, cells)), WIDEST_CELL)


def _width(text: str) -> int:
    """Columns on a terminal: none for a combining mark, two for a wide character."""
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


def _cut(text: str, width: int) -> str:
    if _width(text) <= width:
        return text
    while _width(text) > width - 1:
        text = text[:-1]
    return text + "…"


def _padded(text: str, width: int) -> str:
    return text + " " * (width - _width(text))

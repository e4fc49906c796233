"""The sample configuration and the reference page, generated from the sections that are loaded."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path as FilePath

from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from gateway.configuration.config import adapter_entry_points
from gateway.configuration.descriptions import descriptions
from gateway.configuration.sections import CORE_SECTIONS, REPEATED_SECTIONS
from gateway.formats.durations import duration_text, parse_duration
from gateway.ports import Section

_HEADER = """\
# Border Gateway: the one file that you write; the program never changes it.
#
# Every key stands here with its default, commented out. Check your version with
#   border-gateway check
# An adapter runs if its section is there.
#
# A changed file is taken over by
#   border-gateway reload
# The word behind a key says what else that does: live nothing, adapter restarts its adapter;
# restart: the key waits for a restart of the daemon.
"""


_REFERENCE = """\
# Configuration

The keys of `/etc/border-gateway/gateway.toml`, a [TOML](https://toml.io) file which the program
never changes. This page is generated: `border-gateway config reference`.

`border-gateway check` tells every mistake at once; `border-gateway reload`, or
`systemctl reload border-gateway`, takes over a changed file, and a faulty one changes nothing. What
else a changed key needs:

| word | a change |
| --- | --- |
| live | applies at once |
| adapter | starts the adapter of this section anew; the others go on |
| restart | waits for a restart of the daemon, and `reload` says so |

An adapter starts when its section is added, and stops when it is removed. A `[[device]]` newly
listed joins when it is seen; one listed no more is not bridged, but keeps its prefix.

A duration is text with its unit, such as "500ms", "30s", "5min", "1h", "2d".
"""


def sample() -> str:
    """The commented sample file; valid as it is."""
    parts = [_HEADER]
    for header, section, active in _sections():
        parts.append("\n".join(_section(header, section, active=active)))
    return "\n\n\n".join(parts) + "\n"


def reference() -> str:
    """Every key with its default and what it means, as a page in Markdown."""
    parts = [_REFERENCE]
    for header, section, _ in _sections():
        parts.append("\n".join(_chapter(header, section)))
    return "\n".join(parts)


def _sections() -> Iterator[tuple[str, type[Section], bool]]:
    """Each section's header in the file, and whether the sample has it switched on."""
    for name, core in CORE_SECTIONS.items():
        yield f"[{name}]", core, True
    for name, repeated in REPEATED_SECTIONS.items():
        yield f"[[{name}]]", repeated, False
    for name, point in sorted(adapter_entry_points().items()):
        config: type[Section] = point.load().Config
        yield f"[{name}]", config, config.enabled_by_default


def _chapter(header: str, section: type[Section]) -> Iterator[str]:
    yield f"## {header}\n"
    yield " ".join((section.__doc__ or "").split()) + "\n"
    if section.model_fields:
        yield "| key | default | change | meaning |"
        yield "| --- | --- | --- | --- |"
    described = descriptions(section)
    for name, field in section.model_fields.items():
        meaning = " ".join(described.get(name, "").split())
        cells = (f"`{name}`", _default(field), section.reload_of(name), meaning)
        yield f"| {' | '.join(cell.replace('|', '&#124;') for cell in cells)} |"
    yield ""


def _default(field: FieldInfo) -> str:
    """The default as it stands in the file; an example where there is none."""
    if field.is_required():
        return f"required, such as `{_toml(field.examples[0])}`" if field.examples else "required"
    default = _value(field, example=False)
    if default and field.examples:  # which is how the file spells it
        default = field.examples[0]
    if default is not None:
        return f"`{_toml(default)}`"
    return f"none; such as `{_toml(field.examples[0])}`" if field.examples else "none"


def _section(header: str, section: type[Section], *, active: bool) -> Iterator[str]:
    yield from _comment(section.__doc__ or "", "# ")
    yield header if active else f"#{header}"
    described = descriptions(section)
    for name, field in section.model_fields.items():
        yield ""
        yield from _comment(f"{described.get(name, '')} ({section.reload_of(name)})", "# ")
        yield f"#{name} = {_toml(_value(field))}"


def _value(field: FieldInfo, *, example: bool = True) -> object:
    if field.examples and example:
        return field.examples[0]
    default = field.get_default(call_default_factory=True)
    is_duration = any(
        isinstance(m, BeforeValidator) and m.func is parse_duration for m in field.metadata
    )
    return duration_text(default) if is_duration else default


def _comment(text: str, start: str) -> Iterator[str]:
    for paragraph in text.split("\n\n"):
        words = " ".join(paragraph.split())
        yield from textwrap.wrap(words, 100, initial_indent=start, subsequent_indent=start)


def _toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case FilePath():
            return json.dumps(str(value))
        case dict():
            pairs = (f"{_key(name)} = {_toml(content)}" for name, content in value.items())
            return "{" + ", ".join(pairs) + "}"
        case list() | tuple():
            return "[" + ", ".join(map(_toml, value)) + "]"
        case _:
            return json.dumps(value, ensure_ascii=False)


def _key(name: str) -> str:
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else json.dumps(name, ensure_ascii=False)

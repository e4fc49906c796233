"""The sample configuration, generated from the same sections that are loaded."""

from __future__ import annotations

import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path as FilePath

from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from gateway.config import CORE_SECTIONS, DeviceSection, adapter_entry_points
from gateway.ports import Section, duration_text, parse_duration

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


def sample() -> str:
    """The commented sample file; valid as it is."""
    parts = [_HEADER]
    for name, section in CORE_SECTIONS.items():
        parts.append("\n".join(_section(f"[{name}]", section, active=True)))
    parts.append("\n".join(_section("[[device]]", DeviceSection, active=False)))
    for name, point in sorted(adapter_entry_points().items()):
        config: type[Section] = point.load().Config
        parts.append("\n".join(_section(f"[{name}]", config, active=config.enabled_by_default)))
    return "\n\n\n".join(parts) + "\n"


def _section(header: str, section: type[Section], *, active: bool) -> Iterator[str]:
    yield from _comment(section.__doc__ or "", "# ")
    yield header if active else f"#{header}"
    for name, field in section.model_fields.items():
        yield ""
        yield from _comment(f"{field.description} ({section.reload_of(name)})", "# ")
        yield f"#{name} = {_toml(_value(field))}"


def _value(field: FieldInfo) -> object:
    if field.examples:
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

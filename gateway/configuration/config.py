"""The operator's file: one typed source gives loader, error report and rules. Never written to."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path as FilePath

from pydantic import ValidationError

from gateway.configuration import listen
from gateway.configuration.faults import LONGEST_SHOWN, faults_of, nearest, shown
from gateway.configuration.sections import (
    CORE_SECTIONS,
    REPEATED_SECTIONS,
    AdmitSection,
    BlockSection,
    GatewaySection,
    clashes,
    every,
    retention_of,
    rules_of,
    the,
)
from gateway.errors import ConfigError
from gateway.policy import Retention, Rules
from gateway.ports import Adapter, Section


@dataclass(frozen=True, slots=True)
class Config:
    """A valid configuration. `adapters` holds the class and the section of each enabled adapter;
    `source` is what an operator knows it by.
    """

    gateway: GatewaySection
    rules: Rules
    adapters: Mapping[str, tuple[type[Adapter], Section]]
    journal: Retention = field(default_factory=Retention)
    source: str = "no file"


def adapter_entry_points() -> Mapping[str, EntryPoint]:
    """The adapters that are installed, by the name of their section."""
    return {point.name: point for point in entry_points(group="border_gateway.adapters")}


def load(file: FilePath) -> Config:
    """The configuration in `file`; ConfigError with every fault, one a line."""
    text = read(file)
    try:
        return replace(parse(text), source=str(file))
    except ConfigError as error:
        lines = "\n".join(f"  {line}" for line in str(error).splitlines())
        raise ConfigError(f"{file} cannot be used:\n{lines}") from None


def read(file: FilePath) -> str:
    """The text of the file, without the mark that some editors begin it with; else ConfigError."""
    try:
        octets = file.read_bytes()
        return octets.decode("utf-8-sig")
    except FileNotFoundError as error:
        raise ConfigError(
            f"{file}: {error.strerror}; write one with: border-gateway config sample > {file}"
        ) from error
    except PermissionError as error:
        raise ConfigError(
            f"{file}: {error.strerror}; it is for root and the group border-gateway: try sudo"
        ) from error
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        line = octets.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"{file}: not UTF-8 text (line {line})") from error


def parse(text: str) -> Config:
    """The configuration in TOML `text`; ConfigError with every fault, one a line."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not TOML: {error}{_line_of(error, text)}") from error
    points = adapter_entry_points()
    faults: list[str] = []
    sections: list[Section] = []
    for name, core in CORE_SECTIONS.items():
        sections += filter(None, [_section(core, name, data.pop(name, {}), faults)])
    for name, kind in REPEATED_SECTIONS.items():
        sections += _repeated(kind, name, data.pop(name, []), faults)
    faults += clashes(sections)
    faults += _unknown_adapters(sections, list(points))
    adapters: dict[str, tuple[type[Adapter], Section]] = {}
    for name, content in data.items():
        if name not in points:
            faults.append(_unknown_section(name, content, points))
            continue
        try:
            adapter: type[Adapter] = points[name].load()
        except (ImportError, AttributeError) as error:
            faults.append(f"[{name}]: this adapter cannot be loaded: {error}")
            continue
        if section := _section(adapter.Config, name, content, faults):
            adapters[name] = (adapter, section)
    faults += listen.clashes({name: section for name, (_, section) in adapters.items()})
    if faults:
        raise ConfigError("\n".join(faults))
    general = the(GatewaySection, sections)
    return Config(general, rules_of(sections), adapters, retention_of(sections))


def _line_of(error: tomllib.TOMLDecodeError, text: str) -> str:
    """What the line is about that an error of the parser tells the number of; not its value, which
    may be a secret."""
    if not (number := re.search(r"at line (\d+)", str(error))):
        return ""
    key, equals, _ = text.split("\n")[int(number[1]) - 1].strip().partition("=")
    return f": {key[:LONGEST_SHOWN]}{equals and '= ...'}"


def _unknown_adapters(sections: Sequence[Section], known: Sequence[str]) -> Iterator[str]:
    for name, kind in (("admit", AdmitSection), ("block", BlockSection)):
        for adapter in (section.adapter for section in every(kind, sections)):
            if adapter is not None and adapter not in known:
                yield f"[{name}] adapter = {adapter!r}: unknown adapter{nearest(adapter, known)}"


def _repeated(
    section: type[Section], name: str, content: object, faults: list[str]
) -> Sequence[Section]:
    if not isinstance(content, list):
        faults.append(f"{name}: expected sections headed [[{name}]], with two brackets each")
        return []
    found = (_section(section, f"{name} #{n}", item, faults) for n, item in enumerate(content, 1))
    return [item for item in found if item]


def _section(
    section: type[Section], name: str, content: object, faults: list[str]
) -> Section | None:
    try:
        # As JSON, since only then "strict" (a number is no text) takes a path from text.
        return section.model_validate_json(json.dumps(content, default=str), strict=True)
    except ValidationError as error:
        faults.extend(faults_of(section, name, content, error))
        return None


def _unknown_section(name: str, content: object, adapters: Iterable[str]) -> str:
    if not isinstance(content, Mapping | list):
        places = [f"[{core}]" for core, kind in CORE_SECTIONS.items() if name in kind.model_fields]
        home = f"; its place is below {places[0]}" if places else ""
        return f"{name} = {shown(name, content)}: stands above all sections{home}"
    return (
        f"[{name}]: unknown section{nearest(name, [*CORE_SECTIONS, *REPEATED_SECTIONS, *adapters])}"
    )

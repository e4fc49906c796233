"""Collects what a bug report needs, and leaves out what is nobody's business."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import distributions
from pathlib import Path as FilePath
from typing import Any

from gateway import __version__
from gateway.client import ANSWER_TIMEOUT_S, HungUp, talk
from gateway.configuration.config import Config, load, read
from gateway.diagnostics.bundle import DEVICES, FORMAT, MAX_OBJECTS, MAX_PART, OBJECTS, REPORT
from gateway.diagnostics.examine import by_itself, in_the_world
from gateway.diagnostics.redaction import REDACTED, Redactor
from gateway.errors import ConfigError, GatewayError, StateError
from gateway.events import State
from gateway.formats.text import to_plain
from gateway.logs import LONGEST_LINE
from gateway.model import printable
from gateway.objects.ddf import MAX_FILE_OCTETS
from gateway.storage.state import remembered

MAX_STRANGERS = 100
"""Of those who are not bridged: more says nothing new."""

JOURNAL = (
    *("/usr/bin/journalctl", "--unit=border-gateway", "--lines=300", "--quiet"),
    *("--output=short-iso", "--no-hostname"),
)
"""What tells the end of the log where no daemon does."""

JOURNAL_TIMEOUT_S = 10.0

PLACES = frozenset({6, 3336})
"""Objects that tell where a device is (Location); they are left out."""

_SERIAL_NUMBER = "/3/0/2"
_TEXTS = ("*.xml", "*.toml")


def collect(config: FilePath, state: FilePath, socket_file: FilePath) -> Mapping[str, str]:
    """The parts of the bundle by name, redacted; what is missing is told in the report."""
    found: dict[str, object] = {}
    missing: list[str] = []
    definitions: Mapping[str, str] = {}
    try:
        found["configuration.json"] = tomllib.loads(read(config))
    except (ConfigError, ValueError) as error:
        missing.append(f"configuration: {error}")
    try:
        loaded = load(config)
        findings = [*by_itself(loaded), *asyncio.run(in_the_world(loaded, state))]
        found["check.json"] = [asdict(finding) for finding in findings]
        definitions = dict(_definitions(loaded))
    except ConfigError as error:
        missing.append(f"check: {error}")
    try:
        now, log, known = _daemon(socket_file)
        found |= {"daemon.json": now, "log.json": log, DEVICES: known}
        if left_out := now["bridged"] - len(known):
            missing.append(f"{left_out} devices, for want of room")
    except GatewayError as error:
        missing.append(f"how devices and adapters are: {error}")
        try:
            found |= {"log.json": _journal(), DEVICES: _left_behind(state)}
        except StateError as error:
            missing.append(f"devices and values: {error}")
    found["missing"] = missing
    redactor = Redactor()
    for name in found:
        redactor.value(found[name])  # learns every domain
    redacted = {name: redactor.value(value) for name, value in found.items()}
    report = {"format": FORMAT, "at": time.time(), "missing": redacted.pop("missing")}
    return {
        REPORT: _text(report | _system(state)),
        **{name: _text(value) for name, value in redacted.items()},
        **definitions,
    }


def _text(value: object) -> str:
    return json.dumps(value, indent=1, ensure_ascii=False)


def _daemon(socket_file: FilePath) -> tuple[dict[str, Any], Sequence[str], Sequence[Any]]:
    """What the daemon says of itself, its last log lines, its devices as far as there is room."""
    answers = talk(socket_file, {"do": "diagnostics"}, ANSWER_TIMEOUT_S)
    now, log = next(answers, None), next(answers, None)
    if now is None or log is None:
        raise HungUp
    now["strangers"] = now["strangers"][:MAX_STRANGERS]
    now["bridged"] = sum(bool(device["adapter"]) for device in now.pop("devices"))
    return now, log, _fitting(answers)


def _journal() -> Sequence[str]:
    """The end of the daemon's log, as systemd keeps it; nothing where this user may not read it."""
    try:
        done = subprocess.run(  # noqa: S603  (no word of it comes from outside)
            JOURNAL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=JOURNAL_TIMEOUT_S,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    return [printable(line, LONGEST_LINE) for line in done.stdout.splitlines()]


def _left_behind(state: FilePath) -> Sequence[Any]:
    """The devices and their last values, as a daemon that has ended wrote them down."""
    return _fitting(
        {
            "id": known.device,
            "prefix": known.prefix,
            "name": known.name,
            "adapter": known.adapter,
            "state": State.UNKNOWN.value,
            "reason": "the daemon did not run when this was written",
            "last_seen": known.last_seen,
            "resources": [
                {
                    "path": f"{known.prefix}{resource.path}",
                    "value": None if resource.value is None else to_plain(resource.value),
                    "at": resource.at,
                }
                for resource in known.resources
            ],
        }
        for known in remembered(state)
        if known.prefix
    )


def _fitting(devices: Iterable[Any]) -> Sequence[Any]:
    """The devices without what is nobody's business, as far as there is room."""
    fitting, room = [], MAX_PART // 2  # indenting and stand-ins make it larger
    for device in devices:
        device["resources"] = [_harmless(r) for r in device["resources"] if not _is_place(r)]
        room -= len(json.dumps(device))
        if room < 0:
            break
        fitting.append(device)
    return fitting


def _harmless(resource: Mapping[str, Any]) -> Mapping[str, Any]:
    if resource["path"].endswith(_SERIAL_NUMBER) and resource["value"]:
        return {**resource, "value": REDACTED}
    return resource


def _is_place(resource: Mapping[str, Any]) -> bool:
    return int(resource["path"].split("/")[1]) in PLACES


def _definitions(config: Config) -> Iterator[tuple[str, str]]:
    """The definitions that the configuration names: of objects, and of devices."""
    sections = [config.gateway, *(section for _, section in config.adapters.values())]
    folders = {folder for s in sections if (folder := getattr(s, "definitions", None))}
    files = sorted(file for folder in folders for end in _TEXTS for file in folder.glob(end))
    for file in files[:MAX_OBJECTS]:
        try:
            if file.stat().st_size <= MAX_FILE_OCTETS:
                text = file.read_text("utf-8")
                yield f"{OBJECTS if file.suffix == '.xml' else 'definitions/'}{file.name}", text
        except (OSError, UnicodeDecodeError):
            continue  # the check says so


def _system(state: FilePath) -> dict[str, object]:
    kernel = platform.uname()
    return {
        "version": __version__,
        "python": sys.version,
        "kernel": f"{kernel.system} {kernel.release} {kernel.machine}",
        "distribution": _distribution(),
        "processors": os.cpu_count(),
        "memory_octets": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "free_octets": shutil.disk_usage(state).free if state.exists() else None,
        "user": os.geteuid(),
        "packages": {d.name: d.version for d in distributions()},
    }


def _distribution() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        return ""

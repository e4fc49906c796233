"""Whether a valid configuration meets a world in which it works; it asks, and changes nothing.

What the running daemon holds is not tried again: its own word counts, and where a section is not
the one that it runs, what is tried is whether it could.
"""

from __future__ import annotations

import asyncio
import errno
import os
import pwd
import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any

from gateway.client import MayNotAsk, NotRunning, ask
from gateway.configuration.checks import (
    SERVICE_USER,
    Check,
    Finding,
    InUse,
    Severity,
    listener,
)
from gateway.configuration.config import Config, adapter_entry_points
from gateway.configuration.listen import Listener, Listening
from gateway.control.shapes import section_shape
from gateway.devices.identities import clashes
from gateway.errors import GatewayError, StateError
from gateway.model import DeviceId
from gateway.objects.ddf import load_folder
from gateway.objects.registry import Registry
from gateway.overview import STATE, Condition
from gateway.ports import Section
from gateway.storage.database import FILE_NAME, require_writable
from gateway.storage.state import remembered

CHECK_TIMEOUT_S = 60.0
"""For all of one adapter: an XMPP login may take 30 s; twice that is what a person waits."""

ROOM = 64_000_000
"""Octets that the state may come to take: 45 MB are the usual journal, 4 MB are on their way."""

DAEMON = "daemon"

_WELL = (Condition.STARTING.value, Condition.RUNNING.value)


def by_itself(config: Config) -> Sequence[Finding]:
    """What can be said without looking farther than at the configuration and what it names."""
    registry = Registry.builtin()
    folder = config.gateway.definitions
    faults = load_folder(folder, registry) if folder else []
    return [*(Finding(Severity.WARNING, "gateway", fault) for fault in faults), *_unheard(config)]


async def in_the_world(config: Config, state: FilePath) -> Sequence[Finding]:
    """What the adapters find, in the order of the configuration; they look at the same time."""
    daemon = await asyncio.to_thread(_daemon, config)
    findings = [daemon.finding, *_clashes(config, daemon, state), *_rights()]
    findings += _state(state, daemon)
    if daemon.is_closed:
        return findings
    registry = Registry.builtin()
    if config.gateway.definitions:
        load_folder(config.gateway.definitions, registry)
    found = await asyncio.gather(
        *(_adapter(config, name, registry, daemon) for name in config.adapters)
    )
    return [*findings, *(finding for each in found for finding in each)]


@dataclass(frozen=True, slots=True)
class _Daemon:
    """What the running daemon says, of each adapter also the section that it runs with;
    `is_closed`: it does not answer this user.
    """

    finding: Finding
    adapters: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    sections: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    prefixes: Mapping[str, DeviceId] = field(default_factory=dict)
    is_closed: bool = False
    runs: bool = True

    def listens(self, wanted: Listener) -> bool:
        """Whether it has the address, so that nobody else does."""
        return any(
            wanted.excludes(Listener(**held))
            for section in self._held()
            for held in section["listeners"]
        )

    def uses(self, resource: str) -> bool:
        """Whether it has what one of its sections names."""
        return any(
            repr(resource) in str(value)  # a URL is there with all its parts
            for section in self._held()
            for value in section["says"].values()
        )

    def _held(self) -> Iterator[Mapping[str, Any]]:
        """The sections of what has not failed: what an adapter needs, it has."""
        for name, section in self.sections.items():
            if self.adapters[name]["condition"] != Condition.FAILED.value:
                yield section


def _daemon(config: Config) -> _Daemon:
    try:
        answer = ask(config.gateway.socket, {"do": "devices"})
        sections = ask(config.gateway.socket, {"do": "sections"})
    except NotRunning:
        return _Daemon(Finding(Severity.OK, DAEMON, "it does not run, so all is tried"), runs=False)
    except MayNotAsk as error:
        text = f"{error}; what it holds is not tried"
        return _Daemon(Finding(Severity.WARNING, DAEMON, text), is_closed=True)
    except GatewayError as error:
        return _Daemon(Finding(Severity.ERROR, DAEMON, str(error)), is_closed=True)
    adapters = {adapter["name"]: adapter for adapter in answer["adapters"]}
    return _Daemon(
        Finding(Severity.OK, DAEMON, "it runs; its own word stands for what it holds"),
        adapters,
        {name: sections[name] for name in sections if name in adapters},
        answer["prefixes"],
    )


async def _adapter(
    config: Config, name: str, registry: Registry, daemon: _Daemon
) -> Sequence[Finding]:
    adapter, section = config.adapters[name]
    running = daemon.adapters.get(name)
    if running and daemon.sections.get(name) == section_shape(section):
        severity = Severity.OK if running["condition"] in _WELL else Severity.ERROR
        return [Finding(severity, name, f"the daemon says: {running['status']}")]
    findings = [*_listeners(name, section, daemon)]
    if running:
        text = "the daemon runs with another section, until: border-gateway reload"
        findings.insert(0, Finding(Severity.OK, name, text))
    check: Check | None = getattr(adapter, "check", None)
    if check is None:
        return findings
    try:
        async with asyncio.timeout(CHECK_TIMEOUT_S):
            found = await check(section, registry)
    except GatewayError as error:
        found = [Finding(Severity.ERROR, name, str(error))]
    except TimeoutError:
        text = (
            f"its check did not end within {CHECK_TIMEOUT_S:.0f} s: start the daemon, and see what "
            "becomes of it: border-gateway devices"
        )
        found = [Finding(Severity.ERROR, name, text)]
    return [*findings, *(_of_another(finding, daemon) for finding in found)]


def _listeners(name: str, section: Section, daemon: _Daemon) -> Iterator[Finding]:
    for wanted in section.listeners if isinstance(section, Listening) else ():
        if daemon.listens(wanted):
            yield Finding(Severity.OK, name, f"{wanted.listen} is the daemon's own")
        else:
            yield listener(name, wanted)


def _of_another(finding: Finding, daemon: _Daemon) -> Finding:
    """The finding; all is well where what is in use is so by the daemon itself."""
    if not isinstance(finding, InUse):
        return finding
    if daemon.uses(finding.resource):
        return Finding(Severity.OK, finding.section, f"{finding.resource} is the daemon's own")
    return Finding(finding.severity, finding.section, finding.text)


def _rights() -> Sequence[Finding]:
    """Whether who checks sees less than the daemon would."""
    try:
        service = pwd.getpwnam(SERVICE_USER)
    except KeyError:  # not installed as a service
        return []
    if os.geteuid() in {0, service.pw_uid}:
        return []
    text = f"this is not {SERVICE_USER}: what you may not read or open, it may; use sudo to be sure"
    return [Finding(Severity.WARNING, DAEMON, text)]


def _state(folder: FilePath, daemon: _Daemon) -> Iterator[Finding]:
    """Whether the state can be kept: in the folder, or in the one above it that is there now."""
    if told := daemon.adapters.get(STATE):
        yield Finding(Severity.WARNING, STATE, f"the daemon says: {told['status']}")
    places = (folder, *folder.absolute().parents)
    place = next(each for each in places if os.path.exists(each))  # noqa: PTH110  (never raises)
    if not daemon.runs:
        try:
            if not place.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(place))
            require_writable(place, folder / FILE_NAME)
        except OSError as error:
            severity = Severity.WARNING if _rights() else Severity.ERROR
            text = (
                f"{folder} cannot be written ({error.filename}: {error.strerror}): chown it to the "
                "daemon's user, or name another one with --state"
            )
            yield Finding(severity, STATE, text)
    try:
        free = shutil.disk_usage(place).free
    except OSError:  # that it may not be looked into is told
        return
    if free < ROOM:
        text = (
            f"{place} has room for {free // 1_000_000} MB, the state may take "
            f"{ROOM // 1_000_000} MB: make room, or lower [journal] entries"
        )
        yield Finding(Severity.WARNING, STATE, text)


def _unheard(config: Config) -> Sequence[Finding]:
    """Devices that are listed, but whose adapter is not switched on."""
    kinds = {device.partition(":")[0] for device in config.rules.devices}
    missing = sorted((kinds & adapter_entry_points().keys()) - config.adapters.keys())
    return [
        Finding(
            Severity.WARNING,
            name,
            f"devices {name}:... are listed, but nothing hears them: add the section [{name}]",
        )
        for name in missing
    ]


def _clashes(config: Config, daemon: _Daemon, state: FilePath) -> Sequence[Finding]:
    """Prefixes that the configuration asks for, but that another device has had before."""
    try:
        owners = daemon.prefixes or {known.prefix: known.device for known in remembered(state)}
    except StateError as error:
        return [Finding(Severity.ERROR, DAEMON, str(error))]
    told = clashes(config.rules, owners).values()
    return [Finding(Severity.WARNING, "device", text) for text in told]

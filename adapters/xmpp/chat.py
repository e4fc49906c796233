"""The gateway as somebody to chat with: lines in, lines out, and changes of what is watched.

Pure but for the commands that it awaits; it knows no stanza. Who has no role gets no answer.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TypeGuard

from adapters.xmpp.control import READER, Control, resource_of
from adapters.xmpp.moments import moment_text
from adapters.xmpp.payload import readable
from gateway.errors import CommandError, InvalidValue
from gateway.events import Change, Device, Event, Removed, Resource
from gateway.model import GATEWAY, DeviceId, Path, Value, printable
from gateway.readings.journal import whole_moments

MAX_DELAY_S = 60.0
"""A `set` that waited longer in offline storage is not carried out: it would come as a surprise."""

MAX_WATCHERS = 50
MAX_WATCHES = 20
"""Accounts that watch something, and what each may watch: people read no more."""

WATCH_S = 8 * 3600.0
"""How long a watch lasts: a client that went away without a word is not written to for ever."""

MAX_LINES = 60
"""Of one answer; longer ones are cut with a word on how to ask for less."""

MAX_VALUE_LENGTH = 300
"""Of a text in an answer."""

MAX_LINE_LENGTH = 2_000
"""Of what is asked; the longest command with a long text in it."""

HELP = """\
devices - all devices
read DEVICE [PATH] - values, such as: read weather 3303/0
history DEVICE PATH [SINCE] - such as: history weather 3303/0/5700 2h
set DEVICE PATH VALUE - such as: set lamp 3311/0/5850 on
run DEVICE PATH [ARGUMENTS] - executes a resource
watch DEVICE [PATH] [by DELTA] - tells changes, such as: watch weather 3303/0/5700 by 0.5
unwatch - ends that"""


@dataclass(slots=True)
class _Watch:
    device: DeviceId
    path: Path | None
    delta: float
    until: float
    told: dict[Path, float] = field(default_factory=dict)
    changed: dict[Path, None] = field(default_factory=dict)


class Chat:
    """All conversations. `asker` is the full JID that the server stamped; watches are by it."""

    def __init__(self, control: Control, monotonic: Callable[[], float]) -> None:
        self._control = control
        self._monotonic = monotonic
        self._watches: dict[str, list[_Watch]] = {}
        self._verbs: Mapping[str, Callable[[str, list[str]], str]] = {
            "devices": self._devices,
            "read": self._read,
            "watch": self._watch,
            "unwatch": self._unwatch,
        }

    async def answer(self, asker: str, text: str, delay_s: float) -> str | None:
        """The answer to a line that was sent `delay_s` ago; None for those without a role."""
        if not self._control.roles.allow(asker, READER):
            return None
        verb, *words = text[:MAX_LINE_LENGTH].split() or ["help"]
        try:
            if handler := self._verbs.get(verb.lower()):
                return handler(asker, words)
            if verb.lower() == "history":
                return await self._history(asker, words)
            if verb.lower() in {"set", "run"}:
                return await self._operate(asker, verb.lower(), text, delay_s)
        except CommandError as error:
            return f"Sorry: {error}"
        return HELP

    def absorb(self, event: Event) -> None:
        """Notes what of the watched has changed."""
        match event:
            case Change():
                for watch in self._watching(event.device):
                    if watch.path is None or watch.path.covers(event.path):
                        watch.changed[event.path] = None
            case Removed(path=None):
                for watches in self._watches.values():
                    watches[:] = [w for w in watches if w.device != event.device]
            case _:
                pass

    def news(self) -> Mapping[str, str]:
        """What watchers are to be told now, by their JID."""
        now = self._monotonic()
        for asker, watches in list(self._watches.items()):
            watches[:] = [watch for watch in watches if watch.until > now]
            if not watches:
                del self._watches[asker]
        told = {asker: self._news_of(watches) for asker, watches in self._watches.items()}
        return {asker: text for asker, text in told.items() if text}

    def gone(self, asker: str) -> None:
        """Somebody is offline, or cannot be reached."""
        self._watches.pop(asker, None)

    # --- verbs ---------------------------------------------------------------------------------

    def _devices(self, asker: str, _: list[str]) -> str:
        lines = [
            f"{_title(d)}: {d.availability.state.value}"
            + (f", {d.availability.reason}" if d.availability.reason else "")
            for d in self._control.devices(asker)
        ]
        return _cut(lines, "use a command of your client to see all")

    def _read(self, asker: str, words: list[str]) -> str:
        device = self._control.device(asker, _word(words, 0, "read DEVICE [PATH]"))
        path = words[1] if len(words) > 1 else ""
        found = self._control.resources(asker, device, path)
        lines = [self._line(device, resource.path) for resource in found]
        return _cut(lines, "name a path to see less")

    async def _history(self, asker: str, words: list[str]) -> str:
        usage = "history DEVICE PATH [SINCE]"
        device, path = self._control.device(asker, _word(words, 0, usage)), _word(words, 1, usage)
        found = await self._control.history(asker, device, path, " ".join(words[2:3]), "")
        shown = whole_moments(found, MAX_LINES)
        lines = [f"{moment_text(entry.at)} {self._told(resource_of(entry))}" for entry in shown]
        if hidden := len(found) - len(shown):
            last = moment_text(shown[-1].at)
            lines.append(f"... {hidden} more: history {words[0]} {path} {last}")
        return "\n".join(lines) or "Nothing was told in that time."

    def _watch(self, asker: str, words: list[str]) -> str:
        usage = "watch DEVICE [PATH] [by DELTA]"
        device = self._control.device(asker, _word(words, 0, usage))
        rest, delta = words[1:], 0.0
        if len(rest) > 1 and rest[-2] == "by":
            delta = _number(rest[-1], usage)
            rest = rest[:-2]
        path = Path.parse(rest[0].strip("/")) if rest and _is_path(rest[0]) else None
        if rest and path is None:
            raise InvalidValue(usage)
        found = self._control.resources(asker, device, rest[0] if rest else "")
        watches = self._watches.get(asker, [])
        if len(watches) >= MAX_WATCHES or (not watches and len(self._watches) >= MAX_WATCHERS):
            raise InvalidValue("that is more than can be watched; unwatch something first")
        watch = _Watch(device.id, path, delta, self._monotonic() + WATCH_S)
        watch.told = {r.path: float(r.value) for r in found if _is_number(r.value)}
        self._watches[asker] = [*watches, watch]
        what = f"{_title(device)} {rest[0] if rest else ''}".strip()
        return f"For {WATCH_S / 3600:g} hours I tell you when {what} changes."

    def _unwatch(self, asker: str, _: list[str]) -> str:
        self.gone(asker)
        return "You are told of no changes any more."

    async def _operate(self, asker: str, verb: str, text: str, delay_s: float) -> str:
        if delay_s > MAX_DELAY_S:
            raise InvalidValue(f"this came {delay_s:.0f} s late and is not carried out")
        words = text[:MAX_LINE_LENGTH].split(maxsplit=3)
        usage = "set DEVICE PATH VALUE" if verb == "set" else "run DEVICE PATH [ARGUMENTS]"
        device = self._control.device(asker, _word(words, 1, usage))
        path = _word(words, 2, usage)
        if verb == "run":
            return await self._control.execute(asker, device, path, "".join(words[3:]))
        return await self._control.write(asker, device, path, _word(words, 3, usage))

    # --- watching --------------------------------------------------------------------------------

    def _watching(self, device: DeviceId) -> list[_Watch]:
        return [w for watches in self._watches.values() for w in watches if w.device == device]

    def _news_of(self, watches: list[_Watch]) -> str:
        lines: dict[str, None] = {}
        for watch in watches:
            device = self._control.port.device_by_id(watch.device)
            for path in watch.changed if device else ():
                if device and self._tells(watch, path):
                    lines[f"{_name(device)}/{self._line(device, path)}"] = None
            watch.changed.clear()
        return _cut(list(lines), "and more")

    def _tells(self, watch: _Watch, path: Path) -> bool:
        resource = self._control.port.resource(watch.device, path)
        if resource is None or readable(resource, self._control.port.registry) is None:
            return False
        value = resource.value
        if not _is_number(value) or not watch.delta:
            return True
        if path in watch.told and abs(value - watch.told[path]) < watch.delta:
            return False
        watch.told[path] = value
        return True

    def _line(self, device: Device, path: Path) -> str:
        resource = self._control.port.resource(device.id, path)
        if resource is None:
            return str(path)[1:]
        return self._told(resource)

    def _told(self, resource: Resource) -> str:
        line = self._control.line(resource)
        return f"{str(line.path)[1:]} {line.label}: {printable(line.text, MAX_VALUE_LENGTH)}"


def _word(words: list[str], number: int, usage: str) -> str:
    if number < len(words):
        return words[number]
    raise InvalidValue(usage)


def _number(text: str, usage: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InvalidValue(usage) from None


def _is_number(value: Value | None) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_path(text: str) -> bool:
    try:
        Path.parse(text.strip("/"))
    except ValueError:
        return False
    return True


def _cut(lines: list[str], hint: str) -> str:
    if len(lines) <= MAX_LINES:
        return "\n".join(lines)
    return "\n".join([*lines[:MAX_LINES], f"... {len(lines) - MAX_LINES} more: {hint}"])


def _name(device: Device) -> str:
    return device.prefix or GATEWAY


def _title(device: Device) -> str:
    return f"{_name(device)} ({device.name})" if device.name else _name(device)

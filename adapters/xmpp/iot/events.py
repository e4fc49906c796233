"""Event subscriptions: who is to be told of which nodes, how far they must change, how often.

https://neuro-foundation.io/SensorDataEventSubscription.md. Pure; `now` is monotonic seconds.
"""

from __future__ import annotations

import math
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from adapters.xmpp.errors import StanzaError
from adapters.xmpp.iot import dialect, readout
from adapters.xmpp.iot.fields import Field
from adapters.xmpp.iot.readout import Query
from gateway.events import Change, Event, Removed
from gateway.model import DeviceId, Path, Value

MAX_SUBSCRIPTIONS = 20
"""Of one account: a program groups what it wants; people do not subscribe here."""

MAX_NODES_WATCHED = 5_000
"""Nodes of all subscriptions together: megabytes, and a second's work if all change."""

LIFETIME_S = 86_400.0
"""A client that went away without a word is not written to for ever; it may subscribe again."""

FieldsOf = Callable[[DeviceId], Sequence[Field]]


@dataclass(frozen=True, slots=True)
class Trigger:
    """How far a field must go from `told`, the value that the client knows, to be an event."""

    told: float | None
    up: float
    down: float


@dataclass(frozen=True, slots=True)
class Subscription:
    """Which fields, how far they must change, and the least and greatest pause between events.

    A field without trigger is an event whenever it changes. `max_age_s`: how far back an event goes
    where the query wants the past; without, to the event before it.
    """

    query: Query
    triggers: Mapping[str, Trigger]
    min_s: float
    max_s: float
    at_once: bool
    max_age_s: float | None = None


@dataclass(frozen=True, slots=True)
class Due:
    """Who is to be told now, of which nodes, and how much of their past (if the query wants it)."""

    asker: str
    query: Query
    nodes: Sequence[DeviceId]
    age_s: float


def parse(element: ET.Element, now: float) -> Subscription:
    """The subscription of a `<subscribe/>`; `now` in Unix seconds; StanzaError if it is broken."""
    space = dialect.namespace(element)
    found = element.findall(f"{{{space}}}f")
    triggers = {f.get("n", ""): _trigger(f) for f in found if {"by", "up", "dn"} & f.attrib.keys()}
    query = readout.parse(element, now)
    everything = dialect.truth(element.get("all", "false"))
    return Subscription(
        query=replace(query, past=query.past or (everything and "maxAge" in element.attrib)),
        triggers=triggers,
        min_s=dialect.duration_s(element.get("minInt", "PT0S")),
        max_s=dialect.duration_s(text) if (text := element.get("maxInt")) else math.inf,
        at_once=dialect.truth(element.get("req", "false")),
        max_age_s=_age_s(text, now) if (text := element.get("maxAge")) else None,
    )


def _age_s(text: str, now: float) -> float:
    """The schema says dateTime, its relatives and those who use it say duration."""
    if text.strip().startswith("P"):
        return dialect.duration_s(text)
    return max(0.0, now - dialect.moment(text))


@dataclass(slots=True)
class _Active:
    asker: str
    subscription: Subscription
    nodes: set[DeviceId]
    last: float
    until: float
    at_once: bool
    is_new: bool = True
    told: dict[tuple[DeviceId, str], float] = field(default_factory=dict)
    changed: dict[DeviceId, set[Path]] = field(default_factory=dict)


class Events:
    """All subscriptions. `asker` is the full JID that the server stamped."""

    def __init__(self) -> None:
        self._active: dict[tuple[str, str], _Active] = {}

    def subscribe(
        self,
        asker: str,
        subscription: Subscription,
        nodes: Sequence[DeviceId],
        fields_of: FieldsOf,
        now: float,
    ) -> None:
        """Begins a subscription, or replaces the asker's one of the same id; StanzaError."""
        self.unsubscribe(asker, subscription.query.id)
        own = sum(_bare(active.asker) == _bare(asker) for active in self._active.values())
        watched = sum(len(active.nodes) for active in self._active.values())
        if own >= MAX_SUBSCRIPTIONS or watched + len(nodes) > MAX_NODES_WATCHED:
            raise StanzaError("resource-constraint", "wait", "too many subscriptions")
        active = _Active(
            asker, subscription, set(nodes), now, now + LIFETIME_S, subscription.at_once
        )
        for node in nodes:
            _tell(active, node, fields_of(node))
        for name, trigger in subscription.triggers.items():
            if trigger.told is not None:
                active.told |= {(node, name): trigger.told for node in nodes}
        self._active[asker, subscription.query.id] = active

    def unsubscribe(self, asker: str, id: str) -> None:
        """Ends a subscription, if there is one."""
        self._active.pop((asker, id), None)

    def askers(self) -> set[str]:
        """Who has subscribed, by full JID."""
        return {asker for asker, _ in self._active}

    def gone(self, asker: str) -> None:
        """Somebody is offline, or cannot be reached: a full JID, or an account with all of its."""
        for key in [k for k in self._active if asker in {k[0], _bare(k[0])}]:
            del self._active[key]

    def clear(self) -> None:
        """Ends all subscriptions."""
        self._active.clear()

    def absorb(self, event: Event) -> None:
        """Notes what of the watched has changed."""
        match event:
            case Change():
                for active in self._active.values():
                    if event.device in active.nodes:
                        active.changed.setdefault(event.device, set()).add(event.path)
            case Removed(path=None):
                for key, active in list(self._active.items()):
                    active.nodes.discard(event.device)
                    active.changed.pop(event.device, None)
                    if not active.nodes:
                        del self._active[key]
            case _:
                pass

    def due(self, fields_of: FieldsOf, now: float) -> Iterator[Due]:
        """What is to be told now."""
        for key, active in list(self._active.items()):
            if now > active.until:
                del self._active[key]
            elif nodes := self._fired(active, fields_of, now):
                age_s = _age_of_event(active, now)
                active.last, active.at_once, active.is_new = now, False, False
                for node in nodes:
                    _tell(active, node, fields_of(node))
                yield Due(active.asker, active.subscription.query, nodes, age_s)

    def _fired(self, active: _Active, fields_of: FieldsOf, now: float) -> list[DeviceId]:
        pause_s = now - active.last
        if active.at_once or pause_s >= active.subscription.max_s:
            active.changed.clear()
            return sorted(active.nodes)
        if pause_s < active.subscription.min_s:
            return []
        changed, active.changed = active.changed, {}
        return [n for n, paths in changed.items() if _triggers(active, n, paths, fields_of(n))]


def _age_of_event(active: _Active, now: float) -> float:
    """How far back an event goes: what the one before it has told is not told again."""
    pause_s, max_age_s = now - active.last, active.subscription.max_age_s
    if max_age_s is None:
        return pause_s
    return max_age_s if active.is_new else min(max_age_s, pause_s)


def _triggers(active: _Active, node: DeviceId, paths: set[Path], known: Sequence[Field]) -> bool:
    query = active.subscription.query
    changed = (f for f in known if f.resource.path in paths)
    wanted = (f for f in changed if query.wants(f) or (query.past and query.lists(f)))
    return any(_goes_far(active, node, f) for f in wanted)


def _goes_far(active: _Active, node: DeviceId, changed: Field) -> bool:
    trigger = active.subscription.triggers.get(changed.name)
    told, value = active.told.get((node, changed.name)), _number(changed.resource.value)
    if trigger is None or told is None or value is None:
        return True
    return value - told >= trigger.up or told - value >= trigger.down


def _tell(active: _Active, node: DeviceId, known: Sequence[Field]) -> None:
    """Notes what the client now knows of the fields with a trigger."""
    for f in known:
        if f.name in active.subscription.triggers and active.subscription.query.wants(f):
            value = _number(f.resource.value)
            if value is not None:
                active.told[node, f.name] = value


def _number(value: Value | None) -> float | None:
    """A number, or a truth value as 0 or 1 (the document's own example watches a motion so)."""
    return float(value) if isinstance(value, int | float) else None


def _trigger(element: ET.Element) -> Trigger:
    by = _positive(element, "by")
    up, down = (min(by, _positive(element, name)) for name in ("up", "dn"))
    text = element.get("v")
    return Trigger(None if text is None else _finite(text), up, down)


def _positive(element: ET.Element, name: str) -> float:
    text = element.get(name)
    number = math.inf if text is None else _finite(text)
    if number <= 0:
        raise dialect.malformed(f"{name} must be more than 0")
    return number


def _finite(text: str) -> float:
    try:
        number = float({"true": "1", "false": "0"}.get(text, text))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise dialect.malformed(f"{text!r} is not a number")
    return number


def _bare(jid: str) -> str:
    return jid.partition("/")[0]

"""Answers the requests of the dialect: reads, sets, subscribes, tells what can be read and set."""

from __future__ import annotations

import logging
import math
import xml.etree.ElementTree as ET
from collections.abc import (
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Mapping,
    Sequence,
)
from dataclasses import replace

from adapters.xmpp.control import OPERATOR, READER, Control
from adapters.xmpp.errors import StanzaError
from adapters.xmpp.iot import dialect, events, parameters, readout
from adapters.xmpp.iot.dialect import CONTROL, EVENTS, INTERFACES, ROOTS, SENSOR_DATA
from adapters.xmpp.iot.events import Due, Events
from adapters.xmpp.iot.fields import Field, fields, interfaces
from adapters.xmpp.iot.readout import Node, Query
from gateway.errors import Busy, CommandError, InvalidValue, StateError
from gateway.events import Device, Entry, Event, Resource, State
from gateway.model import GATEWAY, DeviceId, Path, Value, printable

log = logging.getLogger(__name__)

MAX_PAST = 1_000
"""Changes of the past in one answer: who wants more asks again, from the last one on."""

MAX_PAST_NODES = 50
"""Nodes whose journal one request searches, object by object."""

MAX_READOUTS = 16
"""Long answers under way, a part of each a second: a client asks for one at a time."""

Handler = Callable[[str, ET.Element], Awaitable[ET.Element | None]]


class Things:
    """The devices as nodes. `asker` is the full JID that the server stamped."""

    def __init__(
        self, control: Control, wall: Callable[[], float], monotonic: Callable[[], float]
    ) -> None:
        self._control = control
        self._wall = wall
        self._monotonic = monotonic
        self._events = Events()
        self._readouts: dict[tuple[str, str], Iterator[ET.Element]] = {}
        self._with_past: list[Due] = []

    @property
    def handlers(self) -> Mapping[str, Handler]:
        """Who answers which element, by its qualified name."""
        answers: Mapping[str, Handler] = {
            f"{SENSOR_DATA}}}req": self._read,
            f"{SENSOR_DATA}}}cancel": self._cancel,
            f"{EVENTS}}}subscribe": self._subscribe,
            f"{EVENTS}}}unsubscribe": self._unsubscribe,
            f"{CONTROL}}}set": self._set,
            f"{CONTROL}}}getForm": self._form,
            f"{INTERFACES}}}getInterfaces": self._interfaces,
        }
        return {f"{{{root}{n}": handler for root in ROOTS for n, handler in answers.items()}

    def absorb(self, event: Event) -> None:
        """Notes what those who subscribed are to be told."""
        self._events.absorb(event)

    def followers(self) -> set[str]:
        """Who is told of events, by full JID."""
        return self._events.askers()

    def gone(self, asker: str) -> None:
        """Somebody is offline, or cannot be reached: a full JID, or an account with all of its."""
        self._events.gone(asker)
        for key in [k for k in self._readouts if asker in {k[0], k[0].partition("/")[0]}]:
            del self._readouts[key]

    def reset(self) -> None:
        """A new session begins: those who asked in the last one were told that we are gone."""
        self._events.clear()
        self._readouts.clear()
        self._with_past.clear()

    def news(self) -> Iterator[tuple[str, ET.Element]]:
        """What is to be sent now, to whom; but for events with a past."""
        for key, parts in list(self._readouts.items()):
            part = next(parts, None)
            if part is None or part.get("more") is None:
                del self._readouts[key]
            if part is not None:
                yield key[0], part
        for due in self._events.due(self._fields_of, self._monotonic()):
            if due.query.past and len(self._with_past) < MAX_READOUTS:
                self._with_past.append(due)
            else:
                yield due.asker, self._begun(due, self._nodes(due.nodes))

    async def late_news(self) -> AsyncIterator[tuple[str, ET.Element]]:
        """The events for which the journal has to be read; without their past if it cannot be."""
        waiting, self._with_past = self._with_past, []
        for due in waiting:
            found = (self._control.port.device_by_id(node) for node in due.nodes)
            devices = [device for device in found if device]
            since = self._wall() - due.age_s
            try:
                past = await self._past(replace(due.query, since=since), devices)
            except (StanzaError, CommandError) as error:
                log.debug("an event for %s goes without its past: %s", printable(due.asker), error)
                past = {}
            nodes = [self._node(device, past.get(device.id, ())) for device in devices]
            yield due.asker, self._begun(due, nodes)

    def _begun(self, due: Due, nodes: Iterable[Node]) -> ET.Element:
        """The first part of an event; the others follow as parts of long answers do."""
        parts = readout.responses(due.query, nodes)
        if (part := next(parts)).get("more"):
            self._readouts[due.asker, due.query.id] = parts
        return part

    # --- reading ---------------------------------------------------------------------------------

    async def _read(self, asker: str, asked: ET.Element) -> ET.Element:
        self._control.check(asker, READER)
        query = readout.parse(asked, self._wall())
        devices = [self._control.device(asker, node) for node in query.nodes]
        past = await self._past(query, devices) if query.past else {}
        nodes = (self._node(device, past.get(device.id, ())) for device in devices)
        parts = readout.responses(query, nodes)
        first = next(parts)
        if first.get("more"):
            self._continue(asker, query, parts)
        return first

    async def _past(
        self, query: Query, devices: Sequence[Device]
    ) -> Mapping[DeviceId, Sequence[Field]]:
        """What the journal has of the fields that are asked for, oldest first, within bounds."""
        if len(devices) > MAX_PAST_NODES:
            text = f"the past of at most {MAX_PAST_NODES} nodes at a time"
            raise StanzaError("resource-constraint", "wait", text)
        port, left = self._control.port, MAX_PAST
        # The dialect's `from` is in, the journal's is not.
        start = -math.inf if query.since is None else math.nextafter(query.since, -math.inf)
        end = self._wall() if query.until is None else query.until
        found: dict[DeviceId, list[Field]] = {}
        for device in (device for device in devices if device.id != GATEWAY):
            known = {f.resource.path: f for f in self._fields_of(device.id) if query.lists(f)}
            for object_id in dict.fromkeys(path.object for path in known):
                if left <= 0:
                    return found
                try:
                    entries = await port.history(device.id, Path(object_id), start, end, limit=left)
                except StateError as error:
                    raise Busy(f"the history cannot be read now: {error}") from error
                left -= len(entries)
                past = (_of_the_past(known.get(entry.path), entry) for entry in entries)
                found.setdefault(device.id, []).extend(filter(None, past))
        return found

    def _continue(self, asker: str, query: Query, parts: Iterator[ET.Element]) -> None:
        if len(self._readouts) >= MAX_READOUTS:
            raise StanzaError("resource-constraint", "wait", "too many long readouts; ask for less")
        self._readouts[asker, query.id] = parts

    async def _cancel(self, asker: str, asked: ET.Element) -> None:
        self._control.check(asker, READER)
        self._readouts.pop((asker, dialect.identity(asked)), None)

    async def _interfaces(self, asker: str, asked: ET.Element) -> ET.Element:
        self._control.check(asker, READER)
        space = dialect.namespace(asked)
        root = ET.Element(f"{{{space}}}interfaces")
        if node := asked.get("id"):
            device = self._control.device(asker, node)
            for name in interfaces(self._fields_of(device.id)):
                ref = dialect.sibling(space, f"iot:hi:{name}:1.0")
                ET.SubElement(root, f"{{{space}}}interface", {"ref": ref})
        return root

    # --- events ----------------------------------------------------------------------------------

    async def _subscribe(self, asker: str, asked: ET.Element) -> ET.Element:
        self._control.check(asker, READER)
        wanted = events.parse(asked, self._wall())
        nodes = [self._control.device(asker, node).id for node in wanted.query.nodes]
        if nodes:  # a concentrator reads nothing where no node is named
            self._events.subscribe(asker, wanted, nodes, self._fields_of, self._monotonic())
        return readout.notice(wanted.query.namespace, "accepted", wanted.query.id)

    async def _unsubscribe(self, asker: str, asked: ET.Element) -> None:
        self._control.check(asker, READER)
        id = dialect.identity(asked)
        self._events.unsubscribe(asker, id)
        self._readouts.pop((asker, id), None)

    # --- setting ---------------------------------------------------------------------------------

    async def _set(self, asker: str, asked: ET.Element) -> ET.Element:
        self._control.check(asker, OPERATOR)
        space = dialect.namespace(asked)
        nodes, wanted = parameters.parse_set(asked)
        devices = self._named(asker, nodes)
        writes = [(device, self._values(space, device, wanted)) for device in devices]
        done: list[str] = []
        for device, values in writes:
            try:
                await self._control.put(asker, device, values)
            except CommandError as error:
                if not done:
                    raise
                who = asker.partition("/")[0]
                log.info("xmpp %s: %s is not set like %s: %s", who, device.id, done, error)
                break
            done.append(device.id)
        return parameters.response(space, done, (parameter.name for parameter in wanted))

    def _values(
        self, space: str, device: Device, wanted: Sequence[parameters.Parameter]
    ) -> Mapping[Path, Value]:
        known = {f.name: f for f in self._fields_of(device.id) if f.controllable}
        values: dict[Path, Value] = {}
        for parameter in wanted:
            field = known.get(parameter.name)
            if field is None:
                raise parameters.refusal(space, parameter.name, "no such parameter can be set")
            try:
                values[field.resource.path] = parameters.value(parameter, field.definition)
            except InvalidValue as error:
                raise parameters.refusal(space, parameter.name, str(error)) from error
        return values

    async def _form(self, asker: str, asked: ET.Element) -> ET.Element:
        self._control.check(asker, OPERATOR)
        devices = self._named(asker, dialect.nodes(asked))
        title = ", ".join(device.name or device.prefix for device in devices)
        return parameters.control_form(title, [self._fields_of(device.id) for device in devices])

    def _named(self, asker: str, nodes: Sequence[str]) -> Sequence[Device]:
        if not nodes:
            raise dialect.malformed("name at least one node: the gateway is a concentrator")
        return [self._control.device(asker, node) for node in nodes]

    # --- devices as nodes ------------------------------------------------------------------------

    def _node(self, device: Device, past: Sequence[Field] = ()) -> Node:
        doubtful = device.availability.state in {State.OFFLINE, State.UNKNOWN}
        return Node(device.id, (*self._fields_of(device.id), *past), doubtful)

    def _nodes(self, ids: Iterable[DeviceId]) -> Iterator[Node]:
        """Those that are still there."""
        found = (self._control.port.device_by_id(id) for id in ids)
        return (self._node(device) for device in found if device)

    def _fields_of(self, device: DeviceId) -> Sequence[Field]:
        port = self._control.port
        return fields(
            port.resources(device), port.registry, lambda path: port.writable(device, path)
        )


def _of_the_past(field: Field | None, entry: Entry) -> Field | None:
    """A field with an earlier value."""
    if field is None:
        return None
    return replace(field, category="h", resource=Resource(entry.path, entry.value, entry.at))

"""What people and programs may ask the gateway over XMPP, whichever door they come by.

Checks roles and rates, and puts outcomes into words; it knows neither forms nor chat lines.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from adapters.xmpp.access import Role, Roles
from adapters.xmpp.errors import Forbidden
from adapters.xmpp.moments import parse_moment
from adapters.xmpp.payload import readable
from gateway.errors import Busy, InvalidValue, NotFound, StateError
from gateway.events import Device, Entry, Execute, Outcome, Resource, Write
from gateway.formats.text import from_text, to_text
from gateway.model import (
    GATEWAY,
    DeviceId,
    Operations,
    Path,
    ResourceType,
    Value,
    eui64,
    parse_device_id,
)
from gateway.objects.registry import ResourceDefinition
from gateway.ports import NorthPort
from gateway.readings.journal import whole_moments

COMMANDS_PER_S = 5.0
BURST = 10.0
"""Of one asker: a person at a slider; a flood would starve a constrained radio."""

MAX_ASKERS = 1_000
"""Askers whose rate is remembered; who comes back after a thousand others starts anew."""

HISTORY_LENGTH = 250
"""Values of the past in one answer: what a table for people holds, and 3 ms of the event loop."""

USUAL_HISTORY_S = 3600.0
"""How far back who does not say it looks."""

ADMIN: Role = "admin"
OPERATOR: Role = "operator"
READER: Role = "reader"

_TRUTH = {"true": "1", "on": "1", "yes": "1", "false": "0", "off": "0", "no": "0"}


@dataclass(frozen=True, slots=True)
class Line:
    """A resource for people: `3303/0/5700`, what it is, its value as text, Unix seconds."""

    path: Path
    label: str
    text: str
    at: float


class Control:
    """The commands. `asker` is a JID as the server stamped it; each may raise a CommandError."""

    def __init__(
        self,
        port: NorthPort,
        roles: Roles,
        monotonic: Callable[[], float],
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.port = port
        self.roles = roles
        self._wall = wall
        self._monotonic = monotonic
        self._tokens: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, asker: str, needed: Role) -> None:
        """Forbidden if the asker has no such role."""
        if not self.roles.allow(asker, needed):
            self.port.count("xmpp_requests_refused")
            raise Forbidden(f"this needs the role of {needed}, under [xmpp.roles]")

    def devices(self, asker: str) -> Sequence[Device]:
        """All devices, the gateway first."""
        self.check(asker, READER)
        return self.port.devices()

    def device(self, asker: str, text: str) -> Device:
        """The device that `text` means: its prefix, its identity, its EUI-64, or `gateway`."""
        self.check(asker, READER)
        text = text.strip()
        if text and (found := self.port.device(text)):
            return found
        if text == GATEWAY and (found := self.port.device("")):
            return found
        try:
            found = self.port.device_by_id(parse_device_id(text))
        except ValueError:
            found = next((d for d in self.port.devices() if _is(d.id, text)), None)
        if found is None:
            raise NotFound(f"no device {text}")
        return found

    def resources(self, asker: str, device: Device, path: str) -> Sequence[Resource]:
        """What can be read at and below a path; everything if the path is empty."""
        self.check(asker, READER)
        under = _path(path) if path.strip("/ ") else None
        known = self.port.resources(device.id, under)
        found = [r for r in known if readable(r, self.port.registry)]
        if not found:
            raise NotFound(f"{device.prefix or 'the gateway'} has nothing to read at {path or '/'}")
        return found

    async def history(
        self, asker: str, device: Device, path: str, start: str, end: str
    ) -> Sequence[Entry]:
        """What was told of a path and what is below, the oldest first: about HISTORY_LENGTH of it.

        After `start` (an hour ago where it is empty) until `end` (now). Who wants to go on asks
        with the time of the last one as `start`.
        """
        self.resources(asker, device, path)
        if device.id == GATEWAY:
            raise NotFound("of the gateway itself no history is kept")
        now = self._wall()
        since = parse_moment(start, now) if start.strip() else now - USUAL_HISTORY_S
        until = parse_moment(end, now) if end.strip() else now
        try:
            entries = await self.port.history(device.id, _path(path), since, until)
        except StateError as error:
            raise Busy(f"the history cannot be read now: {error}") from error
        shown = whole_moments(entries, HISTORY_LENGTH)
        return [e for e in shown if readable(resource_of(e), self.port.registry)]

    def line(self, resource: Resource) -> Line:
        """A resource that can be read, for people."""
        definition = readable(resource, self.port.registry)
        text = "" if resource.value is None else to_text(resource.value)
        return Line(resource.path, definition.name if definition else "", text, resource.at)

    def current(self, device: Device, path: str) -> str:
        """The value of one resource as text; empty if it cannot be read."""
        resource = self.port.resource(device.id, _path(path))
        shown = resource if resource and readable(resource, self.port.registry) else None
        return self.line(shown).text if shown else ""

    def target(self, device: Device, path: str, needed: Operations) -> ResourceDefinition:
        """The definition of the resource to be written or executed; NotFound if there is none."""
        parsed = _path(path)
        if len(parsed) > 2 and self.port.resource(device.id, parsed):
            definition = self.port.registry.resource(parsed[0], parsed[2])
            if definition and needed in definition.operations:
                return definition
        verb = "executed" if needed is Operations.EXECUTE else "written"
        raise NotFound(f"{device.prefix or 'the gateway'} has nothing that can be {verb} at {path}")

    async def write(self, asker: str, device: Device, path: str, text: str) -> str:
        """Writes one resource; says how it went."""
        self._operate(asker)
        definition = self.target(device, path, Operations.WRITE)
        if definition.type is ResourceType.BOOLEAN:
            text = _TRUTH.get(text.strip().lower(), text)
        value = from_text(text, definition.type)
        outcome = await self._write(asker, device, {_path(path): value})
        doing = f"{device.prefix}/{path.strip('/ ')}"
        return f"{doing} is set" if outcome.confirmed else f"{doing}: sent, not yet confirmed"

    async def put(self, asker: str, device: Device, values: Mapping[Path, Value]) -> Outcome:
        """Writes resources of one device at once."""
        self._operate(asker)
        return await self._write(asker, device, values)

    async def _write(self, asker: str, device: Device, values: Mapping[Path, Value]) -> Outcome:
        return await self.port.execute(Write(device.id, values, _origin(asker)))

    async def execute(self, asker: str, device: Device, path: str, arguments: str) -> str:
        """Executes one resource; says how it went."""
        self._operate(asker)
        self.target(device, path, Operations.EXECUTE)
        await self.port.execute(Execute(device.id, _path(path), _origin(asker), arguments))
        return f"{device.prefix}/{path.strip('/ ')}: done"

    def administer(self, asker: str) -> None:
        """Checks role and rate of somebody who wants to change the gateway itself."""
        self._operate(asker, ADMIN)

    def _operate(self, asker: str, needed: Role = OPERATOR) -> None:
        """Checks role and rate of somebody who wants to change something."""
        self.check(asker, needed)
        bare, now = asker.partition("/")[0], self._monotonic()
        tokens, at = self._tokens.pop(bare, (BURST, now))
        tokens = min(BURST, tokens + (now - at) * COMMANDS_PER_S)
        self._tokens[bare] = (max(0.0, tokens - 1), now)
        if len(self._tokens) > MAX_ASKERS:
            self._tokens.popitem(last=False)
        if tokens < 1:
            raise Busy(f"more than {COMMANDS_PER_S:g} commands a second")


def resource_of(entry: Entry) -> Resource:
    """The resource as it was then."""
    return Resource(entry.path, entry.value, entry.at)


def _path(text: str) -> Path:
    try:
        return Path.parse(text.strip().strip("/"))
    except ValueError as error:
        raise InvalidValue(str(error)) from error


def _origin(asker: str) -> str:
    return f"xmpp {asker.partition('/')[0]}"


def _is(device: DeviceId, digits: str) -> bool:
    try:
        return eui64(device) == digits.lower()
    except ValueError:  # the gateway has none
        return False

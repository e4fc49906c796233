"""Ad-hoc commands (XEP-0050): devices, read, history, write, execute, by forms for clients.

A command with all of its fields is done at once; else the form of what is missing is given.
"""

from __future__ import annotations

import secrets
import xml.etree.ElementTree as ET
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

from adapters.xmpp import payload
from adapters.xmpp.access import Role
from adapters.xmpp.administration import Administration
from adapters.xmpp.control import ADMIN, OPERATOR, READER, Control, resource_of
from adapters.xmpp.errors import StanzaError
from adapters.xmpp.forms import Field, form, table, value_field
from adapters.xmpp.moments import moment_text
from adapters.xmpp.stanzas import FORM, form_values
from gateway.errors import CommandError
from gateway.events import Device, Resource
from gateway.model import GATEWAY, Operations, urn

COMMANDS = "http://jabber.org/protocol/commands"

LIFETIME_S = 600.0
"""How long a person may think over a form."""

MAX_OPEN = 100
"""Forms that wait for people; the oldest is dropped."""

MAX_VALUE_LENGTH = 64_000
"""Longer values than any device takes."""

Values = dict[str, str]
Answer = Sequence[ET.Element]
"""What a completed command holds besides its attributes."""


@dataclass(frozen=True, slots=True)
class _Command:
    name: str
    role: Role
    steps: Sequence[Callable[[str, Values], Sequence[Field]]]
    run: Callable[[str, Values], Awaitable[Answer]]


@dataclass(slots=True)
class _Open:
    asker: str
    node: str
    until: float
    values: Values = field(default_factory=dict)


class AdHoc:
    """The commands and their open forms. `asker` is the full JID that the server stamped."""

    def __init__(
        self, control: Control, administration: Administration, monotonic: Callable[[], float]
    ) -> None:
        self._control = control
        self._administration = administration
        self._monotonic = monotonic
        self._open: OrderedDict[str, _Open] = OrderedDict()
        device, where, value = self._device_step, self._where_step, self._value_step
        self._commands: Mapping[str, _Command] = {
            "devices": _Command("Devices", READER, (), self._devices),
            "read": _Command("Read values", READER, (device,), self._read),
            "history": _Command("History", READER, (self._history_step,), self._history),
            "write": _Command("Write a value", OPERATOR, (where, value), self._write),
            "execute": _Command("Execute", OPERATOR, (self._execute_step,), self._execute),
            "gateway": _Command(
                "Manage the gateway",
                ADMIN,
                (administration.choose, administration.details),
                self._manage,
            ),
        }

    def listed(self, asker: str) -> Mapping[str, str]:
        """Names of the commands that the asker may use, by node."""
        roles = self._control.roles
        return {n: c.name for n, c in self._commands.items() if roles.allow(asker, c.role)}

    async def handle(self, asker: str, request: ET.Element) -> ET.Element:
        """The answer to a `<command/>`; StanzaError or Forbidden where nothing is carried out."""
        node, action = request.get("node", ""), request.get("action", "execute")
        command = self._commands.get(node)
        if command is None:
            raise StanzaError("item-not-found", "cancel", "no such command")
        self._control.check(asker, command.role)
        session_id, opened = self._session(asker, node, request.get("sessionid"))
        if action == "cancel":
            self._open.pop(session_id, None)
            return _command(node, session_id, "canceled")
        if action not in {"execute", "next", "complete"}:
            raise StanzaError("bad-request", "modify", f"there is no action {action}")
        opened.values |= _submitted(request)
        return await self._advance(session_id, opened, command)

    def _session(self, asker: str, node: str, session_id: str | None) -> tuple[str, _Open]:
        now = self._monotonic()
        for stale in [i for i, opened in self._open.items() if opened.until < now]:
            del self._open[stale]
        if session_id is None:
            return secrets.token_hex(8), _Open(asker, node, now + LIFETIME_S)
        opened = self._open.get(session_id)
        if opened is None or (opened.asker, opened.node) != (asker, node):
            raise StanzaError("bad-request", "modify", "this form was closed; start again")
        return session_id, opened

    async def _advance(self, session_id: str, opened: _Open, command: _Command) -> ET.Element:
        """Shows the first step that lacks something, or carries the command out."""
        asker, values = opened.asker, opened.values
        self._open.pop(session_id, None)
        try:
            for number, step in enumerate(command.steps, 1):
                fields = step(asker, values)
                if any(f.required and f.var not in values for f in fields):
                    self._open[session_id] = opened
                    if len(self._open) > MAX_OPEN:
                        self._open.popitem(last=False)
                    last = number == len(command.steps)
                    shown = _command(opened.node, session_id, "executing")
                    shown.append(_actions("complete" if last else "next"))
                    shown.append(form(command.name, fields))
                    return shown
            answer = await command.run(asker, values)
        except CommandError as error:
            answer = [_note("error", str(error))]
        done = _command(opened.node, session_id, "completed")
        done.extend(answer)
        return done

    # --- steps -----------------------------------------------------------------------------------

    def _device_step(self, asker: str, _: Values) -> Sequence[Field]:
        return [self._device_field(asker), Field("path", "Path, such as 3303/0", required=False)]

    def _where_step(self, asker: str, _: Values) -> Sequence[Field]:
        return [self._device_field(asker), Field("path", "Path, such as 3312/0/5850")]

    def _history_step(self, asker: str, _: Values) -> Sequence[Field]:
        return [
            *self._where_step(asker, {}),
            Field("from", "After (a time, or such as 2h)", value="1h", required=False),
            Field("to", "Until (now if empty)", required=False),
        ]

    def _value_step(self, asker: str, values: Values) -> Sequence[Field]:
        device = self._control.device(asker, values["device"])
        definition = self._control.target(device, values["path"], Operations.WRITE)
        return [value_field(definition, self._control.current(device, values["path"]))]

    def _execute_step(self, asker: str, _: Values) -> Sequence[Field]:
        fields = list(self._where_step(asker, {}))
        return [*fields, Field("arguments", "Arguments", required=False)]

    def _device_field(self, asker: str) -> Field:
        options = [(_name(d), _title(d)) for d in self._control.devices(asker)]
        return Field("device", "Device", "list-single", options=options)

    # --- what they do ----------------------------------------------------------------------------

    async def _devices(self, asker: str, _: Values) -> Answer:
        columns = {
            "id": "Id",
            "name": "Name",
            "state": "State",
            "last_seen": "Last seen",
            "objects": "Objects",
        }
        return [table("Devices", columns, map(self._device_row, self._control.devices(asker)))]

    def _device_row(self, device: Device) -> Mapping[str, str]:
        paths = (r.path for r in self._control.port.resources(device.id))
        return {
            "id": _name(device),
            "name": device.name,
            "state": device.availability.state.value,
            "last_seen": moment_text(device.last_seen),
            "objects": " ".join(dict.fromkeys(str(path.object) for path in paths)),
        }

    async def _read(self, asker: str, values: Values) -> Answer:
        device = self._control.device(asker, values["device"])
        found = self._control.resources(asker, device, values.get("path", ""))
        answer = [self._table(device, found)]
        if device.id != GATEWAY:
            registry = self._control.port.registry
            pack = payload.values(urn(device.id), payload.STATE, found, registry)
            answer += [pack.xml] if pack else []
        return answer

    async def _history(self, asker: str, values: Values) -> Answer:
        device = self._control.device(asker, values["device"])
        start, end = values.get("from", ""), values.get("to", "")
        found = await self._control.history(asker, device, values["path"], start, end)
        if not found:
            return [_note("info", "nothing was told in that time")]
        port, size = self._control.port, (len(found), payload.MAX_PACK_BYTES)
        packs = payload.history(device.id, found, port.resource, port.registry, size)
        last = moment_text(found[-1].at)
        note = _note("info", f"{len(found)} values; to go on: from = {last}")
        shown = self._table(device, map(resource_of, found))
        return [note, shown, *(pack.xml for _, pack in islice(packs, 1))]

    def _table(self, device: Device, found: Iterable[Resource]) -> ET.Element:
        columns = {"path": "Path", "name": "Name", "value": "Value", "time": "Time"}
        rows = (
            {"path": str(n.path)[1:], "name": n.label, "value": n.text, "time": moment_text(n.at)}
            for n in map(self._control.line, found)
        )
        return table(_title(device), columns, rows)

    async def _write(self, asker: str, values: Values) -> Answer:
        device = self._control.device(asker, values["device"])
        text = await self._control.write(asker, device, values["path"], values["value"])
        return [_note("info", text)]

    async def _execute(self, asker: str, values: Values) -> Answer:
        device = self._control.device(asker, values["device"])
        arguments = values.get("arguments", "")
        text = await self._control.execute(asker, device, values["path"], arguments)
        return [_note("info", text)]

    async def _manage(self, asker: str, values: Values) -> Answer:
        return [_note("info", self._administration.run(asker, values))]


def _submitted(request: ET.Element) -> Values:
    submitted = request.find(f"{{{FORM}}}x")
    values = form_values(submitted)
    if any(len(value) > MAX_VALUE_LENGTH for value in values.values()):
        raise StanzaError("bad-request", "modify", "a value is too long")
    values.pop("FORM_TYPE", None)
    return values


def _command(node: str, session_id: str, status: str) -> ET.Element:
    attributes = {"node": node, "sessionid": session_id, "status": status}
    return ET.Element(f"{{{COMMANDS}}}command", attributes)


def _actions(default: str) -> ET.Element:
    actions = ET.Element(f"{{{COMMANDS}}}actions", {"execute": default})
    ET.SubElement(actions, f"{{{COMMANDS}}}{default}")
    return actions


def _note(type: str, text: str) -> ET.Element:
    note = ET.Element(f"{{{COMMANDS}}}note", {"type": type})
    note.text = text
    return note


def _name(device: Device) -> str:
    return device.prefix or GATEWAY


def _title(device: Device) -> str:
    return f"{device.name} ({_name(device)})" if device.name else _name(device)

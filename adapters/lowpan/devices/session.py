"""One node as a device: finds out what it has, follows it, carries out commands.

It decides when to ask; where the node is and how it is reached is told to it.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass

from adapters.lowpan.coap.client import Client, UnacceptableError
from adapters.lowpan.coap.endpoint import Peer
from adapters.lowpan.coap.formats import Answer, Format
from adapters.lowpan.devices.explore import Explorer
from adapters.lowpan.devices.plan import Plan, Source, Values
from adapters.lowpan.devices.registrations import Registration
from gateway.errors import (
    CommandError,
    DecodeError,
    DeviceRefused,
    NotAllowed,
    TimedOut,
    Unreachable,
)
from gateway.events import Command, Create, Delete, Execute, Outcome, Reading, Write
from gateway.model import DeviceId, Path, Value, eui64
from gateway.ports import SouthPort

BEARER_802_15_4 = 23
"""Of the object Connectivity Monitoring (LwM2M Core, appendix E.5)."""

REBOOT = Path(3, 0, 4)
"""Where a node has no Device object of its own, it is explored anew."""

RETRY_FIRST_S, RETRY_LIMIT_S = 10.0, 600.0
"""A node that does not answer is looked for with growing pauses, and whenever it is heard."""

FLOAT_TOLERANCE = 1e-6
"""Nodes keep 32 bits of a number."""

MAX_IGNORED_TOLD = 100
"""Warnings of one node's answers that cannot be read: one that makes up paths fills no disk."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a node is: whom to ask, how it is reached (for people), how well its link is heard."""

    peer: Peer
    route: str
    parent: str = ""
    rssi_dbm: int | None = None
    lqi: int | None = None


class Session:
    """The life of one admitted node. `turns` bounds how many nodes are asked at once."""

    def __init__(
        self,
        device: DeviceId,
        place: Place,
        port: SouthPort,
        client: Client,
        explorer: Explorer,
        *,
        poll_s: float,
        turns: asyncio.Semaphore,
    ) -> None:
        self.device = device
        self.place = place
        self.registration: Registration | None = None
        self._port = port
        self._client = client
        self._explorer = explorer
        self._poll_s = poll_s
        self._turns = turns
        self._news = asyncio.Event()
        self._plan: Plan | None = None
        self._watched: set[Path] = set()
        self._ignored: set[Path] = set()
        self._known: set[Path] = set()
        self._told: dict[Path, Value] = {}
        self._answering = False
        self._missed = False
        self._is_made_up = False

    async def run(self) -> None:
        """Follows the node until cancelled."""
        pause_s = RETRY_FIRST_S
        while True:
            self._news.clear()
            try:
                await self._follow()
            except (TimedOut, Unreachable) as error:
                pause_s = RETRY_FIRST_S if self._answering else min(2 * pause_s, RETRY_LIMIT_S)
                if not self._client.trouble():  # which is no fault of the node, and told already
                    self._silent(str(error), asleep=self.sleeps and isinstance(error, TimedOut))
                self._missed = True
                await self._wait(pause_s)
            except CommandError as error:
                self._answering = False
                self._port.refused(self.device, str(error))
                await self._wait(RETRY_LIMIT_S)
            self._missed = False

    @property
    def sleeps(self) -> bool:
        """Whether the node has told that it listens only when it has sent something."""
        return self.registration is not None and self.registration.queue_mode

    def restart(self) -> None:
        """Something has changed that asks for a new look at the node."""
        self._news.set()

    def heard(self) -> None:
        """The node has sent something, or may be heard again: what was missed is asked for."""
        if self._missed:
            self._news.set()

    def left(self, reason: str) -> None:
        """The mesh cannot reach the node any more, until it is told to have come back."""
        self._silent(reason)
        self._missed = True

    def moved(self, place: Place) -> None:
        """The node is reached otherwise now."""
        is_elsewhere = place.peer != self.place.peer
        self.place = place
        if is_elsewhere:
            self._news.set()
        elif self._answering:
            self._port.online(self.device, place.route)

    async def execute(self, command: Command) -> Outcome:
        """Carries out a command; raises a CommandError."""
        if self._plan is None:
            raise Unreachable(f"{self.device} has not told yet what it has")
        match command:
            case Write(values=values):
                for path, value in values.items():
                    await self._write(self._plan, path, value)
                confirmed = [await self._shows(self._plan, p, v) for p, v in values.items()]
                return Outcome(confirmed=all(confirmed))
            case Execute(path=path) if path == REBOOT and self._is_made_up:
                self.restart()
                return Outcome()
            case Create() | Delete():
                return await self._reshape(self._plan, command)
            case Execute(path=path, arguments=arguments):
                await self._client.ask(self.place.peer, self._plan.executes(path, arguments))
                return Outcome(confirmed=True)

    async def _reshape(self, plan: Plan, command: Create | Delete) -> Outcome:
        """Has the node make or remove an instance; the node is explored anew afterwards."""
        if plan.creates is None or plan.deletes is None:
            raise NotAllowed("the device has the objects that its definition says")
        if isinstance(command, Delete):
            await self._client.ask(self.place.peer, plan.deletes(command.path))
            self._port.withdraw(self.device, command.path)
        else:
            request = plan.creates(command.path, command.values)
            await self._client.ask(self.place.peer, request)
            for path, value in command.values.items():
                await self._shows(plan, path, value)
        self.restart()
        return Outcome(confirmed=True)

    # --- following ------------------------------------------------------------------------------

    async def _follow(self) -> None:
        """Explores the node, then watches and polls it until there are news."""
        async with self._turns:
            plan, first = await self._explorer.explore(
                self.place.peer, self.registration, self.device
            )
        self._plan = plan
        self._watched.clear()
        own = self._own_values({*plan.fixed, *first})
        self._is_made_up = bool(own)
        values = own | dict(plan.fixed)
        now = time.time()
        self._withdraw({*values, *first, *self._radio_values()})
        self._report({path: (value, now) for path, value in values.items()} | dict(first))
        news = asyncio.create_task(self._news.wait())
        try:
            async with asyncio.TaskGroup() as tasks:
                following = [tasks.create_task(self._poll(plan))]
                following += [tasks.create_task(self._watch(s)) for s in plan.sources if s.observe]
                await news
                for task in following:
                    task.cancel()
        except ExceptionGroup as group:
            raise _first(group) from None
        finally:
            news.cancel()

    async def _poll(self, plan: Plan) -> None:
        """Asks what the node does not tell by itself."""
        while True:
            await asyncio.sleep(self._poll_s)
            for source in plan.sources:
                if not source.observe and source.base not in self._watched:
                    async with self._turns:
                        await self._ask(source)
            if self._answering:
                self._report({})

    async def _watch(self, source: Source) -> None:
        """Observes a resource; where the node will not tell, it is polled."""
        while True:
            ceased = False
            try:
                async with self._client.observe(self.place.peer, source.request) as (first, more):
                    if more is not None:
                        self._watched.add(source.base)
                    self._take(source, first)
                    ceased = more is not None and await self._listen(source, more)
            except (TimedOut, Unreachable):
                raise
            except CommandError as error:
                log.debug("%s: %s is not observed: %s", self.device, source.base, error)
            finally:
                self._watched.discard(source.base)
            if not ceased:
                await asyncio.sleep(self._poll_s)

    async def _listen(self, source: Source, more: AsyncIterator[Answer]) -> bool:
        """Takes notifications; True when they have ceased, False when the node has ended them."""
        # A node that was restarted has forgotten whom to tell.
        while True:
            try:
                async with asyncio.timeout(self._poll_s):
                    answer = await anext(more, None)
            except TimeoutError:
                return True
            if answer is None:
                return False
            self._take(source, answer)

    async def _ask(self, source: Source) -> None:
        try:
            answer = await self._client.ask(self.place.peer, source.request)
        except (TimedOut, Unreachable):
            raise
        except CommandError as error:
            log.debug("%s: %s is not read: %s", self.device, source.base, error)
        else:
            self._take(source, answer, polled=True)

    def _take(self, source: Source, answer: Answer, *, polled: bool = False) -> None:
        """Reports an answer; of a polled one only what the node does not tell by itself.

        A poll's answer may be overtaken by a notification that is newer.
        """
        try:
            values = source.read(answer, time.time())
        except DecodeError as error:
            self._port.count("lowpan_payload_undecodable")
            is_news = source.base not in self._ignored and len(self._ignored) < MAX_IGNORED_TOLD
            level = logging.WARNING if is_news else logging.DEBUG
            log.log(level, "%s: an answer is ignored: %s", self.device, error)
            if is_news:
                self._ignored.add(source.base)
            return
        if polled:
            values = {p: v for p, v in values.items() if p.upto(3) not in self._watched}
        self._report(values)

    async def _wait(self, limit_s: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(limit_s):
                await self._news.wait()

    # --- telling the hub ------------------------------------------------------------------------

    def _report(self, values: Values) -> None:
        now = time.time()
        radio = {p: v for p, v in self._radio_values().items() if self._told.get(p) != v}
        self._told |= radio
        readings = [Reading(self.device, path, value, at) for path, (value, at) in values.items()]
        readings += [Reading(self.device, path, value, now) for path, value in radio.items()]
        self._known.update(reading.path for reading in readings)
        trouble = self._client.trouble()
        if not self._answering and not trouble:
            self._answering, self._missed = True, False
            self._port.online(self.device, self.place.route)
        if readings:
            self._port.report(readings, late=bool(trouble))

    def _radio_values(self) -> dict[Path, Value]:
        """The object Connectivity Monitoring, for every node alike."""
        monitoring, place = Path(4, 0), self.place
        address = place.peer.hostinfo.split("]")[0].strip("[")
        values: dict[Path, Value | None] = {
            Path(*monitoring, 0): BEARER_802_15_4,
            Path(*monitoring, 1, 0): BEARER_802_15_4,
            Path(*monitoring, 2): place.rssi_dbm,
            Path(*monitoring, 3): place.lqi,
            Path(*monitoring, 4, 0): address,
            Path(*monitoring, 5, 0): place.parent or None,
        }
        return {path: value for path, value in values.items() if value is not None}

    def _own_values(self, present: set[Path]) -> dict[Path, Value | None]:
        """What every device has: a Device object, made up where the node has none."""
        if any(path.object == 3 and path.resource not in (0, 1) for path in present):
            return {}
        return {
            Path(3, 0, 2): eui64(self.device),
            REBOOT: None,
            Path(3, 0, 11, 0): 0,
            Path(3, 0, 16): "U",
        }

    def _withdraw(self, present: set[Path]) -> None:
        for path in self._known - present:
            self._port.withdraw(self.device, path)
        self._known &= present
        self._told = {path: v for path, v in self._told.items() if path in present}

    def _silent(self, reason: str, *, asleep: bool = False) -> None:
        self._answering = False
        self._port.lost(self.device, reason, asleep=asleep)

    # --- commands ---------------------------------------------------------------------------------

    async def _write(self, plan: Plan, path: Path, value: Value) -> None:
        try:
            await self._client.ask(self.place.peer, plan.writes(path, value, Format.TEXT))
        except UnacceptableError:
            if plan.format is None:
                raise
            await self._client.ask(self.place.peer, plan.writes(path, value, plan.format))

    async def _shows(self, plan: Plan, path: Path, wanted: Value) -> bool:
        """Whether the node shows a value that was written; reports it unless it tells itself."""
        source = plan.readback(path)
        try:
            answer = await self._client.ask(self.place.peer, source.request)
            values = source.read(answer, time.time())
        except (DeviceRefused, DecodeError) as error:
            log.debug("%s: %s is not read back: %s", self.device, path, error)
            return False
        if path.upto(3) not in self._watched:
            self._report(values)
        return path in values and _same(values[path][0], wanted)


def _same(shown: Value | None, wanted: Value) -> bool:
    if isinstance(shown, bool) or isinstance(wanted, bool):
        return shown is wanted
    if isinstance(shown, int | float) and isinstance(wanted, int | float):
        return math.isclose(shown, wanted, rel_tol=FLOAT_TOLERANCE)
    return shown == wanted


def _first(group: ExceptionGroup[Exception]) -> Exception:
    """The error that ended a session; what is no CommandError is a bug, and goes up whole."""
    commands, others = group.split(CommandError)
    return others or (commands.exceptions[0] if commands else group)

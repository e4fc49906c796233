"""The observations through one socket: what each is told and when; not how requests come in.

An observer without conditions is told every change. One with conditions is told what they ask
for, by the values that the gateway announces and one coarse timer wheel for all.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import count

from adapters.coap import datagram
from adapters.coap.attributes import Attributes
from adapters.coap.conditions import Compared, Conditions
from adapters.coap.messages import Code, Format, Peer, Request, Response
from adapters.coap.observe import Observers
from adapters.coap.observer import Observed, Observer
from adapters.coap.server import WELL_KNOWN_CORE, Server
from gateway.errors import GatewayError
from gateway.model import DeviceId, Path
from gateway.ports import NorthPort

BURST = 64
"""Notifications sent before ACKs are read: more would overflow receive buffers on the way back."""

TURN_S = 0.02
"""How long they are made before requests are read. One of hundreds of devices takes longer."""

TICK_S = 0.5
"""How often overdue acknowledgements and conditions are looked for; ACK_TIMEOUT is four times that.

So much later than asked may a notification come whose time has come (pmin, pmax).
"""

QUIET_TICKS = 120
"""How often those are looked for who acknowledged nothing for a day: once a minute."""

NOTICE_S = 1.0
"""A notification's octets are used this long, so that its Max-Age is right to the second."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A notification's code and octets after the token, and the value that conditions compare.

    `etag` is that of the whole body where the octets show its first block only.
    """

    code: Code
    tail: bytes
    value: Compared
    until: float
    etag: bytes = b""


class Notifier:
    """Registers who observes and tells them; `send` takes octets and peer."""

    def __init__(
        self,
        server: Server,
        port: NorthPort,
        observers: Observers,
        send: Callable[[bytes, Peer], None],
    ) -> None:
        self.observers = observers
        self._server = server
        self._port = port
        self._send = send
        self._loop = asyncio.get_running_loop()
        self._notices: dict[Hashable, Notice] = {}
        server.watchers.append(self.reconsider)

    # --- who observes ---

    def observe(
        self,
        request: Request,
        response: Response,
        token: bytes,
        peer: Peer,
        *,
        credit: float = math.inf,
    ) -> Response:
        """Begins or ends the observation that a request asks for; `response` is its answer.

        `credit` as an Observer has it. The answer says whether there is an observation now.
        """
        if request.observe == 1:
            self.observers.cancel(peer, token)
        if request.observe != 0 or request.later_block or _shows_links(request):
            return response
        if response.code >= Code.BAD_REQUEST:
            self.observers.cancel(peer, token)
            return response
        now = self._loop.time()
        targets = self._server.targets(request)
        if not targets:
            return response
        rule = self._server.rule(request)
        observer = self.observers.register(
            peer,
            token,
            request,
            response.format,
            targets,
            confirmable=bool(rule.con),
            now=now,
            conditions=self._conditions(rule, targets, now),
            credit=credit,
        )
        if observer is None:
            self._port.count("coap_observers_refused")
            return response
        return replace(response, observe=self.observers.next_number())

    def reconsider(self, device: DeviceId, path: Path) -> None:
        """Applies what was attached to a path to the observations at it and below it."""
        now = self._loop.time()
        for observer in list(self.observers.around(device, path)):
            request = observer.request
            below = all(p is not None and path.covers(p) for _, p in observer.targets)
            if below and not request.query:
                try:
                    rule = self._server.rule(request)
                except GatewayError:  # it is gone, and the observer is about to hear so
                    continue
                self._change(observer, rule, now)

    def _change(self, observer: Observer, rule: Attributes, now: float) -> None:
        ripe = False
        observer.confirmable = bool(rule.con)
        if not rule.conditional:
            ripe = bool(observer.conditions and observer.conditions.change(rule, now))
            observer.conditions = None
        elif observer.conditions is None:
            observer.conditions = self._conditions(rule, observer.targets, now)
        else:
            ripe = observer.conditions.change(rule, now)
        self.observers.schedule(observer)
        if ripe and self.observers.note_change(observer):
            self._notices.clear()
            self._notify(observer)

    def _conditions(
        self, rule: Attributes, targets: Sequence[Observed], now: float
    ) -> Conditions | None:
        return Conditions(rule, self._value(targets), now) if rule.conditional else None

    def _value(self, targets: Sequence[Observed]) -> Compared:
        """What conditions compare: nothing, one value or all values of what is there."""
        resources = [r for device, path in targets for r in self._port.resources(device, path)]
        if len(resources) == len(targets) == 1 and resources[0].path == targets[0][1]:
            return resources[0].value if resources[0].value is not None else (None,)
        return tuple((resource.path, resource.value) for resource in resources)

    # --- what they are told ---

    async def tell(self, concerned: Iterable[Observer]) -> None:
        """Tells of news, the newest value, to each once, reading ACKs in between."""
        seen: dict[int, tuple[object, Compared]] = {}
        await self._tell_each(concerned, lambda observer: self._ripe(observer, seen))

    def _ripe(self, observer: Observer, seen: dict[int, tuple[object, Compared]]) -> bool:
        """Whether to tell it; `seen` has values by the identity of targets, which many share."""
        conditions = observer.conditions
        if conditions is None:
            return True
        targets = observer.targets
        if id(targets) not in seen:
            seen[id(targets)] = targets, self._value(targets)
        value = seen[id(targets)][1]
        if value == () and observer.request.code == Code.GET:
            return True  # it is gone; a composite shows what is there
        ripe = conditions.sample(value, self._loop.time())
        self.observers.schedule(observer)
        return ripe

    def _due(self, observer: Observer, now: float) -> bool:
        due = bool(observer.conditions and observer.conditions.due(now))
        self.observers.schedule(observer)
        return due

    async def _tell_each(
        self, observers: Iterable[Observer], ripe: Callable[[Observer], bool] = lambda _: True
    ) -> None:
        """Tells those who are ripe for it and wait for nothing."""

        def tell(observer: Observer) -> bool:
            wanted = ripe(observer) and self.observers.note_change(observer)
            if wanted:
                self._notify(observer)
            return wanted

        self._notices.clear()
        await self._in_turns(observers, tell)

    async def _in_turns(
        self, observers: Iterable[Observer], act: Callable[[Observer], bool]
    ) -> None:
        """Does for each what may send something, and lets requests and ACKs be read in between."""
        sent, since = 0, self._loop.time()
        for observer in observers:
            sent += act(observer)
            if sent == BURST or self._loop.time() - since >= TURN_S:
                await asyncio.sleep(0)
                sent, since = 0, self._loop.time()

    def _notify(self, observer: Observer) -> None:
        now = self._loop.time()
        notice = self._notice(observer, now)
        if notice.code >= Code.BAD_REQUEST:
            self.observers.retire(observer)
        elif observer.conditions:
            observer.conditions.reported(notice.value, now)
            self.observers.schedule(observer)
        octets = self.observers.issue(observer, notice.code, notice.tail, now)
        self._transmit(observer, octets)

    def _transmit(self, observer: Observer, octets: bytes) -> None:
        if len(octets) <= observer.credit:
            observer.credit -= len(octets)
            self._send(octets, observer.endpoint.peer)

    def _notice(self, observer: Observer, now: float) -> Notice:
        """The notification for all who asked the same."""
        request, form = observer.request, observer.format
        key = (
            request.path, request.query, request.payload, request.content_format,
            form, request.block2,
        )  # fmt: skip
        known = self._notices.get(key)
        if known and now < known.until:
            if known.etag:
                self._server.join(replace(request, peer=observer.endpoint.peer), known.etag)
            return known
        response = self._server.read(replace(request, peer=observer.endpoint.peer), form)
        if response.code < Code.BAD_REQUEST:
            response = replace(response, observe=self.observers.next_number())
        notice = self._notices[key] = Notice(
            response.code,
            datagram.encode_tail(response.options(), response.payload),
            self._value(observer.targets),
            now + NOTICE_S,
            response.etag if response.block2 and response.block2.more else b"",
        )
        return notice

    # --- what becomes of it ---

    def conclude(self, peer: Peer, mid: int, *, reset: bool) -> bool:
        """Takes an empty ACK or RST; False if it is not that of a notification."""
        if not self.observers.sent(peer, mid):
            return False
        if reset:
            self.observers.reset(peer, mid)
        elif behind := self.observers.acknowledged(peer, mid, self._loop.time()):
            self._notify(behind)
        return True

    async def keep_telling(self) -> None:
        """Sends what has become due and repeats what was not acknowledged, until cancelled."""
        for tick in count(1):
            await asyncio.sleep(TICK_S)
            now = self._loop.time()
            await self._repeat(now)
            await self._tell_each(self.observers.due(now), partial(self._due, now=now))
            if tick % QUIET_TICKS == 0:
                await self._tell_each(self.observers.unconfirmed(now))

    async def _repeat(self, now: float) -> None:
        await self._in_turns(self.observers.overdue(now), self._send_again)

    def _send_again(self, observer: Observer) -> bool:
        if observer.stale and observer.registered:
            self._notify(observer)
        else:
            self._transmit(observer, observer.datagram)
        return True


def _shows_links(request: Request) -> bool:
    """Whether it asks for links, which nobody can observe."""
    return request.path == WELL_KNOWN_CORE or request.accept is Format.LINK

"""`/.well-known/core`: the links of all devices, whole and filtered, each made once (RFC 6690)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from adapters.coap import links
from adapters.coap.blocks import Kept, tagged
from adapters.coap.messages import Code, Format, Refusal, Request, Response
from gateway.events import Device
from gateway.model import DeviceId
from gateway.ports import NorthPort

LINKS_MAX_AGE_S = 60
"""How long a list of links may be taken for current: devices seldom come and go."""

SETTLE_S = 1.0
"""How long after news devices are described: they come in crowds, and /25 lists them all."""

KEPT_LISTS = 64
"""That were asked for lately, by filter: anybody can ask for what is nowhere. 2 MB of filters."""

MANY_DEVICES = 16
"""To look through the links of more takes more than a millisecond."""

KEPT_OCTETS = 4 * 1024 * 1024
"""Of these lists; one is kept if it alone is longer."""


class Directory:
    """The links of every device, until `forget` says that it may show others."""

    def __init__(self, port: NorthPort) -> None:
        self._port = port
        self._texts: dict[DeviceId, str] = {}
        self._lists = Kept(KEPT_LISTS, KEPT_OCTETS)
        self._news = asyncio.Event()
        self._news.set()
        self._lost = 0

    def answer(self, request: Request) -> Response:
        """Answers a GET of all links, or of those that its query selects."""
        if request.accept not in {None, Format.LINK}:
            raise Refusal(Code.NOT_ACCEPTABLE, "accept 40 here")
        self._heed_lost_news()
        wanted = links.filters(request.query)
        answer = self._lists.get(wanted)
        if answer is None:
            payload = ",".join(self._selected(wanted)).encode()
            max_age_s = LINKS_MAX_AGE_S
            answer = tagged(Response(Code.CONTENT, payload, Format.LINK, max_age_s=max_age_s))
            self._lists.put(wanted, answer)
        return answer

    def is_at_hand(self, request: Request) -> bool:
        """Whether nothing has to be searched for what a GET selects, or little."""
        wanted = links.filters(request.query)
        is_kept = not wanted or self._lists.get(wanted) is not None
        return is_kept or len(self._port.devices()) <= MANY_DEVICES

    def forget(self, device: DeviceId) -> None:
        """Notes that a device may show other links than before."""
        self._texts.pop(device, None)
        self._lists.clear()
        self._news.set()

    async def keep_ready(self) -> None:
        """Describes devices ahead, one at a time, so that no request waits for thousands."""
        while True:
            await self._news.wait()
            await asyncio.sleep(SETTLE_S)
            self._news.clear()
            for device in self._port.devices():
                if device.id not in self._texts and self._port.device_by_id(device.id):
                    self._text(device)
                    await asyncio.sleep(0)

    def _selected(self, wanted: links.Filters) -> Iterator[str]:
        selects = links.selector(wanted)
        for device in self._port.devices():
            text = self._text(device)
            if not wanted:
                yield text
            elif links.may_select(wanted, text):
                yield from map(str, filter(selects, self._links(device)))

    def _text(self, device: Device) -> str:
        text = self._texts.get(device.id)
        if text is None:
            text = self._texts[device.id] = ",".join(map(str, self._links(device)))
        return text

    def _links(self, device: Device) -> Iterator[links.Link]:
        return links.describe(device, self._port.resources(device.id), self._port.registry)

    def _heed_lost_news(self) -> None:
        if self._lost != self._port.outbox.dropped:  # some news never came
            self._lost = self._port.outbox.dropped
            self._texts.clear()
            self._lists.clear()
            self._news.set()

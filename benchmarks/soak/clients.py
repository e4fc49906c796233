"""Who is attached meanwhile: CoAP observers, an XMPP subscriber, a browser's stand-in.

Each keeps what it was told; `at_rest` of each says what a client of its kind would believe.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager

import aiocoap
import aiohttp

from adapters.xmpp.merge import Update
from adapters.xmpp.stream import Account
from adapters.xmpp.subscribe import Subscriber
from benchmarks.daemon.devices import device_id

TIMEOUT_S = 30.0
OBSERVED = "3303/0/5700"
SENML_JSON = 110

Seen = dict[tuple[int, str], object]
"""By device number and path."""


class Observers:
    """CoAP observers of one resource each; one that lost its observation registers anew."""

    def __init__(self, port: int, numbers: list[int]) -> None:
        self._port = port
        self._numbers = numbers
        self.seen: Seen = {}
        self.told = 0
        self.registered = 0

    @asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        context = await aiocoap.Context.create_client_context()
        tasks = [asyncio.create_task(self._watch(context, n)) for n in self._numbers]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await context.shutdown()

    async def _watch(self, context: aiocoap.Context, number: int) -> None:
        uri = f"coap://127.0.0.1:{self._port}/s{number}/{OBSERVED}?con=1"
        while True:
            request = context.request(aiocoap.Message(code=aiocoap.GET, uri=uri, observe=0))
            self.registered += 1
            with contextlib.suppress(aiocoap.error.Error, TimeoutError):
                async with asyncio.timeout(TIMEOUT_S):
                    self._take(number, await request.response)
                async for notification in request.observation:
                    self._take(number, notification)
            await asyncio.sleep(1.0)

    def _take(self, number: int, message: aiocoap.Message) -> None:
        self.told += 1
        if message.code.is_successful():
            self.seen[number, f"/{OBSERVED}"] = float(message.payload)


async def read_all(port: int, numbers: list[int]) -> Seen:
    """What CoAP answers for each device, as SenML."""
    seen: Seen = {}
    context = await aiocoap.Context.create_client_context()
    try:
        for number in numbers:
            for object_id in (3303, 3304):
                uri = f"coap://127.0.0.1:{port}/s{number}/{object_id}/0"
                message = aiocoap.Message(code=aiocoap.GET, uri=uri, accept=SENML_JSON)
                async with asyncio.timeout(TIMEOUT_S):
                    answer = await context.request(message).response
                base = ""
                for record in json.loads(answer.payload) if answer.code.is_successful() else ():
                    base = record.get("bn", base)
                    path = "/" + (base + record.get("n", "")).split("/", 2)[2]
                    seen[number, path] = record.get("v", record.get("vs"))
    finally:
        await context.shutdown()
    return seen


class Page:
    """A browser with the status page open."""

    def __init__(self, port: int) -> None:
        self._address = f"http://127.0.0.1:{port}"
        self.told = 0
        self._http: aiohttp.ClientSession | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        patience = aiohttp.ClientTimeout(total=None, sock_read=TIMEOUT_S)
        async with aiohttp.ClientSession(self._address, timeout=patience) as self._http:
            task = asyncio.create_task(self._listen(self._http))
            try:
                yield
            finally:
                task.cancel()
                await asyncio.wait([task])

    async def _listen(self, http: aiohttp.ClientSession) -> None:
        while True:
            with contextlib.suppress(aiohttp.ClientError, TimeoutError):
                async with http.get("/api/events") as answer:
                    async for line in answer.content:
                        self.told += line.startswith(b"data:")
            await asyncio.sleep(1.0)

    async def tasks(self) -> int:
        """How much the daemon does side by side, as its metrics say; 0 if it does not answer."""
        assert self._http is not None
        text = ""
        with contextlib.suppress(aiohttp.ClientError):
            async with self._http.get("/metrics") as answer:
                text = await answer.text()
        match = re.search(r"^border_gateway_tasks (\S+)$", text, re.MULTILINE)
        return int(float(match[1])) if match else 0

    async def read_all(self, numbers: Iterable[int]) -> Seen:
        """What the page shows of each device."""
        assert self._http is not None
        seen: Seen = {}
        for number in numbers:
            async with self._http.get(f"/api/devices/{device_id(number)}") as answer:
                shown = await answer.json()
            for instance in shown.get("objects", ()):
                for resource in instance["resources"]:
                    number_shown, text = resource["number"], resource["text"]
                    seen[number, resource["path"]] = text if number_shown is None else number_shown
        return seen


class XmppReader:
    """Somebody who follows all devices on the pubsub service."""

    def __init__(self, account: Account) -> None:
        self.seen: Seen = {}
        self.told = 0
        self.words: list[str] = []
        self._subscriber = Subscriber(
            account, service=None, nodes=[], directory="iot/gateway",
            show=self._show, tell=self.words.append,
        )  # fmt: skip

    @asynccontextmanager
    async def following(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._subscriber.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    def _show(self, update: Update) -> None:
        self.told += 1
        device, _, path = update.record.name.removeprefix("urn:dev:mac:").partition("/")
        with contextlib.suppress(ValueError):
            key = int(device, 16), f"/{path}"
            if update.gone:
                self.seen.pop(key, None)
            else:
                self.seen[key] = update.record.value


def differences(
    truth: Mapping[int, Mapping[str, object]], seen: Seen, *, all_of: bool
) -> list[str]:
    """What a client believes that is not so; where `all_of`, also what it does not know."""
    wrong = []
    for number, values in truth.items():
        for path, value in values.items():
            if (number, path) in seen or all_of:
                believed = seen.get((number, path))
                if believed != value:
                    wrong.append(f"s{number}{path} is {value}, but {believed} is shown")
    return wrong

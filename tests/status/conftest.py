"""A daemon that serves its status page, and requests to it."""

import contextlib
import http.client
import json
import re
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

import pytest

from tests.daemon import CORE, Daemon
from tests.deadlines import DEADLINE_S

TOKEN = "0123456789abcdef"
ATTIC, CELLAR = "sim:0000000000000001", "sim:0000000000000002"

STATUS = """
[sim]
devices = 2
interval = "50ms"

[status]
listen = ["127.0.0.1:0"]
hosts = ["gateway.example.org"]
token_file = "{folder}/token"
"""


@dataclass(frozen=True)
class Answer:
    """What was answered to a request."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Page:
    """The status page of a daemon, asked as a browser or a monitor would."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.url = daemon.until(self._served)
        self.host, self.port = "127.0.0.1", int(self.url.rsplit(":", 1)[1].strip("/"))

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", path, None, headers)

    def act(self, what: str, token: str = TOKEN, **content: object) -> Answer:
        """What the page does for a person who unlocked it."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return self.ask("POST", f"/api/{what}", json.dumps(content).encode(), headers)

    def ask(self, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Answer:
        connection = http.client.HTTPConnection(self.host, self.port, timeout=DEADLINE_S)
        try:
            connection.request(method, path, body, headers)
            answer = connection.getresponse()
            return Answer(answer.status, answer.headers, answer.read())
        finally:
            connection.close()

    def _served(self) -> str | None:
        for adapter in self.daemon.ask({"do": "devices"})["adapters"]:
            if found := re.match(r"serves (http://\S+/)", adapter["status"]):
                return found[1]
        return None


@pytest.fixture(scope="package")
def shared_page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with served(tmp_path_factory.mktemp("status"), CORE + STATUS) as page:
        yield page


@pytest.fixture
def page(shared_page: Page) -> Iterator[Page]:
    """The page of a daemon with two virtual devices, one of them listed, the other a stranger."""
    yield shared_page
    daemon = shared_page.daemon
    daemon.ask({"do": "permit", "seconds": 0})
    daemon.ask({"do": "forget", "target": CELLAR})
    daemon.until(lambda: daemon.ask({"do": "devices"})["strangers"])


@contextlib.contextmanager
def served(folder: FilePath, config: str) -> Iterator[Page]:
    """The page of a daemon, within the context."""
    (folder / "token").write_text(TOKEN)
    daemon = Daemon(folder, config)
    daemon.start()
    try:
        daemon.until(lambda: daemon.value("attic/3303/0/5700"))
        yield Page(daemon)
    finally:
        if daemon.process:
            daemon.end(signal.SIGTERM)

"""A headless Chromium, driven through WebDriver (W3C) with the standard library."""

import base64
import contextlib
import json
import re
import subprocess
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

from tests.deadlines import DEADLINE_S

ARGUMENTS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)


class Browser:
    """One window. Elements are found and read by scripts in the page."""

    def __init__(self, session: str) -> None:
        self._session = session

    def open(self, url: str) -> None:
        self._ask("url", {"url": url})

    def run(self, script: str, *arguments: object) -> Any:
        """What a function body returns in the page."""
        return self._ask("execute/sync", {"script": script, "args": arguments})

    def until(self, script: str, *arguments: object) -> Any:
        """Runs an expression until it is true; gives what it is then."""
        deadline = time.monotonic() + DEADLINE_S
        while time.monotonic() < deadline:
            if found := self.run(f"return {script}", *arguments):
                return found
            time.sleep(0.05)
        page = self.run("return document.body.innerText")
        raise AssertionError(f"never true: {script}\n{page}")

    def size(self, width: int, height: int, scheme: str = "light") -> None:
        """The window as that of a phone or a desk, light or dark."""
        self._cdp(
            "Emulation.setDeviceMetricsOverride",
            {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600},
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self._cdp("Emulation.setEmulatedMedia", {"features": [feature]})

    def screenshot(self, file: FilePath) -> None:
        file.write_bytes(base64.b64decode(_get(f"{self._session}/screenshot")))

    def complaints(self) -> list[str]:
        """What the page's console says is wrong, such as a breach of the security policy."""
        entries = self._ask("se/log", {"type": "browser"})
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def _cdp(self, command: str, parameters: object) -> None:
        self._ask("goog/cdp/execute", {"cmd": command, "params": parameters})

    def _ask(self, what: str, content: object) -> Any:
        return _post(f"{self._session}/{what}", content)


@contextlib.contextmanager
def chromium() -> Iterator[Browser]:
    """A browser with a profile of its own."""
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile,
        subprocess.Popen(
            ["chromedriver", "--port=0"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as driver,
    ):
        try:
            url = f"http://127.0.0.1:{_port(driver)}/session"
            options = {
                "args": [*ARGUMENTS, f"--user-data-dir={profile}"],
            }
            capabilities = {
                "goog:chromeOptions": options,
                "goog:loggingPrefs": {"browser": "ALL"},
            }
            made = _post(url, {"capabilities": {"alwaysMatch": capabilities}})
            session = f"{url}/{made['sessionId']}"
            try:
                yield Browser(session)
            finally:
                _send(urllib.request.Request(session, method="DELETE"))
        finally:
            driver.terminate()


def _port(driver: subprocess.Popen[str]) -> int:
    assert driver.stdout
    for line in driver.stdout:
        if found := re.search(r"started successfully on port (\d+)", line):
            return int(found[1])
    raise AssertionError("chromedriver did not start")


def _post(url: str, content: object) -> Any:
    return _send(urllib.request.Request(url, json.dumps(content).encode()))


def _get(url: str) -> Any:
    return _send(urllib.request.Request(url))


def _send(request: urllib.request.Request) -> Any:
    with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
        return json.load(answer)["value"]

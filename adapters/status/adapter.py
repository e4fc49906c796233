"""The status server: opens its listeners and lives until cancelled."""

from __future__ import annotations

import asyncio
import importlib
import socket
from collections.abc import Sequence
from typing import Any

from adapters.status.section import StatusSection
from gateway.configuration.checks import Finding, Severity, listener, secret_file
from gateway.configuration.listen import parse_listen
from gateway.errors import AdapterError
from gateway.objects.registry import Registry
from gateway.ports import NorthPort

SECTION = "status"


class Status:
    """The adapter: see its section for what it offers."""

    Config = StatusSection

    def __init__(self, config: StatusSection, port: NorthPort) -> None:
        self._config = config
        self._port = port

    @staticmethod
    async def check(section: StatusSection, _: Registry) -> Sequence[Finding]:
        """Whether each address is free, and the token a good one."""
        findings = [
            listener(SECTION, *parse_listen(text), socket.SOCK_STREAM) for text in section.listen
        ]
        if section.token_file:
            findings += secret_file(SECTION, section.token_file)
        try:
            section.token()
        except AdapterError as error:
            findings.append(Finding(Severity.ERROR, SECTION, str(error)))
        return findings

    async def run(self) -> None:
        """Serves until cancelled."""
        # aiohttp takes half a second to import on a small box: in a thread, after the radios.
        server: Any = await asyncio.to_thread(importlib.import_module, "adapters.status.server")
        await server.serve(self._config, self._port)

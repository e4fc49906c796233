"""The status server: opens its listeners and lives until cancelled."""

from __future__ import annotations

import asyncio
import importlib
from collections.abc import Sequence
from typing import Any

from adapters.status.section import StatusSection
from gateway.configuration.checks import Finding, Severity, secret_file
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
        """Whether the token is a good one."""
        file = section.token_file
        findings = [*secret_file(SECTION, file)] if file else []
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

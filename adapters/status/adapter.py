"""The status server: opens its listeners and lives until cancelled."""

from __future__ import annotations

import asyncio
import importlib
from typing import Any

from adapters.status.section import StatusSection
from gateway.ports import NorthPort


class Status:
    """The adapter: see its section for what it offers."""

    Config = StatusSection

    def __init__(self, config: StatusSection, port: NorthPort) -> None:
        self._config = config
        self._port = port

    async def run(self) -> None:
        """Serves until cancelled."""
        # aiohttp takes half a second to import on a small box: in a thread, after the radios.
        server: Any = await asyncio.to_thread(importlib.import_module, "adapters.status.server")
        await server.serve(self._config, self._port)

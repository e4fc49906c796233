"""Health for monitoring: is the process alive, can clients be served, is every adapter well."""

from __future__ import annotations

from collections.abc import Mapping

from aiohttp import web

from adapters.status.replies import reply
from gateway.overview import AdapterState, Condition
from gateway.ports import NorthPort

WELL, ILL = 200, 503

NOT_SERVING = (Condition.STARTING, Condition.FAILED)


class Health:
    """The paths below /healthz. 200 means well, 503 not, and the body says why."""

    def __init__(self, port: NorthPort) -> None:
        self._port = port

    def routes(self) -> list[web.RouteDef]:
        """What is served where."""
        return [
            web.get("/healthz", self.live),
            web.get("/healthz/ready", self.ready),
            web.get("/healthz/adapters", self.adapters),
            web.get("/healthz/adapters/{name}", self.adapter),
        ]

    async def live(self, _: web.Request) -> web.Response:
        """The daemon's loop turns, or there would be no answer."""
        return reply({"state": "live"})

    async def ready(self, _: web.Request) -> web.Response:
        """Clients can be served: every server runs, though one may wait for a server of its own.

        A radio that is missing does not count: no restart would bring it.
        """
        servers = [a for a in self._port.overview().adapters if a.northbound]
        down = {a.name: a.text for a in servers if a.condition in NOT_SERVING}
        return reply({"state": "not ready" if down else "ready", "down": down}, _status(not down))

    async def adapters(self, _: web.Request) -> web.Response:
        """All adapters."""
        states = self._port.overview().adapters
        well = all(a.condition is Condition.RUNNING for a in states)
        return reply({"adapters": [_shown(a) for a in states]}, _status(well))

    async def adapter(self, request: web.Request) -> web.Response:
        """One adapter."""
        name = request.match_info["name"]
        for state in self._port.overview().adapters:
            if state.name == name:
                return reply(_shown(state), _status(state.condition is Condition.RUNNING))
        return reply({"error": f"no adapter {name!r}; /healthz/adapters lists them"}, 404)


def _status(well: bool) -> int:
    return WELL if well else ILL


def _shown(state: AdapterState) -> Mapping[str, object]:
    return {
        "name": state.name,
        "state": state.condition.value,
        "reason": state.text,
        "restarts": state.restarts,
    }

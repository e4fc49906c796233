"""The peer on plain aiocoap, as its own examples build a server: a Site, and a Resource a path.

python -m benchmarks.coap.plain_aiocoap PORT RESOURCES
"""

from __future__ import annotations

import asyncio
import sys

import aiocoap
from aiocoap import resource


class Sensor(resource.ObservableResource):
    """A value that can be read, written and observed."""

    rt = "oma.lwm2m.ext:3303"
    if_ = "core.s"

    def __init__(self) -> None:
        super().__init__()
        self.value = b"0"

    async def render_get(self, request: aiocoap.Message) -> aiocoap.Message:
        return aiocoap.Message(payload=self.value, content_format=0)

    async def render_put(self, request: aiocoap.Message) -> aiocoap.Message:
        self.value = request.payload
        self.updated_state()
        return aiocoap.Message(code=aiocoap.CHANGED)


async def serve(port: int, resources: int) -> None:
    site = resource.Site()
    links = resource.WKCResource(site.get_resources_as_linkheader)
    site.add_resource([".well-known", "core"], links)
    for number in range(1, resources + 1):
        site.add_resource([f"d{number}", "3303", "0", "5700"], Sensor())
    site.add_resource(["d1", "3312", "0", "5850"], Sensor())
    await aiocoap.Context.create_server_context(site, bind=("127.0.0.1", port))
    await asyncio.get_running_loop().create_future()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), int(sys.argv[2])))

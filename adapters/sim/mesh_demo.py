"""The demo's virtual mesh: a node of each kind, alive with values that move.

A thermometer joins by 6LoWPAN-ND, a lamp is two RPL hops away behind a socket and registers by
LwM2M, a window contact is a plain neighbour.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from adapters.sim import coap
from adapters.sim.ipso import LINKS, SENML_CBOR, SENML_JSON, TLV, Objects, Simple
from adapters.sim.mesh import Mesh
from adapters.sim.node import Node, Profile

HALL, SOCKET, LAMP, WINDOW = (bytes.fromhex(f"02124b000a0b0c{n:02x}") for n in range(1, 5))

STEP_S = 2.0
"""How often something changes, so that a watcher sees it move."""

DAY_S = 120.0

_REGISTRATION_S = 3600


@asynccontextmanager
async def demo_mesh() -> AsyncIterator[str]:
    """The mesh lives within the block; gives the path of its stick."""
    mesh = Mesh()
    hall = _place(mesh, HALL, Profile.ND, _hall())
    socket = _place(mesh, SOCKET, Profile.RPL, _socket())
    lamp = _place(mesh, LAMP, Profile.RPL, _lamp(), behind=socket)
    window = _place(mesh, WINDOW, Profile.PLAIN, _window())
    async with mesh.running() as rcp, asyncio.TaskGroup() as tasks:
        lives = [
            tasks.create_task(_move(hall, window)),
            tasks.create_task(_register(lamp)),
        ]
        try:
            yield rcp.path
        finally:
            for life in lives:
                life.cancel()


def _place(
    mesh: Mesh, eui64: bytes, profile: Profile, objects: Objects, behind: Node | None = None
) -> Node:
    def make(transmit: Callable[[bytes], None]) -> Node:
        return Node(eui64, profile, objects, transmit)

    return mesh.add(make, near=behind is None, to=(behind,) if behind else ())


def _device(model: str) -> dict[str, Simple]:
    return {"/3/0/0": "Border Gateway", "/3/0/1": model}


def _hall() -> Objects:
    readings: dict[str, Simple] = {
        "/3303/0/5700": 20.0,
        "/3303/0/5701": "Cel",
        "/3304/0/5700": 45.0,
    }
    return Objects(_device("virtual thermometer") | readings, root="/ipso")


def _socket() -> Objects:
    switch = frozenset({"/3312/0/5850"})
    values = _device("virtual socket") | {"/3312/0/5850": True}
    return Objects(values, formats=(SENML_CBOR,), writable=switch)


def _lamp() -> Objects:
    values = _device("virtual lamp") | {"/3311/0/5850": False, "/3311/0/5851": 50}
    writable = frozenset({"/3311/0/5850", "/3311/0/5851"})
    return Objects(values, formats=(TLV,), writable=writable)


def _window() -> Objects:
    values = _device("virtual contact") | {"/3302/0/5500": False, "/3302/0/5501": 0}
    return Objects(values, formats=(SENML_JSON,))


async def _move(hall: Node, window: Node) -> None:
    """Warms and cools the hall, opens and closes the window."""
    step, opened = 0, 0
    while True:
        step += 1
        phase = 2 * math.pi * step * STEP_S / DAY_S
        hall.objects.set("/3303/0/5700", round(20 + 3 * math.sin(phase), 2))
        hall.objects.set("/3304/0/5700", round(45 - 5 * math.sin(phase), 1))
        if step % 10 == 0:
            is_open = not window.objects.values["/3302/0/5500"]
            opened += is_open
            window.objects.set("/3302/0/5500", is_open)
            window.objects.set("/3302/0/5501", opened)
        await asyncio.sleep(STEP_S)


async def _register(node: Node) -> None:
    """Registers by LwM2M when the node has joined, and again before that ends."""
    await node.joined.wait()
    path = f"/rd?ep={node.eui64.hex()}&lt={_REGISTRATION_S}&lwm2m=1.0&b=U"
    while True:
        try:
            answer = await node.ask(coap.POST, path, LINKS, node.objects.links(instances=True))
            pause_s = _REGISTRATION_S / 2 if answer.code == coap.CREATED else STEP_S
        except TimeoutError:
            pause_s = STEP_S
        await asyncio.sleep(pause_s)

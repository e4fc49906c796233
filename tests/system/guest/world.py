"""What is around the guest: Bluetooth devices and a mesh, whose values never stop rising."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

from bumble.controller import Controller
from bumble.hci import LeFeatureMask
from bumble.transport.common import Transport
from bumble.transport.tcp_server import open_tcp_server_transport_with_socket

from adapters.sim.ipso import Objects
from adapters.sim.mesh import Mesh
from adapters.sim.modules import (
    POWER,
    POWER_METER_RELAY,
    TEMPERATURE,
    WEATHER_STATION,
    sensor,
)
from adapters.sim.node import Node, Profile
from adapters.sim.peripherals import Peripheral, SteadyLink
from adapters.sim.rcp import VirtualRcp

STEP = 0.25
"""Exact in the 32 bits of a BIPSO float."""

STEP_EVERY_S = 1.0

HALL, CELLAR = bytes.fromhex("02124b000a0b0c01"), bytes.fromhex("02124b000a0b0c02")

LISTED = (
    ("ble:d0-5f-b8-22-3b-01", "weather"),
    ("ble:d0-5f-b8-22-3b-02", "meter"),
    (f"lowpan:{HALL.hex()}", "hall"),
    (f"lowpan:{CELLAR.hex()}", "cellar"),
)
"""The devices' identities, and prefixes that they are given."""

# The kernel waits for an event that bumble does not send if these are offered.
UNSUPPORTED = LeFeatureMask.LL_PRIVACY | LeFeatureMask.LE_EXTENDED_ADVERTISING


@dataclass(slots=True)
class Device:
    """One device: how the gateway calls it, and what it measures now."""

    id: str
    prefix: str
    shows: str
    tell: Callable[[float], Awaitable[None]]
    value: float = 20.0

    async def step(self) -> None:
        """Measures something new."""
        self.value += STEP
        await self.tell(self.value)


class Bluetooth:
    """Two BIPSO modules in the air, and a controller for whoever connects to `port`."""

    def __init__(self) -> None:
        self._link = SteadyLink()
        self.modules = [Peripheral(m, self._link) for m in (WEATHER_STATION, POWER_METER_RELAY)]
        self._transport: Transport | None = None
        self._controller: Controller | None = None

    async def new_controller(self) -> int:
        """Puts a controller, fresh from the factory, behind a new TCP port; gives the port."""
        await self.take_controller_away()
        listener = socket.create_server(("127.0.0.1", 0))
        self._transport = transport = await open_tcp_server_transport_with_socket(listener)
        self._controller = Controller(
            "guest", host_source=transport.source, host_sink=transport.sink, link=self._link
        )
        self._controller.le_features &= ~UNSUPPORTED
        return int(listener.getsockname()[1])

    async def take_controller_away(self) -> None:
        """The controller has no power: the modules notice that it is gone."""
        if self._controller and self._transport:
            for module in self.modules:
                await module.hang_up()
            self._link.remove_controller(self._controller)
            await self._transport.close()
        self._controller = self._transport = None

    def devices(self) -> list[Device]:
        weather, meter = self.modules

        async def warm(value: float) -> None:
            await weather.notify(TEMPERATURE, sensor(value, "C"))

        async def draw(value: float) -> None:
            await meter.notify(POWER, sensor(value, "W"))

        return [
            Device(*LISTED[0], "3303/0/5700", warm),
            Device(*LISTED[1], "3328/0/5700", draw),
        ]


def mesh() -> tuple[Mesh, list[Device]]:
    """A stick with two nodes around it, one that joins by 6LoWPAN-ND and one by RPL."""
    air = Mesh()
    return air, [
        Device(*LISTED[2], "3303/0/5700", _node(air, HALL, Profile.ND, "/3303/0/5700")),
        Device(*LISTED[3], "3304/0/5700", _node(air, CELLAR, Profile.RPL, "/3304/0/5700")),
    ]


def _node(
    air: Mesh, eui64: bytes, profile: Profile, shows: str
) -> Callable[[float], Awaitable[None]]:
    objects = Objects({"/3/0/1": "virtual sensor", shows: 20.0})
    air.add(lambda transmit: Node(eui64, profile, objects, transmit), near=True)

    async def tell(value: float) -> None:
        objects.set(shows, value)

    return tell


@dataclass(slots=True)
class World:
    """Everything around the guest. Values stand still while `moving` is not set."""

    bluetooth: Bluetooth
    stick: VirtualRcp
    devices: list[Device]
    moving: asyncio.Event


@asynccontextmanager
async def world() -> AsyncIterator[World]:
    """Lives within the block."""
    bluetooth = Bluetooth()
    air, nodes = mesh()
    for module in bluetooth.modules:
        await module.start()
    around = World(bluetooth, air.rcp, [*bluetooth.devices(), *nodes], asyncio.Event())

    async def move() -> None:
        while True:
            await around.moving.wait()
            for device in around.devices:
                await device.step()
            await asyncio.sleep(STEP_EVERY_S)

    async with air.running(), asyncio.TaskGroup() as tasks:
        moving = tasks.create_task(move())
        try:
            yield around
        finally:
            moving.cancel()
            await bluetooth.take_controller_away()

"""What the tests of the whole stack share: a hub, the adapter on a pty, virtual nodes."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from adapters.lowpan.adapter import Lowpan
from adapters.lowpan.section import LowpanSection
from adapters.sim.ipso import Objects
from adapters.sim.mesh import Mesh
from adapters.sim.node import Node, Profile, Timings
from gateway.events import Reading, State
from gateway.hub import Hub
from gateway.model import DeviceId, Path, Value
from gateway.objects.registry import Registry
from gateway.policy import DeviceRule, Rules
from gateway.slots import SouthSlot
from tests.deadlines import DEADLINE_S
from tests.fakes import DictMemory

ND = bytes.fromhex("020000000000aa01")
ROUTER = bytes.fromhex("020000000000bb01")
LEAF = bytes.fromhex("020000000000cc01")
PLAIN = bytes.fromhex("020000000000dd01")

TEMPERATURE, SWITCH = Path(3303, 0, 5700), Path(3311, 0, 5850)

QUICK = Timings(repeat_s=0.1, ack_s=0.15)


def device_of(eui64: bytes) -> DeviceId:
    """The identity that the gateway gives to a node."""
    return DeviceId(f"lowpan:{eui64.hex()}")


class Slot(SouthSlot):
    """Remembers what the adapter reports, before any report rule."""

    def __init__(self, name: str, hub: Hub) -> None:
        super().__init__(name, hub)
        self.readings: list[Reading] = []

    def report(self, readings: Sequence[Reading], *, late: bool = False) -> None:
        self.readings += readings
        super().report(readings, late=late)


class Gateway:
    """A hub with the adapter `lowpan` in it."""

    def __init__(self, *admitted: bytes, memory: DictMemory | None = None) -> None:
        rule = DeviceRule(listed=True, writable=True)
        rules = Rules({device_of(node): rule for node in admitted})
        self.memory = memory or DictMemory()
        self.hub = Hub(Registry.builtin(), rules, self.memory)
        self.south = Slot("lowpan", self.hub)

    @asynccontextmanager
    async def running(self, radio: str, **section: Any) -> AsyncIterator[Lowpan]:
        """The adapter lives within the block; if it fails, so does the block."""
        given = {"radio": radio, "poll": "1s", "ack_timeout": "150ms"} | section
        self.adapter = adapter = Lowpan(LowpanSection.model_validate(given), self.south)
        self.hub.commander.owners["lowpan"] = adapter
        async with asyncio.TaskGroup() as tasks:
            life = tasks.create_task(adapter.run())
            try:
                yield adapter
            finally:
                life.cancel()

    def value(self, node: bytes, path: Path) -> Value | None:
        """The hub's present value."""
        resource = self.hub.store.resource(device_of(node), path)
        return resource.value if resource else None

    def state(self, node: bytes) -> tuple[State | None, str]:
        """Whether a device is in reach, and why."""
        known = self.hub.store.device(device_of(node))
        return (known.availability.state, known.availability.reason) if known else (None, "")

    def watches(self, node: bytes, path: Path) -> bool:
        """Whether the node has agreed to tell a resource by itself."""
        entry = self.adapter._sessions.get(device_of(node))
        return entry is not None and path in entry[0]._watched

    async def until(self, condition: Callable[[], object], what: str = "") -> None:
        """Waits until the hub's content fulfils the condition."""
        try:
            async with asyncio.timeout(DEADLINE_S):
                while not condition():
                    await asyncio.sleep(0.01)
        except TimeoutError:
            devices = [
                (d.id, d.availability.state.value, d.availability.reason)
                for d in self.hub.store.devices()
            ]
            raise AssertionError(
                f"not in {DEADLINE_S} s: {what}; {self.south.text}; {devices}; "
                f"{dict(self.hub.counters)}"
            ) from None


def thermometer(**extra: Any) -> Objects:
    """A temperature and a switch that can be written."""
    return Objects(
        {"/3303/0/5700": 21.5, "/3303/0/5701": "Cel", "/3311/0/5850": False},
        writable=frozenset({"/3311/0/5850"}),
        executes=frozenset({"/3303/0/5605"}),
        **extra,
    )


def add(
    mesh: Mesh,
    eui64: bytes,
    profile: Profile,
    objects: Objects | None = None,
    *,
    near: bool = True,
    to: tuple[Node, ...] = (),
    timings: Timings = QUICK,
) -> Node:
    """Places a node with a thermometer in the mesh."""
    things = objects or thermometer()
    return mesh.add(
        lambda transmit: Node(eui64, profile, things, transmit, timings=timings), near=near, to=to
    )

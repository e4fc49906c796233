"""Stand-ins for clocks, disk and adapters, small enough to be believed."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from gateway.devices.identities import Remembered
from gateway.errors import StateError
from gateway.events import Command, Device, Event, Outcome, Reading, Resource, Sighting
from gateway.hub import Hub
from gateway.model import DeviceId, Operations, Path, ResourceType, Value
from gateway.objects.registry import ObjectDefinition, Registry, ResourceDefinition
from gateway.policy import DeviceRule, ReportRule, Rules
from gateway.readings.journal import Journal
from gateway.slots import NorthSlot, SouthSlot

STATION = DeviceId("ble:00-24-be-80-4f-f1")
METER = DeviceId("ble:00-24-be-80-4f-f2")

R, W, E = Operations.READ, Operations.WRITE, Operations.EXECUTE


def small_registry() -> Registry:
    """Temperature, power control, device and gateway objects, with their usual resources."""
    resources = {
        3303: [
            ResourceDefinition(5700, "Sensor Value", R, ResourceType.FLOAT, mandatory=True),
            ResourceDefinition(5701, "Sensor Units", R, ResourceType.STRING),
            ResourceDefinition(5605, "Reset Min and Max", E, ResourceType.NONE),
        ],
        3312: [
            ResourceDefinition(5850, "On/Off", R | W, ResourceType.BOOLEAN, mandatory=True),
            ResourceDefinition(5851, "Dimmer", R | W, ResourceType.INTEGER, range=(0, 100)),
        ],
        3: [
            ResourceDefinition(0, "Manufacturer", R, ResourceType.STRING),
            ResourceDefinition(1, "Model Number", R, ResourceType.STRING),
            ResourceDefinition(3, "Firmware Version", R, ResourceType.STRING),
            ResourceDefinition(11, "Error Code", R, ResourceType.INTEGER, multiple=True),
            ResourceDefinition(16, "Supported Binding", R, ResourceType.STRING),
        ],
        25: [
            ResourceDefinition(0, "Device ID", R, ResourceType.STRING),
            ResourceDefinition(1, "Prefix", R, ResourceType.STRING),
            ResourceDefinition(3, "IoT Device Objects", R, ResourceType.CORELNK),
        ],
    }
    return Registry(
        ObjectDefinition(
            i, f"Object {i}", f"urn:oma:lwm2m:ext:{i}", "1.1", True, {r.id: r for r in listed}
        )
        for i, listed in resources.items()
    )


REMEMBERED = Remembered(
    STATION,
    "d1",
    "old name",
    "ble",
    True,
    5.0,
    {(3303, "id7"): 3},
    [Resource(Path(3303, 0, 5700), 20.5, 6.0)],
)


class Clock:
    """Both clocks of the hub; they move only when told."""

    def __init__(self) -> None:
        self.now = 1_000.0
        self.is_set = True
        self._epoch = 1_700_000_000.0

    def wall(self) -> float:
        """Unix seconds."""
        return self._epoch + self.now

    def monotonic(self) -> float:
        """Monotonic seconds."""
        return self.now

    def advance(self, seconds: float) -> None:
        """Moves both."""
        self.now += seconds

    def jump(self, seconds: float) -> None:
        """Sets the wall clock, as a time server does."""
        self._epoch += seconds


class DictMemory:
    """The hub's Memory in two dictionaries; `full` as a disk can be."""

    def __init__(self) -> None:
        self.devices: dict[DeviceId, Device] = {}
        self.instances: dict[tuple[DeviceId, int, str], int] = {}
        self.data: dict[tuple[str, str], bytes] = {}
        self.full = False

    def remember_device(self, device: Device, *, joined: bool) -> None:
        self._check()
        self.devices[device.id] = device

    def remember_instance(self, device: DeviceId, object_id: int, key: str, number: int) -> None:
        self._check()
        self.instances[device, object_id, key] = number

    def forget_device(self, device: DeviceId) -> None:
        self._check()
        self.devices.pop(device, None)

    def _check(self) -> None:
        if self.full:
            raise StateError("state.db: database or disk is full")

    def recall(self, adapter: str, key: str) -> bytes | None:
        return self.data.get((adapter, key))

    def remember(self, adapter: str, key: str, data: bytes) -> None:
        self._check()
        self.data[adapter, key] = data


class ScriptedSouth:
    """A southbound adapter that records commands and answers what the test wants."""

    def __init__(self) -> None:
        self.commands: list[Command] = []
        self.answer: Outcome | Exception = Outcome(confirmed=True)
        self.gate: asyncio.Event | None = None

    async def run(self) -> None:
        raise AssertionError("never started")

    async def execute(self, command: Command) -> Outcome:
        self.commands.append(command)
        if self.gate:
            await self.gate.wait()
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


class HubBench:
    """A hub with a southbound slot `ble` and a northbound slot, and shorthands for tests."""

    def __init__(
        self, clock: Clock, registry: Registry | None = None, journal: Journal | None = None
    ) -> None:
        self.clock = clock
        self.memory = DictMemory()
        self.hub = Hub(
            registry or small_registry(),
            Rules(),
            self.memory,
            journal,
            wall=clock.wall,
            monotonic=clock.monotonic,
            clock_is_set=lambda: clock.is_set,
        )
        self.south = SouthSlot("ble", self.hub)
        self.north = NorthSlot("test", self.hub)
        self.adapter = ScriptedSouth()
        owners: dict[str, Any] = self.hub.commander.owners
        owners["ble"] = self.adapter

    def rules(self, report: ReportRule | None = None, **devices: DeviceRule) -> None:
        """Sets the rules; devices by the names `station` and `meter`."""
        named = {"station": STATION, "meter": METER}
        self.hub.rules = Rules(
            {named[name]: rule for name, rule in devices.items()}, report or ReportRule()
        )

    def join(self, device: DeviceId = STATION, prefix: str | None = None) -> None:
        """Has a listed device be seen."""
        listed = dict(self.hub.rules.devices)
        listed.setdefault(device, DeviceRule(listed=True, prefix=prefix))
        self.hub.rules = replace(self.hub.rules, devices=listed)
        assert self.south.seen(Sighting(device, "a name", -60))

    def say(self, values: Mapping[Path, Value | None], device: DeviceId = STATION) -> None:
        """Has a device report values, measured now."""
        now = self.clock.wall()
        self.south.report([Reading(device, path, value, now) for path, value in values.items()])

    def told(self) -> list[Event]:
        """What the northbound slot was told since the last call, without the gateway's own."""
        return [e for e in self.north.outbox.take_all() if e.device != "gateway"]


def restarted(clock: Clock, rules: Rules, *remembered: Remembered) -> HubBench:
    """A hub that took over what an earlier life kept."""
    bench = HubBench(clock)
    bench.hub.rules = rules
    bench.hub.restore(remembered)
    return bench

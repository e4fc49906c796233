"""Whatever happens, in whatever order: store, disk and clients agree, and nothing ever moves."""

import tempfile
from pathlib import Path as FilePath

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from gateway.events import Change, DeviceChanged, Event, Reading, Removed, Sighting
from gateway.hub import Hub
from gateway.model import GATEWAY, DeviceId, Path, Value
from gateway.policy import DeviceRule, ReportRule, Rules
from gateway.slots import NorthSlot, SouthSlot
from gateway.storage.state import StateDatabase
from tests.fakes import Clock, small_registry

DEVICES = [DeviceId(f"lowpan:{number:016x}") for number in range(3)]
PATHS = [Path(3303, 0, 5700), Path(3303, 1, 5700), Path(3312, 0, 5851)]
PREFIXES = [None, "d1", "d2", "roof"]

devices = st.sampled_from(DEVICES)
listings = st.dictionaries(devices, st.sampled_from(PREFIXES)).filter(
    lambda listed: len(set(filter(None, listed.values()))) == sum(map(bool, listed.values()))
)


class Follower:
    """A client's picture: what it was told, never compared with the store behind the events."""

    def __init__(self, port: NorthSlot) -> None:
        self._port = port
        self.picture: dict[DeviceId, tuple[str, dict[Path, Value | None]]] = {}
        for device in port.devices():
            self.take(DeviceChanged(device.id))

    def take(self, event: Event) -> None:
        device = self._port.device_by_id(event.device)
        match event:
            case Removed(path=None):
                self.picture.pop(event.device, None)
            case Removed(path=Path() as gone) if event.device in self.picture:
                values = self.picture[event.device][1]
                for path in [p for p in values if gone.covers(p)]:
                    del values[path]
            case DeviceChanged() if device:
                shown = {r.path: r.value for r in self._port.resources(event.device)}
                self.picture[event.device] = device.prefix, shown
            case Change() if event.device in self.picture:
                if resource := self._port.resource(event.device, event.path):
                    self.picture[event.device][1][event.path] = resource.value


class Story(RuleBasedStateMachine):
    """Joins, reports, withdrawals, forgets, kills and configuration changes."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._clock = Clock()
        self._listed: dict[DeviceId, str | None] = {}
        self._prefixes: dict[DeviceId, str] = {}
        self._numbers: dict[tuple[DeviceId, str], int] = {}
        self._start()

    def _start(self) -> None:
        self._state = StateDatabase(FilePath(self._folder.name))
        rules = {d: DeviceRule(True, prefix) for d, prefix in self._listed.items()}
        self._hub = Hub(
            small_registry(),
            Rules(rules, ReportRule(min_interval_s=10)),
            self._state,
            wall=self._clock.wall,
            monotonic=self._clock.monotonic,
        )
        self._hub.restore(self._state.load())
        self._south = SouthSlot("lowpan", self._hub)
        self._north = NorthSlot("coap", self._hub)
        self._client = Follower(self._north)

    def _values(self) -> dict[DeviceId, dict[Path, Value | None]]:
        store = self._hub.store
        bridged = [d.id for d in store.devices() if d.id != GATEWAY]
        return {d: {r.path: r.value for r in store.resources(d)} for d in bridged}

    @rule(device=devices)
    def is_seen(self, device: DeviceId) -> None:
        assert self._south.seen(Sighting(device)) or device not in self._listed

    @rule(
        device=devices, paths=st.sets(st.sampled_from(PATHS), min_size=1), number=st.integers(0, 3)
    )
    def says(self, device: DeviceId, paths: set[Path], number: int) -> None:
        self._hub.permit(60)
        assert self._south.seen(Sighting(device))
        self._hub.permit(0)
        self._south.report([Reading(device, p, number, self._clock.wall()) for p in paths])

    @rule(device=devices, key=st.sampled_from("abc"), preferred=st.integers(0, 2))
    def asks_for_a_number(self, device: DeviceId, key: str, preferred: int) -> None:
        if self._south.seen(Sighting(device)):
            number = self._south.instance(device, 3303, key, preferred)
            assert self._numbers.setdefault((device, key), number) == number

    @rule(device=devices, path=st.sampled_from([Path(3303), PATHS[2]]))
    def withdraws(self, device: DeviceId, path: Path) -> None:
        self._south.withdraw(device, path)

    @rule(device=devices, asleep=st.booleans())
    def is_lost(self, device: DeviceId, *, asleep: bool) -> None:
        self._south.lost(device, "out of reach", asleep=asleep)

    @precondition(lambda self: self._prefixes)
    @rule(data=st.data())
    def is_forgotten(self, data: st.DataObject) -> None:
        device = data.draw(st.sampled_from(sorted(self._prefixes)))
        self._hub.forget(device)
        del self._prefixes[device]
        self._numbers = {k: n for k, n in self._numbers.items() if k[0] != device}

    @rule(seconds=st.integers(1, 20))
    def time_passes(self, seconds: int) -> None:
        self._clock.advance(seconds)
        self._hub.tick()

    @rule()
    def client_listens_for_a_while(self) -> None:
        for event in self._north.outbox.take_all():
            self._client.take(event)

    @rule()
    def is_restarted(self) -> None:
        self._restart(self._listed)

    @initialize(listed=listings)
    def starts(self, listed: dict[DeviceId, str | None]) -> None:
        self._restart(listed)

    @rule(listed=listings)
    def is_configured_anew(self, listed: dict[DeviceId, str | None]) -> None:
        self._restart(listed)

    def _restart(self, listed: dict[DeviceId, str | None]) -> None:
        self._state.save(self._hub.values.take_unsaved())
        before = self._values()
        self._listed = listed
        self._state.close()
        self._start()
        for device, values in self._values().items():
            assert values == before.get(device, values)
        for known in self._hub.store.devices():
            wanted = listed.get(known.id)
            if known.prefix == wanted != self._prefixes.get(known.id):
                self._prefixes[known.id] = known.prefix  # as the operator asked

    @invariant()
    def prefixes_never_move_and_are_never_shared(self) -> None:
        bridged = {d.id: d.prefix for d in self._hub.store.devices() if d.id != GATEWAY}
        for device, prefix in bridged.items():
            assert self._prefixes.setdefault(device, prefix) == prefix
        assert len(set(self._prefixes.values())) == len(self._prefixes)

    def teardown(self) -> None:
        self._clock.advance(100)
        self._hub.tick()  # nothing is held back for ever
        self.client_listens_for_a_while()
        shown = {d: values for d, (_, values) in self._client.picture.items() if d != GATEWAY}
        assert shown == self._values()
        assert {d: prefix for d, (prefix, _) in self._client.picture.items()} == {
            d.id: d.prefix for d in self._hub.store.devices()
        }
        own = {r.path: r.value for r in self._hub.store.resources(GATEWAY)}
        assert self._client.picture[GATEWAY][1] == own
        self._state.save(self._hub.values.take_unsaved())
        kept = {known.device: known for known in self._state.load()}
        for device, values in self._values().items():
            assert {r.path: r.value for r in kept[device].resources} == values
        self._state.close()
        self._folder.cleanup()


TestStory = Story.TestCase
TestStory.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)

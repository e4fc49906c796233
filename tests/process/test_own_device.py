"""The gateway's own objects: Device, Location, Connectivity Statistics, and its restart."""

import socket

import pytest

from gateway.configuration.sections import GatewaySection
from gateway.errors import NotAllowed, WritesDisabled
from gateway.events import Change, Execute, Write
from gateway.model import GATEWAY, Path
from gateway.objects.registry import Registry
from gateway.policy import RESTLESS_S, DeviceRule, Rules
from gateway.process.own_device import ERROR_LINGERS_S, REBOOT, START, STOP, OwnDevice
from gateway.slots import NorthSlot, Slot, SouthSlot
from tests.daemon import CORE, SIM, Daemon
from tests.fakes import Clock, HubBench

OPEN = Rules({GATEWAY: DeviceRule(writable=True)})


class Bench(HubBench):
    """A hub whose gateway tells of itself, with one slot each way."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock, Registry.builtin())
        self.restarts = 0
        self.slots: list[Slot] = [self.south, self.north]
        self.own = OwnDevice(self.hub, self.slots, GatewaySection(), self._restarted)

    def _restarted(self) -> None:
        self.restarts += 1

    def value(self, text: str) -> object:
        resource = self.hub.store.resource(GATEWAY, Path.parse(text))
        return resource and resource.value

    def ids(self, under: str) -> list[str]:
        return [str(r.path) for r in self.hub.store.resources(GATEWAY, Path.parse(under))]


@pytest.fixture
def bench(clock: Clock) -> Bench:
    return Bench(clock)


def test_the_device_object_has_all_that_is_mandatory_and_what_linux_tells(bench: Bench) -> None:
    definition = bench.hub.registry.object(3)
    assert definition
    shown = {r.path[2] for r in bench.hub.store.resources(GATEWAY, Path(3))}
    assert {r.id for r in definition.resources.values() if r.mandatory} <= shown
    assert {0, 1, 3, 10, 13, 14, 17, 21} <= shown
    assert bench.value("3/0/13") == int(bench.clock.wall())
    assert bench.value("3/0/11/0") == 0


def test_failing_adapters_stand_in_the_error_codes_until_they_are_well_for_a_while(
    bench: Bench,
) -> None:
    radio, server = bench.slots
    assert (type(radio), type(server)) == (SouthSlot, NorthSlot)
    radio.failed = server.failed = True
    bench.own.refresh()
    assert [bench.value(f"3/0/11/{n}") for n in (0, 1)] == [7, 8]
    radio.failed = server.failed = False
    bench.clock.advance(ERROR_LINGERS_S - 1)
    bench.own.refresh()
    assert bench.value("3/0/11/1") == 8
    bench.clock.advance(1)
    bench.own.refresh()
    assert bench.ids("3/0/11") == ["/3/0/11/0"]
    assert bench.value("3/0/11/0") == 0


def test_the_clock_is_told_now_and_then_but_reads_right(bench: Bench) -> None:
    bench.own.refresh()
    bench.north.outbox.take_all()
    told = 0
    for _ in range(2 * int(RESTLESS_S)):
        bench.clock.advance(1)
        bench.own.refresh()
        bench.hub.tick()
        told += sum(e == Change(GATEWAY, Path(3, 0, 13)) for e in bench.north.outbox.take_all())
    assert told == 2
    assert bench.value("3/0/13") == int(bench.clock.wall())


async def test_a_reboot_restarts_the_adapters_only_where_the_operator_allows_it(
    bench: Bench,
) -> None:
    with pytest.raises(WritesDisabled, match=r'"3/0/4".* under \[gateway\]'):
        await bench.north.execute(Execute(GATEWAY, REBOOT, "test"))
    bench.hub.rules = OPEN
    await bench.north.execute(Execute(GATEWAY, REBOOT, "test"))
    assert bench.restarts == 1
    with pytest.raises(NotAllowed, match="operating system"):
        await bench.north.execute(Write(GATEWAY, {Path(3, 0, 13): 0}, "test"))


async def test_traffic_is_counted_between_start_and_stop(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench.hub.rules = OPEN
    octets = [0, 0]
    monkeypatch.setattr("gateway.process.machine.traffic_octets", lambda: tuple(octets))
    await bench.north.execute(Execute(GATEWAY, START, "test"))
    octets[:] = 5_500, 7_000
    await bench.north.execute(Execute(GATEWAY, STOP, "test"))
    octets[:] = 9_000, 9_000
    bench.own.refresh()
    assert (bench.value("7/0/2"), bench.value("7/0/3")) == (5, 7)
    await bench.north.execute(Execute(GATEWAY, START, "test"))
    octets[:] = 11_999, 10_000
    bench.own.refresh()
    assert (bench.value("7/0/2"), bench.value("7/0/3")) == (2, 1)


def test_the_way_into_the_network_is_shown_while_there_is_one(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gateway.process.machine.network_bearer", lambda: (21, -56))
    monkeypatch.setattr("gateway.process.machine.addresses", lambda: ["192.0.2.7", "2001:db8::7"])
    bench.own.refresh()
    assert [bench.value(f"4/0/{r}") for r in ("0", "1/0", "2")] == [21, 21, -56]
    monkeypatch.setattr("gateway.process.machine.addresses", lambda: ["192.0.2.8"])
    bench.own.refresh()
    assert [bench.value("4/0/4/0"), bench.value("4/0/4/1")] == ["192.0.2.8", None]
    monkeypatch.setattr("gateway.process.machine.network_bearer", lambda: None)
    bench.own.refresh()
    assert bench.ids("4") == []


def test_the_location_is_the_configured_one(bench: Bench) -> None:
    assert bench.ids("6") == []
    bench.own.configure(
        GatewaySection.model_validate({"location": {"latitude": 47.4, "longitude": 8.5}})
    )
    assert bench.ids("6") == ["/6/0/0", "/6/0/1", "/6/0/5"]
    bench.own.configure(GatewaySection())
    assert bench.ids("6") == []


def test_a_client_restarts_the_adapters_of_the_running_daemon(daemon: Daemon) -> None:
    assert "under [gateway]" in daemon.command("exec", "/3/0/4").stderr
    daemon.configure(CORE.replace("[gateway]", '[gateway]\nwritable = ["3/0/4"]') + SIM)
    assert daemon.command("reload").returncode == 0
    daemon.until(lambda: daemon.value("attic/3312/0/5850"))
    assert daemon.command("set", "attic/3312/0/5850", "1").stdout == "done\n"
    assert daemon.command("exec", "/3/0/4").stdout == "done\n"
    daemon.until(lambda: daemon.value("attic/3312/0/5850") == "0")  # the virtual device is new
    _, log = daemon.end()
    assert "sim is restarted" in log


def test_a_restart_of_no_adapters_is_told(daemon: Daemon) -> None:
    daemon.configure(CORE.replace("[gateway]", '[gateway]\nwritable = ["3/0/4"]'))
    assert daemon.command("reload").returncode == 0
    assert daemon.command("exec", "/3/0/4").stdout == "done\n"

    def log() -> str:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(daemon.folder / "control.sock"))
            connection.sendall(b'{"do": "diagnostics"}\n')
            _, lines, *_ = connection.makefile()
            return lines

    daemon.until(lambda: "there is no adapter to restart" in log())

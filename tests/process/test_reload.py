"""A changed configuration is taken over while the daemon runs: what changes, and what does not."""

import asyncio
import signal
import time
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Any, ClassVar

import pytest

from gateway.errors import ConfigError
from gateway.events import DeviceChanged, Removed, Sighting
from gateway.model import Path
from gateway.objects.registry import Registry
from gateway.policy import DeviceRule, ReportRule, Rules
from gateway.ports import NorthPort, Section
from gateway.process import lineup
from gateway.process.lineup import Lineup
from gateway.service import Service
from tests.daemon import CORE, SIM, Daemon
from tests.deadlines import DEADLINE_S
from tests.fakes import METER, STATION, HubBench
from tests.process.conftest import ServiceManager
from tests.process.test_stop import config

TEMPERATURE, SWITCH = Path(3303, 0, 5700), Path(3312, 0, 5850)

SECOND = """
[[device]]
id = "sim:0000000000000002"
"""


def reload(daemon: Daemon, config: str) -> Sequence[str]:
    daemon.configure(config)
    done = daemon.command("reload")
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def row(daemon: Daemon, device: str) -> Any:
    return {d["id"]: d for d in daemon.ask({"do": "devices"})["devices"]}.get(device)


def test_a_new_name_and_new_rights_apply_at_once_and_no_adapter_restarts(daemon: Daemon) -> None:
    daemon.until(lambda: daemon.value("attic/3312/0/5850"))
    renamed = CORE.replace('name = "Attic"', 'name = "Loft"').replace("3312/0/5850", "3303/0/5605")
    assert reload(daemon, renamed + SIM) == ["reloaded"]
    assert row(daemon, "sim:0000000000000001")["name"] == "Loft"
    assert "writing is off" in daemon.command("set", "attic/3312/0/5850", "1").stderr
    assert daemon.command("exec", "attic/3303/0/5605").returncode == 0


def test_a_device_newly_listed_joins_and_one_listed_no_more_is_not_bridged(daemon: Daemon) -> None:
    daemon.until(lambda: daemon.value("attic/3303/0/5700"))
    reload(daemon, CORE + SECOND + SIM)
    daemon.until(lambda: daemon.value("d1/3303/0/5700"))
    assert reload(daemon, CORE + SIM) == [
        "reloaded",
        "sim:0000000000000002 (/d1) is listed no more, so not bridged",
    ]
    assert daemon.value("d1/3303/0/5700") is None
    reload(daemon, CORE + SECOND + SIM)
    daemon.until(lambda: daemon.value("d1/3303/0/5700"))


def test_a_changed_section_restarts_its_adapter_and_no_other(daemon: Daemon) -> None:
    assert reload(daemon, CORE + SIM + '[coap]\nlisten = ["127.0.0.1:0"]\n') == [
        "reloaded",
        "coap is started",
    ]
    three = SIM.replace("devices = 2", "devices = 3") + '[coap]\nlisten = ["127.0.0.1:0"]\n'
    assert reload(daemon, CORE + three) == ["reloaded", "sim is restarted"]
    daemon.until(lambda: "with 3 virtual devices" in daemon.command("devices").stdout)
    assert reload(daemon, CORE + SIM.replace("2", "3")) == ["reloaded", "coap is stopped"]
    assert [a["name"] for a in daemon.ask({"do": "devices"})["adapters"]] == ["sim"]


def test_a_faulty_file_changes_nothing_and_every_fault_is_told(daemon: Daemon) -> None:
    daemon.configure(CORE.replace("Attic", "Loft") + SIM.replace("devices", "devises") + "[cop]\n")
    done = daemon.command("reload")
    assert done.returncode == 1
    assert done.stderr.startswith("border-gateway: not reloaded, the running configuration stays:")
    assert "did you mean 'devices'?" in done.stderr
    assert "did you mean 'coap'?" in done.stderr
    assert row(daemon, "sim:0000000000000001")["name"] == "Attic"
    assert "the running configuration stays" in daemon.end()[1]


def test_what_needs_a_restart_is_told_each_time(daemon: Daemon) -> None:
    moved = CORE.replace("control.sock", "other.sock").replace('"attic"', '"loft"') + SIM
    daemon.until(lambda: daemon.value("attic/3303/0/5700"))
    for _ in range(2):
        assert reload(daemon, moved) == [
            "reloaded",
            "[gateway] socket waits for a restart of the daemon",
            "sim:0000000000000001 stays at /attic until the daemon is restarted",
        ]


def test_a_prefix_that_a_device_keeps_though_it_is_not_bridged_is_told_by_check_and_reload(
    daemon: Daemon,
) -> None:
    listed = '\n[[device]]\nid = "sim:000000000000000{}"\nprefix = "{}"\n'
    daemon.until(lambda: daemon.value("attic/3303/0/5700"))
    told = (
        "sim:0000000000000002 cannot have prefix attic, which belongs to sim:0000000000000001: "
        "choose another one, or free it with: border-gateway forget sim:0000000000000001"
    )
    core, _, _ = CORE.partition("[[device]]")
    reload(daemon, core + SIM)
    daemon.configure(core + listed.format(2, "attic") + SIM)
    assert told in daemon.command("check", "--config", str(daemon.config)).stdout
    assert daemon.command("reload").stdout.splitlines() == ["reloaded", told]
    daemon.until(lambda: daemon.value("d1/3303/0/5700"))
    assert daemon.command("reload").stdout.splitlines() == ["reloaded", told]


def test_object_definitions_are_read_again(daemon: Daemon) -> None:
    with_folder = CORE.replace("[gateway]", '[gateway]\ndefinitions = "{folder}"') + SIM
    (daemon.folder / "lamp.xml").write_text("<LWM2M>\n<Object>")
    _, fault = reload(daemon, with_folder)
    assert "lamp.xml is set aside: line 2: not XML" in fault


def test_the_log_level_applies_at_once(daemon: Daemon) -> None:
    reload(daemon, CORE.replace("[gateway]", '[gateway]\nlog = "error"') + SIM)
    assert "stopping" not in daemon.end()[1]


def test_sighup_reloads_and_systemd_is_told(manager: ServiceManager, tmp_path: FilePath) -> None:
    daemon = Daemon(tmp_path)
    daemon.start()
    assert daemon.process
    assert manager.told() == "READY=1"
    for text in (CORE.replace("Attic", "Loft") + SIM, "nonsense"):  # also a faulty file
        daemon.configure(text)
        before_us = time.monotonic_ns() // 1000
        daemon.process.send_signal(signal.SIGHUP)
        first, _, at = manager.told().partition("\nMONOTONIC_USEC=")
        assert first == "RELOADING=1"
        assert before_us <= int(at) <= time.monotonic_ns() // 1000
        assert manager.told() == "READY=1"
    assert row(daemon, "sim:0000000000000001")["name"] == "Loft"
    status, log = daemon.end()
    assert status == 0
    assert "not TOML" in log


async def test_a_device_that_is_bridged_no_more_is_told_gone_and_keeps_its_values(
    bench: HubBench,
) -> None:
    bench.rules(station=DeviceRule(listed=True), meter=DeviceRule(listed=True))
    bench.join(STATION)
    bench.join(METER)
    bench.say({TEMPERATURE: 20.5})
    bench.told()
    listed = bench.hub.rules
    (line,) = bench.hub.reconfigure(Rules({METER: DeviceRule(listed=True)}))
    assert "not bridged" in line
    assert [type(event) for event in bench.told()] == [Removed]
    assert bench.north.device_by_id(STATION) is None
    bench.say({TEMPERATURE: 99.0})  # its adapter has not noticed yet
    bench.hub.reconfigure(listed)
    bench.join(STATION)
    resource = bench.north.resource(STATION, TEMPERATURE)
    assert resource
    assert (resource.value, resource.restored) == (20.5, True)


async def test_a_device_that_joined_through_the_window_needs_no_listing(bench: HubBench) -> None:
    bench.hub.permit(60)
    bench.join()  # listed too
    bench.hub.forget(STATION)
    bench.hub.reconfigure(Rules())
    bench.hub.permit(60)
    bench.south.seen(Sighting(STATION))
    assert bench.hub.reconfigure(Rules(report=ReportRule(deadband=1.0))) == []
    assert bench.north.device_by_id(STATION)


async def test_servers_hear_of_changed_rights(bench: HubBench) -> None:
    bench.join()
    bench.told()
    bench.hub.reconfigure(Rules({STATION: DeviceRule(listed=True, writable=True)}))
    assert bench.told() == [DeviceChanged(STATION)]
    assert bench.north.writable(STATION, SWITCH)


async def test_values_that_the_new_definitions_do_not_know_are_withdrawn(bench: HubBench) -> None:
    bench.join()
    bench.say({TEMPERATURE: 20.5, SWITCH: True})
    bench.told()
    old = bench.hub.registry
    bench.hub.redefine(Registry([d for d in old.objects() if d.id != 3303]))
    assert [r.path for r in bench.north.resources(STATION)] == [SWITCH]
    assert Removed(STATION, "d1", TEMPERATURE) in bench.told()
    assert bench.north.registry is old  # adapters may hold it


class Stubborn:
    """A northbound adapter that stops only when the test lets it."""

    Config: ClassVar[type[Section]] = Section
    released: ClassVar[asyncio.Event]
    stoppable: ClassVar[asyncio.Event]
    lives: ClassVar[int]

    def __init__(self, config: Section, port: NorthPort) -> None:
        type(self).lives += 1

    async def run(self) -> None:
        while not self.released.is_set():
            try:
                await self.released.wait()
            except asyncio.CancelledError:
                continue
        self.stoppable.set()
        await asyncio.Event().wait()


class OtherSection(Section):
    """Differs from the other one."""


async def test_an_adapter_that_does_not_stop_is_told_and_never_runs_twice(
    bench: HubBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lineup, "CHANGE_STOP_S", 0.0)
    Stubborn.released, Stubborn.lives = asyncio.Event(), 0
    Stubborn.stoppable = asyncio.Event()
    adapters = Lineup(bench.hub, failed=lambda: None)
    await adapters.become({"xmpp": (Stubborn, Section())})
    await asyncio.sleep(0)
    for wanted in ({"xmpp": (Stubborn, OtherSection())}, {}):
        (line,) = await adapters.become(wanted)
        assert "xmpp does not stop" in line
        assert [slot.name for slot in adapters.slots] == ["xmpp"]
    assert Stubborn.lives == 1
    Stubborn.released.set()
    async with asyncio.timeout(DEADLINE_S):
        await Stubborn.stoppable.wait()
    monkeypatch.setattr(lineup, "CHANGE_STOP_S", DEADLINE_S)
    assert await adapters.become({}) == ["xmpp is stopped"]
    assert adapters.slots == []


async def test_what_waits_for_a_server_survives_a_change_of_its_section(bench: HubBench) -> None:
    Stubborn.released = Stubborn.stoppable = asyncio.Event()
    Stubborn.released.set()
    Stubborn.lives = 0
    adapters = Lineup(bench.hub, failed=lambda: None)
    await adapters.become({"xmpp": (Stubborn, Section())})
    (slot,) = adapters.slots
    assert await adapters.become({"xmpp": (Stubborn, OtherSection())}) == ["xmpp is restarted"]
    assert adapters.slots == [slot]
    outboxes = len(bench.hub.outboxes)
    assert await adapters.become({}) == ["xmpp is stopped"]
    assert len(bench.hub.outboxes) == outboxes - 1


async def test_no_adapter_starts_once_the_daemon_stops(bench: HubBench) -> None:
    adapters = Lineup(bench.hub, failed=lambda: None)
    await adapters.stop(0, 0)
    assert await adapters.become({"xmpp": (Stubborn, Section())}) == []


async def test_a_reload_while_the_daemon_stops_does_no_harm(tmp_path: FilePath) -> None:
    def faulty() -> Any:
        raise ConfigError("gone")

    daemon = Service(config(tmp_path), tmp_path, faulty)
    running = asyncio.create_task(daemon.run())
    async with asyncio.timeout(DEADLINE_S):
        await daemon.ready.wait()
        daemon.ask_reload()
        daemon.stop()
        await running

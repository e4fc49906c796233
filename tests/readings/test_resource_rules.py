"""Rules for single resources: when they are told, how they are scaled, which ones are hidden."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.configuration.config import parse
from gateway.errors import InvalidValue, NotFound
from gateway.events import Change, Removed, State, Write
from gateway.model import GATEWAY, Path
from gateway.policy import ReportRule, Rules, Treatment
from tests.daemon import CORE, SIM, Daemon
from tests.fakes import METER, STATION, HubBench

TEMPERATURE, UNITS, DIMMER = Path(3303, 0, 5700), Path(3303, 0, 5701), Path(3312, 0, 5851)

DEVICE = f"""
[[device]]
id = "{STATION}"
writable = true
"""


def rules(text: str, device: str = "") -> Rules:
    return parse(text + DEVICE + device).rules


def configured(bench: HubBench, text: str, device: str = "") -> None:
    bench.hub.reconfigure(rules(text, device))
    bench.join()


def shown(bench: HubBench) -> dict[str, object]:
    return {str(r.path): r.value for r in bench.north.resources(STATION)}


def test_the_more_special_rule_counts_key_by_key() -> None:
    found = rules(
        """
        [report]
        deadband = 4.0
        max_interval = "4min"
        [[resource]]
        path = "3303/*/5700"
        deadband = 3.0
        min_interval = "3s"
        """,
        """
        report = {min_interval = "2s"}
        [[device.resource]]
        path = "3303/0"
        deadband = 1.0
        """,
    )
    assert found.report_rule(STATION, TEMPERATURE) == ReportRule(1.0, 2.0, 240.0)
    assert found.report_rule(STATION, Path(3303, 1, 5700)) == ReportRule(3.0, 2.0, 240.0)
    assert found.report_rule(METER, Path(3303, 1, 5700)) == ReportRule(3.0, 3.0, 240.0)
    assert found.report_rule(METER, Path(3304, 1, 5700)) == ReportRule(4.0, 0.0, 240.0)


def test_of_several_rules_that_fit_the_first_one_counts_that_says_something() -> None:
    found = rules("""
        [[resource]]
        path = "3303/0"
        scale = 2.0
        [[resource]]
        path = "3303"
        scale = 3.0
        offset = 1.0
        [[resource]]
        path = "*/*/5701"
        hidden = true
    """)
    assert found.treatment(STATION, TEMPERATURE) == Treatment(2.0, 1.0)
    assert found.treatment(STATION, UNITS).hidden


def test_what_is_told_depends_on_the_resource(bench: HubBench) -> None:
    configured(bench, '[[resource]]\npath = "3303/0/5700"\ndeadband = 0.5\n')
    other = Path(3303, 1, 5700)
    bench.say({TEMPERATURE: 20.0, other: 20.0})
    bench.told()
    bench.say({TEMPERATURE: 20.4, other: 20.4})
    assert bench.told() == [Change(STATION, other)]


def test_clients_see_scaled_values_and_the_device_is_told_its_own(bench: HubBench) -> None:
    configured(bench, "", '[[device.resource]]\npath = "3303"\nscale = 0.1\noffset = -40.0\n')
    bench.say({TEMPERATURE: 613.0, UNITS: "Cel"})
    assert shown(bench) == {"/3303/0/5700": 21.3, "/3303/0/5701": "Cel"}


def test_extremes_and_range_follow_the_value_that_they_are_of() -> None:
    found = rules('[[resource]]\npath = "3303/*/5700"\nscale = 0.1\n')
    for resource in (5601, 5602, 5603, 5604):
        assert found.treatment(STATION, Path(3303, 2, resource)) == Treatment(0.1)
    assert found.treatment(STATION, Path(3303, 2, 5701)) == Treatment()


async def test_a_write_is_held_against_the_range_that_clients_see(bench: HubBench) -> None:
    """A dimmer that counts to 255, where the definition says 0 to 100."""
    configured(bench, "", f'[[device.resource]]\npath = "3312/0/5851"\nscale = {100 / 255}\n')
    bench.say({DIMMER: 255})
    assert shown(bench) == {"/3312/0/5851": 100}
    await bench.north.execute(Write(STATION, {DIMMER: 50}, "a test"))
    assert bench.adapter.commands == [Write(STATION, {DIMMER: 128}, "a test")]
    with pytest.raises(InvalidValue):
        await bench.north.execute(Write(STATION, {DIMMER: 128}, "a test"))


@given(st.floats(-1e6, 1e6), st.floats(1e-3, 1e3), st.floats(-1e3, 1e3))
def test_what_is_written_is_what_is_shown_afterwards(
    value: float, scale: float, offset: float
) -> None:
    treatment = Treatment(scale, offset)
    back = treatment.shown(treatment.raw(value, whole=False), whole=False)
    assert back == pytest.approx(value, rel=1e-6, abs=1e-5)


async def test_a_hidden_resource_is_there_for_nobody(bench: HubBench) -> None:
    configured(bench, "", '[[device.resource]]\npath = "3312/0"\nhidden = true\n')
    bench.say({TEMPERATURE: 20.0, DIMMER: 5})
    assert shown(bench) == {"/3303/0/5700": 20.0}
    linked = bench.north.resource(GATEWAY, Path(25, 0, 3))
    assert linked
    assert "3312" not in str(linked.value)
    with pytest.raises(NotFound):
        await bench.north.execute(Write(STATION, {DIMMER: 5}, "a test"))


def test_a_reload_hides_shows_and_scales_at_once_though_the_device_says_nothing(
    bench: HubBench,
) -> None:
    configured(bench, "")
    bench.say({TEMPERATURE: 200.0, DIMMER: 5})
    bench.south.lost(STATION, "asleep", asleep=True)
    bench.told()
    hides = '[[device.resource]]\npath = "3312"\nhidden = true\n'
    scales = '[[device.resource]]\npath = "3303"\nscale = {}\n'
    bench.hub.reconfigure(rules("", hides + scales.format(0.1)))
    assert shown(bench) == {"/3303/0/5700": 20.0}
    told = bench.told()
    assert Removed(STATION, "d1", DIMMER) in told
    assert Change(STATION, TEMPERATURE) in told
    bench.hub.reconfigure(rules("", scales.format(0.01)))
    assert shown(bench) == {"/3303/0/5700": 2.0, "/3312/0/5851": 5}
    bench.hub.reconfigure(rules(""))
    assert shown(bench) == {"/3303/0/5700": 200.0, "/3312/0/5851": 5}
    device = bench.north.device_by_id(STATION)
    assert device
    assert device.availability.state is State.ASLEEP


def test_what_the_gateway_says_of_itself_is_never_hidden(bench: HubBench) -> None:
    before = len(bench.north.resources(GATEWAY))
    bench.hub.reconfigure(rules('[[resource]]\npath = "3"\nhidden = true\n'))
    assert len(bench.north.resources(GATEWAY)) == before


def test_a_reload_scales_and_hides_in_the_running_daemon(daemon: Daemon) -> None:
    """The virtual thermometer measures 15 to 25."""
    daemon.until(lambda: daemon.value("attic/3303/0/5700"))
    rules = """
        [[device.resource]]
        path = "3303/*/5700"
        scale = 100.0
        [[device.resource]]
        path = "3303/0/5701"
        hidden = true
    """
    daemon.configure(CORE + rules + SIM)
    assert daemon.command("reload").stdout == "reloaded\n"
    for resource in (5700, 5601, 5602):
        assert 1_500 <= float(daemon.value(f"attic/3303/0/{resource}")) <= 2_500
    assert daemon.value("attic/3303/0/5701") is None
    daemon.configure(CORE + SIM)
    daemon.command("reload")
    assert daemon.value("attic/3303/0/5701") == "Cel"
    assert 15 <= float(daemon.value("attic/3303/0/5700")) <= 25

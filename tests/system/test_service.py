"""The unit's promises, kept by a real systemd: ready, reloaded, watched, restarted, confined."""

import json
from collections.abc import Iterator
from pathlib import Path as FilePath

import pytest

from tests.system.machine import UNIT, Machine

IMPATIENT = """
[Unit]
StartLimitIntervalSec=0
[Service]
WatchdogSec=2s
TimeoutStopSec=5s
RestartSec=100ms
"""
"""Less time to wait for than in the unit; and a stop that lasts longer than it may is a failure."""

CONFIG = FilePath("/etc/border-gateway/gateway.toml")

PROBE = FilePath(__file__).with_name("probe.py")


@pytest.fixture(scope="module", autouse=True)
def _impatient(machine: Machine) -> None:
    _drop_in(machine, "impatient", IMPATIENT)


@pytest.fixture(autouse=True)
def running(machine: Machine, _impatient: None) -> Iterator[None]:
    """Each test finds the daemon running, with the configuration that the package brings."""
    machine.run("cp", str(CONFIG), "/run/gateway.toml")
    machine.run("systemctl", "reset-failed", UNIT)
    machine.run("systemctl", "restart", UNIT)
    yield
    machine.run("cp", "/run/gateway.toml", str(CONFIG))


def _drop_in(machine: Machine, name: str, text: str) -> None:
    folder = f"/run/systemd/system/{UNIT}.d"
    machine.run("mkdir", "-p", folder)
    machine.write(f"{folder}/{name}.conf", text)
    machine.run("systemctl", "daemon-reload")


def test_systemd_finds_no_fault_in_the_unit(machine: Machine) -> None:
    assert machine.run("systemd-analyze", "verify", UNIT) == ""


def test_a_started_unit_is_ready_to_be_used(machine: Machine) -> None:
    machine.run("systemctl", "stop", UNIT)
    machine.run("systemctl", "start", UNIT)
    adapters = machine.gateway("devices")["adapters"]
    running = {adapter["name"] for adapter in adapters if adapter["condition"] == "running"}
    assert "coap" in running
    machine.until(lambda: machine.show("StatusText") == "2/2 servers")


def test_a_reload_has_taken_the_file_over_when_it_returns(machine: Machine) -> None:
    before = machine.show("MainPID")
    machine.shell(f"echo '[sim]' >>{CONFIG}")
    machine.run("systemctl", "reload", UNIT)
    names = {adapter["name"] for adapter in machine.gateway("devices")["adapters"]}
    assert {"coap", "sim"} <= names
    assert (machine.show("MainPID"), machine.show("ActiveState")) == (before, "active")


def test_a_reload_of_a_faulty_file_fails_and_the_daemon_goes_on(machine: Machine) -> None:
    before = machine.show("MainPID")
    machine.shell(f"echo '[simm]' >>{CONFIG}")
    machine.run("systemctl", "reload", UNIT, check=False)
    assert machine.show("ReloadResult") == "exit-code"
    assert "simm" in machine.journal()
    assert (machine.show("MainPID"), machine.show("ActiveState")) == (before, "active")


def test_a_faulty_file_keeps_the_daemon_down_and_the_journal_says_why(machine: Machine) -> None:
    machine.shell(f"echo '[simm]' >>{CONFIG}")
    machine.run("systemctl", "restart", UNIT, check=False)
    assert machine.show("ActiveState") == "failed"
    assert machine.show("ExecMainStatus") == "78"
    assert "simm" in machine.journal()


def test_a_daemon_that_gives_no_sign_of_life_is_restarted(machine: Machine) -> None:
    machine.run("systemctl", "kill", "--kill-who=main", "--signal=STOP", UNIT)
    machine.until_restarted(1)
    assert "Watchdog timeout" in machine.journal()


def test_a_killed_daemon_is_restarted_and_has_its_devices(machine: Machine) -> None:
    machine.shell(f"printf '[sim]\\n[[device]]\\nid = \"sim:0000000000000001\"\\n' >>{CONFIG}")
    machine.run("systemctl", "reload", UNIT)
    prefix = machine.gateway("devices")["devices"][0]["prefix"]
    machine.run("systemctl", "kill", "--kill-who=main", "--signal=KILL", UNIT)
    machine.until_restarted(1)
    assert machine.gateway("devices")["devices"][0]["prefix"] == prefix


def test_a_stop_is_clean_and_in_time(machine: Machine) -> None:
    machine.run("systemctl", "stop", UNIT)
    assert (machine.show("Result"), machine.show("ExecMainStatus")) == ("success", "0")
    assert "state.db-wal" not in machine.run("ls", "/var/lib/border-gateway")


def test_members_of_the_group_use_the_command_line_and_others_do_not(machine: Machine) -> None:
    def devices(group: str) -> str:
        user = ("setpriv", "--reuid=60001", f"--regid={group}", "--clear-groups")
        return machine.run(*user, "border-gateway", "devices", check=False)

    assert "coap: listens" in devices("border-gateway")
    assert "usermod -aG border-gateway" in devices("60001")


def test_the_daemon_can_do_nothing_but_its_work(machine: Machine) -> None:
    machine.shell("umask 077; echo s3cret >/etc/credstore/xmpp-password")
    machine.write("/run/probe.py", PROBE.read_text())
    _drop_in(
        machine,
        "probe",
        "[Service]\nType=oneshot\nRestart=no\nExecStart=\n"
        "ExecStart=/usr/lib/border-gateway/bin/python3 /run/probe.py\n",
    )
    try:
        machine.run("systemctl", "restart", UNIT)
        tried = json.loads(machine.journal("--grep", "credential", "--lines", "1"))
    finally:
        machine.run("rm", f"/run/systemd/system/{UNIT}.d/probe.conf")
        machine.run("systemctl", "daemon-reload")
    assert tried.pop("user") == int(machine.run("id", "-u", "border-gateway"))
    assert tried == {
        "credential": "s3cret",
        "capabilities": 0,
        "seccomp": 2,
        "may gain privileges": False,
        "write state": "done",
        "write /etc": "Read-only file system",
        "write /usr": "Read-only file system",
        "write /home": "Permission denied",
        "write /dev/shm": "Permission denied",
        "write a kernel setting": "No such file or directory",
        "write a control group": "Read-only file system",
        "see another process": "No such file or directory",
        "look into /home": "Permission denied",
        "look into /root": "Permission denied",
        "read the password": "Permission denied",
        "UDP": "done",
        "raw frames": "Address family not supported by protocol",
        "raw IP": "Operation not permitted",
        "Bluetooth frames": "Address family not supported by protocol",
        "mount": "Operation not permitted",
        "trace": "Operation not permitted",
        "load a module": "Operation not permitted",
        "restart the machine": "Operation not permitted",
        "a namespace of its own": "Operation not permitted",
        "another personality": "Operation not permitted",
        "real time": "Operation not permitted",
        "a set-user-id file": "Operation not permitted",
        "another host name": "Operation not permitted",
        "code in memory": "Operation not permitted",
        "writable code": "Operation not permitted",
        "change the clock": "Operation not permitted",
    }

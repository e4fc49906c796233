"""`border-gateway check`: what an operator reads about a world that does not fit the file."""

import asyncio
import json
import os
import pty
import re
import shutil
import socket
from pathlib import Path as FilePath

import pytest

from adapters.lowpan.radio.port import holders
from adapters.sim.port import free_port
from gateway.configuration.checks import Severity
from gateway.configuration.config import load
from gateway.diagnostics import examine
from gateway.diagnostics.examine import by_itself, in_the_world
from gateway.storage.database import MIGRATIONS
from gateway.storage.state import StateDatabase
from tests.daemon import CORE, SIM, Daemon
from tests.storage.test_backup import filled, other_database

WORLD = """
[coap]
listen = ["127.0.0.1:{taken}", "127.0.0.1:{free}"]

[lowpan]
radio = "slip-radio://{stick}"
key_file = "{key}"

[ble]
definitions = "{folder}/devices"

[[device]]
id = "ble:00-24-be-80-4f-f2"
prefix = "d1"
"""


LACKS = {
    "no password": '[xmpp]\njid = "g@localhost"\npassword_file = "{folder}/none"',
    "an empty password": '[xmpp]\njid = "g@localhost"\npassword_file = "{folder}/empty"',
    "a password that is no text": '[xmpp]\njid = "g@x.example"\npassword_file = "{folder}/octets"',
    "no XMPP server": '[xmpp]\njid = "g@x.example"\nhost = "127.0.0.1"\nport = 1\n'
    'password_file = "{folder}/long"',
    "no authority": '[xmpp]\njid = "g@x.example"\nhost = "127.0.0.1"\n'
    'ca_file = "{folder}/none"\npassword_file = "{folder}/long"',
    "an authority without certificate": '[xmpp]\njid = "g@x.example"\nhost = "127.0.0.1"\n'
    'ca_file = "{folder}/long"\npassword_file = "{folder}/long"',
    "a component": '[xmpp]\njid = "x.example"\ncomponent = true\npassword_file = "{folder}/long"',
    "no token": '[status]\nlisten = ["127.0.0.1:{free}"]\ntoken_file = "{folder}/none"',
    "a short token": '[status]\nlisten = ["127.0.0.1:{free}"]\ntoken_file = "{folder}/short"',
    "no link key": '[lowpan]\nradio = "zep://[::1]"\nkey_file = "{folder}/none"',
    "a link key that is none": '[lowpan]\nradio = "zep://[::1]"\nkey_file = "{folder}/short"',
    "no stick": '[lowpan]\nradio = "slip-radio://{folder}/none"',
    "a stick that is a file": '[lowpan]\nradio = "slip-radio://{folder}/empty"',
    "no definitions": '[lowpan]\nradio = "zep://[::1]"\ndefinitions = "{folder}/none"',
    "no interface": '[coap]\nlisten = ["0.0.0.0:{free}"]\nmulticast = ["absent0"]',
    "no keys": '[coap]\nlisten = ["127.0.0.1:{free}"]\noscore = "{folder}/none"',
    "no address": '[coap]\nlisten = ["203.0.113.1:{free}"]',
    "no bus": "[ble]",
    "nothing that hears": '[[device]]\nid = "ble:00-24-be-80-4f-f9"',
}
"""Sections of a world that lacks something."""

DOES = re.compile(
    r"\b(put the|apt-get|border-gateway|chmod|chown|ip link|mkdir|openssl|ss -lnp) "
    r"|\[\w+\]( \w+)?"
)
"""An order, a command, or a section and its key."""

PYTHON = re.compile(r"Errno|Error\b|\('|\(\d+, |codec|0x[0-9a-f]")


@pytest.mark.parametrize("lack", LACKS.values(), ids=LACKS.keys())
async def test_each_finding_says_what_to_do_and_nothing_of_python(
    lack: str, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/no-bus")
    octets = {"empty": b"", "octets": b"\xff", "short": b"short", "long": b"00" * 16}
    for name, content in octets.items():
        (tmp_path / name).write_bytes(content)
        (tmp_path / name).chmod(0o600)
    config = tmp_path / "gateway.toml"
    core = f'[gateway]\nsocket = "{tmp_path}/control.sock"\n'
    config.write_text(core + lack.format(folder=tmp_path, free=free_port()))
    loaded = load(config)
    findings = [*by_itself(loaded), *await in_the_world(loaded, tmp_path / "state")]
    told = [found.text for found in findings if found.severity is not Severity.OK]
    assert told
    assert [text for text in told if PYTHON.search(text) or not DOES.search(text)] == []


def check(daemon: Daemon, *more: str) -> tuple[int, list[dict[str, str]]]:
    """The exit status of `check --json`, and its findings."""
    state = str(daemon.folder / "state")
    words = ("check", "--json", "--config", str(daemon.config), "--state", state, *more)
    done = daemon.command(*words)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def texts(findings: list[dict[str, str]], section: str, severity: str) -> list[str]:
    return [f["text"] for f in findings if (f["section"], f["severity"]) == (section, severity)]


def test_all_that_will_not_work_is_told_at_once_with_its_remedy(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path}/no-bus")
    key = tmp_path / "key"
    key.write_text("00" * 16)
    key.chmod(0o644)
    (tmp_path / "devices").mkdir()
    (tmp_path / "devices" / "lamp.toml").write_text("[match]\ncharacteristics = 5\n")
    filled(tmp_path / "state")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", 0))
        names = {"taken": other.getsockname()[1], "free": free_port(), "key": key}
        names |= {"folder": tmp_path, "stick": tmp_path / "stick"}
        daemon = Daemon(tmp_path, CORE + WORLD.format(**names))
        status, found = check(daemon)
    assert status == 1
    assert texts(found, "daemon", "ok") == ["it does not run, so all is tried"]
    (taken,) = texts(found, "coap", "error")
    assert f"127.0.0.1:{names['taken']}: Address already in use: stop who has it" in taken
    assert texts(found, "coap", "ok") == [f"127.0.0.1:{names['free']} is free to listen on"]
    no_key, no_stick = texts(found, "lowpan", "error")
    assert f"chmod 640 {key}" in no_key
    assert "is the stick plugged in?" in no_stick
    assert "install and start dbus" in texts(found, "ble", "error")[0]
    assert "lamp.toml is set aside" in texts(found, "ble", "warning")[0]
    (clash,) = texts(found, "device", "warning")
    assert clash.endswith("border-gateway forget ble:00-24-be-80-4f-f1")
    assert "add the section [sim]" in texts(found, "sim", "warning")[0]


def test_a_stick_that_another_program_reads_is_told(tmp_path: FilePath) -> None:
    master, slave = pty.openpty()
    try:
        radio = f'[lowpan]\nradio = "slip-radio://{os.ttyname(slave)}"\n'
        status, found = check(Daemon(tmp_path, CORE.replace("sim:", "lowpan:") + radio))
        assert status == 0
        (warning,) = texts(found, "lowpan", "warning")
        assert "is also open in" in warning
        assert f"(pid {os.getpid()})" in warning
    finally:
        os.close(master)
        os.close(slave)


def test_a_state_folder_that_cannot_be_written_is_told(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon = Daemon(tmp_path)
    if os.geteuid() == 0:
        monkeypatch.setattr(os, "access", lambda *_, **__: False)  # who may do everything
    else:
        tmp_path.chmod(0o500)
    (found,) = [
        each
        for each in asyncio.run(in_the_world(load(daemon.config), tmp_path / "a" / "state"))
        if each.section == "state"
    ]
    assert found.severity is Severity.ERROR
    assert found.text.startswith(f"{tmp_path}/a/state cannot be written ({tmp_path}: Perm")


def test_a_disk_without_room_for_the_state_is_told(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(examine, "ROOM", shutil.disk_usage(tmp_path).free * 2)
    found = asyncio.run(in_the_world(load(Daemon(tmp_path).config), tmp_path / "state"))
    (told,) = [each for each in found if each.section == "state"]
    assert told.severity is Severity.WARNING
    assert f"{tmp_path} has room for" in told.text


def test_a_state_of_a_newer_version_is_told(tmp_path: FilePath) -> None:
    (tmp_path / "state").mkdir()
    other_database(tmp_path / "state" / "state.db", len(MIGRATIONS) + 1)
    status, found = check(Daemon(tmp_path))
    assert status == 1
    assert "written by a newer version" in texts(found, "daemon", "error")[0]


def test_what_the_running_daemon_holds_is_told_by_the_daemon(daemon: Daemon) -> None:
    daemon.configure(CORE + SIM + '[lowpan]\nradio = "slip-radio:///dev/none"\n')
    status, found = check(daemon)
    assert status == 1
    assert texts(found, "daemon", "ok") == ["it runs; its own word stands for what it holds"]
    assert texts(found, "sim", "ok") == ["the daemon says: running with 2 virtual devices"]
    assert "is the stick plugged in?" in texts(found, "lowpan", "error")[0]
    assert check(daemon, "--offline") == (0, [])


def test_a_section_that_the_daemon_does_not_run_yet_is_tried(daemon: Daemon) -> None:
    with socket.socket() as other, socket.socket() as freed:
        other.bind(("127.0.0.1", 0))
        other.listen()
        freed.bind(("127.0.0.1", 0))
        own, taken = freed.getsockname()[1], other.getsockname()[1]
        freed.close()
        coap = f'[coap]\nlisten = ["127.0.0.1:{own}"]\n'
        daemon.configure(CORE + SIM + coap)
        assert daemon.command("reload").returncode == 0
        daemon.until(lambda: "listens on" in daemon.command("devices").stdout)
        more = f'listen_tcp = ["127.0.0.1:{taken}"]\noscore = "{{folder}}/none"\n'
        daemon.configure(CORE + SIM + coap + more)
        status, found = check(daemon)
    assert status == 1
    told = "the daemon runs with another section, until: border-gateway reload"
    assert texts(found, "coap", "ok") == [told, f"127.0.0.1:{own} is the daemon's own"]
    in_use, no_keys = texts(found, "coap", "error")
    assert f"127.0.0.1:{taken}: Address already in use" in in_use
    assert "[coap] listen_tcp" in in_use
    assert f"{daemon.folder}/none" in no_keys
    assert texts(found, "sim", "ok") == ["the daemon says: running with 2 virtual devices"]


def test_a_stick_that_the_daemon_reads_is_no_other_programs(daemon: Daemon) -> None:
    master, slave = pty.openpty()
    try:
        stick = f"slip-radio://{os.ttyname(slave)}"
        daemon.configure(CORE + SIM + f'[lowpan]\nradio = "{stick}"\n')
        daemon.command("reload")
        daemon.until(lambda: holders(os.ttyname(slave)))
        daemon.configure(CORE + SIM + f'[lowpan]\nradio = "{stick}?baudrate=57600"\n')
        _, found = check(daemon)
        assert texts(found, "lowpan", "error") == []
        assert texts(found, "lowpan", "ok")[1:] == [f"{os.ttyname(slave)} is the daemon's own"]
    finally:
        os.close(master)
        os.close(slave)


def test_a_file_that_cannot_be_used_is_another_status_than_a_world_that_cannot(
    tmp_path: FilePath,
) -> None:
    daemon = Daemon(tmp_path, "[gatway]")
    done = daemon.command("check", "--json", "--config", str(daemon.config))
    assert done.returncode == 78
    assert "did you mean 'gateway'?" in done.stderr
    assert texts(json.loads(done.stdout), "configuration", "error") == [
        "[gatway]: unknown section; did you mean 'gateway'?"
    ]


def test_no_state_of_the_daemon_is_touched(tmp_path: FilePath) -> None:
    filled(tmp_path / "state")
    before = sorted((tmp_path / "state").iterdir())
    check(Daemon(tmp_path))
    assert sorted((tmp_path / "state").iterdir()) == before
    StateDatabase(tmp_path / "state").close()

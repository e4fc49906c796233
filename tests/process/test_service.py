"""The whole daemon as a process: start, command line, SIGTERM, kill -9."""

import contextlib
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path as FilePath

import pytest

from adapters.sim.port import free_port
from gateway.process.saver import SAVE_INTERVAL_S
from tests.daemon import CORE, SIM, Daemon
from tests.process.conftest import ServiceManager


def test_devices_shows_who_is_bridged_and_who_is_not_and_why(daemon: Daemon) -> None:
    shown = daemon.until(lambda: "not listed" in (t := daemon.command("devices").stdout) and t)
    assert "sim: running with 2 virtual devices" in shown
    assert "attic   Attic  online" in shown
    assert "sim:0000000000000002  Virtual 0002" in shown


def test_a_device_joins_by_permit_and_keeps_its_prefix(daemon: Daemon) -> None:
    assert "for 60 s" in daemon.command("permit", "60s").stdout
    daemon.until(lambda: daemon.value("d1/3303/0/5700"))


def test_a_value_is_read_written_and_executed_from_the_command_line(daemon: Daemon) -> None:
    daemon.until(lambda: daemon.value("attic/3312/0/5850") == "0")
    assert daemon.command("set", "attic/3312/0/5850", "1").stdout == "done\n"
    assert daemon.command("get", "attic/3312/0/5850").stdout == "on\n"
    refused = daemon.command("exec", "attic/3303/0/5605")
    assert refused.returncode == 1
    assert 'writable = ["3303/0/5605"]' in refused.stderr


def test_watch_prints_a_line_a_change(daemon: Daemon) -> None:
    command = [sys.executable, "-m", "gateway", "--socket", str(daemon.folder / "control.sock")]
    with subprocess.Popen(
        [*command, "watch", "attic/3303/0/5700"], stdout=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout
        line = watching.stdout.readline()
        watching.terminate()
    assert line.startswith("attic/3303/0/5700 = ")
    assert line.endswith("(Sensor Value)\n")


def test_sigterm_ends_the_daemon_cleanly_within_five_seconds(daemon: Daemon) -> None:
    status, log = daemon.end()
    assert status == 0
    assert f"configuration {daemon.config}, state in {daemon.folder / 'state'}" in log
    assert log.splitlines()[-1].endswith("stopped")
    assert not (daemon.folder / "control.sock").exists()


def test_a_client_that_sends_nonsense_does_not_disturb_the_daemon(daemon: Daemon) -> None:
    for nonsense in (b"", b"\xff\n", b"[]\n", b'{"do": "get"}\n', b"x" * 100_000, b"[" * 50_000):
        with socket.socket(socket.AF_UNIX) as connection, contextlib.suppress(OSError):
            connection.connect(str(daemon.folder / "control.sock"))
            connection.sendall(nonsense)
    assert daemon.ask({"do": "devices"})
    _, log = daemon.end()
    assert "Traceback" not in log


def test_after_kill_9_prefixes_and_last_values_are_the_same(daemon: Daemon) -> None:
    daemon.ask({"do": "permit", "seconds": 60})
    daemon.until(lambda: daemon.value("d1/3303/0/5700"))
    daemon.command("set", "attic/3312/0/5850", "1")
    saved = time.monotonic() + 3 * SAVE_INTERVAL_S
    before = daemon.until(lambda: time.monotonic() > saved and daemon.ask({"do": "devices"}))
    daemon.end(signal.SIGKILL)
    daemon.configure(CORE)
    daemon.start()
    after = daemon.ask({"do": "devices"})
    assert [(d["id"], d["prefix"], d["name"]) for d in after["devices"]] == [
        (d["id"], d["prefix"], d["name"]) for d in before["devices"]
    ]
    shown = daemon.command("get", "attic/3312/0").stdout
    assert "on (from before the restart)" in shown


def test_a_configuration_with_mistakes_ends_with_status_78(tmp_path: FilePath) -> None:
    daemon = Daemon(tmp_path, "[sim]\ndevises = 3\n[rport]\n")
    done = daemon.command("run", "--config", str(daemon.config))
    assert done.returncode == 78
    assert "[sim] devises = 3: unknown key; did you mean 'devices'?" in done.stderr
    assert "[rport]: unknown section; did you mean 'report'?" in done.stderr


def test_a_state_that_stays_unusable_ends_with_status_78(tmp_path: FilePath) -> None:
    daemon = Daemon(tmp_path)
    (tmp_path / "state").write_text("no folder")
    for state in (f"{tmp_path}/state", "/proc/state"):
        done = daemon.command("run", "--config", str(daemon.config), "--state", state)
        assert done.returncode == 78
        assert "is it writable for the daemon's user?" in done.stderr


def test_without_a_daemon_the_command_line_says_so(tmp_path: FilePath) -> None:
    done = Daemon(tmp_path).command("devices")
    assert done.returncode == 1
    assert "no daemon runs at" in done.stderr


def test_systemd_is_told_of_start_and_stop_and_shows_between_how_all_is(
    manager: ServiceManager, tmp_path: FilePath
) -> None:
    page = f'[status]\nlisten = ["127.0.0.1:{free_port()}"]\n'
    daemon = Daemon(tmp_path, CORE + page + '[sim]\nreplay = "{folder}/none.zip"\n')
    daemon.start()
    assert manager.told() == "READY=1"
    said = daemon.until(lambda: "sim (failed)" in (text := manager.status()) and text)
    assert said.startswith("0/1 radios, 1/1 servers, 0/1 devices online; sim (failed): ")
    assert "(failed): failed" not in said
    assert "none.zip" in said
    daemon.configure(CORE + SIM)
    daemon.command("reload")
    daemon.until(lambda: manager.status() == "1/1 radios, 1/1 devices online")
    daemon.end()
    daemon.until(lambda: manager.told() == "STOPPING=1\nSTATUS=")


def test_a_second_daemon_is_refused_and_the_first_lives_on(daemon: Daemon) -> None:
    second = daemon.command(
        "run", "--config", str(daemon.config), "--state", str(daemon.folder / "state")
    )
    assert second.returncode == 1
    assert "is in use by another running gateway" in second.stderr
    third = daemon.command(
        "run", "--config", str(daemon.config), "--state", str(daemon.folder / "other")
    )
    assert third.returncode == 1
    assert "another gateway answers at" in third.stderr
    assert "Traceback" not in second.stderr + third.stderr
    assert daemon.ask({"do": "devices"})


def test_a_daemon_that_is_gone_in_the_middle_of_an_answer_is_a_clear_error(
    tmp_path: FilePath,
) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "control.sock"))
        listening.listen()

        def hang_up() -> None:
            connection, _ = listening.accept()
            connection.recv(100)
            connection.sendall(b'{"ok": [')
            connection.close()

        thread = threading.Thread(target=hang_up)
        thread.start()
        done = Daemon(tmp_path).command("devices")
        thread.join()
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert "the daemon ended the connection" in done.stderr


def test_the_command_line_says_when_the_join_window_is_closed(daemon: Daemon) -> None:
    assert daemon.command("permit", "0s").stdout == "no device may join now\n"


def test_a_service_manager_that_is_gone_does_not_end_the_daemon(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    daemon = Daemon(tmp_path)
    daemon.start()
    status, log = daemon.end()
    assert status == 0
    assert "systemd cannot be told READY=1" in log


def test_check_names_the_bad_object_definitions(tmp_path: FilePath) -> None:
    daemon = Daemon(tmp_path, CORE.replace("[gateway]", '[gateway]\ndefinitions = "{folder}"'))
    (tmp_path / "lamp.xml").write_text("<LWM2M>\n<Object>")
    done = daemon.command("check", "--offline", "--config", str(daemon.config))
    assert done.returncode == 0
    assert "lamp.xml is set aside: line 2: not XML" in done.stdout
    daemon.start()
    assert "lamp.xml is set aside: line 2: not XML" in daemon.end()[1]


def test_a_name_that_the_operator_gives_is_kept_for_good(daemon: Daemon) -> None:
    daemon.ask({"do": "permit", "seconds": 60})
    daemon.until(lambda: daemon.value("d1/3303/0/5700"))
    done = daemon.command("name", "d1", "Green house")
    assert done.stdout == "sim:0000000000000002 is named Green house\n"
    assert "Green house" in daemon.command("devices").stdout
    daemon.end(signal.SIGKILL)
    daemon.start()
    assert "Green house" in daemon.command("devices").stdout
    daemon.command("name", "sim:0000000000000002", "")
    daemon.until(lambda: "Virtual 0002" in daemon.command("devices").stdout)


def test_a_name_in_the_configuration_wins(daemon: Daemon) -> None:
    daemon.until(lambda: daemon.value("attic/3303/0/5700"))
    done = daemon.command("name", "attic", "Loft")
    assert done.returncode == 1
    assert "the configuration names it 'Attic'" in done.stderr
    assert "Attic" in daemon.command("devices").stdout


@pytest.mark.parametrize(
    ("target", "name", "told"),
    [
        ("attic", "x" * 65, "up to 64 printable characters"),
        ("attic", "a\nb", "up to 64 printable characters"),
        ("attic/3303", "Loft", "only a whole device"),
        ("/", "Loft", "only a device has a name"),
        ("cellar", "Loft", "no device 'cellar'"),
    ],
)
async def test_what_cannot_be_named_is_told(
    daemon: Daemon, target: str, name: str, told: str
) -> None:
    daemon.until(lambda: daemon.value("attic/3303/0/5700"))
    assert told in daemon.command("name", target, name).stderr

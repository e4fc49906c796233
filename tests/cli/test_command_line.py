"""What an operator sees of the running daemon: one screen, completion, errors that help."""

import contextlib
import fcntl
import json
import os
import pty
import re
import shutil
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path as FilePath

import click
import pytest
from click.testing import CliRunner

from gateway.cli import EXIT_INTERRUPTED, main
from gateway.cli.root import cli
from gateway.cli.show import table
from gateway.client import MayNotAsk, ask
from tests.daemon import CORE, SIM, Daemon
from tests.deadlines import DEADLINE_S
from tools.command_line import page

MANY = CORE + SIM.replace("devices = 2", "devices = 100").replace("50ms", "1s")
NOBODY = 65_534


def shown(daemon: Daemon, columns: int, *words: str) -> list[str]:
    """The lines of a command's output on a terminal of 24 lines."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    socket_file = str(daemon.folder / "control.sock")
    environment = {k: v for k, v in os.environ.items() if k not in {"COLUMNS", "LINES"}}
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", "--socket", socket_file, *words],
        stdout=slave,
        env=environment,
    ):
        os.close(slave)
        text = b""
        with contextlib.suppress(OSError):  # how a terminal says that nobody is there any more
            while data := os.read(master, 65_536):
                text += data
    os.close(master)
    return text.decode().splitlines()


def test_devices_tells_in_one_line_each_who_is_there_and_how(daemon: Daemon) -> None:
    daemon.until(lambda: daemon.value("attic/3303/0/5700"))
    lines = shown(daemon, 100, "devices")
    assert "sim: running with 2 virtual devices" in lines
    assert "1 device: 1 online" in lines
    heading, row = lines[lines.index("1 device: 1 online") + 1 :][:2]
    assert heading.split() == ["PREFIX", "NAME", "STATE", "SEEN", "SIGNAL", "VALUE", "REASON"]
    assert row.startswith("attic   Attic ")
    assert " online " in row
    assert " dBm " in row
    assert " Cel " in row
    assert max(map(len, lines)) <= 100
    narrow = shown(daemon, 60, "devices")
    assert max(map(len, narrow)) <= 60
    assert any(line.startswith("attic") and " Cel " in line for line in narrow)
    one = daemon.command("devices", "attic").stdout
    assert "id         sim:0000000000000001" in one
    assert "attic/3303/0/5700" in one
    assert json.loads(daemon.command("devices", "attic", "--json").stdout)["main"]["unit"] == "Cel"
    for words in (["devices", "attic"], ["get", "attic"]):
        narrow = shown(daemon, 40, *words)
        assert max(map(len, narrow)) <= 40
        assert any("attic/3303/0/5700" in line and " Cel" in line for line in narrow)


def test_a_fresh_gateway_says_how_devices_get_in(daemon: Daemon) -> None:
    daemon.end()
    daemon.configure('[gateway]\nsocket = "{folder}/control.sock"\n')
    shutil.rmtree(daemon.folder / "state")
    daemon.start()
    answer = daemon.command("devices")
    assert answer.stdout.strip().endswith(
        "no devices yet: list them in the configuration, or: border-gateway permit"
    )
    assert "nothing is switched on: see [ble], [lowpan], [coap]" in answer.stdout
    assert (answer.stderr, answer.returncode) == ("", 0)


def test_a_hundred_devices_fit_one_screen_and_those_that_are_away_stand_first(
    daemon: Daemon,
) -> None:
    away = '\n[[device]]\nid = "ble:00-24-be-80-4f-f1"\nprefix = "window"\n'
    daemon.configure(MANY + away)
    daemon.command("reload")
    daemon.ask({"do": "permit", "seconds": 60})
    daemon.until(lambda: daemon.value("d99/3303/0/5700"))
    lines = shown(daemon, 100, "devices")
    assert len(lines) < 24
    assert "101 devices: 100 online, 1 unknown" in lines
    first = lines.index("101 devices: 100 online, 1 unknown") + 2
    assert [line.split()[0] for line in lines[first:][:4]] == ["window", "attic", "d1", "d2"]
    assert lines[-1].endswith("all of them: border-gateway devices --all")
    assert len(daemon.command("devices").stdout.splitlines()) > 100


def test_nothing_that_a_device_wrote_reaches_the_terminal_as_a_command(
    capsys: pytest.CaptureFixture[str],
) -> None:
    table(("NAME", "VALUE"), [("\x1b]0;x\x07", "a\nb\u202e\x9b2J"), ("温度", "")])
    assert capsys.readouterr().out.splitlines() == [
        "NAME    VALUE",
        "?]0;x?  a?b??2J",
        "温度",
    ]


def test_watch_goes_on_over_a_restart_of_the_daemon(daemon: Daemon) -> None:
    socket_file = str(daemon.folder / "control.sock")
    words = ["--socket", socket_file, "watch", "--json", "attic/3303/0/5700"]
    with subprocess.Popen(
        [sys.executable, "-m", "gateway", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as watching:
        assert watching.stdout
        assert watching.stderr
        late = threading.Timer(3 * DEADLINE_S, watching.kill)  # then there is no line any more
        late.start()
        assert json.loads(watching.stdout.readline())["path"] == "attic/3303/0/5700"
        daemon.end()
        ended = time.time()
        assert "waiting for it" in watching.stderr.readline()
        daemon.start()
        while json.loads(watching.stdout.readline()).get("at", 0) < ended:
            pass
        late.cancel()
        watching.terminate()


def completed(daemon: Daemon, words: Sequence[str], incomplete: str) -> list[str]:
    """What bash is offered for the word that is being typed."""
    environment = {
        **os.environ,
        "_BORDER_GATEWAY_COMPLETE": "bash_complete",
        "BORDER_GATEWAY_SOCKET": str(daemon.folder / "control.sock"),
        "COMP_WORDS": " ".join(["border-gateway", *words, incomplete]),
        "COMP_CWORD": str(len(words) + 1),
    }
    done = subprocess.run(
        [sys.executable, "-m", "gateway"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=DEADLINE_S,
        check=False,
    )
    assert done.stderr == ""
    return [line.partition(",")[2] for line in done.stdout.split()]


def test_the_shell_completes_commands_devices_and_paths(daemon: Daemon) -> None:
    daemon.until(lambda: daemon.value("attic/3303/0/5700"))
    assert completed(daemon, [], "dev") == ["devices"]
    assert completed(daemon, ["forget"], "at") == ["attic"]
    assert completed(daemon, ["forget"], "sim:") == ["sim:0000000000000001"]
    assert completed(daemon, ["log", "debug"], "s") == ["sim"]
    assert daemon.command("log", "debug", "sim").returncode == 0
    assert completed(daemon, ["set"], "attic/3312") == ["attic/3312/0/5850"]
    assert {"attic", "attic/3303/0/5700"} <= set(completed(daemon, ["get"], "at"))
    daemon.end()
    assert completed(daemon, ["get"], "at") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_completion_of_each_shell_is_printed(shell: str, tmp_path: FilePath) -> None:
    assert "_BORDER_GATEWAY_COMPLETE" in Daemon(tmp_path).command("completion", shell).stdout


@contextlib.contextmanager
def somebody_else() -> Iterator[None]:
    """Without root's rights, if we have these."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize(
    ("is_roots", "told"), [(False, r"usermod -aG \S+ \$USER, then log in"), (True, "so use sudo")]
)
def test_who_may_not_ask_the_daemon_is_told_which_group_to_join_but_never_roots(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch, is_roots: bool, told: str
) -> None:
    file = daemon.folder / "control.sock"
    daemon.folder.chmod(0o755)
    for parent in daemon.folder.parents:
        if parent.stat().st_uid == os.geteuid() and parent.name.startswith(("pytest-", "popen-")):
            parent.chmod(0o755)
    file.chmod(0o000)
    monkeypatch.setattr("gateway.client.ROOT", file.stat().st_gid if is_roots else -1)
    with somebody_else(), pytest.raises(MayNotAsk, match=told):
        ask(file, {"do": "devices"})


def test_a_negative_number_is_a_value_and_a_truth_value_is_said_as_people_say_it(
    daemon: Daemon,
) -> None:
    daemon.until(lambda: daemon.value("attic/3312/0/5850"))
    assert "'-5' is not on or off" in daemon.command("set", "attic/3312/0/5850", "-5").stderr
    assert daemon.command("set", "attic/3312/0/5850", "On").stdout == "done\n"
    assert daemon.value("attic/3312/0/5850") == "1"
    answer = daemon.command("set", "attic/3312/0/5850", "false", "--json").stdout
    assert json.loads(answer) == {"confirmed": True}
    assert daemon.value("attic/3312/0/5850") == "0"
    assert "did you mean '--json'" in daemon.command("set", "a", "1", "--jsn").stderr.lower()


def test_values_are_typed_for_programs_and_words_for_people(daemon: Daemon) -> None:
    daemon.until(lambda: daemon.value("attic/3312/0/5850"))
    assert daemon.command("get", "attic/3312/0/5850").stdout == "off\n"
    assert re.search(r"On/Off +off\n", daemon.command("get", "attic/3312").stdout)
    daemon.command("set", "attic/3312/0/5850", "on")
    assert re.search(r"On/Off +\S+ s +on\n", daemon.command("devices", "attic").stdout)
    answer = json.loads(daemon.command("get", "attic", "--json").stdout)
    typed = {r["path"]: (r["type"], type(r["value"])) for r in answer}
    assert typed["attic/3312/0/5850"] == ("boolean", bool)
    assert typed["attic/3303/0/5700"] == ("float", float)
    assert typed["attic/3303/0/5701"] == ("string", str)
    assert typed["attic/3303/0/5605"] == ("none", type(None))
    one = json.loads(daemon.command("devices", "attic", "--json").stdout)
    assert isinstance(one["main"]["value"], float)


def test_who_forgets_a_listed_device_is_told_that_it_joins_anew(daemon: Daemon) -> None:
    daemon.until(lambda: daemon.value("attic/3312/0/5850"))
    assert daemon.command("forget", "attic").stdout == (
        "sim:0000000000000001 is forgotten; it is listed, and joins anew when it is seen\n"
    )


def test_what_is_too_long_to_ask_is_told(daemon: Daemon) -> None:
    done = daemon.command("set", "attic/3312/0/5850", 70_000 * "1")
    assert "that is too long" in done.stderr


def test_what_a_terminal_cannot_show_is_a_question_mark(
    daemon: Daemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.configure(CORE.replace('"Attic"', '"Gärten 🌱"') + SIM)
    daemon.command("reload")
    daemon.until(lambda: daemon.value("attic/3303/0/5700"))
    monkeypatch.setenv("PYTHONIOENCODING", "latin-1")
    words = ["--socket", str(daemon.folder / "control.sock"), "devices"]
    done = subprocess.run(
        [sys.executable, "-m", "gateway", *words], capture_output=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert "Gärten ?" in done.stdout.decode("latin-1")


def test_an_output_that_takes_nothing_more_is_told_in_a_line() -> None:
    with FilePath("/dev/full").open("w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "gateway", "config", "reference"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "border-gateway: No space left on device\n")


def test_a_file_that_cannot_be_made_is_told_in_a_line(
    tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "none" / "air.pcap"
    monkeypatch.setattr("sys.argv", ["border-gateway", "radio", "capture", str(file)])
    with pytest.raises(SystemExit, match="1"):
        main()
    assert capsys.readouterr().err == f"border-gateway: {file}: No such file or directory\n"


def test_ctrl_c_while_the_program_is_loaded_ends_it_without_a_traceback(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("gateway.cli.root.main", interrupted)
    with pytest.raises(SystemExit, match=str(EXIT_INTERRUPTED)):
        main()


def test_a_reload_that_is_asked_for_during_the_start_waits_for_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: FilePath
) -> None:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())

    def run(*_: object) -> None:
        signal.pthread_kill(threading.get_ident(), signal.SIGHUP)  # any other would end of it

    monkeypatch.setattr("gateway.service.run", run)
    (tmp_path / "gateway.toml").touch()
    try:
        done = CliRunner().invoke(cli, ["run", "--config", str(tmp_path / "gateway.toml")])
        assert done.exception is None
        assert signal.sigtimedwait({signal.SIGHUP}, 0)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def commands(group: click.Group, words: str = "") -> Iterator[tuple[str, click.Command]]:
    """Every command, also of adapters, by what is typed."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command
        if isinstance(command, click.Group):
            yield from commands(command, f"{words}{name} ")
        else:
            yield words + name, command


def test_whatever_answers_a_person_answers_a_program_as_well() -> None:
    assert isinstance(cli, click.Group)
    without = {
        name
        for name, command in commands(cli)
        if not any("--json" in parameter.opts for parameter in command.params)
    }
    prints_a_file = {"config sample", "config reference", "completion"}
    assert without == {"run", "demo", *prints_a_file}


def test_answers_are_json_for_programs(daemon: Daemon) -> None:
    daemon.until(lambda: daemon.value("attic/3312/0/5850"))
    for words, answer in (
        ("set attic/3312/0/5850 1", {"confirmed": True}),
        ("permit 0s", {"join_window_s": 0}),
        ("log info", {"told": "everything logs at level info until the daemon ends"}),
        ("reload", {"told": []}),
        ("forget attic", {"forgotten": "sim:0000000000000001", "listed": True}),
    ):
        done = daemon.command(*words.split(), "--json")
        assert json.loads(done.stdout) == answer, words


def test_the_page_about_the_command_line_is_true() -> None:
    told = "regenerate it: python -m tools.command_line > docs/command-line.md"
    assert FilePath("docs/command-line.md").read_text() == page(), told

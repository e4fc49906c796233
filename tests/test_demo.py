"""The README's first command, and each line that it prints, pasted as printed."""

import asyncio
import contextlib
import json
import os
import re
import select
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import takewhile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from adapters.sim.demo import _answers
from tests.deadlines import DEADLINE_S
from tests.xmpp.conftest import PASSWORDS, peer_of


@dataclass
class Demo:
    """The running demo: its process, and the command lines that it printed, by their headings."""

    process: subprocess.Popen[str]
    lines: dict[str, list[str]] = field(default_factory=dict)
    printed: list[str] = field(default_factory=list)

    def command(self, heading: str) -> str:
        (found,) = (lines[0] for text, lines in self.lines.items() if heading in text)
        return found

    def paste(self, line: str) -> str:
        done = subprocess.run(
            line, shell=True, capture_output=True, text=True, timeout=DEADLINE_S, check=True
        )
        return done.stdout


@contextlib.contextmanager
def running_demo(
    *more: str, path: str | None = None, ends_by: signal.Signals = signal.SIGINT
) -> Iterator[Demo]:
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "PATH": path or os.environ["PATH"]}
    words = ("demo", "--coap-port", "0", "--status-port", "0", *more)
    process = subprocess.Popen(
        [sys.executable, "-m", "gateway", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    demo, heading = Demo(process), ""
    assert process.stdout
    for line in process.stdout:
        demo.printed.append(line)
        if line.startswith("    "):
            demo.lines.setdefault(heading, []).append(line.strip())
        elif line.startswith("  "):
            heading = line.strip()
        elif line.startswith("A line a change"):
            break
    else:
        pytest.fail("the demo ended: " + "".join(demo.printed))
    try:
        yield demo
    finally:
        if process.poll() is None:
            process.send_signal(ends_by)
        process.communicate(timeout=DEADLINE_S)


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    with running_demo() as running:
        yield running


def test_discovery_lists_every_virtual_device(demo: Demo) -> None:
    links = demo.paste(demo.command("What there is"))
    for link in (
        "</weather/3303/0/5700>", "</meter/3312/0/5850>", "</remote/3348/0/5547>",
        "</hall/3303/0/5700>", "</lamp/3311/0/5851>", "</window/3302/0/5500>",
    ):  # fmt: skip
        assert link in links


def test_a_reading_is_a_number(demo: Demo) -> None:
    assert 15 < float(demo.paste(demo.command("A reading"))) < 35


def test_every_object_that_it_shows_is_as_its_definition_says(demo: Demo) -> None:
    (uri,) = re.findall(r"coap://[^/ ]+", demo.command("A reading"))
    told = demo.paste(f"{sys.executable} -m gateway validate {uri}")
    assert re.fullmatch(rf"{uri}: 7 devices, \d+ instances, \d+ resources: nothing wrong\n", told)


def first_lines(line: str, enough: Callable[[str], object]) -> str:
    """Pastes a line that goes on for long, in a terminal, until what it prints is enough."""
    terminal, inside = os.openpty()
    with subprocess.Popen(["sh", "-c", f"exec {line}"], stdout=inside) as process:
        os.close(inside)
        seen, deadline = "", time.monotonic() + DEADLINE_S
        while not enough(seen):
            ready, _, _ = select.select([terminal], [], [], deadline - time.monotonic())
            assert ready, f"only this was printed: {seen}"
            try:
                seen += os.read(terminal, 4096).decode()
            except OSError:
                pytest.fail(f"it ended with {process.wait(DEADLINE_S)}, after: {seen}")
        process.terminate()
    os.close(terminal)
    return seen


def test_an_observation_ticks(demo: Demo) -> None:
    first_lines(
        demo.command("Its changes"), lambda seen: len(set(re.findall(r"\d+\.\d+", seen))) >= 2
    )


def test_the_relay_is_switched_and_reads_back_on(demo: Demo) -> None:
    (switch, read), *_ = (lines for text, lines in demo.lines.items() if "Switch" in text)
    demo.paste(switch)
    assert demo.paste(read).strip() == "1"


def test_the_command_line_shows_who_is_bridged(demo: Demo) -> None:
    shown = demo.paste(demo.command("Who is bridged"))
    assert re.search("weather +Weather station +online", shown)
    assert re.search("lamp +Lamp, two hops away +online .* 2 hops", shown)


def test_the_log_is_on_the_status_page_and_not_in_the_terminal(demo: Demo) -> None:
    (uri,) = (u for line in demo.printed for u in re.findall(r"http://[^/ ]+/", line))
    with urllib.request.urlopen(f"{uri}api/events", timeout=DEADLINE_S) as events:
        deadline = time.monotonic() + DEADLINE_S
        in_time = takewhile(lambda _: time.monotonic() < deadline, events)
        assert any(b"joins as" in line for line in in_time)
    assert not [line for line in demo.printed if "joins as" in line]


async def test_a_line_of_the_daemon_may_be_long(tmp_path: Path) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(json.dumps({"ok": "x" * 300_000}).encode() + b"\n")
        writer.close()

    async with await asyncio.start_unix_server(serve, tmp_path / "socket"):
        answers = [answer async for answer in _answers(tmp_path / "socket", {"do": "watch"})]
    assert [len(answer) for answer in answers] == [300_000]


def test_a_subscriber_sees_values_over_xmpp(demo: Demo) -> None:
    first_lines(demo.command("over XMPP"), lambda seen: "5700" in seen)


async def test_somebody_elses_subscriber_sees_the_value_unit_and_time_that_coap_gives(
    demo: Demo, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = shlex.split(demo.command("over XMPP"))
    option = {name: words[words.index(name) + 1] for name in words if name.startswith("--")}
    server: Any = SimpleNamespace(port=int(option["--port"]), ca_file=Path(option["--ca-file"]))
    monkeypatch.setitem(PASSWORDS, "you", Path(option["--password-file"]).read_text())
    get = demo.command("A reading").replace("-m get", "-m get -A 110")
    async with peer_of(server, "you") as peer, asyncio.timeout(DEADLINE_S):
        while True:  # until no new reading came in between
            over_coap = measurement(json.loads(await asyncio.to_thread(demo.paste, get)))
            items = await peer.stored("iot/gateway/d05fb8fffe223b01")
            if measurement(items["3303/0"]) == over_coap:
                break
    value, unit, at = over_coap
    assert 20 < value < 30
    assert unit == "Cel"
    assert abs(at - time.time()) < 3600


def measurement(pack: list[dict[str, Any]]) -> tuple[float, str, float]:
    """Value, unit and time of the temperature in a SenML pack of JSON or XML."""
    (record,) = (r for r in pack if f"{pack[0].get('bn', '')}{r['n']}".endswith("3303/0/5700"))
    at = float(pack[0].get("bt", 0)) + float(record.get("t", 0))
    return float(record["v"]), record["u"], at


def radio(demo: Demo, words: str) -> str:
    return demo.paste(demo.command("Who is bridged").removesuffix("devices") + f"radio {words}")


def test_radio_scan_shows_the_energy_on_every_channel_as_a_bar(demo: Demo) -> None:
    lines = radio(demo, "scan").splitlines()
    assert [int(line.split()[0]) for line in lines] == list(range(11, 27))
    assert all(re.fullmatch(r"\d+ +-?\d+ dBm  #+", line) for line in lines)


def test_radio_capture_writes_what_wireshark_opens(demo: Demo, tmp_path: Path) -> None:
    file = tmp_path / "air.pcap"
    assert radio(demo, f"capture --count 8 {file}") == f"8 frames written to {file}\n"
    assert json.loads(radio(demo, f"capture --count 1 --json {tmp_path / 'one'}")) == {"frames": 1}
    shown = demo.paste(f"tshark --disable-protocol rf4ce_nwk -r {file} -V")
    assert shown.count("Constrained Application Protocol") >= 2
    assert "FCS: 0x" in shown
    assert "Malformed" not in shown


def test_a_line_a_change_is_printed(demo: Demo) -> None:
    assert demo.process.stdout
    assert any(re.match(r"\w+(/\d+)+ = ", line) for line in demo.process.stdout)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_neither_ctrl_c_nor_a_closed_terminal_leaves_a_process_behind(
    number: signal.Signals,
) -> None:
    with running_demo(ends_by=number) as demo:
        children = [
            stat.parent
            for stat in Path("/proc").glob("[0-9]*/stat")
            if int(stat.read_text().rpartition(") ")[2].split()[1]) == demo.process.pid
        ]
        assert len(children) >= 3  # daemon, dbus-daemon, prosody
    assert demo.process.returncode == 0
    assert not [child for child in children if child.exists()]


def test_without_prosody_and_d_bus_it_says_what_is_missing_and_runs_the_rest() -> None:
    with running_demo(path="/nowhere") as demo:
        assert "over XMPP" not in "".join(demo.lines)
        line = demo.command("A reading")
        assert "aiocoap-client" in line
        assert 10 < float(demo.paste(line)) < 30

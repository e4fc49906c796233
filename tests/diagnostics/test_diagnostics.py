"""The bundle for a bug report: what is in it, what is not, and that it plays again."""

import json
import socket
import threading
import zipfile
from pathlib import Path as FilePath

import pytest

from adapters.sim.demo_setup import Ports, write_replay
from gateway.configuration.config import load
from gateway.diagnostics import bundle
from gateway.diagnostics.collection import collect
from gateway.errors import GatewayError
from gateway.events import State
from gateway.model import Path
from gateway.objects.registry import Registry
from tests.daemon import CORE, SIM, Daemon
from tests.test_demo import running_demo

OBJECT = """<LWM2M><Object ObjectType="MODefinition"><Name>Moisture</Name><ObjectID>26300</ObjectID>
<ObjectURN>urn:oma:lwm2m:x:26300</ObjectURN><MultipleInstances>Multiple</MultipleInstances>
<Mandatory>Optional</Mandatory><Resources><Item ID="1"><Name>Level</Name>
<Operations>R</Operations><MultipleInstances>Single</MultipleInstances>
<Mandatory>Mandatory</Mandatory><Type>Float</Type><RangeEnumeration></RangeEnumeration>
<Units>%</Units></Item></Resources></Object></LWM2M>"""

PRIVATE = """
[xmpp]
jid = "gw@farm.example.net"
host = "127.0.0.1"
port = 1
password_file = "{folder}/password"

[[device]]
id = "ble:00-24-be-80-4f-f1"
"""


def diagnose(daemon: Daemon, file: FilePath) -> tuple[str, dict[str, str]]:
    """What the command prints, and the parts of the bundle."""
    state = str(daemon.folder / "state")
    words = ("diagnostics", str(file), "--config", str(daemon.config), "--state", state)
    done = daemon.command(*words)
    assert (done.returncode, done.stderr) == (0, "")
    with zipfile.ZipFile(file) as archive:
        return done.stdout, {name: archive.read(name).decode() for name in archive.namelist()}


def test_a_bundle_tells_all_but_secrets_and_addresses_and_plays_in_the_demo(
    daemon: Daemon, tmp_path: FilePath
) -> None:
    (tmp_path / "objects").mkdir()
    (tmp_path / "objects" / "moisture.xml").write_text(OBJECT)
    (tmp_path / "password").write_text("s3cr3t")
    place = "location = {{latitude = 47.3769, longitude = 8.5417}}"
    objects = 'definitions = "{folder}/objects"'
    config = CORE.replace("[gateway]", f"[gateway]\n{objects}\n{place}")
    daemon.configure(config + SIM + PRIVATE)
    daemon.command("reload")
    daemon.until(lambda: daemon.value("attic/3303/0/5700"))
    told, parts = diagnose(daemon, tmp_path / "report.zip")
    assert (tmp_path / "report.zip").stat().st_mode & 0o777 == 0o600
    assert "look before you send it" in told
    assert "missing" not in told
    everything = "".join(parts.values())
    for private in ("s3cr3t", "farm.example.net", "80-4f-f1", "47.37"):
        assert private not in everything
    assert json.loads(parts["configuration.json"])["xmpp"]["jid"].endswith("@host1.example")
    assert "joins as /attic" in parts["log.json"]
    assert json.loads(parts["daemon.json"])["adapters"][0]["name"] == "sim"
    assert "xmpp" in {finding["section"] for finding in json.loads(parts["check.json"])}
    assert json.loads(parts["report.json"])["packages"]["click"]
    assert parts["objects/moisture.xml"] == OBJECT
    (device,) = bundle.devices(tmp_path / "report.zip", Registry.builtin())
    daemon.end()
    with running_demo("--replay", str(tmp_path / "report.zip")) as demo:
        shown = demo.paste(demo.command("Who is there"))
        assert f"attic   Attic  {device.state.value}" in shown
        shown = demo.paste(demo.command("Who is there") + " attic --json")
        values = {r["path"]: r["value"] for r in json.loads(shown)["resources"]}
        recorded = json.loads(parts["devices.json"])[0]["resources"]
        assert {r["path"]: r["value"] for r in recorded} == values
        assert "</attic/3303/0/5700>" in demo.paste(demo.command("What there is"))


def test_without_a_daemon_the_bundle_says_what_is_missing(tmp_path: FilePath) -> None:
    told, parts = diagnose(Daemon(tmp_path), tmp_path / "report.zip")
    assert "missing: how devices and adapters are: no daemon runs at" in told
    assert {"report.json", "configuration.json", "check.json", "log.json"} <= parts.keys()
    assert bundle.devices(tmp_path / "report.zip", Registry.builtin()) == []


def test_a_daemon_that_ends_meanwhile_is_said_to(tmp_path: FilePath) -> None:
    def hang_up() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        listener.listen()
        daemon = threading.Thread(target=hang_up)
        daemon.start()
        parts = collect(tmp_path / "none.toml", tmp_path, tmp_path / "socket")
        daemon.join()
    assert "the daemon ended the connection" in parts["report.json"]


def test_what_a_daemon_left_behind_is_in_the_bundle(daemon: Daemon, tmp_path: FilePath) -> None:
    daemon.until(lambda: daemon.value("attic/3303/0/5700"))
    daemon.end()
    diagnose(daemon, tmp_path / "report.zip")
    (device,) = bundle.devices(tmp_path / "report.zip", Registry.builtin())
    assert (device.prefix, device.name, device.state) == ("attic", "Attic", State.UNKNOWN)
    assert isinstance(device.values[Path(3303, 0, 5700)][0], float)
    assert device.values[Path(3303, 0, 5605)][0] is None


@pytest.mark.parametrize(
    "devices",
    [
        "[[",
        "[" * 100_000,
        "5",
        "[5]",
        '[{"prefix": "rd"}]',
        '[{"prefix": "a", "id": "x", "state": "odd", "resources": []}]',
        '[{"prefix": "a", "resources": [{"path": "a/3", "value": 5}]}]',
        '[{"prefix": "a", "resources": [{"path": "a/3/0/9", "value": {}}]}]',
        '[{"prefix": "a", "resources": [{"path": "a/3303/0/5700", "value": NaN}]}]',
        '[{"prefix": "a", "resources": [{"path": 5}]}]',
        " " * (bundle.MAX_PART + 1),
    ],
)
def test_a_bundle_from_somebody_who_means_harm_is_a_clear_error(
    devices: str, tmp_path: FilePath
) -> None:
    (tmp_path / "bad.zip").write_bytes(bundle.packed({bundle.DEVICES: devices}))
    with pytest.raises(GatewayError, match=r"bad\.zip"):
        bundle.devices(tmp_path / "bad.zip", Registry.builtin())


def test_what_is_no_bundle_is_told(tmp_path: FilePath) -> None:
    (tmp_path / "notes").write_text("hello")
    done = Daemon(tmp_path).command("demo", "--replay", str(tmp_path / "notes"))
    assert done.returncode == 1
    assert "is no bundle of border-gateway diagnostics" in done.stderr


def test_devices_of_one_name_in_a_bundle_are_shown_too(tmp_path: FilePath) -> None:
    said = {"name": "TV \x1b[31m", "state": "online", "reason": "", "resources": []}
    twins = [{**said, "id": f"sim:000000000000000{n}", "prefix": f"d{n}"} for n in (1, 2)]
    file = tmp_path / "report.zip"
    file.write_bytes(bundle.packed({bundle.DEVICES: json.dumps(twins)}))
    write_replay(tmp_path, file, Ports(0, 0))
    assert len(load(tmp_path / "gateway.toml").rules.devices) == 2

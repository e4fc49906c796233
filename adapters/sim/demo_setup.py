"""What the demo bridges, the configuration it runs on, and the lines that it prints to paste."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from adapters.sim.mesh_demo import HALL, LAMP, WINDOW
from adapters.sim.mesh_demo import SOCKET as SOCKET_NODE
from adapters.sim.prosody import DOMAIN, ThrowawayProsody
from gateway.diagnostics import bundle
from gateway.model import printable
from gateway.objects.ddf import load_folder
from gateway.objects.registry import Registry

SOCKET = "control.sock"
COAP_PORT = 5683
STATUS_PORT = 8080

GATEWAY, USER = "gateway", "you"
ACCOUNTS: Mapping[str, str] = {GATEWAY: "demo", USER: "demo"}
"""Users and passwords of a server that lives as long as the demo."""


@dataclass(frozen=True, slots=True)
class Ports:
    """Where the demo's daemon serves CoAP (UDP) and the status page (TCP)."""

    coap: int
    status: int


@dataclass(frozen=True, slots=True)
class Listed:
    """A device in the demo's configuration; `shows` is the resource that it is known by."""

    id: str
    prefix: str
    name: str
    shows: str
    writable: str = ""


REMOTE = Listed("ble:d0-5f-b8-22-3b-03", "remote", "Remote control", "3348/0/5547")
MODULES = (
    Listed("ble:d0-5f-b8-22-3b-01", "weather", "Weather station", "3303/0/5700"),
    Listed("ble:d0-5f-b8-22-3b-02", "meter", "Power meter", "3312/0/5850", "3312/0/5850"),
    REMOTE,
)
"""The virtual BIPSO modules: sensors, a relay, and a remote control that sleeps."""

THERMOMETER = Listed("sim:0000000000000001", "attic", "Thermometer", "3303/0/5700", "3312/0/5850")


NODES = (
    Listed(f"lowpan:{HALL.hex()}", "hall", "Thermometer in the hall", "3303/0/5700"),
    Listed(f"lowpan:{SOCKET_NODE.hex()}", "socket", "Socket", "3312/0/5850", "3312/0/5850"),
    Listed(f"lowpan:{LAMP.hex()}", "lamp", "Lamp, two hops away", "3311/0/5850", "3311/0"),
    Listed(f"lowpan:{WINDOW.hex()}", "window", "Window", "3302/0/5500"),
)
"""The virtual 6LoWPAN nodes."""


def write(
    folder: Path,
    devices: Sequence[Listed],
    ports: Ports,
    radio: str,
    server: ThrowawayProsody | None,
) -> None:
    """Writes the configuration (and the password that it names) into the folder."""
    lines = ["[gateway]", f'socket = "{folder / SOCKET}"']
    lines += ["[sim]"] if THERMOMETER in devices else ["[ble]", f'sleepy = ["{REMOTE.id}"]']
    lines += ["[lowpan]", f'radio = "spinel+hdlc://{radio}"', 'poll = "10s"']
    lines += _listeners(ports)
    if server:
        _password_file(folder).write_text(ACCOUNTS[GATEWAY])
        lines += [
            "[xmpp]",
            f'jid = "{GATEWAY}@{DOMAIN}"',
            'host = "127.0.0.1"',
            f"port = {server.port}",
            f'password_file = "{_password_file(folder)}"',
            f'ca_file = "{server.ca_file}"',
            f'roles = {{"{USER}@{DOMAIN}" = "operator"}}',
        ]
    for device in devices:
        lines += ["[[device]]", f'id = "{device.id}"', f'prefix = "{device.prefix}"']
        lines += [f'name = "{device.name}"']
        lines += [f'writable = ["{device.writable}"]'] if device.writable else []
    (folder / "gateway.toml").write_text("\n".join(lines) + "\n")


def write_replay(folder: Path, file: Path, ports: Ports) -> Sequence[Listed]:
    """Writes the configuration that shows a bug report's devices; gives those that have values."""
    objects = folder / "objects"
    objects.mkdir()
    for name, data in bundle.objects(file).items():
        (objects / name).write_bytes(data)
    registry = Registry.builtin()
    load_folder(objects, registry)
    devices = {device.id: device for device in bundle.devices(file, registry)}
    lines = ["[gateway]", f'socket = "{folder / SOCKET}"']
    lines += [f'definitions = "{objects}"', "[sim]", f"replay = {_quoted(str(file.absolute()))}"]
    lines += [*_listeners(ports)]
    for device in devices.values():
        lines += ["[[device]]", f'id = "{device.id}"', f'prefix = "{device.prefix}"']
        lines += ["writable = true"]
    (folder / "gateway.toml").write_text("\n".join(lines) + "\n")
    return [
        Listed(device.id, device.prefix, device.name, str(shown)[1:])
        for device in devices.values()
        if (shown := next((p for p, (v, _) in device.values.items() if v is not None), None))
    ]


def replay_lines(folder: Path, ports: Ports) -> str:
    """What to paste into a second terminal about a bug report's devices."""
    own = _own("--socket", str(folder / SOCKET))
    return "\n".join([
        "",
        f"The status page is at http://127.0.0.1:{ports.status}/",
        "Paste these into a second terminal.",
        "",
        "  Who is there:",
        f"    {own} devices",
        "  What there is:",
        f"    {_coap_tool().get} coap://127.0.0.1:{ports.coap}/.well-known/core",
        "",
        "A line a change follows, until Ctrl-C.",
        "",
    ])  # fmt: skip


def _listeners(ports: Ports) -> Sequence[str]:
    return [
        *("[coap]", f'listen = ["127.0.0.1:{ports.coap}", "[::1]:{ports.coap}"]'),
        *("[status]", f'listen = ["127.0.0.1:{ports.status}"]'),
    ]


def _quoted(text: str) -> str:
    """A text as TOML; JSON's is one, without DEL."""
    return json.dumps(printable(text, 4096), ensure_ascii=False)


def command_lines(
    folder: Path, devices: Sequence[Listed], ports: Ports, server: ThrowawayProsody | None
) -> str:
    """What to paste into a second terminal; every line works as it stands."""
    uri = f"coap://127.0.0.1{'' if ports.coap == COAP_PORT else f':{ports.coap}'}"
    sensor, actuator = devices[0], next(d for d in devices if d.writable)
    tool = _coap_tool()
    lines = [
        "",
        f"The status page is at http://127.0.0.1:{ports.status}/",
        "Paste these into a second terminal.",
        "",
        "  What there is:",
        f"    {tool.get} {uri}/.well-known/core",
        "  A reading:",
        f"    {tool.get} {uri}/{sensor.prefix}/{sensor.shows}",
        "  Its changes, for 30 seconds:",
        f"    {tool.observe} {uri}/{sensor.prefix}/{sensor.shows}",
        "  Switch the relay on, and read it back:",
        f"    {tool.put_one} {uri}/{actuator.prefix}/{actuator.writable}",
        f"    {tool.get} {uri}/{actuator.prefix}/{actuator.writable}",
        "  Who is bridged:",
        f"    {_own('--socket', str(folder / SOCKET))} devices",
    ]
    if server:
        subscribe = _own("subscribe", "--jid", f"{USER}@{DOMAIN}", "--password-file")
        lines += [
            "  The same over XMPP:",
            f"    {subscribe} {_password_file(folder)} --host 127.0.0.1 --port {server.port}"
            f" --ca-file {server.ca_file} --gateway gateway",
        ]
    return "\n".join([*lines, "", "A line a change follows, until Ctrl-C.", ""])


@dataclass(frozen=True, slots=True)
class _CoapTool:
    get: str
    observe: str
    put_one: str


def _coap_tool() -> _CoapTool:
    """libcoap's client where it is installed, else the one that comes with aiocoap."""
    for name in ("coap-client-notls", "coap-client"):
        if shutil.which(name):
            return _CoapTool(f"{name} -m get", f"{name} -m get -s 30", f"{name} -m put -t 0 -e 1")
    client = shlex.quote(str(Path(sys.executable).with_name("aiocoap-client")))
    return _CoapTool(
        client, f"timeout 30 {client} --observe", f"{client} -m PUT --content-format 0 --payload 1"
    )


def _own(*words: str) -> str:
    return shlex.join([str(Path(sys.executable).with_name("border-gateway")), *words])


def _password_file(folder: Path) -> Path:
    return folder / "password"

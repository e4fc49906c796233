"""The command line: `run` is the daemon, most others speak to the running one over its socket."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import entry_points
from pathlib import Path as FilePath
from typing import Any

import click

from gateway import __version__
from gateway.client import HUNG_UP, ask, talk
from gateway.client import backup as received
from gateway.config import DEFAULT_FILE, DEFAULT_SOCKET, DEFAULT_STATE, load
from gateway.errors import ConfigError, GatewayError
from gateway.logs import LEVELS
from gateway.ports import parse_duration

EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: systemd does not start the unit again after it."""

_SLASHES_OF_A_RESOURCE = 3  # weather/3303/0/5700


class _Commands(click.Group):
    """The commands here, and those that adapters bring along (`demo`, `subscribe`)."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted([*super().list_commands(ctx), *_foreign()])

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        found = super().get_command(ctx, cmd_name)
        if found is None and (point := _foreign().get(cmd_name)):
            return point()
        return found


def _foreign() -> Mapping[str, Callable[[], click.Command]]:
    return {point.name: point.load for point in entry_points(group="border_gateway.commands")}


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="border-gateway")
@click.option(
    "--socket",
    "socket_file",
    type=click.Path(path_type=FilePath),
    envvar="BORDER_GATEWAY_SOCKET",
    default=DEFAULT_SOCKET,
    show_default=True,
    help="The running daemon's control socket.",
)
@click.pass_context
def cli(ctx: click.Context, socket_file: FilePath) -> None:
    """Bridges 6LoWPAN and BLE devices to CoAP and XMPP as IPSO Smart Objects."""
    ctx.obj = socket_file


_config_option = click.option(
    "--config", type=click.Path(path_type=FilePath), default=DEFAULT_FILE, show_default=True
)


_state_option = click.option(
    "--state",
    type=click.Path(path_type=FilePath),
    default=DEFAULT_STATE,
    show_default=True,
    help="The folder of the state database.",
)


@cli.command()
@_config_option
@_state_option
def run(config: FilePath, state: FilePath) -> None:
    """Run the daemon in the foreground until SIGTERM."""
    from gateway import service

    service.run(load(config), state, lambda: load(config))


@cli.command()
@click.pass_obj
def reload(socket_file: FilePath) -> None:
    """Have the daemon take over its changed configuration; a faulty one changes nothing."""
    for line in ["reloaded", *ask(socket_file, {"do": "reload"})]:
        click.echo(line)


@cli.command()
@click.argument("level", type=click.Choice(LEVELS))
@click.argument("module", required=False)
@click.pass_obj
def log(socket_file: FilePath, level: str, module: str | None) -> None:
    """Log more or less until the daemon ends: all, or a MODULE such as ble or gateway.hub."""
    click.echo(ask(socket_file, {"do": "log", "level": level, "module": module}))


@cli.command()
@_config_option
def check(config: FilePath) -> None:
    """Check the configuration and object definitions; every fault is told at once."""
    loaded = load(config)
    if folder := loaded.gateway.definitions:
        from gateway.ddf import load_folder
        from gateway.registry import Registry

        for fault in load_folder(folder, Registry.builtin()):
            click.echo(f"warning: {fault}", err=True)
    click.echo(
        f"{config} is valid: adapters {', '.join(loaded.adapters) or 'none'}; "
        f"{len(loaded.rules.devices)} devices listed"
    )


@cli.group()
def config() -> None:
    """What concerns the configuration file."""


@config.command()
def sample() -> None:
    """Print a commented sample configuration."""
    from gateway.sample import sample as text

    click.echo(text(), nl=False)


@config.command()
def reference() -> None:
    """Print a page about every key of the configuration."""
    from gateway.sample import reference as text

    click.echo(text(), nl=False)


_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@cli.command()
@_json_option
@click.pass_obj
def devices(socket_file: FilePath, as_json: bool) -> None:
    """Show adapters, devices, and who was seen but is not bridged."""
    answer = ask(socket_file, {"do": "devices"})
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    for adapter in answer["adapters"]:
        click.echo(f"{adapter['name']}: {adapter['status']}")
    if answer["join_window_s"]:
        click.echo(f"devices may join for {answer['join_window_s']:.0f} s")
    click.echo()
    rows = [("PREFIX", "DEVICE", "NAME", "STATE", "LAST SEEN", "REASON")]
    rows += [
        (d["prefix"], d["id"], d["name"], d["state"], _ago(d["last_seen"]), d["reason"])
        for d in answer["devices"]
    ]
    _table(rows)
    if answer["strangers"]:
        click.echo("\nSeen, but not bridged:")
        _table([
            ("DEVICE", "NAME", "RSSI", "LAST SEEN", "REASON"),
            *(
                (s["id"], s["name"], str(s["rssi_dbm"] or ""), _ago(s["at"]), s["reason"])
                for s in answer["strangers"]
            ),
        ])  # fmt: skip


@cli.command()
@click.argument("target")
@_json_option
@click.pass_obj
def get(socket_file: FilePath, target: str, as_json: bool) -> None:
    """Read a device, object, instance or resource, such as weather/3303/0/5700."""
    answer = ask(socket_file, {"do": "get", "target": target})
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    elif len(answer) == 1 and target.count("/") >= _SLASHES_OF_A_RESOURCE:
        click.echo(answer[0]["value"])
    else:
        _table([(r["path"], _shown(r), r["name"]) for r in answer])


@cli.command("set")
@click.argument("target")
@click.argument("value")
@click.pass_obj
def set_(socket_file: FilePath, target: str, value: str) -> None:
    """Write a resource: border-gateway set meter/3312/0/5850 1."""
    _confirm(ask(socket_file, {"do": "set", "target": target, "value": value}))


@cli.command("exec")
@click.argument("target")
@click.argument("arguments", default="")
@click.pass_obj
def exec_(socket_file: FilePath, target: str, arguments: str) -> None:
    """Execute a resource: border-gateway exec weather/3303/0/5605."""
    _confirm(ask(socket_file, {"do": "exec", "target": target, "arguments": arguments}))


@cli.command()
@click.argument("target", required=False)
@_json_option
@click.pass_obj
def watch(socket_file: FilePath, target: str | None, as_json: bool) -> None:
    """Print a line a change until Ctrl-C."""
    for line in talk(socket_file, {"do": "watch", "target": target}, timeout_s=None):
        if as_json:
            click.echo(json.dumps(line))
        elif "device" in line:
            device = line["device"]
            click.echo(f"{device['prefix']} is {device['state']}: {device['reason']}")
        elif "removed" in line:
            click.echo(f"{line['removed']} is gone")
        else:
            click.echo(f"{line['path']} = {_shown(line)}  ({line['name']})")
    raise GatewayError(HUNG_UP)


@cli.command()
@click.argument("duration", default="2min")
@click.pass_obj
def permit(socket_file: FilePath, duration: str) -> None:
    """Let devices that are not listed join for a DURATION (2min); 0s closes the window."""
    try:
        seconds = parse_duration(duration)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    window_s = ask(socket_file, {"do": "permit", "seconds": seconds})["join_window_s"]
    click.echo(f"devices may join for {window_s:.0f} s" if window_s else "no device may join now")


@cli.command()
@click.argument("target")
@click.argument("name")
@click.pass_obj
def name(socket_file: FilePath, target: str, name: str) -> None:
    """Give a device a NAME for good; an empty one ("") gives it back its own."""
    device = ask(socket_file, {"do": "name", "target": target, "name": name})["named"]
    click.echo(f"{device} is named {name}" if name else f"{device} is named as it names itself")


@cli.command()
@click.argument("target")
@click.pass_obj
def forget(socket_file: FilePath, target: str) -> None:
    """Remove a device, its prefix and its values for good, also one that is listed no more."""
    click.echo(f"{ask(socket_file, {'do': 'forget', 'target': target})['forgotten']} is forgotten")


@cli.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=FilePath))
@click.pass_obj
def backup(socket_file: FilePath, file: FilePath) -> None:
    """Write prefixes, names and last values of the running daemon to a FILE, for restore."""
    data = received(socket_file)
    new = file.with_name(f"{file.name}.new")
    try:
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as copy:
            copy.write(data)
            copy.flush()
            os.fsync(copy.fileno())
        new.rename(file)
    except OSError as error:
        raise GatewayError(f"{file}: {error.strerror or error}") from None
    click.echo(f"{file}: {len(data)} octets")


@cli.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=FilePath))
@_state_option
def restore(file: FilePath, state: FilePath) -> None:
    """Put a backup FILE back, while the daemon does not run."""
    from gateway import backup

    done = backup.restore(file, state)
    click.echo(f"{done.devices} devices are restored into {state}")
    if done.aside:
        click.echo(f"the previous state is kept as {done.aside}")
    if not done.counters_kept:
        click.echo("frame counters are as old as the backup: with link security, take a new key")


def _confirm(answer: Mapping[str, object]) -> None:
    click.echo("done" if answer["confirmed"] else "sent; the device has not shown it yet")


def _shown(resource: Mapping[str, Any]) -> str:
    value = "-" if resource["value"] is None else str(resource["value"])
    return f"{value} (from before the restart)" if resource["restored"] else value


def _ago(at: float | None) -> str:
    if at is None:
        return "never"
    seconds = max(0, int(time.time() - at))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size:
            return f"{seconds // size} {unit} ago"
    return f"{seconds} s ago"


def _table(rows: Sequence[tuple[str, ...]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        click.echo("  ".join(cells).rstrip())


def main() -> None:
    """The command `border-gateway`."""
    try:
        cli(prog_name="border-gateway")
    except ConfigError as error:
        click.echo(f"border-gateway: {error}", err=True)
        sys.exit(EXIT_CONFIG)
    except GatewayError as error:
        click.echo(f"border-gateway: {error}", err=True)
        sys.exit(1)

"""What the devices measure and do: read, write, execute, follow."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import click

from gateway.cli.options import json_option
from gateway.cli.show import table
from gateway.client import HUNG_UP, ask, talk
from gateway.errors import GatewayError

_SLASHES_OF_A_RESOURCE = 3  # weather/3303/0/5700


@click.command()
@click.argument("target")
@json_option
@click.pass_obj
def get(socket_file: FilePath, target: str, as_json: bool) -> None:
    """Read a device, object, instance or resource, such as weather/3303/0/5700."""
    answer = ask(socket_file, {"do": "get", "target": target})
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    elif len(answer) == 1 and target.count("/") >= _SLASHES_OF_A_RESOURCE:
        click.echo(answer[0]["value"])
    else:
        table([(r["path"], _shown(r), r["name"]) for r in answer])


@click.command("set")
@click.argument("target")
@click.argument("value")
@click.pass_obj
def set_(socket_file: FilePath, target: str, value: str) -> None:
    """Write a resource: border-gateway set meter/3312/0/5850 1."""
    _confirm(ask(socket_file, {"do": "set", "target": target, "value": value}))


@click.command("exec")
@click.argument("target")
@click.argument("arguments", default="")
@click.pass_obj
def exec_(socket_file: FilePath, target: str, arguments: str) -> None:
    """Execute a resource: border-gateway exec weather/3303/0/5605."""
    _confirm(ask(socket_file, {"do": "exec", "target": target, "arguments": arguments}))


@click.command()
@click.argument("target", required=False)
@json_option
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


def _confirm(answer: Mapping[str, object]) -> None:
    click.echo("done" if answer["confirmed"] else "sent; the device has not shown it yet")


def _shown(resource: Mapping[str, Any]) -> str:
    value = "-" if resource["value"] is None else str(resource["value"])
    return f"{value} (from before the restart)" if resource["restored"] else value

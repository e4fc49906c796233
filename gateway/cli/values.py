"""What the devices measure and do: read, write, execute, follow."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Any

import click

from gateway.cli.completion import target as paths
from gateway.cli.options import TakesNegatives, json_option
from gateway.cli.show import bare_value_of, clean, say, table, value_of
from gateway.client import HungUp, NotRunning, ask, talk

_SLASHES_OF_A_RESOURCE = 3  # weather/3303/0/5700

LOOK_AGAIN_S = 1.0
"""How often `watch` looks whether a daemon that has ended is back."""


@click.command()
@click.argument("target", shell_complete=paths)
@json_option
@click.pass_obj
def get(socket_file: FilePath, target: str, as_json: bool) -> None:
    """Read a device, object, instance or resource, such as weather/3303/0/5700."""
    answer = ask(socket_file, {"do": "get", "target": target})
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    elif len(answer) == 1 and target.count("/") >= _SLASHES_OF_A_RESOURCE:
        click.echo(clean(bare_value_of(answer[0])))
    else:
        rows = [(r["path"], r["name"], value_of(r)) for r in answer]
        table(("PATH", "NAME", "VALUE"), rows, droppable=("NAME",))


@click.command("set", cls=TakesNegatives)
@click.argument("target", shell_complete=paths)
@click.argument("value")
@json_option
@click.pass_obj
def set_(socket_file: FilePath, target: str, value: str, as_json: bool) -> None:
    """Write a resource: border-gateway set meter/3312/0/5850 1."""
    _confirm(ask(socket_file, {"do": "set", "target": target, "value": value}), as_json)


@click.command("exec", cls=TakesNegatives)
@click.argument("target", shell_complete=paths)
@click.argument("arguments", default="")
@json_option
@click.pass_obj
def exec_(socket_file: FilePath, target: str, arguments: str, as_json: bool) -> None:
    """Execute a resource: border-gateway exec weather/3303/0/5605."""
    _confirm(ask(socket_file, {"do": "exec", "target": target, "arguments": arguments}), as_json)


def _confirm(answer: Mapping[str, object], as_json: bool) -> None:
    done = "done" if answer["confirmed"] else "sent; the device has not shown it yet"
    say(answer, done, as_json=as_json)


@click.command()
@click.argument("target", required=False, shell_complete=paths)
@json_option
@click.pass_obj
def watch(socket_file: FilePath, target: str | None, as_json: bool) -> None:
    """Print a line a change until Ctrl-C, of all or of a TARGET such as weather/3303.

    It goes on when the daemon is restarted.
    """
    request = {"do": "watch", "target": target}
    with contextlib.suppress(KeyboardInterrupt):
        _follow(socket_file, request, as_json)
        while True:
            click.echo("the daemon has ended; waiting for it", err=True)
            while True:
                time.sleep(LOOK_AGAIN_S)
                with contextlib.suppress(NotRunning):
                    _follow(socket_file, request, as_json)
                    break


def _follow(socket_file: FilePath, request: Mapping[str, object], as_json: bool) -> None:
    """Prints what comes until the daemon ends; NotRunning if there is none."""
    with contextlib.suppress(HungUp):
        for line in talk(socket_file, request, timeout_s=None):
            _show(line, as_json)


def _show(line: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        text = json.dumps(line)
    elif "device" in line:
        device = line["device"]
        text = clean(f"{device['prefix']} is {device['state']}: {device['reason']}")
    elif "removed" in line:
        text = f"{line['removed']} is gone"
    else:
        text = clean(f"{line['path']} = {value_of(line)}  ({line['name']})")
    click.echo(text)

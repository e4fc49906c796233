"""Completion in the shell: devices and paths come from the running daemon, if it answers soon."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

import click
from click.shell_completion import get_completion_class

from gateway.client import talk
from gateway.errors import GatewayError

PATIENCE_S = 0.5
"""Longer nobody waits for a tabulator."""

PROGRAM = "border-gateway"


@click.command()
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes a SHELL complete commands, devices and paths: eval "$(... bash)"."""
    kind = get_completion_class(shell)
    assert kind is not None  # noqa: S101  (a choice of click's own)
    program = ctx.find_root().command
    variable = f"_{PROGRAM.replace('-', '_').upper()}_COMPLETE"
    click.echo(kind(program, {}, PROGRAM, variable).source())


def device(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Prefixes and ids of devices."""
    known = _devices(ctx)
    names = [d["prefix"] for d in known if d["prefix"]] + [d["id"] for d in known]
    return [name for name in names if name.startswith(incomplete)]


def target(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """Prefixes; as soon as only one is meant, its paths too."""
    prefixes = [d["prefix"] for d in _devices(ctx) if d["prefix"]]
    meant = [p for p in prefixes if p.startswith(incomplete) or incomplete.startswith(f"{p}/")]
    if len(meant) != 1:
        return meant
    resources = _asked(ctx, {"do": "get", "target": meant[0]}) or []
    return [p for p in [meant[0], *(r["path"] for r in resources)] if p.startswith(incomplete)]


def adapter(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Names of adapters: they are modules that log."""
    answer = _asked(ctx, {"do": "devices"}) or {"adapters": []}
    return [a["name"] for a in answer["adapters"] if a["name"].startswith(incomplete)]


def _devices(ctx: click.Context) -> Sequence[Mapping[str, Any]]:
    answer = _asked(ctx, {"do": "devices"}) or {"devices": []}
    devices: Sequence[Mapping[str, Any]] = answer["devices"]
    return devices


def _asked(ctx: click.Context, request: Mapping[str, object]) -> Any:
    """The daemon's answer; None where there is none, and nothing is said about it."""
    socket_file: FilePath = ctx.find_root().params["socket_file"]
    try:
        return next(talk(socket_file, request, PATIENCE_S), None)
    except GatewayError:
        return None

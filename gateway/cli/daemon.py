"""The daemon itself: run it, have it read its configuration again, hear more of it."""

from __future__ import annotations

import signal
from pathlib import Path as FilePath

import click

from gateway.cli.completion import adapter
from gateway.cli.options import config_option, json_option, state_option
from gateway.cli.show import say
from gateway.client import ask
from gateway.logs import LEVELS


@click.command()
@config_option
@state_option
def run(config: FilePath, state: FilePath) -> None:
    """Run the daemon in the foreground until SIGTERM."""
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGHUP})  # a reload waits for the start
    from gateway import service
    from gateway.configuration.config import load

    service.run(load(config), state, lambda: load(config))


@click.command()
@json_option
@click.pass_obj
def reload(socket_file: FilePath, as_json: bool) -> None:
    """Have the daemon take over its changed configuration; a faulty one changes nothing."""
    told = ask(socket_file, {"do": "reload"})
    say({"told": told}, "\n".join(["reloaded", *told]), as_json=as_json)


@click.command()
@click.argument("level", type=click.Choice(LEVELS))
@click.argument("module", required=False, shell_complete=adapter)
@json_option
@click.pass_obj
def log(socket_file: FilePath, level: str, module: str | None, as_json: bool) -> None:
    """Log more or less until the daemon ends: all, or a MODULE such as ble or gateway.hub."""
    told = ask(socket_file, {"do": "log", "level": level, "module": module})
    say({"told": told}, told, as_json=as_json)

"""The command `border-gateway`, and how its errors end."""

from __future__ import annotations

import errno
import io
import sys
from collections.abc import Callable, Mapping
from pathlib import Path as FilePath

import click

from gateway import __version__
from gateway.cli import completion, configuration, daemon, devices, diagnostics, state, values
from gateway.cli.show import clean
from gateway.configuration.places import DEFAULT_SOCKET
from gateway.errors import ConfigError, GatewayError, StateUnusable

EXIT_CONFIG = 78
"""EX_CONFIG of sysexits.h: systemd does not start the unit again after it."""


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
    from importlib.metadata import entry_points

    return {point.name: point.load for point in entry_points(group="border_gateway.commands")}


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="border-gateway")
@click.option(
    "--socket",
    "socket_file",
    type=click.Path(path_type=FilePath, readable=False),
    envvar="BORDER_GATEWAY_SOCKET",
    default=DEFAULT_SOCKET,
    show_default=True,
    help="The running daemon's control socket.",
)
@click.pass_context
def cli(ctx: click.Context, socket_file: FilePath) -> None:
    """Bridges 6LoWPAN and BLE devices to CoAP and XMPP as IPSO Smart Objects."""
    ctx.obj = socket_file


for each in (
    *(daemon.run, daemon.reload, daemon.log, configuration.check, configuration.config),
    *(devices.devices, devices.permit, devices.name, devices.forget),
    *(values.get, values.set_, values.exec_, values.watch, state.backup, state.restore),
    diagnostics.diagnostics,
    completion.completion,
):
    cli.add_command(each)


def main() -> None:
    """Runs the command that the arguments say, and ends the process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # what a terminal cannot show is a ?
    try:
        cli(prog_name="border-gateway")
    except (ConfigError, StateUnusable) as error:
        click.echo(clean(f"border-gateway: {error}"), err=True)
        sys.exit(EXIT_CONFIG)
    except GatewayError as error:
        click.echo(clean(f"border-gateway: {error}"), err=True)
        sys.exit(1)
    except OSError as error:
        if not error.filename and error.errno != errno.ENOSPC:
            raise
        about = f"{error.filename}: " if error.filename else ""
        click.echo(clean(f"border-gateway: {about}{error.strerror}"), err=True)
        sys.exit(1)

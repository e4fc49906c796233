"""The learned state in one file: back it up, and put it back."""

from __future__ import annotations

import os
from pathlib import Path as FilePath

import click

from gateway.cli.options import state_option
from gateway.client import backup as received
from gateway.errors import GatewayError


@click.command()
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


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=FilePath))
@state_option
def restore(file: FilePath, state: FilePath) -> None:
    """Put a backup FILE back, while the daemon does not run."""
    from gateway.backup import restore as put_back

    done = put_back(file, state)
    click.echo(f"{done.devices} devices are restored into {state}")
    if done.aside:
        click.echo(f"the previous state is kept as {done.aside}")
    if not done.counters_kept:
        click.echo("frame counters are as old as the backup: with link security, take a new key")

"""The learned state in one file: back it up, and put it back."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path as FilePath

import click

from gateway.cli.options import json_option, state_option
from gateway.cli.show import say
from gateway.client import backup as received
from gateway.storage import private_file


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=FilePath))
@json_option
@click.pass_obj
def backup(socket_file: FilePath, file: FilePath, as_json: bool) -> None:
    """Write prefixes, names and last values of the running daemon to a FILE, for restore."""
    data = received(socket_file)
    private_file.write(file, data)
    done = {"file": str(file), "octets": len(data)}
    say(done, f"{file}: {len(data)} octets", as_json=as_json)


@click.command()
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=FilePath))
@state_option
@json_option
def restore(file: FilePath, state: FilePath, as_json: bool) -> None:
    """Put a backup FILE back, while the daemon does not run."""
    from gateway.storage.backup import restore as put_back

    done = put_back(file, state)
    told = [f"{done.devices} devices are restored into {state}"]
    if done.aside:
        told.append(f"the previous state is kept as {done.aside}")
    if not done.counters_kept:
        told.append("frame counters are as old as the backup: with link security, take a new key")
    data = {**asdict(done), "aside": str(done.aside) if done.aside else None}
    say(data, "\n".join(told), as_json=as_json)

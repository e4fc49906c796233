"""What a bug report can carry, in one file."""

from __future__ import annotations

import json
import logging
from pathlib import Path as FilePath

import click

from gateway.cli.options import config_option, json_option, state_option
from gateway.cli.show import say
from gateway.storage import private_file


@click.command()
@click.argument("file", type=click.Path(dir_okay=False, path_type=FilePath))
@config_option
@state_option
@json_option
@click.pass_obj
def diagnostics(
    socket_file: FilePath, file: FilePath, config: FilePath, state: FilePath, as_json: bool
) -> None:
    """Write FILE (.zip) for a bug report: versions, configuration, states, last values, log.

    Addresses of devices, networks and accounts have stand-ins, secrets and places are left out.
    It works without a daemon, too. border-gateway demo --replay FILE shows its devices.
    """
    from gateway.diagnostics.bundle import REPORT, packed
    from gateway.diagnostics.collection import collect

    logging.disable()  # what the check would log is in the file
    parts = collect(config, state, socket_file)
    private_file.write(file, packed(parts))
    missing = json.loads(parts[REPORT])["missing"]
    told = [
        f"{file} is written; names, prefixes and values are in it: look before you send it",
        *(f"missing: {what}" for what in missing),
    ]
    say({"file": str(file), "missing": missing}, "\n".join(told), as_json=as_json)

"""Options that several commands have."""

from __future__ import annotations

from pathlib import Path as FilePath

import click

from gateway.configuration.places import DEFAULT_FILE, DEFAULT_STATE

config_option = click.option(
    "--config",
    type=click.Path(path_type=FilePath),
    default=DEFAULT_FILE,
    show_default=True,
    help="The configuration file.",
)

state_option = click.option(
    "--state",
    type=click.Path(path_type=FilePath),
    default=DEFAULT_STATE,
    show_default=True,
    help="The folder of the state database.",
)

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

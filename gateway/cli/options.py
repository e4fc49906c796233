"""Options that several commands have."""

from __future__ import annotations

import re
from pathlib import Path as FilePath

import click

from gateway.configuration.places import DEFAULT_FILE, DEFAULT_STATE

_FLAG = re.compile(r"-[^0-9.]")

config_option = click.option(
    "--config",
    type=click.Path(path_type=FilePath, readable=False),  # who may not read it is told how
    default=DEFAULT_FILE,
    show_default=True,
    help="The configuration file.",
)

state_option = click.option(
    "--state",
    type=click.Path(path_type=FilePath, readable=False),
    default=DEFAULT_STATE,
    show_default=True,
    help="The folder of the state database.",
)


class TakesNegatives(click.Command):
    """A command whose arguments may be negative numbers (-5), and whose options are all flags."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        end = args.index("--") if "--" in args else len(args)
        before, after = args[:end], args[end + 1 :]
        words = [arg for arg in before if not _FLAG.match(arg)]
        flags = [arg for arg in before if _FLAG.match(arg)]
        return super().parse_args(ctx, [*flags, "--", *words, *after])


json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

"""The configuration file: check it, or print a sample or the reference page."""

from __future__ import annotations

from pathlib import Path as FilePath

import click

from gateway.cli.options import config_option
from gateway.config import load


@click.command()
@config_option
def check(config: FilePath) -> None:
    """Check the configuration and object definitions; every fault is told at once."""
    loaded = load(config)
    if folder := loaded.gateway.definitions:
        from gateway.ddf import load_folder
        from gateway.registry import Registry

        for fault in load_folder(folder, Registry.builtin()):
            click.echo(f"warning: {fault}", err=True)
    click.echo(
        f"{config} is valid: adapters {', '.join(loaded.adapters) or 'none'}; "
        f"{sum(rule.listed for rule in loaded.rules.devices.values())} devices listed"
    )


@click.group()
def config() -> None:
    """What concerns the configuration file."""


@config.command()
def sample() -> None:
    """Print a commented sample configuration."""
    from gateway.sample import sample as text

    click.echo(text(), nl=False)


@config.command()
def reference() -> None:
    """Print a page about every key of the configuration."""
    from gateway.sample import reference as text

    click.echo(text(), nl=False)

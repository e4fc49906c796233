"""The configuration file: check it, or print a sample or the reference page."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path as FilePath
from typing import TYPE_CHECKING

import click

from gateway.cli.options import config_option, json_option, state_option
from gateway.cli.show import clean
from gateway.errors import ConfigError

if TYPE_CHECKING:
    from gateway.configuration.checks import Finding


@click.command()
@config_option
@state_option
@click.option("--offline", is_flag=True, help="Look at the configuration only, not at the world.")
@json_option
def check(config: FilePath, state: FilePath, offline: bool, as_json: bool) -> None:
    """Check the configuration, and whether radios, servers and addresses are as it wants them.

    The exit status is 78 if the configuration cannot be used, 1 if something will not work.
    """
    import asyncio

    from gateway.configuration.checks import Finding, Severity
    from gateway.configuration.config import load
    from gateway.diagnostics.examine import by_itself, in_the_world

    logging.disable()  # what the adapters would log is among the findings
    try:
        loaded = load(config)
    except ConfigError as error:
        if as_json:
            head, *below = str(error).splitlines()
            faults = [fault.strip() for fault in below] or [head]
            _print_json(Finding(Severity.ERROR, "configuration", fault) for fault in faults)
        raise
    findings = [*by_itself(loaded), *([] if offline else asyncio.run(in_the_world(loaded, state)))]
    if as_json:
        _print_json(findings)
    else:
        listed = sum(rule.listed for rule in loaded.rules.devices.values())
        click.echo(
            f"{config} is valid: adapters {', '.join(loaded.adapters) or 'none'}; "
            f"{listed} device{'' if listed == 1 else 's'} listed"
        )
        for finding in findings:
            click.echo(clean(f"{finding.severity:<8} {finding.section}: {finding.text}"))
    if any(finding.severity is Severity.ERROR for finding in findings):
        sys.exit(1)


def _print_json(findings: Iterable[Finding]) -> None:
    click.echo(json.dumps([asdict(finding) for finding in findings], indent=2))


@click.group()
def config() -> None:
    """What concerns the configuration file."""


@config.command()
def sample() -> None:
    """Print a commented sample configuration."""
    from gateway.configuration.sample import sample as text

    click.echo(text(), nl=False)


@config.command()
def reference() -> None:
    """Print a page about every key of the configuration."""
    from gateway.configuration.sample import reference as text

    click.echo(text(), nl=False)

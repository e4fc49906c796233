"""The devices: who is there, who may join, their names, and their end."""

from __future__ import annotations

import json
from pathlib import Path as FilePath

import click

from gateway.cli.options import json_option
from gateway.cli.show import ago, table
from gateway.client import ask
from gateway.ports import parse_duration


@click.command()
@json_option
@click.pass_obj
def devices(socket_file: FilePath, as_json: bool) -> None:
    """Show adapters, devices, and who was seen but is not bridged."""
    answer = ask(socket_file, {"do": "devices"})
    if as_json:
        click.echo(json.dumps(answer, indent=2))
        return
    for adapter in answer["adapters"]:
        click.echo(f"{adapter['name']}: {adapter['status']}")
    if answer["join_window_s"]:
        click.echo(f"devices may join for {answer['join_window_s']:.0f} s")
    click.echo()
    rows = [("PREFIX", "DEVICE", "NAME", "STATE", "LAST SEEN", "REASON")]
    rows += [
        (d["prefix"], d["id"], d["name"], d["state"], ago(d["last_seen"]), d["reason"])
        for d in answer["devices"]
    ]
    table(rows)
    if answer["strangers"]:
        click.echo("\nSeen, but not bridged:")
        table([
            ("DEVICE", "NAME", "RSSI", "LAST SEEN", "REASON"),
            *(
                (s["id"], s["name"], str(s["rssi_dbm"] or ""), ago(s["at"]), s["reason"])
                for s in answer["strangers"]
            ),
        ])  # fmt: skip


@click.command()
@click.argument("duration", default="2min")
@click.pass_obj
def permit(socket_file: FilePath, duration: str) -> None:
    """Let devices that are not listed join for a DURATION (2min); 0s closes the window."""
    try:
        seconds = parse_duration(duration)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    window_s = ask(socket_file, {"do": "permit", "seconds": seconds})["join_window_s"]
    click.echo(f"devices may join for {window_s:.0f} s" if window_s else "no device may join now")


@click.command()
@click.argument("target")
@click.argument("name")
@click.pass_obj
def name(socket_file: FilePath, target: str, name: str) -> None:
    """Give a device a NAME for good; an empty one ("") gives it back its own."""
    device = ask(socket_file, {"do": "name", "target": target, "name": name})["named"]
    click.echo(f"{device} is named {name}" if name else f"{device} is named as it names itself")


@click.command()
@click.argument("target")
@click.pass_obj
def forget(socket_file: FilePath, target: str) -> None:
    """Remove a device, its prefix and its values for good, also one that is listed no more."""
    click.echo(f"{ask(socket_file, {'do': 'forget', 'target': target})['forgotten']} is forgotten")

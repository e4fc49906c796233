"""The devices: who is there, who may join, their names, and their end."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path as FilePath
from typing import Any

import click

from gateway.cli.completion import device
from gateway.cli.options import TakesNegatives, json_option
from gateway.cli.show import (
    NO_TERMINAL,
    ago,
    bare_value_of,
    clean,
    say,
    table,
    terminal,
    value_of,
    with_unit,
)
from gateway.client import ask
from gateway.formats.durations import parse_duration

_Row = Mapping[str, Any]

_ORDER = ("offline", "unknown", "asleep", "online")
"""Who needs looking after stands first."""

_WELL = ("starting", "running")

_LINES_AROUND = 9
"""Headings, empty lines, the prompt, and what a few strangers take."""

FEWEST_DEVICES = 5
STRANGERS_SHOWN = 3


@click.command()
@click.argument("target", required=False, shell_complete=device)
@click.option("--all", "everything", is_flag=True, help="Also what does not fit one screen.")
@json_option
@click.pass_obj
def devices(socket_file: FilePath, target: str | None, everything: bool, as_json: bool) -> None:
    """Show in one screen who is there, how well, and what was measured last; or one device."""
    request = {"do": "device", "target": target} if target else {"do": "devices"}
    answer = ask(socket_file, request)
    if as_json:
        click.echo(json.dumps(answer, indent=2))
    elif target:
        _show_device(answer)
    else:
        _show_all(answer, (NO_TERMINAL if everything else terminal())[1])


def _show_all(answer: _Row, lines: int) -> None:
    for adapter in answer["adapters"]:
        condition, status = adapter["condition"], adapter["status"]
        told = condition in _WELL or status.startswith(condition)
        click.echo(clean(f"{adapter['name']}{'' if told else f' ({condition})'}: {status}"))
    if not answer["adapters"]:
        click.echo("nothing is switched on: see [ble], [lowpan], [coap] in the configuration")
    if answer["join_window_s"]:
        click.echo(f"devices may join for {answer['join_window_s']:.0f} s")
    found = sorted(answer["devices"], key=lambda d: (_ORDER.index(d["state"]), _natural(d)))
    click.echo(f"\n{_counted(found)}")
    room = max(FEWEST_DEVICES, lines - len(answer["adapters"]) - _LINES_AROUND)
    table(
        ("PREFIX", "NAME", "STATE", "SEEN", "BATTERY", "SIGNAL", "VALUE", "REASON"),
        [
            (
                d["prefix"] or d["id"],
                d["name"],
                d["state"],
                ago(d["last_seen"]),
                with_unit(d["battery_percent"], "%"),
                with_unit(d["rssi_dbm"], "dBm"),
                with_unit(bare_value_of(d["main"]), d["main"]["unit"]) if d["main"] else "",
                d["reason"],
            )
            for d in found[:room]
        ],
        droppable=("NAME", "SIGNAL", "BATTERY"),
    )
    _rest(len(found) - room)
    _show_strangers(answer["strangers"], lines)


def _show_strangers(strangers: Sequence[_Row], lines: int) -> None:
    if not strangers:
        return
    room = STRANGERS_SHOWN if len(strangers) + _LINES_AROUND > lines else len(strangers)
    click.echo("\nSeen, but not bridged:")
    table(
        ("DEVICE", "NAME", "SIGNAL", "SEEN", "REASON"),
        [
            (s["id"], s["name"], with_unit(s["rssi_dbm"], "dBm"), ago(s["at"]), s["reason"])
            for s in strangers[:room]
        ],
        droppable=("NAME",),
    )
    _rest(len(strangers) - room)


def _rest(number: int) -> None:
    if number > 0:
        click.echo(f"... and {number} more; all of them: border-gateway devices --all")


def _counted(found: Sequence[_Row]) -> str:
    if not found:
        return "no devices yet: list them in the configuration, or: border-gateway permit"
    states = Counter(d["state"] for d in found)
    each = ", ".join(f"{states[state]} {state}" for state in reversed(_ORDER) if states[state])
    return f"{len(found)} device{'' if len(found) == 1 else 's'}{': ' if each else ''}{each}"


def _natural(row: _Row) -> Sequence[tuple[int, str]]:
    """The prefix for sorting, so that d2 comes before d10."""
    parts = re.split(r"(\d+)", row["prefix"] or row["id"])
    return [(int(part), "") if part.isdecimal() else (0, part) for part in parts]


def _show_device(d: _Row) -> None:
    click.echo(clean(f"{d['prefix']}  {d['name']}".strip()))
    facts = {
        "id": d["id"],
        "adapter": d["adapter"],
        "state": f"{d['state']} for {ago(d['since'])}: {d['reason']}",
        "last seen": ago(d["last_seen"]) + (" ago" if d["last_seen"] else ""),
        "battery": with_unit(d["battery_percent"], "%"),
        "signal": with_unit(d["rssi_dbm"], "dBm"),
    }
    for name, fact in facts.items():
        if fact:
            click.echo(clean(f"  {name:<11}{fact}"))
    if d["resources"]:
        click.echo()
        table(
            ("PATH", "NAME", "AGE", "VALUE"),
            [(r["path"], r["name"], ago(r["at"]), value_of(r)) for r in d["resources"]],
            droppable=("NAME", "AGE"),
        )


@click.command(cls=TakesNegatives)
@click.argument("duration", default="2min")
@json_option
@click.pass_obj
def permit(socket_file: FilePath, duration: str, as_json: bool) -> None:
    """Let devices that are not listed join for a DURATION (2min, at most 1h); 0s ends that."""
    try:
        seconds = parse_duration(duration)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None
    answer = ask(socket_file, {"do": "permit", "seconds": seconds})
    window_s = answer["join_window_s"]
    text = f"devices may join for {window_s:.0f} s" if window_s else "no device may join now"
    say(answer, text, as_json=as_json)


@click.command(cls=TakesNegatives)
@click.argument("target", shell_complete=device)
@click.argument("name")
@json_option
@click.pass_obj
def name(socket_file: FilePath, target: str, name: str, as_json: bool) -> None:
    """Give a device a NAME for good that no other has; an empty one ("") gives it back its own."""
    answer = ask(socket_file, {"do": "name", "target": target, "name": name})
    named = f"named {name}" if name else "named as it names itself"
    say(answer, f"{answer['named']} is {named}", as_json=as_json)


@click.command()
@click.argument("target", shell_complete=device)
@json_option
@click.pass_obj
def forget(socket_file: FilePath, target: str, as_json: bool) -> None:
    """Remove a device and its values for good, also one that is listed no more.

    If it joins again it has its number, as in d7, again; no other device ever gets that.
    """
    answer = ask(socket_file, {"do": "forget", "target": target})
    again = "; it is listed, and joins anew when it is seen" if answer.get("listed") else ""
    say(answer, f"{answer['forgotten']} is forgotten{again}", as_json=as_json)

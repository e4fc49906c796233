"""`border-gateway radio`: what is on the air, asked of the running daemon."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import click

from adapters.lowpan.radio.capture import Capture
from gateway.client import ask, talk

_QUIET_DBM, _LOUD_DBM = -100, -30
"""Where a bar is empty, and where it is full."""

_BAR = 40


@click.group()
def radio() -> None:
    """Look at the air around the 802.15.4 radio."""


@radio.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON: dBm by channel.")
@click.pass_obj
def scan(socket_file: Path, as_json: bool) -> None:
    """Show the energy on each channel: choose a quiet one for a new network."""
    levels = ask(socket_file, {"do": "ask", "adapter": "lowpan", "question": "scan"})
    if as_json:
        click.echo(json.dumps(levels))
        return
    for channel, dbm in sorted((int(channel), dbm) for channel, dbm in levels.items()):
        click.echo(f"{channel:2}  {dbm:4} dBm  {bar(dbm)}")


def bar(dbm: int) -> str:
    """A level as a bar; at least one mark, so that a channel that was measured is seen."""
    share = (dbm - _QUIET_DBM) / (_LOUD_DBM - _QUIET_DBM)
    return "#" * max(1, round(_BAR * min(share, 1.0)))


@radio.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--count", type=click.IntRange(min=1), help="End after so many frames.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON: how many frames.")
@click.pass_obj
def capture(socket_file: Path, file: Path, count: int | None, as_json: bool) -> None:
    """Write every frame to FILE until Ctrl-C, for Wireshark (pcap, link type 195)."""
    frames = talk(socket_file, {"do": "ask", "adapter": "lowpan", "question": "capture"}, None)
    written = 0
    with file.open("wb") as stream, contextlib.suppress(KeyboardInterrupt):
        pcap = Capture(stream)
        for psdu, at in frames:
            if not pcap.add(bytes.fromhex(psdu), at):
                click.echo("the capture has reached its limit", err=True)
                break
            written += 1
            if written == count:
                break
    told = f"{written} frames written to {file}"
    click.echo(json.dumps({"frames": written}) if as_json else told)

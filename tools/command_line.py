"""Prints docs/command-line.md: python -m tools.command_line > docs/command-line.md."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator

import click

from gateway.cli.root import cli

HEAD = """\
# The command line

What is here, `border-gateway COMMAND --help` tells as well. A command that fails says on standard
error what to do. It ends with status 1, with 2 where it was not typed as it should be, with 78
where the configuration or the state cannot be used. Ctrl-C ends what goes on for ever (`watch`)
with 0, others with 1 or 130.

Most commands ask the running daemon over its socket, `/run/border-gateway/control.sock`; another
one is named by `--socket FILE` before the command, or by `BORDER_GATEWAY_SOCKET`. Members of the
group `border-gateway` may use it. Every answer is for people, and with `--json` for programs.

A TARGET is a device by its prefix or identity (`weather`, `ble:00-24-be-80-4f-f1`), or what it has:
`weather/3303`, `weather/3303/0/5700`. `/3/0` is the gateway itself.

## Completion

    eval "$(border-gateway completion bash)"     # in ~/.bashrc; likewise zsh
    border-gateway completion fish | source      # in config.fish

Commands and options are completed, and, from the running daemon, prefixes, paths and adapters.
Without a daemon those are just not there.
"""


def page() -> str:
    """The whole page."""
    lines = [HEAD]
    with click.Context(cli, info_name="border-gateway") as context:
        for name, command in _commands(cli, context):
            lines += _section(name, command, context)
    return "\n".join(lines)


def _commands(
    group: click.Group, context: click.Context, words: str = ""
) -> Iterator[tuple[str, click.Command]]:
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from _commands(command, context, f"{words}{name} ")
        elif command is not None and not command.hidden:
            yield words + name, command


def _section(name: str, command: click.Command, context: click.Context) -> Iterator[str]:
    own = click.Context(command, parent=context, info_name=name)
    usage = " ".join(command.collect_usage_pieces(own))
    yield f"## {name}\n"
    yield f"    border-gateway {name} {usage}\n"
    yield textwrap.fill(" ".join((command.help or "").split()), 100) + "\n"
    options = [p for p in command.params if isinstance(p, click.Option) and not p.hidden]
    told = [record for option in options if (record := option.get_help_record(context))]
    if told:
        yield "| option | |\n|---|---|"
        for option, text in told:
            yield f"| `{option}` | {_cell(text)} |"
        yield ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", r"\|")


if __name__ == "__main__":
    print(page(), end="")

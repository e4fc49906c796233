"""The command line: `run` is the daemon, most others speak to the running one over its socket."""

from __future__ import annotations

import sys

EXIT_INTERRUPTED = 130
"""What a shell says of a command that Ctrl-C has ended."""


def main() -> None:
    """The command `border-gateway`."""
    try:
        from gateway.cli.root import main as run  # here: loading takes a second on a small box

        run()
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)

"""The command line: `run` is the daemon, most others speak to the running one over its socket."""

from gateway.cli.root import main

__all__ = ["main"]

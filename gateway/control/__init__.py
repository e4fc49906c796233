"""The control socket: its server, and what can be asked over it."""

"""The daemon as a process: its adapters kept alive, systemd, the machine beneath."""

"""Where things are on a machine that the package was installed on."""

from __future__ import annotations

from pathlib import Path as FilePath

DEFAULT_FILE = FilePath("/etc/border-gateway/gateway.toml")
DEFAULT_STATE = FilePath("/var/lib/border-gateway")
DEFAULT_SOCKET = FilePath("/run/border-gateway/control.sock")

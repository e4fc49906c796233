"""Secrets of the configuration: in a file, or in a credential that systemd hands over."""

from __future__ import annotations

import os
from pathlib import Path

from gateway.errors import AdapterError, reason

_LONGEST = 1_024
"""Octets of a secret: what is longer is another file."""


def credential(name: str) -> Path | None:
    """The file of a systemd credential (LoadCredential=); None if the unit has no such one."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    file = Path(folder, name) if folder else None
    return file if file and file.exists() else None


def read_secret(file: Path, what: str) -> str:
    """The first line of a file, named `what` in the AdapterError if there is none."""
    try:
        with file.open(encoding="utf-8") as lines:
            secret = lines.readline(_LONGEST).rstrip("\r\n")
    except (OSError, UnicodeDecodeError) as error:
        raise AdapterError(
            f"the {what} file {file} cannot be read: {reason(error)}; put the {what} there, in a "
            f"file that this user may read: chmod 640 {file}"
        ) from error
    if not secret:
        raise AdapterError(f"{file} is empty: put the {what} there")
    return secret

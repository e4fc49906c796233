"""A file for its owner only, whole or not there at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path as FilePath

from gateway.errors import GatewayError


def write(file: FilePath, data: bytes) -> None:
    """Writes or replaces a file; GatewayError, and the old one stays, if it cannot be written."""
    new = file.with_name(f"{file.name}.new")
    try:
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        new.rename(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise GatewayError(f"{file}: {error.strerror or error}") from None

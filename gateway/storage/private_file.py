"""A file that is not for everybody, whole or not there at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path as FilePath

from gateway.errors import GatewayError


def write(file: FilePath, data: bytes, mode: int = 0o600) -> None:
    """Writes or replaces a file; GatewayError, and the old one stays, if it cannot be written."""
    new, flags = file.with_name(f"{file.name}.new"), os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, flags, mode), "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        new.rename(file)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
        raise GatewayError(f"{file}: {error.strerror or error}") from None

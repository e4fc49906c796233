"""The operator's folder of device definitions, read again when something in it changes.

A file that cannot be used is set aside: what it said before stays in force.
"""

from __future__ import annotations

import logging
from pathlib import Path as FilePath

from adapters.lowpan.devices.definitions import Definition
from gateway.errors import DecodeError
from gateway.registry import Registry

MAX_FILES = 500
"""More kinds of nodes than one mesh can hold."""

MAX_OCTETS = 256 * 1024
"""Of one file; beyond it, it is no definition."""

log = logging.getLogger(__name__)

_Stamp = tuple[int, int]


class DefinitionFolder:
    """The definitions in `folder`; none without one. `refresh` looks at the disk."""

    def __init__(self, folder: FilePath | None, registry: Registry) -> None:
        self._folder = folder
        self._registry = registry
        self._stamps: dict[FilePath, _Stamp] = {}
        self._definitions: dict[FilePath, Definition] = {}
        self._unreadable = ""

    @property
    def definitions(self) -> list[Definition]:
        """What is in force."""
        return [self._definitions[file] for file in sorted(self._definitions)]

    def refresh(self) -> bool:
        """Reads what has changed; whether the definitions in force are others now."""
        if self._folder is None:
            return False
        try:
            found = {
                file: (status.st_mtime_ns, status.st_size)
                for file in sorted(self._folder.glob("*.toml"))[:MAX_FILES]
                if (status := file.stat())
            }
            self._folder.stat()
        except OSError as error:
            self._complain(f"{self._folder} cannot be read: {error.strerror}")
            return False
        self._unreadable = ""
        before = dict(self._definitions)
        for file in self._definitions.keys() - found.keys():
            del self._definitions[file]
        for file, stamp in found.items():
            if self._stamps.get(file) != stamp:
                self._read(file)
        self._stamps = found
        return self._definitions != before

    def _read(self, file: FilePath) -> None:
        try:
            data = file.read_bytes()
            if len(data) > MAX_OCTETS:
                raise DecodeError(f"longer than {MAX_OCTETS} octets")
            definition = Definition.parse(data.decode(), self._registry)
        except (OSError, UnicodeDecodeError, DecodeError) as error:
            kept = "; what it said before stays in force" if file in self._definitions else ""
            log.error("%s is set aside: %s%s", file, error, kept)
        else:
            log.info("%s: %s", file, definition.name)
            self._definitions[file] = definition

    def _complain(self, text: str) -> None:
        if text != self._unreadable:
            self._unreadable = text
            log.error("%s", text)

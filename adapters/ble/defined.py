"""A characteristic that a device definition explains, on one connection: its fields and last value.

Pure. What a field says is the definition's; this adds up what was notified, read and is to write.
"""

from __future__ import annotations

from collections.abc import Container, Mapping

from adapters.ble.definitions import MAX_OCTETS, Row
from gateway.errors import EncodeError, InvalidValue, NotAllowed
from gateway.model import Path, ResourceType, Value

Fields = Mapping[Path, tuple[Row, ResourceType]]


class Defined:
    """The fields by the resource that each one is on this device."""

    def __init__(self, fields: Fields) -> None:
        self.fields = fields
        self.shown: dict[Path, Value] = {}
        self._whole: bytes | None = None  # what was read last, with what was notified since
        self._notified = b""

    def values(self, data: bytes, newer: Container[Path] = ()) -> dict[Path, Value]:
        """The resources in a value, less the newer ones; DecodeError, or Truncated if too short."""
        values = _decoded(self.fields, data)
        fresh = {path: value for path, value in values.items() if path not in newer}
        self.shown.update(fresh)
        return fresh

    def leading(self, data: bytes) -> dict[Path, Value]:
        """The resources of the fields that are whole in a value."""
        return _decoded({p: f for p, f in self.fields.items() if f[0].is_in(data)}, data)

    def begin_read(self) -> None:
        """What is notified from here on is newer than what the read will bring."""
        self._notified = b""

    def notified(self, data: bytes) -> None:
        """Remembers a notification, which may be cut: as much of the value as it holds."""
        self._notified = data
        if self._whole is not None:
            self._whole = data + self._whole[len(data) :]

    def read(self, data: bytes) -> None:
        """Remembers what a read brought: the whole value, older than what was notified since."""
        self._whole = self._notified + data[len(self._notified) :]

    def patched(self, changes: Mapping[Path, Value]) -> bytes:
        """The last value with changes in it; NotAllowed or InvalidValue."""
        data = self._whole or b""
        for path, value in sorted(changes.items(), key=lambda item: self.fields[item[0]][0].at):
            row, _ = self.fields[path]
            if not row.writable:
                raise NotAllowed(f"{path} is not writable by the device's definition")
            if row.at > len(data):
                raise NotAllowed(f"{path} is within a value whose beginning is not known")
            try:
                field = row.write(value)
            except EncodeError as error:
                raise InvalidValue(str(error)) from error
            data = data[: row.at] + field + (data[row.at + len(field) :] if row.size else b"")
        if len(data) > MAX_OCTETS:
            raise InvalidValue(f"the value would have {len(data)} octets; {MAX_OCTETS} is the most")
        return data


def _decoded(fields: Fields, data: bytes) -> dict[Path, Value]:
    found = {path: row.read(data, kind) for path, (row, kind) in fields.items()}
    return {path: value for path, value in found.items() if value is not None}

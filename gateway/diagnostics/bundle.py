"""The bundle of `border-gateway diagnostics`: how it is written, and how its devices are read.

A zip of JSON and text; what is read may come from anybody, so that every part has a bound.
"""

from __future__ import annotations

import contextlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from gateway.errors import EncodeError, GatewayError, InvalidValue
from gateway.events import State
from gateway.formats.text import from_text, to_text
from gateway.model import DeviceId, Path, Value, check_prefix, parse_device_id
from gateway.objects.registry import Registry

FORMAT = 1

MAX_PART = 16 * 1024 * 1024
"""Octets of one part: the values of about 100,000 resources; what is beyond is left out."""

MAX_OBJECTS = 100
"""Definitions of a vendor's objects in one bundle."""

REPORT, DEVICES, OBJECTS = "report.json", "devices.json", "objects/"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A device as a bundle tells of it; `values` with the Unix seconds of their measurement."""

    id: DeviceId
    prefix: str
    name: str
    state: State
    reason: str
    values: Mapping[Path, tuple[Value | None, float]]


def packed(parts: Mapping[str, str]) -> bytes:
    """The bundle of these parts."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in parts.items():
            archive.writestr(name, text)
    return data.getvalue()


def devices(file: FilePath, registry: Registry) -> Sequence[Recorded]:
    """The devices of a bundle, with the values that `registry` defines; GatewayError."""
    found = _json(file, DEVICES)
    try:
        return [_recorded(each, registry) for each in found]
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise GatewayError(f"{file}: {DEVICES} is not as expected: {error!r}") from None


def objects(file: FilePath) -> Mapping[str, bytes]:
    """The definitions of a vendor's objects in a bundle: DDF files by a plain name."""
    with _opened(file) as archive:
        names = [name for name in archive.namelist() if name.startswith(OBJECTS)][:MAX_OBJECTS]
        return {f"{number}.xml": _part(archive, name) for number, name in enumerate(names)}


def _recorded(device: Mapping[str, Any], registry: Registry) -> Recorded:
    prefix = check_prefix(device["prefix"])
    values: dict[Path, tuple[Value | None, float]] = {}
    for resource in device["resources"]:
        path = Path.parse(resource["path"].removeprefix(prefix))
        said = resource["value"]
        if not isinstance(said, bool | int | float | str | None):
            raise TypeError(said)
        if definition := registry.resource(path[0], path[2]):
            with contextlib.suppress(InvalidValue, EncodeError):  # another version's definition
                value = None if said is None else from_text(to_text(said), definition.type)
                values[path] = value, float(resource["at"])
    state = State(device["state"])
    name, reason = str(device["name"]), str(device["reason"])
    return Recorded(parse_device_id(device["id"]), prefix, name, state, reason, values)


def _json(file: FilePath, name: str) -> Any:
    with _opened(file) as archive:
        try:
            return json.loads(_part(archive, name))
        except (ValueError, RecursionError):
            raise GatewayError(f"{file}: {name} is not JSON") from None


def _opened(file: FilePath) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(file)
    except (OSError, zipfile.BadZipFile) as error:
        raise GatewayError(f"{file} is no bundle of border-gateway diagnostics: {error}") from None


def _part(archive: zipfile.ZipFile, name: str) -> bytes:
    try:
        with archive.open(name) as stream:
            data = stream.read(MAX_PART + 1)
    except KeyError:
        raise GatewayError(f"{archive.filename} has no {name}: something else made it") from None
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError) as error:
        raise GatewayError(f"{archive.filename}: {name} cannot be read: {error}") from None
    if len(data) > MAX_PART:
        raise GatewayError(f"{archive.filename}: {name} has more than {MAX_PART} octets")
    return data

"""The operator's file: one typed source gives loader, error report and rules. Never written to."""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path as FilePath
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, ValidationError

from gateway.errors import ConfigError
from gateway.model import GATEWAY, DeviceId, Path, check_prefix, parse_device_id
from gateway.policy import MAX_NAME, DeviceRule, ReportRule, Rules
from gateway.ports import Adapter, Duration, Reload, Section

DEFAULT_FILE = FilePath("/etc/border-gateway/gateway.toml")
DEFAULT_STATE = FilePath("/var/lib/border-gateway")
DEFAULT_SOCKET = FilePath("/run/border-gateway/control.sock")


def _device_id(value: object) -> object:
    return parse_device_id(value) if isinstance(value, str) else value


def _writable(value: object) -> bool | tuple[Path, ...]:
    if isinstance(value, bool):
        return value
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(map(Path.parse, value))
    raise ValueError('expected true, false, or a list of paths such as ["3312/0/5850"]')


class Location(Section):
    """Where something stands: degrees of WGS 84, metres above sea level."""

    latitude: Annotated[float, Field(ge=-90, le=90)]
    longitude: Annotated[float, Field(ge=-180, le=180)]
    altitude: float | None = None


class GatewaySection(Section):
    """The daemon itself."""

    reload: ClassVar[Reload] = Reload.LIVE
    log: Literal["debug", "info", "warning", "error"] = "info"
    """How much is logged: debug, info, warning or error."""
    socket: Annotated[FilePath, Reload.RESTART] = DEFAULT_SOCKET
    """Where the command line reaches the running daemon."""
    definitions: FilePath | None = Field(None, examples=["/etc/border-gateway/objects"])
    """A folder of vendors' object definitions (LwM2M DDF XML files)."""
    writable: Annotated[bool | tuple[Path, ...], BeforeValidator(_writable)] = False
    """Whether clients may execute what the gateway itself can do: false, true, or paths such as
    ["3/0/4"] (Reboot starts all adapters anew)."""
    location: Location | None = Field(
        None, examples=[{"latitude": 47.3769, "longitude": 8.5417, "altitude": 408.0}]
    )
    """Where the gateway stands; clients read it at /6/0."""


class ReportSection(Section):
    """When a new reading is told to clients. Reading always gives the newest value."""

    reload: ClassVar[Reload] = Reload.LIVE
    deadband: Annotated[float, Field(ge=0)] = 0.0
    """Tell a number (a Float, not a count) only if it differs by more than this from the last."""
    min_interval: Duration = 0.0
    """Tell a resource at most this often; the newest value follows when the time is over."""
    max_interval: Duration = 300.0
    """Tell an unchanged value again when it is measured after this time."""
    max_age: Duration = 60.0
    """How long CoAP clients may take a value of a device that is online for fresh."""


class DeviceReport(Section):
    """A device's own report rule; what is left out is as under [report]."""

    deadband: Annotated[float, Field(ge=0)] | None = None
    min_interval: Duration | None = None
    max_interval: Duration | None = None


class DeviceSection(Section):
    """A device that may be bridged; repeat the section for each. Others join by `permit`."""

    reload: ClassVar[Reload] = Reload.LIVE
    id: Annotated[DeviceId, BeforeValidator(_device_id)] = Field(examples=["ble:00-24-be-80-4f-f1"])
    """Its identity: ble:aa-bb-cc-dd-ee-ff or lowpan:00124b0001020304."""
    prefix: Annotated[Annotated[str, AfterValidator(check_prefix)] | None, Reload.RESTART] = Field(
        None, examples=["weather"]
    )
    """First segment of its CoAP paths; without it one is assigned once (d1, d2, ...). That of a
    device which has joined changes only with a restart."""
    name: Annotated[str, Field(max_length=MAX_NAME)] | None = Field(
        None, examples=["Weather station"]
    )
    """What people call it."""
    writable: Annotated[bool | tuple[Path, ...], BeforeValidator(_writable)] = False
    """Whether clients may write and execute: false, true, or paths such as ["3312/0/5850"]."""
    report: DeviceReport | None = Field(None, examples=[{"deadband": 0.5, "min_interval": "10s"}])
    """Its own report rule; what is left out is as under [report]."""


CORE_SECTIONS: Mapping[str, type[Section]] = {"gateway": GatewaySection, "report": ReportSection}


@dataclass(frozen=True, slots=True)
class Config:
    """A valid configuration. `adapters` holds the class and the section of each enabled adapter."""

    gateway: GatewaySection
    rules: Rules
    adapters: Mapping[str, tuple[type[Adapter], Section]]


def adapter_entry_points() -> Mapping[str, EntryPoint]:
    """The adapters that are installed, by the name of their section."""
    return {point.name: point for point in entry_points(group="border_gateway.adapters")}


def load(file: FilePath) -> Config:
    """The configuration in `file`; ConfigError with every fault, one a line."""
    try:
        text = file.read_text("utf-8")
    except OSError as error:
        raise ConfigError(
            f"{file}: {error.strerror}; write one with: border-gateway config sample > {file}"
        ) from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: not UTF-8 text (byte {error.start})") from error
    try:
        return parse(text)
    except ConfigError as error:
        lines = "\n".join(f"  {line}" for line in str(error).splitlines())
        raise ConfigError(f"{file} cannot be used:\n{lines}") from None


def parse(text: str) -> Config:
    """The configuration in TOML `text`; ConfigError with every fault, one a line."""
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not TOML: {error}") from error
    points = adapter_entry_points()
    faults: list[str] = []
    core = {
        name: _section(section, name, data.pop(name, {}), faults)
        for name, section in CORE_SECTIONS.items()
    }
    devices = _devices(data.pop("device", []), faults)
    adapters: dict[str, tuple[type[Adapter], Section]] = {}
    for name, content in data.items():
        if name not in points:
            known = [*CORE_SECTIONS, "device", *points]
            faults.append(f"[{name}]: unknown section{_nearest(name, known)}")
            continue
        try:
            adapter: type[Adapter] = points[name].load()
        except ImportError as error:
            faults.append(f"[{name}]: this adapter cannot be loaded: {error}")
            continue
        if section := _section(adapter.Config, name, content, faults):
            adapters[name] = (adapter, section)
    general, report = core["gateway"], core["report"]
    if faults or not isinstance(general, GatewaySection) or not isinstance(report, ReportSection):
        raise ConfigError("\n".join(faults))
    return Config(general, _rules(general, report, devices), adapters)


def _rules(
    general: GatewaySection, report: ReportSection, devices: Sequence[DeviceSection]
) -> Rules:
    return Rules(
        devices={
            **({GATEWAY: DeviceRule(writable=general.writable)} if general.writable else {}),
            **{device.id: _device_rule(device, report) for device in devices},
        },
        report=ReportRule(report.deadband, report.min_interval, report.max_interval),
        max_age_s=report.max_age,
    )


def _device_rule(device: DeviceSection, general: ReportSection) -> DeviceRule:
    rule = None
    if own := device.report:
        rule = ReportRule(
            general.deadband if own.deadband is None else own.deadband,
            general.min_interval if own.min_interval is None else own.min_interval,
            general.max_interval if own.max_interval is None else own.max_interval,
        )
    return DeviceRule(True, device.prefix, device.name, device.writable, rule)


def _devices(content: object, faults: list[str]) -> Sequence[DeviceSection]:
    if not isinstance(content, list):
        faults.append("device: expected sections headed [[device]], with two brackets each")
        return []
    found: list[DeviceSection] = []
    for number, item in enumerate(content, 1):
        device = _section(DeviceSection, f"device #{number}", item, faults)
        if isinstance(device, DeviceSection):
            found.append(device)
    for key in ("id", "prefix"):
        values = [getattr(d, key) for d in found if getattr(d, key) is not None]
        faults += [
            f"[device] {key} = {value!r}: stands in several [[device]] sections"
            for value in sorted({v for v in values if values.count(v) > 1})
        ]
    return found


def _section(
    section: type[Section], name: str, content: object, faults: list[str]
) -> Section | None:
    try:
        return section.model_validate(content)
    except ValidationError as error:
        faults.extend(_faults(section, name, error))
        return None


def _faults(section: type[Section], name: str, error: ValidationError) -> Iterator[str]:
    """One sentence a fault: where, what stands there, what was expected, the nearest name."""
    seen: set[str] = set()
    for item in error.errors(include_url=False):
        keys = [k for k in item["loc"] if not (isinstance(k, str) and not k.isidentifier())]
        where = f"[{name}] " + ".".join(map(str, keys)) if keys else f"[{name}]"
        if where in seen:  # the other branches of a union
            continue
        seen.add(where)
        if item["type"] == "missing":
            yield f"{where}: is missing"
        elif item["type"] == "extra_forbidden":
            nearest = _nearest(str(keys[-1]), _fields(section, keys[:-1]))
            yield f"{where} = {_shown(item['input'])}: unknown key{nearest}"
        else:
            message = item["msg"].removeprefix("Value error, ")
            yield f"{where} = {_shown(item['input'])}: {message[:1].lower()}{message[1:]}"


def _fields(section: type[BaseModel], keys: Sequence[int | str]) -> Sequence[str]:
    """The names that are valid in the section, or in the table within it that `keys` lead to."""
    for key in keys:
        annotation = (
            section.model_fields[str(key)].annotation if str(key) in section.model_fields else None
        )
        inner = [t for t in _types(annotation) if issubclass(t, BaseModel)]
        if not inner:
            return []
        section = inner[0]
    return list(section.model_fields)


def _types(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _types(argument)


def _nearest(name: str, known: Sequence[str]) -> str:
    if match := difflib.get_close_matches(name, known, n=1, cutoff=0.5):
        return f"; did you mean {match[0]!r}?"
    return f"; known are {', '.join(known)}" if known else ""


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."

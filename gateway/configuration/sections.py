"""The sections of the configuration that every gateway has, and the rules that they make.

The docstrings are the comments of the sample file and the text of the reference page.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path as FilePath
from typing import Annotated, Any, ClassVar, Literal, Self, TypeVar

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from gateway.configuration.places import DEFAULT_SOCKET
from gateway.model import GATEWAY, DeviceId, check_prefix, parse_device_id
from gateway.patterns import DevicePattern, PathPattern, parse_id_pattern, parse_service
from gateway.policy import (
    AS_GENERAL,
    DeviceRule,
    Patience,
    ReportOverride,
    ReportRule,
    ResourceRule,
    Retention,
    Rules,
    check_name,
)
from gateway.ports import Duration, Reload, Section


def _device_id(value: object) -> object:
    return parse_device_id(value) if isinstance(value, str) else value


def _writable(value: object) -> bool | tuple[PathPattern, ...]:
    if isinstance(value, bool):
        return value
    if isinstance(value, list) and all(isinstance(v, str) for v in value):
        return tuple(map(PathPattern.parse, value))
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
    writable: Annotated[bool | tuple[PathPattern, ...], BeforeValidator(_writable)] = False
    """Whether clients may execute what the gateway itself can do: false, true, or paths such as
    ["3/0/4"] (Reboot starts all adapters anew)."""
    location: Location | None = Field(
        None, examples=[{"latitude": 47.3769, "longitude": 8.5417, "altitude": 408.0}]
    )
    """Where the gateway stands; clients read it at /6/0."""


class AvailabilitySection(Section):
    """When a silent device counts as offline, by what kind of device it is. A device's own timeout
    goes before. Commands are tried all the same."""

    reload: ClassVar[Reload] = Reload.LIVE
    powered: Duration = 10.0
    """One that its adapter keeps in touch with, connected or asked regularly: it is offline when it
    was lost, and attempts to reach it failed for this long."""
    sleepy: Annotated[Duration, Field(gt=0)] = 90_000.0
    """One that sleeps, after its last sign of life."""
    beacon: Annotated[Duration, Field(gt=0)] = 195.0
    """One that is only heard, until it is known how often: then after 2.5 times its usual interval,
    but not before 30s."""


Deadband = Annotated[float, Field(ge=0)]


class ReportSection(Section):
    """When a new reading is told to clients. Reading always gives the newest value."""

    reload: ClassVar[Reload] = Reload.LIVE
    deadband: Deadband = 0.0
    """Tell a number (a Float, not a count) only if it differs by more than this from the last."""
    min_interval: Duration = 0.0
    """Tell a resource at most this often; the newest value follows when the time is over, within
    a second."""
    max_interval: Duration = 300.0
    """Tell an unchanged value again when it is measured after this time."""
    max_age: Duration = 60.0
    """How long CoAP clients may take a value of a device that is online for fresh."""


class JournalSection(Section):
    """What has changed, kept for those who ask for it later and for servers that were away."""

    reload: ClassVar[Reload] = Reload.LIVE
    age: Duration = 604_800.0
    """How long a change is kept."""
    entries: Annotated[int, Field(ge=0, le=100_000_000)] = 1_000_000
    """How many changes are kept, of all devices; a million take about 45 MB. 0 keeps none."""


def _pattern(value: object) -> PathPattern:
    if isinstance(value, str):
        return PathPattern.parse(value)
    raise ValueError('expected a path in quotes, such as "3303/*/5700"')


Pattern = Annotated[PathPattern, BeforeValidator(_pattern)]


class ResourceSection(Section):
    """Rules for a resource of every device; repeat the section for each. [[device.resource]] says
    the same of one device, and counts first. Of several that fit, the first one counts that says
    something."""

    reload: ClassVar[Reload] = Reload.LIVE
    path: Pattern = Field(examples=["3303/*/5700"])
    """Which it is: object/instance/resource, * for any instance. A shorter path is all below it."""
    deadband: Deadband | None = Field(None, examples=[0.2])
    """As under [report]."""
    min_interval: Duration | None = Field(None, examples=["10s"])
    """As under [report]."""
    max_interval: Duration | None = Field(None, examples=["15min"])
    """As under [report]."""
    scale: Annotated[float, Field(gt=0)] | None = Field(None, examples=[0.1])
    """A device's number is multiplied by this, and then offset is added; what clients write goes
    the other way. That of a Sensor Value (5700) counts for its extremes and range too (5601 to
    5604)."""
    offset: float | None = Field(None, examples=[-0.5])
    """See scale."""
    hidden: bool | None = Field(None, examples=[False])
    """Whether clients see nothing of it."""


class DeviceReport(Section):
    """A device's own report rule."""

    deadband: Deadband | None = None
    min_interval: Duration | None = None
    max_interval: Duration | None = None


class _PatternSection(Section):
    reload: ClassVar[Reload] = Reload.LIVE
    id: Annotated[str, AfterValidator(parse_id_pattern)] | None = Field(
        None, examples=["ble:00-24-be-*"]
    )
    """Its identity, where * stands for any rest: lowpan:00124b* for an EUI-64."""
    name: str | None = Field(None, examples=["Weather*"])
    """What it calls itself; * and ? are wildcards, letter case does not count."""
    service: Annotated[str, AfterValidator(parse_service)] | None = Field(None, examples=["181a"])
    """A service that it advertises, as a UUID of 16 or 128 bits."""
    adapter: str | None = Field(None, examples=["ble"])
    """Which adapter sees it."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.pattern == DevicePattern():
            raise ValueError("say at least one of id, name, service, adapter")
        return self

    @property
    def pattern(self) -> DevicePattern:
        """The section as a rule."""
        return DevicePattern(self.id, self.name, self.service, self.adapter)


class AdmitSection(_PatternSection):
    """Devices that join by themselves when they are seen; repeat the section for each kind. All
    keys must fit. What has joined stays until `border-gateway forget`, or a [[block]]."""


class BlockSection(_PatternSection):
    """Devices that are not bridged, though they may have joined, or the join window is open. All
    keys must fit. A device that has a [[device]] section is never blocked."""

    name: str | None = Field(None, examples=["*TV*"])
    """What it calls itself; * and ? are wildcards, letter case does not count."""


class DeviceSection(Section):
    """A device that is bridged; repeat the section for each. Others join by [[admit]], or by
    `permit`."""

    reload: ClassVar[Reload] = Reload.LIVE
    id: Annotated[DeviceId, BeforeValidator(_device_id)] = Field(examples=["ble:00-24-be-80-4f-f1"])
    """Its identity: ble:aa-bb-cc-dd-ee-ff or lowpan:00124b0001020304."""
    prefix: Annotated[Annotated[str, AfterValidator(check_prefix)] | None, Reload.RESTART] = Field(
        None, examples=["weather"]
    )
    """First segment of its CoAP paths; without it one is assigned once (d1, d2, ...). That of a
    device which has joined changes only with a restart."""
    name: Annotated[str, AfterValidator(check_name)] | None = Field(
        None, examples=["Weather station"]
    )
    """What people call it, and no other device."""
    writable: Annotated[bool | tuple[PathPattern, ...], BeforeValidator(_writable)] = False
    """Whether clients may write and execute: false, true, or paths such as ["3312/0/5850"], where *
    stands for any id."""
    timeout: Duration | None = Field(None, examples=["2h"])
    """How long it may be silent before it counts as offline; see [availability]."""
    report: DeviceReport | None = Field(None, examples=[{"deadband": 0.5, "min_interval": "10s"}])
    """Its own report rule; what is left out is as under [[resource]] and [report]."""
    resource: tuple[ResourceSection, ...] = Field(
        (), examples=[[{"path": "3303/0/5700", "scale": 0.1}]]
    )
    """Rules for its resources, which may also be written as [[device.resource]] sections."""


CORE_SECTIONS: Mapping[str, type[Section]] = {
    "gateway": GatewaySection,
    "report": ReportSection,
    "availability": AvailabilitySection,
    "journal": JournalSection,
}
REPEATED_SECTIONS: Mapping[str, type[Section]] = {
    "resource": ResourceSection,
    "admit": AdmitSection,
    "block": BlockSection,
    "device": DeviceSection,
}


S = TypeVar("S", bound=Section)


def every(kind: type[S], sections: Iterable[Section]) -> list[S]:
    """The sections of a kind, in their order."""
    return [section for section in sections if isinstance(section, kind)]


def the(kind: type[S], sections: Iterable[Section]) -> S:
    """The one section of a kind that stands once in the file."""
    (section,) = every(kind, sections)
    return section


def clashes(sections: Sequence[Section]) -> Iterator[str]:
    """A sentence for each pair of sections of which only one could count."""
    devices = every(DeviceSection, sections)
    for key in ("id", "prefix", "name"):
        for value in _twice(getattr(device, key) for device in devices):
            yield f"[device] {key} = {value!r}: stands in several [[device]] sections"
    prefixes = {device.prefix: device.id for device in devices if device.prefix}
    for device in devices:
        if device.name and prefixes.get(device.name, device.id) != device.id:
            yield f"[device] name = {device.name!r}: is the prefix of {prefixes[device.name]}"
    block = _patterns(BlockSection, sections)
    for pattern in _patterns(AdmitSection, sections):
        if pattern in block:
            yield f"[admit] {pattern}: [[block]] says the same, and counts first"
    yield from _same_path("resource", every(ResourceSection, sections))
    for device in devices:
        yield from _same_path(f"{device.id}: device.resource", device.resource)


def rules_of(sections: Sequence[Section]) -> Rules:
    """What the sections say, as the rules of the core."""
    general, report = the(GatewaySection, sections), the(ReportSection, sections)
    silence = the(AvailabilitySection, sections)
    devices = {device.id: _device_rule(device) for device in every(DeviceSection, sections)}
    if general.writable:
        devices[GATEWAY] = DeviceRule(writable=general.writable)
    return Rules(
        devices=devices,
        report=ReportRule(report.deadband, report.min_interval, report.max_interval),
        max_age_s=report.max_age,
        resources=_resource_rules(every(ResourceSection, sections)),
        admit=_patterns(AdmitSection, sections),
        block=_patterns(BlockSection, sections),
        patience=Patience(silence.powered, silence.sleepy, silence.beacon),
    )


def retention_of(sections: Sequence[Section]) -> Retention:
    """What the sections say of the journal."""
    journal = the(JournalSection, sections)
    return Retention(journal.age, journal.entries)


def _device_rule(device: DeviceSection) -> DeviceRule:
    return DeviceRule(
        listed=True,
        prefix=device.prefix,
        name=device.name,
        writable=device.writable,
        report=_override(device.report) if device.report else AS_GENERAL,
        resources=_resource_rules(device.resource),
        timeout_s=device.timeout,
    )


def _resource_rules(sections: Iterable[ResourceSection]) -> tuple[ResourceRule, ...]:
    return tuple(
        ResourceRule(each.path, _override(each), each.scale, each.offset, each.hidden)
        for each in sections
    )


def _patterns(
    kind: type[_PatternSection], sections: Iterable[Section]
) -> tuple[DevicePattern, ...]:
    return tuple(section.pattern for section in every(kind, sections))


def _override(section: DeviceReport | ResourceSection) -> ReportOverride:
    return ReportOverride(section.deadband, section.min_interval, section.max_interval)


def _same_path(where: str, sections: Iterable[ResourceSection]) -> Iterator[str]:
    for path in _twice(each.path for each in sections):
        yield f"[{where}] path = '{path}': stands in several sections; put it all into one"


def _twice(values: Iterable[Any]) -> Sequence[Any]:
    """What stands there more than once, None left out."""
    counted = Counter(value for value in values if value is not None)
    return [value for value, times in counted.items() if times > 1]

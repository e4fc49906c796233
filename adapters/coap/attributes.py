"""What clients may ask of notifications, and what of it holds for a path; knows no observation.

Two dialects: notification attributes, attached to paths by PUT or given with an Observe (LwM2M
Core 7.3.2), and the conditional query parameters `c.*` of an Observe
(draft-ietf-core-conditional-attributes-12).
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from decimal import Decimal
from functools import reduce
from typing import Any

from gateway.errors import Busy, InvalidValue
from gateway.formats.text import to_text
from gateway.model import DeviceId, Path, ResourceType, printable

SHORTEST_PERIOD_S = 0.1
"""What shorter `c.*` periods are rounded up to: nobody may ask for a flood (draft-12, 5)."""

ATTACHED_LIMIT = 4_096
"""Paths that one server attaches something to: some hundred devices, a dozen resources each."""

_NUMERIC = frozenset(
    {ResourceType.INTEGER, ResourceType.UNSIGNED, ResourceType.FLOAT, ResourceType.TIME}
)
_WHOLE = re.compile(r"[0-9]{1,18}")
_DECIMAL = re.compile(r"-?[0-9]{1,40}(\.[0-9]{1,40})?")
_XS_DECIMAL = re.compile(r"[+-]?([0-9]{1,40}(\.[0-9]{0,40})?|\.[0-9]{1,40})")

_PERIODS = ("pmin", "pmax", "epmin", "epmax")
_THRESHOLDS = frozenset({"gt", "lt", "st", "band"})

_Reader = Callable[[str], float | None]
"""Reads a value; None if it is malformed."""


@dataclass(frozen=True, slots=True)
class Attributes:
    """When to notify; None is not set. Periods in seconds, thresholds in the resource's unit."""

    pmin: float | None = None
    pmax: float | None = None
    gt: float | None = None
    lt: float | None = None
    st: float | None = None
    epmin: float | None = None
    epmax: float | None = None
    edge: bool | None = None
    con: bool | None = None
    hqmax: int | None = None
    band: bool | None = None

    def over(self, inherited: Attributes) -> Attributes:
        """These, and what is inherited where nothing is set here."""
        return replace(inherited, **dict(self._set()))

    def of_several(self) -> Attributes:
        """These without what compares one resource's values."""
        return replace(self, gt=None, lt=None, st=None, band=None, edge=None)

    @property
    def conditional(self) -> bool:
        """Whether they say when to notify, and not only how."""
        return replace(self, con=None, hqmax=None) != NONE

    def parameters(self) -> Iterator[tuple[str, str]]:
        """What is set, as a Discover shows it: names and values of link parameters."""
        return ((name, to_text(value)) for name, value in self._set())

    def _set(self) -> Iterator[tuple[str, Any]]:
        for name in _NAMES:
            if (value := getattr(self, name)) is not None:
                yield name, value


_NAMES = tuple(field.name for field in fields(Attributes))

NONE = Attributes()


class Attached:
    """What one server has attached to paths of devices; bounded by `limit` paths."""

    def __init__(self, limit: int = ATTACHED_LIMIT) -> None:
        self._limit = limit
        self._attached: dict[tuple[DeviceId, Path], Attributes] = {}

    def write(
        self, device: DeviceId, path: Path, query: Sequence[str], type: ResourceType | None
    ) -> None:
        """Carries out a Write-Attributes, all of it or nothing; InvalidValue, Busy.

        A name without value takes back what was attached here. `type` is the resource's, None
        for an object or an instance.
        """
        settings = _parse(query, _LWM2M, unset=True)
        _check_type(settings, type)
        attributes = replace(self.at(device, path), **settings)
        _check_lwm2m(attributes)
        if attributes == NONE:
            self._attached.pop((device, path), None)
        elif (device, path) in self._attached or len(self._attached) < self._limit:
            self._attached[device, path] = attributes
        else:
            raise Busy("attributes are attached to too many paths already")

    def at(self, device: DeviceId, path: Path) -> Attributes:
        """What is attached to the path itself."""
        return self._attached.get((device, path), NONE)

    def effective(self, device: DeviceId, path: Path) -> Attributes:
        """What is attached to the path or inherited from what it lies in."""
        if not self._attached:  # as with most
            return NONE
        levels = (self.at(device, path.upto(depth)) for depth in range(1, len(path) + 1))
        return reduce(lambda above, here: here.over(above), levels, NONE)

    def forget(self, device: DeviceId, path: Path | None = None) -> None:
        """Drops what is attached at and below the path, or to the whole device."""
        for key in [
            (d, p) for d, p in self._attached if d == device and (path is None or path.covers(p))
        ]:
            del self._attached[key]


def requested(query: Sequence[str], type: ResourceType | None) -> Attributes | None:
    """What the query of an Observe asks for, in place of what is attached; None without query.

    `type` is that of the one observed resource, None where several are. InvalidValue.
    """
    if not query:
        return None
    draft = all(parameter.startswith("c.") for parameter in query)
    settings = _parse(query, _DRAFT if draft else _LWM2M)
    _check_type(settings, type)
    attributes = Attributes(**settings)
    if not draft:
        _check_lwm2m(attributes)
        return attributes
    _check_draft(attributes)
    periods = {name: settings[name] for name in _PERIODS if name in settings}
    return replace(attributes, **{n: max(s, SHORTEST_PERIOD_S) for n, s in periods.items()})


def in_force(
    attributes: Attributes, default_pmin: float = 0, default_pmax: float = 0
) -> Attributes:
    """The attributes as they work: with the server's periods (/1/x/2, /1/x/3), 0 being none.

    A pmax below pmin is ignored (LwM2M Core 7.3.2).
    """
    pmin = default_pmin if attributes.pmin is None else attributes.pmin
    pmax = default_pmax if attributes.pmax is None else attributes.pmax
    return replace(
        attributes,
        pmin=pmin or None,
        pmax=pmax if pmax and pmax >= pmin else None,
        epmin=attributes.epmin or None,
        epmax=attributes.epmax or None,
    )


# --- what is written in a query ---


def _number(form: re.Pattern[str], number: Callable[[str], float]) -> _Reader:
    return lambda text: number(text) if form.fullmatch(text) else None


_LWM2M: Mapping[str, _Reader] = {
    **dict.fromkeys(("pmin", "pmax", "epmin", "epmax", "hqmax"), _number(_WHOLE, int)),
    **dict.fromkeys(("gt", "lt", "st"), _number(_DECIMAL, float)),
    **dict.fromkeys(("edge", "con"), {"0": False, "1": True}.get),
}
_DRAFT: Mapping[str, _Reader] = {
    **dict.fromkeys(("c.pmin", "c.pmax", "c.epmin", "c.epmax"), _number(_XS_DECIMAL, float)),
    **dict.fromkeys(("c.gt", "c.lt", "c.st"), _number(_XS_DECIMAL, float)),
    **dict.fromkeys(("c.edge", "c.con"), {"0": False, "1": True, "false": False, "true": True}.get),
    "c.band": {"": True}.get,
}


def _parse(
    query: Iterable[str], dialect: Mapping[str, _Reader], *, unset: bool = False
) -> dict[str, Any]:
    """What the query sets, by field; None for a name without value, if that may `unset` it."""
    settings: dict[str, Any] = {}
    for parameter in query:
        label, equals, text = parameter.partition("=")
        if label not in dialect:
            raise InvalidValue(f"{printable(label)!r} is not known here")
        setting = dialect[label](text)
        if setting is None and (equals or not unset):
            raise InvalidValue(f"{label} cannot be {printable(text)!r}")
        name = label.removeprefix("c.")
        if name in settings:
            raise InvalidValue(f"{label} stands twice")
        settings[name] = setting
    return settings


# --- what goes together ---


def _check_type(settings: Iterable[str], type: ResourceType | None) -> None:
    for name in settings:
        if name in _THRESHOLDS and type not in _NUMERIC:
            raise InvalidValue(f"{name} is for one resource that is a number")
        if name == "edge" and type is not ResourceType.BOOLEAN:
            raise InvalidValue("edge is for one resource that is true or false")


def _check_lwm2m(attributes: Attributes) -> None:
    lt, gt, st = attributes.lt, attributes.gt, attributes.st
    _check_step(st)
    if lt is not None and gt is not None and _exact(lt) + 2 * _exact(st or 0) >= _exact(gt):
        raise InvalidValue("lt must be below gt, by more than two steps st if there are steps")
    if attributes.epmin and attributes.epmax and attributes.epmin >= attributes.epmax:
        raise InvalidValue("epmin must be below epmax")


def _check_draft(attributes: Attributes) -> None:
    _check_step(attributes.st)
    for name in _PERIODS:
        period = getattr(attributes, name)
        if period is not None and period <= 0:
            raise InvalidValue(f"c.{name} must be above 0")
    if (attributes.pmax or math.inf) < (attributes.pmin or 0):
        raise InvalidValue("c.pmax must not be below c.pmin")
    if (attributes.epmax or math.inf) <= (attributes.epmin or 0):
        raise InvalidValue("c.epmax must be above c.epmin")
    if attributes.band and attributes.gt is None and attributes.lt is None:
        raise InvalidValue("c.band needs c.gt or c.lt")


def _check_step(st: float | None) -> None:
    if st is not None and st <= 0:
        raise InvalidValue("st must be above 0")


def _exact(number: float) -> Decimal:
    """The number as it was written, so that 0.7 and twice 0.1 make 0.9."""
    return Decimal(repr(number))

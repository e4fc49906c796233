"""Finds out by GET alone what objects a CoAP server shows, its own and those behind prefixes."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

import aiocoap
from aiocoap import Context, Message, error

from adapters.coap.messages import Code, Format
from adapters.coap.tree import parse_ids, split
from gateway.errors import DecodeError, GatewayError, InvalidValue, NotAllowed
from gateway.formats import cbor, linkformat, senml
from gateway.formats.linkformat import Link
from gateway.formats.lwm2m_cbor import from_lwm2m_cbor
from gateway.formats.lwm2m_json import from_lwm2m_json
from gateway.formats.text import from_text
from gateway.formats.tlv import from_tlv
from gateway.model import Path, ResourceType, Value, printable
from gateway.objects.registry import Registry
from gateway.objects.validation import GATEWAY_OBJECT, PREFIX, Probe, Tree, needed

SCHEMES = ("coap", "coap+tcp", "coap+ws")

MAX_LINKS = 200_000
"""Of one server: ten thousand devices of twenty resources."""

STRUCTURED = (
    Format.SENML_JSON, Format.SENML_CBOR, Format.LWM2M_CBOR, Format.TLV, Format.LWM2M_JSON,
)  # fmt: skip
"""What an instance is asked for, until the server answers; then it is asked for that first."""

_PROBES: Mapping[int, Probe] = {
    Code.NOT_FOUND: Probe.ABSENT,
    Code.METHOD_NOT_ALLOWED: Probe.NOT_ALLOWED,
}
_HOST = re.compile(r"[^/?#\s]+")


class Unanswered(GatewayError):
    """The server cannot be reached, or does not speak CoAP; the text names it and the reason."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a GET brought."""

    code: int
    format: int | None
    payload: bytes


class Survey:
    """One look at the server at a URI: whatever it answers is part of what is found."""

    def __init__(self, uri: str, registry: Registry, timeout_s: float) -> None:
        self._base = check_uri(uri)
        self._registry = registry
        self._timeout_s = timeout_s
        self._formats = list(STRUCTURED)
        self._context: Context | None = None
        self._faults: dict[str, str] = {}

    async def run(self) -> Sequence[Tree]:
        """The trees of the server itself and of each device behind a prefix; Unanswered."""
        self._context = await Context.create_client_context()
        try:
            links = await self._links()
            own = await self._look("", links.pop("", {}))
            for path, prefix in own.values.items():
                is_prefix = path[0] == GATEWAY_OBJECT and path[2:] == (PREFIX,)
                if is_prefix and isinstance(prefix, str) and prefix:
                    links.setdefault(prefix, {})
            return [own, *[await self._look(prefix, links[prefix]) for prefix in sorted(links)]]
        finally:
            await self._context.shutdown()

    # --- what there is ---

    async def _links(self) -> dict[str, dict[Path, Link]]:
        """What /.well-known/core names, by prefix; LwM2M clients need not have it."""
        answer = await self._get((".well-known", "core"))
        links: dict[str, dict[Path, Link]] = {}
        for link in self._parse(answer, "/.well-known/core"):
            prefix, path = _place(link.target)
            of_prefix = links.setdefault(prefix, {})
            if path is not None:
                of_prefix[path] = link
        return {p: found for p, found in links.items() if found or p == ""}

    async def _look(self, prefix: str, links: dict[Path, Link]) -> Tree:
        """One tree: its links, completed by Discover where they do not go deep enough."""
        objects = sorted({p.object for p in links}) or [d.id for d in self._registry.objects()]
        for object_id in objects:
            if not any(len(p) > 1 and p.object == object_id for p in links):
                await self._discover(prefix, Path(object_id), links)
        instances = sorted({p.upto(2) for p in links if len(p) > 1})
        values: dict[Path, Value] = {}
        self._faults = {} if prefix else self._faults
        for instance in instances:
            if not any(len(p) > 2 and instance.covers(p) for p in links):
                await self._discover(prefix, instance, links)
            values |= await self._values(prefix, instance)
        tree = Tree(prefix, links, values)
        probes: dict[Path, Probe] = {}
        for path in needed(tree, self._registry):
            probes |= await self._probe(prefix, path, values)
        return Tree(prefix, links, values, probes, self._faults)

    async def _discover(self, prefix: str, path: Path, links: dict[Path, Link]) -> None:
        answer = await self._get(_segments(prefix, path), Format.LINK)
        for link in self._parse(answer, _name(prefix, path)):
            _, found = _place(link.target)
            if found is not None and path.covers(found):
                links.setdefault(found, link)

    def _parse(self, answer: Answer, name: str) -> Sequence[Link]:
        if answer.code == Code.CONTENT:
            try:
                return linkformat.parse(answer.payload.decode(), MAX_LINKS)
            except (UnicodeDecodeError, DecodeError) as fault:
                self._faults[name] = str(fault)
        return []

    # --- what it holds ---

    async def _values(self, prefix: str, instance: Path) -> Mapping[Path, Value]:
        """A whole instance, in the first format that the server has for it."""
        for wanted in tuple(self._formats):
            answer = await self._get(_segments(prefix, instance), wanted)
            if answer.code in _PROBES:
                return {}
            if answer.code == Code.CONTENT and (read := _READERS.get(answer.format or 0)):
                self._formats.sort(key=lambda form: form != answer.format)
                try:
                    return read(self, answer.payload, prefix, instance)
                except (DecodeError, InvalidValue) as fault:
                    self._faults[_name(prefix, instance)] = str(fault)
                    return {}  # one by one, to find which of them it is
        return {}

    async def _probe(
        self, prefix: str, path: Path, values: dict[Path, Value]
    ) -> Mapping[Path, Probe]:
        """Asks for one resource that the instance did not show; adds its value, if it has one."""
        answer = await self._get(_segments(prefix, path))
        if answer.code != Code.CONTENT:
            return {path: _PROBES.get(answer.code, Probe.UNCLEAR)}
        try:
            values |= self._single(answer, prefix, path)
        except (DecodeError, InvalidValue):
            return {path: Probe.UNCLEAR}
        return {path: Probe.ANSWERED}

    def _single(self, answer: Answer, prefix: str, path: Path) -> Mapping[Path, Value]:
        form = answer.format or Format.TEXT
        if read := _READERS.get(form):
            return read(self, answer.payload, prefix, path)
        kind = self._type_of(path)
        match form:
            case Format.OPAQUE:
                return {path: answer.payload}
            case Format.CBOR:
                return {path: _typed(cbor.from_cbor(answer.payload), kind)}
            case Format.TEXT:
                text = answer.payload.decode(errors="replace")
                try:
                    known = kind not in {None, ResourceType.NONE}
                    return {path: from_text(text, kind) if kind and known else text}
                except InvalidValue:
                    return {path: text}  # of the wrong type
        raise DecodeError(f"no value has format {form}")

    def _type_of(self, path: Path) -> ResourceType | None:
        definition = self._registry.resource(path[0], path[2]) if len(path) > 2 else None
        return definition.type if definition else None

    def _pack(self, records: Sequence[senml.Record], prefix: str, base: Path) -> dict[Path, Value]:
        values: dict[Path, Value] = {}
        for record in records:
            named, path = _place(record.name)
            if path is None or named != prefix or not base.covers(path) or len(path) < 3:
                raise DecodeError(f"{printable(record.name)} is not in {base}")
            if record.value is not None:
                values[path] = record.value
        return values

    def senml_json(self, payload: bytes, prefix: str, base: Path) -> dict[Path, Value]:
        return self._pack(senml.from_json(payload, time.time()), prefix, base)

    def senml_cbor(self, payload: bytes, prefix: str, base: Path) -> dict[Path, Value]:
        return self._pack(senml.from_cbor(payload, time.time()), prefix, base)

    def senml_xml(self, payload: bytes, prefix: str, base: Path) -> dict[Path, Value]:
        return self._pack(senml.from_xml(payload, time.time()), prefix, base)

    def lwm2m_cbor(self, payload: bytes, prefix: str, base: Path) -> dict[Path, Value]:
        records = [
            senml.Record(
                _name(node.prefix, node.path),
                None if node.value is None else _typed(node.value, self._type_of(node.path)),
            )
            for node in from_lwm2m_cbor(payload)
        ]
        return self._pack(records, prefix, base)

    def tlv(self, payload: bytes, prefix: str, base: Path) -> dict[Path, Value]:
        return from_tlv(payload, base, self._type_of)

    def lwm2m_json(self, payload: bytes, prefix: str, base: Path) -> dict[Path, Value]:
        return dict(from_lwm2m_json(payload, base, self._type_of))

    # --- the wire ---

    async def _get(self, path: Sequence[str], accept: Format | None = None) -> Answer:
        assert self._context is not None  # noqa: S101  (made in run)
        request = Message(code=aiocoap.GET)
        request.set_request_uri(self._base)
        request.opt.uri_path = tuple(path)
        if accept is not None:
            request.opt.accept = accept
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._context.request(request).response
        except TimeoutError:
            reason = f"no answer to /{'/'.join(path)} within {self._timeout_s:g} s"
            raise Unanswered(f"{self._base}: {reason}") from None
        except (error.Error, OSError) as failure:
            raise Unanswered(f"{self._base}: {_reason(failure)}") from None
        form = answer.opt.content_format
        return Answer(int(answer.code), None if form is None else int(form), bytes(answer.payload))


_Read = Callable[[Survey, bytes, str, Path], Mapping[Path, Value]]

_READERS: Mapping[int, _Read] = {
    Format.SENML_JSON: Survey.senml_json,
    Format.SENML_CBOR: Survey.senml_cbor,
    Format.SENML_XML: Survey.senml_xml,
    Format.LWM2M_CBOR: Survey.lwm2m_cbor,
    Format.TLV: Survey.tlv,
    Format.LWM2M_JSON: Survey.lwm2m_json,
}


def _typed(value: Value, kind: ResourceType | None) -> Value:
    """What a value in CBOR is, where CBOR does not tell; what is of the wrong type stays."""
    try:
        return cbor.typed(value, kind or ResourceType.NONE)
    except InvalidValue:
        return value


def check_uri(uri: str) -> str:
    """Scheme and host of a URI that can be looked at; Unanswered says what is wrong with it."""
    try:
        parts = urlsplit(uri)
        _ = parts.port
    except ValueError as fault:
        raise Unanswered(f"{printable(uri)!r} is no URI: {fault}") from None
    if parts.scheme not in SCHEMES or not _HOST.fullmatch(parts.netloc):
        wanted = ", ".join(f"{scheme}://" for scheme in SCHEMES)
        raise Unanswered(f"{printable(uri)!r} is not a URI that begins with one of {wanted}")
    if parts.path not in {"", "/"} or parts.query:
        raise Unanswered(f"{printable(uri)!r}: name the server only, without a path")
    return f"{parts.scheme}://{parts.netloc}"


def _reason(failure: Exception) -> str:
    cause = failure.__cause__ if isinstance(failure, error.NetworkError) else None
    for each in (cause, failure):
        if isinstance(each, OSError) and each.strerror:
            return each.strerror
    return str(failure) or type(failure).__name__


def _place(target: str) -> tuple[str, Path | None]:
    """Prefix and path that a link or a name means; no path for a root, or what is no object."""
    segments = [part for part in target.split("/") if part]
    if not target.startswith("/") or not segments:
        return "", None
    prefix, ids = split(segments)
    try:
        return prefix, parse_ids(ids) if ids else None
    except NotAllowed:
        return "", None


def _name(prefix: str, path: Path) -> str:
    return "/" + "/".join(_segments(prefix, path))


def _segments(prefix: str, path: Path) -> tuple[str, ...]:
    return (*([prefix] if prefix else []), *map(str, path))

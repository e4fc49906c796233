"""Payloads of nodes to values by path, and values to payloads, in every format. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from adapters.lowpan.coap.formats import Answer, Format
from gateway.errors import DecodeError, InvalidValue
from gateway.formats import cbor, senml
from gateway.formats.lwm2m_cbor import Node, from_lwm2m_cbor, to_lwm2m_cbor
from gateway.formats.lwm2m_json import from_lwm2m_json, to_lwm2m_json
from gateway.formats.text import from_text, to_text
from gateway.formats.tlv import from_tlv, to_tlv
from gateway.model import Path, ResourceType, Value, printable
from gateway.objects.registry import Registry

STRUCTURED = (
    Format.SENML_CBOR, Format.SENML_JSON, Format.TLV, Format.LWM2M_CBOR, Format.LWM2M_JSON,
)  # fmt: skip
"""Formats of whole instances, the best first: small, then with times, then with names."""

FUTURE_S = 60.0
"""How far a node's clock may go ahead; what it dates later is dated by ours."""


class Reader:
    """Reads what a node answers, with the types that the object definitions give."""

    def __init__(self, registry: Registry, root: tuple[str, ...]) -> None:
        self._registry = registry
        self._root = "".join(f"/{segment}" for segment in root)

    def type_of(self, path: Path) -> ResourceType | None:
        """The type of a resource, if anything defines it."""
        if len(path) < 3:
            return None
        definition = self._registry.resource(path[0], path[2])
        return definition.type if definition else None

    def read(self, answer: Answer, base: Path, now: float) -> dict[Path, tuple[Value, float]]:
        """The values in an answer to a GET of `base`, each with its time in Unix seconds.

        DecodeError if the payload is not what its format says.
        """
        data = answer.payload
        match answer.content_format:
            case Format.SENML_CBOR:
                return self._pack(senml.from_cbor(data, now), base, now)
            case Format.SENML_JSON:
                return self._pack(senml.from_json(data, now), base, now)
            case Format.TLV:
                values = from_tlv(data, base, self.type_of)
            case Format.LWM2M_JSON:
                values = from_lwm2m_json(data, base, self.type_of)
            case Format.LWM2M_CBOR:
                values = self._nodes(from_lwm2m_cbor(data), base)
            case None | Format.TEXT | Format.OPAQUE | Format.CBOR:
                values = {base: self._single(answer, base)}
            case other:
                raise DecodeError(f"{base} comes in format {other}, which is not read here")
        return {path: (value, now) for path, value in values.items()}

    def write(self, values: Mapping[Path, Value], base: Path, to: Format) -> bytes:
        """The payload that sets the values at and below `base`; EncodeError if it cannot."""
        match to:
            case Format.TEXT:
                return to_text(values[base]).encode()
            case Format.TLV:
                return to_tlv(values, base, short=True)
            case Format.LWM2M_JSON:
                return to_lwm2m_json(values, base)
            case Format.LWM2M_CBOR:
                return to_lwm2m_cbor(Node(path, value) for path, value in sorted(values.items()))
            case _:
                records = [
                    senml.Record(self._root + str(path), value)
                    for path, value in sorted(values.items())
                ]
                pack = senml.to_json if to is Format.SENML_JSON else senml.to_cbor
                written: bytes = pack(records)
                return written

    def _single(self, answer: Answer, base: Path) -> Value:
        if len(base) < 3:
            raise DecodeError(f"{base} comes as a single value")
        match answer.content_format:
            case Format.OPAQUE:
                return answer.payload
            case Format.CBOR:
                return self._typed(cbor.from_cbor(answer.payload), base)
            case _:
                return self._text(answer.payload, base)

    def _text(self, payload: bytes, base: Path) -> Value:
        try:
            text = payload.decode()
        except UnicodeDecodeError:
            raise DecodeError(f"{base} is no text in UTF-8") from None
        kind = self.type_of(base) or ResourceType.STRING
        try:
            # Small nodes end their numbers with a zero octet or a line's end.
            return from_text(text if kind is ResourceType.STRING else text.strip(" \r\n\0"), kind)
        except InvalidValue as error:
            raise DecodeError(f"{base}: {error}") from None

    def _typed(self, value: Value, path: Path) -> Value:
        try:
            return cbor.typed(value, self.type_of(path) or ResourceType.NONE)
        except InvalidValue as error:
            raise DecodeError(f"{path}: {error}") from None

    def _nodes(self, nodes: list[Node], base: Path) -> dict[Path, Value]:
        for node in nodes:
            if node.prefix or not base.covers(node.path):
                raise DecodeError(f"{printable(node.prefix)}{node.path} is not in {base}")
        return {n.path: self._typed(n.value, n.path) for n in nodes if n.value is not None}

    def _pack(
        self, records: list[senml.Record], base: Path, now: float
    ) -> dict[Path, tuple[Value, float]]:
        values: dict[Path, tuple[Value, float]] = {}
        for record in records:
            if record.value is None:
                continue
            path = self._named(record.name, base)
            at = now if record.time is None or record.time > now + FUTURE_S else record.time
            if path not in values or at >= values[path][1]:
                values[path] = record.value, at
        return values

    def _named(self, name: str, base: Path) -> Path:
        for text in (name.removeprefix(self._root), f"{base}/{name}"):
            try:
                path = Path.parse(text.replace("//", "/"))
            except ValueError:
                continue
            if len(path) > 2 and base.covers(path):
                return path
        raise DecodeError(f"{printable(name)} is no resource of {base}")

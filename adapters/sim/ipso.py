"""The IPSO objects of a virtual node, in the formats that real nodes speak. Pure."""

from __future__ import annotations

import json
import struct
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import cbor2

from adapters.sim import coap
from adapters.sim.coap_node import Content

TEXT, LINKS, SENML_JSON, SENML_CBOR = 0, 40, 110, 112
TLV, LWM2M_JSON, LWM2M_CBOR = 11542, 11543, 11544

_LABELS = ("v", "vb", "vs")

Simple = bool | int | float | str


@dataclass(slots=True)
class Objects:
    """Values by path (`/3303/0/5700`), in a tree below `root`, in text and in `formats`.

    `executes` are paths that take a POST; `changed` is called with the path of a value that was
    written. Other resources answer what they are given in `others` as text.
    """

    values: dict[str, Simple]
    root: str = ""
    formats: tuple[int, ...] = ()
    executes: frozenset[str] = frozenset()
    writable: frozenset[str] = frozenset()
    text: bool = True
    """Whether single values are given as text; some nodes speak only structured formats."""
    creatable: frozenset[str] = frozenset()
    """Objects (`/3340`) of which instances are made and removed, by SenML JSON."""
    stuck: frozenset[str] = frozenset()
    """What takes writes and does not change."""
    others: Mapping[str, str] = field(default_factory=dict)
    changed: Callable[[str], None] = lambda _: None
    executed: list[tuple[str, str]] = field(default_factory=list)
    asked: deque[str] = field(default_factory=lambda: deque(maxlen=100))
    """The paths that were read, the latest last."""

    def links(self, *, instances: bool = False, root: str | None = None) -> str:
        """Every resource as a link; or every object instance, as LwM2M registers them."""
        below = self.root if root is None else root
        if instances:
            found = dict.fromkeys(path.rsplit("/", 1)[0] for path in self.values)
            return ",".join(f"<{below}{path}>" for path in found)
        observed = [f"<{below}{path}>;obs" for path in self.values]
        plain = [f"<{below}{path}>" for path in sorted(self.executes)]
        return ",".join([*observed, *plain, *(f"<{path}>" for path in self.others)])

    def set(self, path: str, value: Simple) -> None:
        """A new value of the node's own."""
        self.values[path] = value
        self.changed(self.root + path)

    # --- what the CoAP server asks -------------------------------------------------------------

    def observable(self, path: str) -> bool:
        return path.removeprefix(self.root) in self.values

    def get(self, path: str, accept: int | None) -> Content:
        self.asked.append(path)
        if path == "/.well-known/core":
            return Content(coap.CONTENT, LINKS, self.links().encode())
        if path in self.others:
            return Content(coap.CONTENT, TEXT, self.others[path].encode())
        place = path.removeprefix(self.root)
        below = {p: v for p, v in self.values.items() if p == place or p.startswith(place + "/")}
        if not path.startswith(self.root) or not below:
            return Content(coap.NOT_FOUND)
        if self.text and place in self.values and accept in (None, TEXT):
            return Content(coap.CONTENT, TEXT, _text(self.values[place]).encode())
        wanted = self.formats[0] if accept is None and self.formats else accept
        if wanted not in self.formats or wanted is None:
            return Content(coap.NOT_ACCEPTABLE if accept is not None else coap.METHOD_NOT_ALLOWED)
        return Content(coap.CONTENT, wanted, self._structured(place, below, wanted))

    def write(self, path: str, method: int, content_format: int | None, payload: bytes) -> Content:
        place = path.removeprefix(self.root)
        if place in self.executes and method == coap.POST:
            self.executed.append((place, payload.decode()))
            return Content(coap.CHANGED)
        if method == coap.POST and place in self.creatable and content_format == SENML_JSON:
            for record in json.loads(payload):
                name = (record.get("bn", "") + record["n"]).removeprefix(self.root)
                self.values[name] = next(record[label] for label in _LABELS if label in record)
            return Content(coap.CREATED)
        if method == coap.DELETE:
            if place.rsplit("/", 1)[0] not in self.creatable:
                return Content(coap.METHOD_NOT_ALLOWED)
            for name in [name for name in self.values if name.startswith(f"{place}/")]:
                del self.values[name]
            return Content(coap.DELETED)
        if place not in self.values:
            return Content(coap.NOT_FOUND)
        if place not in self.writable or method != coap.PUT:
            return Content(coap.METHOD_NOT_ALLOWED)
        try:
            if self.text and content_format in (None, TEXT):
                value = _from_text(self.values[place], payload.decode())
            elif content_format == SENML_JSON and SENML_JSON in self.formats:
                (record,) = json.loads(payload)
                value = record[_label(self.values[place])]
            else:
                return Content(coap.UNSUPPORTED_FORMAT)
        except (ValueError, KeyError):
            return Content(coap.BAD_REQUEST, None, b"not such a value")
        if place not in self.stuck:
            self.set(place, value)
        return Content(coap.CHANGED)

    def _structured(self, place: str, below: Mapping[str, Simple], content_format: int) -> bytes:
        names = {path: path.removeprefix(place) for path in below}
        match content_format:
            case 110:
                records: list[dict[str, Simple]] = [
                    {"n": names[p], _label(v): v} for p, v in below.items()
                ]
                records[0]["bn"] = self.root + place
                return json.dumps(records).encode()
            case 112:
                keys = {"v": 2, "vs": 3, "vb": 4}
                pack: list[dict[int, Simple]] = [
                    {0: names[p], keys[_label(v)]: v} for p, v in below.items()
                ]
                pack[0][-2] = self.root + place
                return cbor2.dumps(pack)
            case 11542:
                return b"".join(_tlv(int(p.split("/")[-1]), v) for p, v in below.items())
            case 11544:
                return cbor2.dumps({tuple(map(int, p[1:].split("/"))): v for p, v in below.items()})
            case _:
                labels = {"v": "v", "vs": "sv", "vb": "bv"}
                entries = [
                    {"n": names[p].strip("/"), labels[_label(v)]: v} for p, v in below.items()
                ]
                return json.dumps({"bn": place + "/", "e": entries}).encode()


def _text(value: Simple) -> str:
    return str(int(value)) if isinstance(value, bool) else str(value)


def _from_text(old: Simple, text: str) -> Simple:
    if isinstance(old, bool):
        if text not in ("0", "1"):
            raise ValueError(text)
        return text == "1"
    return type(old)(text)


def _label(value: Simple) -> str:
    if isinstance(value, bool):
        return "vb"
    return "vs" if isinstance(value, str) else "v"


def _tlv(id: int, value: Simple) -> bytes:
    match value:
        case bool():
            content = bytes((value,))
        case int():
            content = struct.pack(">i", value)
        case float():
            content = struct.pack(">d", value)
        case str():
            content = value.encode()
    length = bytes((len(content),)) if len(content) > 7 else b""
    kind = 0xC0 | (id > 255) << 5 | (0x08 if length else len(content))
    return bytes((kind,)) + id.to_bytes(2 if id > 255 else 1, "big") + length + content

"""What a published item's payload is written in: SenML in XML, or in JSON within XML. Pure.

A format's `encode` gives the text of the element that is published for a pack.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from typing import Protocol

from adapters.xmpp.payload import Pack
from adapters.xmpp.xmltext import escaped
from gateway.errors import DecodeError
from gateway.formats.senml import NAMESPACE, Record, from_json, from_xml, to_json

JSON = "urn:xmpp:json:0"
"""XEP-0335."""


class Format(Protocol):
    """One way to write payloads; `namespace` is the type of nodes that hold them."""

    @property
    def namespace(self) -> str: ...

    def encode(self, item_id: str, pack: Pack) -> str:
        """A pack in this format, as XML text."""


class SenmlXml:
    """The pack as it is."""

    namespace = NAMESPACE

    def encode(self, item_id: str, pack: Pack) -> str:
        return pack.text


SENML_XML: Format = SenmlXml()


class SenmlJson:
    """The pack in JSON, in a container (XEP-0335)."""

    namespace = JSON

    def encode(self, item_id: str, pack: Pack) -> str:
        content = to_json(pack.records, pack.base).decode()
        return f'<json xmlns="{JSON}">{escaped(content)}</json>'


def records(payload: ET.Element, now: float = 0.0) -> list[Record]:
    """The records of a SenML payload, in XML or JSON; relative times count from `now`.

    DecodeError if it is none.
    """
    if payload.tag == f"{{{JSON}}}json":
        return from_json((payload.text or "").encode(), now)
    if payload.tag == f"{{{NAMESPACE}}}sensml" and len(payload) == 0:
        return []
    try:
        return from_xml(ET.tostring(payload), now)
    except UnicodeEncodeError as error:
        raise DecodeError(f"not SenML: {error}") from error

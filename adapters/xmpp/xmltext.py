"""Elements as the text of a stanza: what XML cannot hold is replaced, for it would end the stream.

Pure. Written by hand, since this is done for each item, and a library's objects cost more than the
rest of its way.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from xml.sax.saxutils import escape, quoteattr

XML = "http://www.w3.org/XML/1998/namespace"

_NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_PLAIN = re.compile(r"[A-Za-z0-9:@./_ #-]*")
"""Names and addresses: there is nothing to escape in them."""


def text_of(root: ET.Element, within: str = "") -> str:
    """The element as text that stands within an element of a namespace."""
    space, _, name = root.tag.rpartition("}")
    space = space[1:]
    head = name if space == within else f"{name} xmlns={quoted(space)}"
    for label, value in root.attrib.items():
        head += f" {_plain(label)}={quoted(value)}"
    content = escaped(root.text or "")
    for child in root:
        content += text_of(child, space) + escaped(child.tail or "")
    return f"<{head}>{content}</{name}>" if content else f"<{head}/>"


def quoted(text: str) -> str:
    """Text as the value of an attribute, with its quotes."""
    if _PLAIN.fullmatch(text):
        return f'"{text}"'
    return quoteattr(_NOT_XML.sub("?", text))


def escaped(text: str) -> str:
    """Text as the content of an element."""
    return escape(_NOT_XML.sub("?", text), {"\r": "&#13;"})  # a bare one is read as \n


def _plain(label: str) -> str:
    """An attribute's name; of those in a namespace, stanzas have only xml:lang."""
    return label.replace(f"{{{XML}}}", "xml:")

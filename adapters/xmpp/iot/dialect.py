"""What the parts of the dialect share: namespaces, nodes, and the XML Schema types. Pure.

One schema lives under three namespace roots (IEEE, Neuro-Foundation as deployed, and as written);
an answer uses the root of what was asked.
"""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable
from datetime import UTC, datetime

from adapters.xmpp.errors import StanzaError

ROOTS = ("urn:nf:", "urn:nfi:", "urn:ieee:")
SENSOR_DATA = "iot:sd:1.0"
EVENTS = "iot:events:1.0"
CONTROL = "iot:ctr:1.0"
INTERFACES = "iot:hi:1.0"
NAMESPACES = tuple(
    f"{root}{part}" for root in ROOTS for part in (SENSOR_DATA, EVENTS, CONTROL, INTERFACES)
)

MAX_NODES = 1_000
"""Nodes of one request; who wants more asks again."""

MAX_ID_LENGTH = 200
"""Of a request's identity, which comes back in each answer."""

_DURATION = re.compile(
    r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?"
)
_DURATION_UNITS_S = (365 * 86_400, 30 * 86_400, 86_400, 3_600, 60, 1)


def namespace(element: ET.Element) -> str:
    """The namespace of an element."""
    return element.tag[1:].partition("}")[0]


def sibling(known: str, part: str) -> str:
    """Another part's namespace under the root of a known one."""
    root = next(root for root in ROOTS if known.startswith(root))
    return f"{root}{part}"


def nodes(element: ET.Element) -> tuple[str, ...]:
    """The identities of the nodes that a request names; StanzaError if one cannot be ours."""
    found = element.findall(f"{{{namespace(element)}}}nd")
    if len(found) > MAX_NODES:
        raise StanzaError("resource-constraint", "wait", f"at most {MAX_NODES} nodes at a time")
    for node in found:
        if node.get("src") or node.get("pt"):
            raise StanzaError("item-not-found", "cancel", "nodes here have no source or partition")
    return tuple(dict.fromkeys(node.get("id", "") for node in found))


def identity(element: ET.Element) -> str:
    """The identity of a request, which every schema requires."""
    text = element.get("id", "")
    if not 0 < len(text) <= MAX_ID_LENGTH:
        raise malformed(f"an id of 1 to {MAX_ID_LENGTH} characters is required")
    return text


def flags(element: ET.Element, names: Iterable[str]) -> frozenset[str]:
    """Those of the boolean attributes that are true."""
    return frozenset(name for name in names if truth(element.get(name, "false")))


def truth(text: str) -> bool:
    """An xs:boolean."""
    if text.strip() not in {"true", "1", "false", "0"}:
        raise malformed(f"{text!r} is not true or false")
    return text.strip() in {"true", "1"}


def moment(text: str) -> float:
    """An xs:dateTime as Unix seconds; one without zone is UTC."""
    try:
        read = datetime.fromisoformat(text.strip())
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise malformed(f"{text!r} is not a dateTime") from None


def moment_text(at: float) -> str:
    """Unix seconds as xs:dateTime in UTC, to the millisecond."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")[:23] + "Z"


def duration_s(text: str) -> float:
    """The seconds of an xs:duration; a year counts 365 days, a month 30."""
    match = _DURATION.fullmatch(text.strip())
    if match is None or not any(match.groups()):
        raise malformed(f"{text!r} is not a duration like PT10S")
    return sum(float(n or 0) * s for n, s in zip(match.groups(), _DURATION_UNITS_S, strict=True))


def malformed(text: str) -> StanzaError:
    """What a request that breaks the schema is answered with."""
    return StanzaError("bad-request", "modify", text)

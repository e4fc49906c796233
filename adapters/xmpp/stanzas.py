"""The XML of disco (XEP-0030), data forms (XEP-0004) and pubsub (XEP-0060): elements in and out.

Pure; it knows neither what an item means nor how a stanza travels.
"""

from __future__ import annotations

import base64
import hashlib
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from adapters.xmpp.errors import StanzaError
from adapters.xmpp.xmltext import quoted
from gateway.model import printable

CLIENT = "jabber:client"
COMPONENT = "jabber:component:accept"
DISCO_INFO = "http://jabber.org/protocol/disco#info"
DISCO_ITEMS = "http://jabber.org/protocol/disco#items"
FORM = "jabber:x:data"
VALIDATE = "http://jabber.org/protocol/xdata-validate"
PUBSUB = "http://jabber.org/protocol/pubsub"
PUBSUB_OWNER = "http://jabber.org/protocol/pubsub#owner"
PUBSUB_EVENT = "http://jabber.org/protocol/pubsub#event"
NODE_CONFIG = "http://jabber.org/protocol/pubsub#node_config"
STANZAS = "urn:ietf:params:xml:ns:xmpp-stanzas"
PING = "urn:xmpp:ping"
CAPS = "http://jabber.org/protocol/caps"
CAPS_NODE = "urn:x-border-gateway"
"""What stands for this program in its capabilities."""

MAX_TEXT = 500
"""Characters of what a server or somebody else says in words: a line of a log."""

Identity = tuple[str, str, str]
"""What an entity is: category, type, name (XEP-0030)."""

Fields = Mapping[str, str]
"""A data form's fields by name, those with one value."""


@dataclass(frozen=True, slots=True)
class Item:
    """A pubsub item; `payload` is None where only its id was sent."""

    id: str
    payload: ET.Element | None


@dataclass(frozen=True, slots=True)
class Published:
    """Items of a node are new or have changed, or are gone."""

    node: str
    items: tuple[Item, ...] = ()
    retracted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Deleted:
    """A node is gone, or all of its items are (purged)."""

    node: str


NodeEvent = Published | Deleted


def renamed(root: ET.Element, old: str, new: str) -> ET.Element:
    """The element itself, with what is of one namespace now of another."""
    for element in root.iter():
        if element.tag.startswith(f"{{{old}}}"):
            element.tag = f"{{{new}}}{element.tag.removeprefix(f'{{{old}}}')}"
    return root


def why_refused(answer: ET.Element) -> StanzaError:
    """The reason in an IQ of type error (RFC 6120 8.3), from a stream of either kind."""
    error = next((e for e in answer if e.tag.endswith("}error")), ET.Element("error"))
    said = {e.tag.removeprefix(f"{{{STANZAS}}}"): e.text for e in error if STANZAS in e.tag}
    text = printable(said.pop("text", "") or "", MAX_TEXT)  # it ends up in logs
    return StanzaError(next(iter(said), "undefined-condition"), error.get("type", "cancel"), text)


def presence(status: str, caps: ET.Element | None = None, to: str = "") -> ET.Element:
    """Says that we are there, a word about it, and what we can do; to one only, or to all."""
    root = ET.Element(f"{{{CLIENT}}}presence", {"to": to} if to else {})
    ET.SubElement(root, f"{{{CLIENT}}}status").text = status
    root.extend([] if caps is None else [caps])
    return root


def caps(identity: Identity, features: Iterable[str]) -> ET.Element:
    """What we are and can do, as a hash that others look up once (XEP-0115 5.1)."""
    category, type, name = identity
    said = "<".join([f"{category}/{type}//{name}", *sorted(features), ""])
    version = base64.b64encode(hashlib.sha1(said.encode(), usedforsecurity=False).digest())
    attributes = {"hash": "sha-1", "node": CAPS_NODE, "ver": version.decode()}
    return ET.Element(f"{{{CAPS}}}c", attributes)


def presence_to(jid: str, type: str) -> ET.Element:
    """Asks for (`subscribe`), allows (`subscribed`) or refuses (`unsubscribed`) presence."""
    return ET.Element(f"{{{CLIENT}}}presence", {"to": jid, "type": type})


def ping() -> ET.Element:
    """A ping (XEP-0199)."""
    return ET.Element(f"{{{PING}}}ping")


def disco_info() -> ET.Element:
    """Asks what an entity is and can do."""
    return ET.Element(f"{{{DISCO_INFO}}}query")


def disco_items(node: str = "") -> ET.Element:
    """Asks which entities belong to one, or which items a pubsub node has."""
    return ET.Element(f"{{{DISCO_ITEMS}}}query", {"node": node} if node else {})


def info(node: str, identity: Identity, features: Iterable[str]) -> ET.Element:
    """Says what we are (category, type, name) and can do."""
    query = ET.Element(f"{{{DISCO_INFO}}}query", {"node": node} if node else {})
    said = dict(zip(("category", "type", "name"), identity, strict=True))
    ET.SubElement(query, f"{{{DISCO_INFO}}}identity", said)
    for feature in features:
        ET.SubElement(query, f"{{{DISCO_INFO}}}feature", {"var": feature})
    return query


def node_list(node: str, jid: str, names: Mapping[str, str]) -> ET.Element:
    """Says which nodes of ours belong to one, with their names."""
    query = ET.Element(f"{{{DISCO_ITEMS}}}query", {"node": node} if node else {})
    for name, text in names.items():
        attributes = {"jid": jid, "node": name, "name": text}
        ET.SubElement(query, f"{{{DISCO_ITEMS}}}item", attributes)
    return query


def identities(info: ET.Element) -> set[tuple[str, str]]:
    """The (category, type) pairs in an answer to `disco_info`."""
    return {
        (e.get("category", ""), e.get("type", "")) for e in info.iter(f"{{{DISCO_INFO}}}identity")
    }


def features(info: ET.Element) -> set[str]:
    """The features in an answer to `disco_info`."""
    return {e.get("var", "") for e in info.iter(f"{{{DISCO_INFO}}}feature")}


def entities(items: ET.Element) -> list[str]:
    """The JIDs in an answer to `disco_items`."""
    return [e.get("jid", "") for e in items.iter(f"{{{DISCO_ITEMS}}}item") if not e.get("node")]


def item_names(items: ET.Element | None) -> list[str]:
    """The ids of a node's items, in an answer to `disco_items` about it (XEP-0060 5.5)."""
    found = () if items is None else items.iter(f"{{{DISCO_ITEMS}}}item")
    return [e.get("name", "") for e in found]


def reply(request: ET.Element, content: ET.Element | None = None) -> ET.Element:
    """The answer to an IQ request."""
    return _answer(request, "result", content)


def refuse(request: ET.Element, why: StanzaError) -> ET.Element:
    """The refusal of an IQ request (RFC 6120 8.3)."""
    error = ET.Element(f"{{{CLIENT}}}error", {"type": why.type})
    ET.SubElement(error, f"{{{STANZAS}}}{why.condition}")
    if why.text:
        ET.SubElement(error, f"{{{STANZAS}}}text").text = why.text
    error.extend([] if why.detail is None else [why.detail])
    return _answer(request, "error", error)


def _answer(request: ET.Element, type: str, content: ET.Element | None) -> ET.Element:
    attributes = {"type": type, "to": request.get("from", ""), "id": request.get("id", "")}
    attributes |= {"from": own} if (own := request.get("to")) else {}
    answer = ET.Element(f"{{{CLIENT}}}iq", attributes)
    answer.extend([] if content is None else [content])
    return answer


def chat(to: str, body: str, sender: str = "") -> ET.Element:
    """A chat message that is not to be kept for later (XEP-0334)."""
    attributes = {"to": to, "type": "chat"} | ({"from": sender} if sender else {})
    message = ET.Element(f"{{{CLIENT}}}message", attributes)
    ET.SubElement(message, f"{{{CLIENT}}}body").text = body
    ET.SubElement(message, "{urn:xmpp:hints}no-store")
    return message


def message(to: str, content: ET.Element) -> ET.Element:
    """A message for a program, that is not to be kept for later (XEP-0334)."""
    message = ET.Element(f"{{{CLIENT}}}message", {"to": to})
    message.append(content)
    ET.SubElement(message, "{urn:xmpp:hints}no-store")
    return message


def sent_at(message: ET.Element) -> str:
    """When a message that was stored on its way was sent (XEP-0203); empty if it was not."""
    delay = message.find("{urn:xmpp:delay}delay")
    return "" if delay is None else delay.get("stamp", "unknown")


def submit(form_type: str, fields: Fields) -> ET.Element:
    """A data form with these values."""
    form = ET.Element(f"{{{FORM}}}x", {"type": "submit"})
    for name, value in {"FORM_TYPE": form_type, **fields}.items():
        hidden = {"type": "hidden"} if name == "FORM_TYPE" else {}
        field = ET.SubElement(form, f"{{{FORM}}}field", {"var": name, **hidden})
        ET.SubElement(field, f"{{{FORM}}}value").text = value
    return form


def form_values(element: ET.Element | None) -> dict[str, str]:
    """The first value of each field of the data form that `element` is or holds, "" for none."""
    if element is None:
        return {}
    return {
        field.get("var", ""): field.findtext(f"{{{FORM}}}value", "")
        for field in element.iter(f"{{{FORM}}}field")
    }


def form_maxima(element: ET.Element | None) -> dict[str, str]:
    """The highest value that a form allows in each of its fields that say so (XEP-0122)."""
    if element is None:
        return {}
    return {
        field.get("var", ""): limit.get("max", "")
        for field in element.iter(f"{{{FORM}}}field")
        for limit in field.iter(f"{{{VALIDATE}}}range")
    }


def publish(node: str, item_id: str, payload: str) -> str:
    """Publishes one item; servers store or accept only the first of several (XEP-0060 7.1).

    As text, since nothing is sent as often.
    """
    item = f"<item id={quoted(item_id)}>{payload}</item>"
    return f'<pubsub xmlns="{PUBSUB}"><publish node={quoted(node)}>{item}</publish></pubsub>'


def retract(node: str, item_id: str) -> ET.Element:
    """Removes an item and has the subscribers told."""
    root, action = _pubsub("retract", node)
    action.set("notify", "true")
    ET.SubElement(action, f"{{{PUBSUB}}}item", {"id": item_id})
    return root


def create(node: str, config: Fields) -> ET.Element:
    """Creates a node with this configuration."""
    root, _ = _pubsub("create", node)
    ET.SubElement(root, f"{{{PUBSUB}}}configure").append(submit(NODE_CONFIG, config))
    return root


def get_items(node: str, item_id: str | None = None) -> ET.Element:
    """Asks for all items of a node, or for one."""
    root, action = _pubsub("items", node)
    if item_id is not None:
        ET.SubElement(action, f"{{{PUBSUB}}}item", {"id": item_id})
    return root


def subscribe(node: str, jid: str) -> ET.Element:
    """Subscribes `jid` to a node."""
    root, action = _pubsub("subscribe", node)
    action.set("jid", jid)
    return root


def unsubscribe(node: str, jid: str) -> ET.Element:
    """Ends the subscription of `jid` to a node."""
    root, action = _pubsub("unsubscribe", node)
    action.set("jid", jid)
    return root


def get_config(node: str) -> ET.Element:
    """Asks for a node's configuration."""
    return _pubsub("configure", node, PUBSUB_OWNER)[0]


def configure(node: str, config: Fields) -> ET.Element:
    """Changes these options of a node, and leaves the others."""
    root, action = _pubsub("configure", node, PUBSUB_OWNER)
    action.append(submit(NODE_CONFIG, config))
    return root


def delete(node: str) -> ET.Element:
    """Deletes a node."""
    return _pubsub("delete", node, PUBSUB_OWNER)[0]


def get_affiliations(node: str) -> ET.Element:
    """Asks who has which right on a node."""
    return _pubsub("affiliations", node, PUBSUB_OWNER)[0]


def set_affiliations(node: str, changes: Mapping[str, str]) -> ET.Element:
    """Gives each JID its affiliation: owner, publisher, member, none, outcast."""
    root, action = _pubsub("affiliations", node, PUBSUB_OWNER)
    for jid, affiliation in changes.items():
        attributes = {"jid": jid, "affiliation": affiliation}
        ET.SubElement(action, f"{{{PUBSUB_OWNER}}}affiliation", attributes)
    return root


def affiliations(answer: ET.Element | None) -> dict[str, str]:
    """Affiliations by JID, from an answer to `get_affiliations`."""
    found = () if answer is None else answer.iter(f"{{{PUBSUB_OWNER}}}affiliation")
    return {e.get("jid", ""): e.get("affiliation", "none") for e in found}


def items(answer: ET.Element | None) -> list[Item]:
    """The items in an answer to `get_items`."""
    return [] if answer is None else list(_items(answer.iter(f"{{{PUBSUB}}}item")))


def node_events(message: ET.Element) -> list[NodeEvent]:
    """What a message says of nodes; nothing if it is no pubsub event."""
    events: list[NodeEvent] = []
    event = message.find(f"{{{PUBSUB_EVENT}}}event")
    for part in () if event is None else event:
        node = part.get("node", "")
        if part.tag == f"{{{PUBSUB_EVENT}}}items":
            new = tuple(_items(part.findall(f"{{{PUBSUB_EVENT}}}item")))
            gone = part.findall(f"{{{PUBSUB_EVENT}}}retract")
            events.append(Published(node, new, tuple(e.get("id", "") for e in gone)))
        elif part.tag in {f"{{{PUBSUB_EVENT}}}delete", f"{{{PUBSUB_EVENT}}}purge"}:
            events.append(Deleted(node))
    return events


def _pubsub(action: str, node: str, namespace: str = PUBSUB) -> tuple[ET.Element, ET.Element]:
    root = ET.Element(f"{{{namespace}}}pubsub")
    return root, ET.SubElement(root, f"{{{namespace}}}{action}", {"node": node})


def _items(elements: Iterable[ET.Element]) -> Iterable[Item]:
    for element in elements:
        yield Item(element.get("id", ""), next(iter(element), None))

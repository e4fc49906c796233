"""Takes out of a bug report what says who and where somebody is. Pure.

The same thing gets the same stand-in everywhere, so that a report still hangs together. A domain is
known by the accounts in it: what was redacted before the first of them is to be redacted again.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping, Sequence

REDACTED = "redacted"

_PRIVATE = re.compile(r"(password|secret|token|key|latitude|longitude|altitude)$", re.IGNORECASE)
"""Keys whose values are secrets or places. Files that hold secrets are named (`password_file`)."""

_HOSTS = frozenset({"host", "service"})
"""Keys whose values are names of servers, which nothing else tells from other words."""

_OCTET = "[0-9a-f]{2}"
_MAC = re.compile(
    rf"(?<!{_OCTET}[:-])(?<![0-9a-f]){_OCTET}([:-])(?:{_OCTET}\1){{4}}{_OCTET}(?![0-9a-f:-])",
    re.IGNORECASE,
)
_EUI64 = re.compile(
    r"(?<=lowpan:)[0-9a-f]{16}\b|(?<![\w.])(?=[0-9]*[a-f])[0-9a-f]{16}\b",  # no decimal fraction
    re.IGNORECASE,
)
_JID = re.compile(r"([^\s\"'<>@/:,;()\[\]{}=]*)@([a-z0-9](?:[\w.-]*[a-z0-9])?)", re.IGNORECASE)
_NAME = re.compile(r"[\w-]+(\.[\w-]+)+")
_IPV4 = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])")
_IPV6 = re.compile(r"(?<![\w:.])[0-9a-f]{0,4}(?::[0-9a-f]{0,4}){2,7}(?![\w:])", re.IGNORECASE)
_DOCUMENTED, _DOCUMENTED_6 = (ipaddress.ip_address(a) for a in ("192.0.2.0", "2001:db8::"))
_RESERVED = ipaddress.ip_address("240.0.0.0")
"""What stand-ins of networks count from: nobody has these addresses. Documentation has but 256 of
IPv4 in a row (RFC 5737); those reserved for ever are more than a report has octets."""

_HOME = re.compile(r"/home/[^/\s\"']+")

_VENDOR_OCTETS = 3
"""The first octets of an address name its maker, which is what helps to find a fault."""


class Redactor:
    """Replaces addresses of hardware, networks, accounts; remembers what by what."""

    def __init__(self) -> None:
        self._stand_ins: dict[str, str] = {}
        self._domains: dict[str, str] = {}

    def value(self, value: object) -> object:
        """A JSON value, with all texts in it and the values of secret keys replaced."""
        match value:
            case str():
                return self.text(value)
            case Mapping():
                for host in _HOSTS & value.keys():
                    self._learn(str(value[host]))
                return {
                    self.text(key): REDACTED
                    if _PRIVATE.search(key) and inner
                    else self.value(inner)
                    for key, inner in value.items()
                }
            case Sequence():
                return [self.value(inner) for inner in value]
            case _:
                return value

    def text(self, text: str) -> str:
        """A text, with all addresses in it replaced."""
        text = _JID.sub(self._account, text)
        for domain in sorted(self._domains, key=len, reverse=True):
            text = re.sub(rf"(?<![\w-]){re.escape(domain)}(?![\w-])", self._domains[domain], text)
        text = _MAC.sub(lambda found: self._hardware(found[0], found[1]), text)
        text = _EUI64.sub(lambda found: self._hardware(found[0], ""), text)
        text = _IPV4.sub(self._network, text)
        text = _IPV6.sub(self._network, text)
        return _HOME.sub("/home/user", text)

    def _hardware(self, address: str, separator: str) -> str:
        digits = address.lower().replace(":", "").replace("-", "")
        if digits not in self._stand_ins:
            vendor = digits[: 2 * _VENDOR_OCTETS]
            number = len(self._stand_ins) + 1
            self._stand_ins[digits] = vendor + f"{number:0{len(digits) - len(vendor)}x}"
        stand_in = self._stand_ins[digits]
        return separator.join(stand_in[i : i + 2] for i in range(0, len(stand_in), 2))

    def _account(self, found: re.Match[str]) -> str:
        user, domain = found[1], found[2]
        self._learn(domain)
        if user:
            user = self._stand_ins.setdefault(user, f"user{len(self._stand_ins) + 1}")
        return f"{user}@{domain}"  # its domain is replaced with all others

    def _learn(self, domain: str) -> None:
        if _NAME.fullmatch(domain) and not _IPV4.fullmatch(domain):
            self._domains.setdefault(domain, f"host{len(self._domains) + 1}.example")

    def _network(self, found: re.Match[str]) -> str:
        try:
            address = ipaddress.ip_address(found[0])
        except ValueError:
            return found[0]
        if address.is_loopback or address.is_unspecified:
            return found[0]
        number = len(self._stand_ins) + 1
        base = _DOCUMENTED_6 if address.version == 6 else _DOCUMENTED if number < 256 else _RESERVED
        return self._stand_ins.setdefault(str(address), str(base + number))

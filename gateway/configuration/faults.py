"""What is wrong with a section, in words: where, what stands there, what was expected."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

LONGEST_SHOWN = 60
"""Characters of what stands in the file that a fault repeats."""

_SECRET = re.compile(r"(password|secret|token|key)$", re.IGNORECASE)
"""Keys of which a fault does not repeat what stands there, since it is logged."""

_BARE = re.compile(r"[A-Za-z0-9_-]+")

_A_LIST, _A_TABLE = "expected a list in brackets", "expected a table, such as {key = ...}"
_A_NUMBER, _A_WHOLE_NUMBER = "expected a number", "expected a whole number"
_TRUTH = "expected true or false"
_EXPECTED = {
    "string_type": "expected text in quotes",
    "tuple_type": _A_LIST,
    "too_short": "expected at least one",
    "model_type": _A_TABLE,
    "dict_type": _A_TABLE,
    "int_type": _A_WHOLE_NUMBER,
    "int_from_float": _A_WHOLE_NUMBER,
    "float_type": _A_NUMBER,
    "finite_number": _A_NUMBER,
    "bool_type": _TRUTH,
}

_Key = int | str


def faults_of(
    section: type[BaseModel], name: str, content: object, error: ValidationError
) -> Iterator[str]:
    """One sentence a fault of the section's content: where, what, what was expected."""
    told: list[Sequence[_Key]] = []
    for item in error.errors(include_url=False):
        keys, found = _led(item["loc"], content)
        if any(earlier[: len(keys)] == keys for earlier in told):
            continue  # the other branches of a union, or what follows from a fault further in
        told.append(keys)
        where = f"[{name}] {_place(keys)}" if keys else f"[{name}]"
        if item["type"] == "missing":
            yield f"{where}: is missing"
            continue
        stands = f"{where} = {shown(str(keys[-1]) if keys else '', found)}"
        if item["type"] == "extra_forbidden":
            yield f"{stands}: unknown key{nearest(str(keys[-1]), _fields(section, keys[:-1]))}"
        elif not keys and item["type"] == "model_type":
            yield f"{stands}: expected a section headed [{name}]"
        else:
            yield f"{stands}: {_expected(section, keys, item)}"


def nearest(name: str, known: Sequence[str]) -> str:
    """The name that may have been meant, or all there are."""
    spelt = name.lower().replace("-", "_")
    if match := difflib.get_close_matches(spelt, known, n=1, cutoff=0.5):
        return f"; did you mean {match[0]!r}?"
    return f"; known are {', '.join(known)}" if known else ""


def shown(key: str, value: object) -> str:
    """What stands there, as the file spells it, shortened; nothing of a secret."""
    if _SECRET.search(key):
        return "..."
    text = str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= LONGEST_SHOWN else text[: LONGEST_SHOWN - 3] + "..."


def _led(location: Sequence[_Key], content: Any) -> tuple[tuple[_Key, ...], object]:
    """The keys of a location in the file, and what stands there; what else is in it leads nowhere.

    The last one need not be there: it is what is missing.
    """
    keys: list[_Key] = []
    for key in location:
        match content:
            case Mapping() if key in content or (key == location[-1] and key != "[key]"):
                content = content.get(key, content)
            case list() if isinstance(key, int) and key < len(content):
                content = content[key]
            case _:
                continue
        keys.append(key)
    return tuple(keys), content


def _place(keys: Sequence[_Key]) -> str:
    """`report.deadband`, or `resource #2.scale` for a table that is repeated."""
    text = ".".join(
        f"#{key + 1}" if isinstance(key, int) else key if _BARE.fullmatch(key) else json.dumps(key)
        for key in keys
    )
    return text.replace(".#", " #")


def _expected(section: type[BaseModel], keys: Sequence[_Key], item: ErrorDetails) -> str:
    kind, found = item["type"], item["input"]
    if kind == "string_pattern_mismatch":
        examples = section.model_fields[str(keys[0])].examples or ["..."]
        return f"expected text such as {examples[0]!r}"
    if kind == "tuple_type" and isinstance(found, str):
        return f"{_A_LIST}: [{json.dumps(found)}]"
    message = _EXPECTED.get(kind) or item["msg"].removeprefix("Value error, ")
    message = re.sub(r"^(Input|String) should", "should", message)
    return f"{message[:1].lower()}{message[1:]}"


def _fields(section: type[BaseModel], keys: Sequence[_Key]) -> Sequence[str]:
    """The names that are valid in the section, or in the table within it that `keys` lead to."""
    for key in (key for key in keys if isinstance(key, str)):
        field = section.model_fields.get(key)
        annotation = field.annotation if field else None
        inner = [t for t in _types(annotation) if issubclass(t, BaseModel)]
        if not inner:
            return []
        section = inner[0]
    return list(section.model_fields)


def _types(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type):
        yield annotation
    for argument in getattr(annotation, "__args__", ()):
        yield from _types(argument)

"""What a section says of its keys: the docstrings below its fields."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterator, Mapping

from gateway.ports import Section


def descriptions(section: type[Section]) -> Mapping[str, str]:
    """The text of each key that has one; read from the source, since only pages show it."""
    parents = [kind for kind in reversed(section.__mro__) if issubclass(kind, Section)]
    return {name: text for kind in parents for name, text in _of(kind)}


def _of(kind: type[Section]) -> Iterator[tuple[str, str]]:
    (definition,) = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(definition, ast.ClassDef)  # noqa: S101  (what a class's source is)
    for field, after in zip(definition.body, definition.body[1:], strict=False):
        match field, after:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(text))),
            ):
                yield name, inspect.cleandoc(text)

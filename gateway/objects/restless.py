"""Which resources never rest. Pure."""

from __future__ import annotations

from gateway.model import Path

RESTLESS = frozenset(
    Path.parse(text)
    for text in ("3/0/10", "3/0/13", "4/0/2", "4/0/3", "4/0/6", "4/0/11", "7/0/2", "7/0/3")
)
"""Free memory, clock, signal and traffic differ each time they are measured."""

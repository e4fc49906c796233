"""Recorded frames and serial exchanges (link-vectors.json; its first entry tells where from)."""

import json
from pathlib import Path
from typing import Any

VECTORS: dict[str, Any] = json.loads(
    Path(__file__).with_name("link-vectors.json").read_text(encoding="utf-8")
)


def unhex(text: str) -> bytes:
    return bytes.fromhex(text)


def psdus() -> list[bytes]:
    """Every recorded frame without its FCS."""
    return [unhex(entry["psdu"])[:-2] for entry in VECTORS["psdus"]]

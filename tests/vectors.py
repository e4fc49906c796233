"""The vectors of data/lwm2m-vectors.json; each has an `id` and an `area`, see data/README.md."""

import json
from pathlib import Path
from typing import Any

_FILE = Path(__file__).parent / "data" / "lwm2m-vectors.json"

LWM2M: list[dict[str, Any]] = json.loads(_FILE.read_text(encoding="utf-8"))["vectors"]

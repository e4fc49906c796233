"""What must not go back when the gateway starts again: frame counter and routing state.

Data in, data out; where it is kept is the port's business.
"""

from __future__ import annotations

import hashlib
import json

from adapters.lowpan.mac.counter import FrameCounter
from adapters.lowpan.router import RouterState
from adapters.lowpan.routing.root import RootState
from gateway.errors import AdapterError
from gateway.ports import SouthPort

_ROUTER = "router"
_COUNTER_OCTETS = 4


def frame_counter(port: SouthPort, key: bytes, eui64: bytes) -> FrameCounter:
    """The counter of a key and a sender, where an earlier life left it."""
    # Another key or address starts at 0, and coming back to the old one must not.
    name = f"frame-counter-{hashlib.sha256(eui64 + key).hexdigest()[:16]}"
    kept = port.recall(name)
    start = 0 if kept is None else int.from_bytes(kept, "big")
    return FrameCounter(start, lambda n: port.remember(name, n.to_bytes(_COUNTER_OCTETS, "big")))


def router_state(port: SouthPort) -> RouterState | None:
    """What an earlier life's router left; AdapterError if it is damaged."""
    kept = port.recall(_ROUTER)
    if kept is None:
        return None
    try:
        fields = json.loads(kept)
        root = RootState(
            bytes.fromhex(fields["dodag"]), int(fields["version"]), int(fields["dtsn"])
        )
        return RouterState(bytes.fromhex(fields["prefix"]), root, int(fields["border_version"]))
    except (ValueError, KeyError, TypeError) as error:
        raise AdapterError(f"the routing state is damaged: {error!r}") from error


def keep_router_state(port: SouthPort, state: RouterState) -> None:
    """Keeps the router's state for the next life."""
    fields = {
        "prefix": state.prefix.hex(),
        "border_version": state.border_version,
        "dodag": state.root.dodag_id.hex(),
        "version": state.root.version,
        "dtsn": state.root.dtsn,
    }
    port.remember(_ROUTER, json.dumps(fields).encode())

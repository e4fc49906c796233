"""What the MAC remembers of its neighbours: frames just seen, counters last seen. Pure, bounded."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

from adapters.lowpan.mac.frame import KeyId, MacFrame

DUPLICATE_WINDOW_S = 3.0
"""All repetitions of a frame come within milliseconds; a slow dispatcher may add a second."""

DUPLICATE_LIMIT = 512
"""Frames: what a channel carries in a second or two."""

REPLAY_LIMIT = 1024
"""Pairs of sender and key, four times the neighbours that the gateway keeps."""

Sender = tuple[bytes, KeyId]


class Duplicates:
    """Tells the repetitions of a frame.

    A repetition is identical to the last octet, so that the same sequence number on another
    frame (it wraps after 256) is none, and a forged frame cannot suppress a genuine one.
    """

    def __init__(self, window_s: float = DUPLICATE_WINDOW_S, limit: int = DUPLICATE_LIMIT) -> None:
        self._window_s = window_s
        self._limit = limit
        self._seen: OrderedDict[tuple[bytes, int, bytes], float] = OrderedDict()

    def is_new(self, frame: MacFrame, now_s: float) -> bool:
        """Whether the frame was not seen within the window; frames without number always are."""
        if frame.sequence is None:
            return True
        key = (frame.source, frame.sequence, frame.header[3:] + frame.payload)
        while self._seen and next(iter(self._seen.values())) + self._window_s < now_s:
            self._seen.popitem(last=False)
        is_new = key not in self._seen
        self._seen[key] = now_s
        self._seen.move_to_end(key)
        if len(self._seen) > self._limit:
            self._seen.popitem(last=False)
        return is_new


class Replays:
    """Holds the frame counters that were seen, so that no secured frame is taken twice.

    Only authenticated frames may be entered. The sender that was heard longest ago is forgotten
    when the table is full: it takes a key to fill it.
    """

    def __init__(self, last: Mapping[Sender, int] | None = None, limit: int = REPLAY_LIMIT) -> None:
        self._limit = limit
        self._last: OrderedDict[Sender, int] = OrderedDict(last or {})

    def is_new(self, eui64: bytes, key_id: KeyId, counter: int) -> bool:
        """Whether the counter is greater than all that were entered for this sender and key."""
        return counter > self._last.get((eui64, key_id), -1)

    def enter(self, eui64: bytes, key_id: KeyId, counter: int) -> None:
        """Notes the counter of an authenticated frame."""
        self._last[eui64, key_id] = counter
        self._last.move_to_end((eui64, key_id))
        if len(self._last) > self._limit:
            self._last.popitem(last=False)

    def counters(self) -> Mapping[Sender, int]:
        """All that is remembered, to be given to the constructor after a restart."""
        return dict(self._last)

"""Which clients are known to be where they say; pure, time is an argument.

Whoever forges the address of a request makes the server send its answer to somebody else. So an
address that has not shown that it hears us gets little: three times what came from it. It shows
so by sending back a challenge, the Echo option (RFC 9175 2.3, 2.4).
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from adapters.coap.messages import Peer

AMPLIFICATION = 3
"""An answer to an unverified address is at most so many times as long as its request."""

CHALLENGE_S = 60
"""A challenge can be answered for one to two times this long."""

VERIFIED_S = 600.0
"""Then an address has to show again that it is there: it may be another's by now."""

REMEMBERED = 20_000
"""Addresses known to be real; the one that was verified first gives way. 6 MB at most."""


class Verified:
    """The addresses that are real. `key` is secret: who has it can make up challenges."""

    def __init__(self, key: bytes) -> None:
        self._key = key
        self._until: OrderedDict[Peer, float] = OrderedDict()

    def __contains__(self, peer: Peer) -> bool:
        return peer in self._until

    def challenge(self, peer: Peer, now: float) -> bytes:
        """The value of the Echo option that only this peer gets; costs no memory."""
        return self._challenge(peer, int(now // CHALLENGE_S))

    def take(self, peer: Peer, echo: bytes, now: float) -> None:
        """Takes an Echo option: the peer counts as real for a while if it was challenged so."""
        period = int(now // CHALLENGE_S)
        if echo in {self._challenge(peer, period), self._challenge(peer, period - 1)}:
            self._until[peer] = now + VERIFIED_S
            self._until.move_to_end(peer)
            if len(self._until) > REMEMBERED:
                self._until.popitem(last=False)

    def expire(self, now: float) -> None:
        """Forgets whose time is over."""
        while self._until and next(iter(self._until.values())) <= now:
            self._until.popitem(last=False)

    def _challenge(self, peer: Peer, period: int) -> bytes:
        text = f"{peer[0]} {peer[1]} {period}".encode()
        return hashlib.blake2b(text, digest_size=8, key=self._key).digest()

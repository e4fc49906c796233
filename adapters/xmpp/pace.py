"""Notices that a server holds us back, and tells the operator once what helps."""

from __future__ import annotations

import logging

from adapters.xmpp.pubsub import Pubsub

log = logging.getLogger(__name__)

SLOW_S = 1.0
MEAN_OF = 50
"""When so many items on average take longer, the server holds us back, and the operator is told."""

_SLOW = (
    "%s takes more than a second for each item; if many change, lift the server's rate limit for "
    'this account (Prosody: unlimited_jids = { "%s" }; ejabberd: an exception in c2s_shaper)'
)


class Pace:
    """How long items take on average."""

    def __init__(self) -> None:
        self._mean_s = 0.0
        self._hinted = False

    def note(self, pubsub: Pubsub, took_s: float) -> None:
        """One more item was acknowledged."""
        self._mean_s += (took_s - self._mean_s) / MEAN_OF
        if self._mean_s > SLOW_S and not self._hinted:
            self._hinted = True
            log.warning(_SLOW, pubsub.service, pubsub.account)

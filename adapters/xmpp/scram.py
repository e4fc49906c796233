"""SCRAM (RFC 5802) made quick and unguessable: slixmpp's own stops the loop and has a weak nonce.

Registered in place of slixmpp's by being imported.
"""

from __future__ import annotations

import hashlib
import secrets
from typing import Any

from slixmpp.util.sasl import SCRAM, SASLCancelled, sasl_mech

MAX_ITERATIONS = 1_000_000
"""About half a second of one core; servers ask for 4,096 to 600,000."""

_NONCE_BYTES = 18


@sasl_mech(60)
class Scram(SCRAM):
    """slixmpp's SCRAM with PBKDF2 and nonce of the standard library."""

    def Hi(self, text: str, salt: bytes, iterations: int) -> bytes:  # noqa: N802  (slixmpp's name)
        """RFC 5802 2.2: PBKDF2 with HMAC."""
        if iterations > MAX_ITERATIONS:
            complaint = f"the server asks for {iterations} rounds of password hashing"
            raise SASLCancelled(complaint)  # type: ignore[no-untyped-call]
        assert self.hash is not None  # noqa: S101  (setup found it)
        password: Any = text  # bytes, whatever slixmpp says
        return hashlib.pbkdf2_hmac(self.hash().name, password, salt, iterations)

    @property
    def cnonce(self) -> bytes:
        """The client's nonce: what slixmpp sets, digits of `random`, is replaced."""
        return self._nonce

    @cnonce.setter
    def cnonce(self, _guessable: bytes) -> None:
        self._nonce = secrets.token_urlsafe(_NONCE_BYTES).encode()

"""The `[status]` section: what the operator can say."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path as FilePath
from typing import Annotated

from pydantic import AfterValidator, Field

from gateway.configuration.listen import Listen, Listener
from gateway.configuration.secret import credential, read_secret
from gateway.errors import AdapterError
from gateway.ports import Section

CREDENTIAL = "status-token"
"""The name of the systemd credential that holds the token."""

SHORTEST_TOKEN = 16
"""Characters; 16 random hex digits cannot be found by asking."""

_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")


def _host(text: str) -> str:
    if not _HOST.fullmatch(text.lower()):
        raise ValueError('expected the name of a host without port, such as "gateway.example.org"')
    return text.lower()


class StatusSection(Section):
    """The status page in a browser, health for monitoring, and metrics for Prometheus."""

    enabled_by_default = True

    listen: Annotated[tuple[Listen, ...], Field(min_length=1)] = ("127.0.0.1:8080",)
    """Where to listen. Whoever reaches an address sees everything: "0.0.0.0:8080" and "[::]:8080"
    let the whole network look."""

    hosts: tuple[Annotated[str, AfterValidator(_host)], ...] = Field(
        (), examples=[["gateway.example.org"]]
    )
    """Names in the page's address besides localhost: those of this machine, or of the reverse proxy
    before it. An IP address needs none."""

    token_file: FilePath | None = Field(None, examples=["/etc/border-gateway/status-token"])
    """A file that holds a token of 16 characters or more; without it, the systemd credential
    status-token may. Who gives the token may open the join window, name devices, and write where
    writing is enabled; without a token the page only shows."""

    @property
    def listeners(self) -> Sequence[Listener]:
        """Where the page is served."""
        return [Listener("listen", "tcp", listen) for listen in self.listen]

    def token(self) -> str | None:
        """The token, read anew each time; None where there is none. AdapterError if it is bad."""
        file = self.token_file or credential(CREDENTIAL)
        token = read_secret(file, "token") if file else None
        if token is not None and len(token) < SHORTEST_TOKEN:
            raise AdapterError(
                f"the token in {file} can be guessed; make one of {SHORTEST_TOKEN} characters or "
                "more: openssl rand -hex 16"
            )
        return token

"""Who may do what over XMPP: the table of roles, by account or by domain. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

Role = Literal["reader", "operator", "admin"]

_RANK: Mapping[Role, int] = {"reader": 1, "operator": 2, "admin": 3}


class Roles:
    """The table of roles; who is not in it has none. JIDs are as the server stamps them."""

    def __init__(self, table: Mapping[str, Role]) -> None:
        self._table = table

    @property
    def accounts(self) -> frozenset[str]:
        """The bare JIDs that have a role of their own."""
        return frozenset(name for name in self._table if not name.startswith("@"))

    @property
    def domains(self) -> frozenset[str]:
        """The domains all of whose accounts have a role."""
        return frozenset(name[1:] for name in self._table if name.startswith("@"))

    def role(self, jid: str) -> Role | None:
        """The role of a JID: the account's own, else that of its domain."""
        bare = jid.partition("/")[0]
        return self._table.get(bare) or self._table.get(f"@{bare.rpartition('@')[2]}")

    def allow(self, jid: str, needed: Role) -> bool:
        """Whether a JID may do what `needed` may."""
        role = self.role(jid)
        return role is not None and _RANK[role] >= _RANK[needed]

"""Waits that are minutes in the field are moments here."""

import pytest

from adapters.ble import adapter, connection, link


@pytest.fixture(autouse=True)
def _short_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(link, "_BACK_OFF_S", 0.05)
    monkeypatch.setattr(link, "_BACK_OFF_LIMIT_S", 0.1)
    monkeypatch.setattr(link, "_REACH_S", 0.5)
    monkeypatch.setattr(adapter, "_LOOK_EVERY_S", 0.1)
    monkeypatch.setattr(connection, "_UNREADABLE_PAUSE_S", 0.05)

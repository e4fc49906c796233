"""What a bug report does not tell, and that it still hangs together."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.diagnostics.redaction import Redactor


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("ble:00-24-be-80-4f-f1 is gone", "ble:00-24-be-00-00-01 is gone"),
        ("hci0 00:24:BE:80:4F:F1", "hci0 00:24:be:00:00:01"),
        ("lowpan:0012400001020304 joins", "lowpan:0012400000000001 joins"),
        ("iot/gateway/0024befffe804ff1", "iot/gateway/0024be0000000001"),
        ("gw@farm.example.net/x", "user1@host1.example/x"),
        (
            "pubsub.farm.example.net for @farm.example.net",
            "pubsub.host1.example for @host1.example",
        ),
        ("on 192.168.7.9:5683", "on 192.0.2.1:5683"),
        ("at [fd12::212:4b00:102:304]:5683", "at [2001:db8::1]:5683"),
        ("/home/anna/pw", "/home/user/pw"),
    ],
)
def test_who_and_where_has_a_stand_in(text: str, redacted: str) -> None:
    redactor = Redactor()
    redactor.text(text)  # learns the domains
    assert redactor.text(text) == redacted


@pytest.mark.parametrize(
    "text",
    [
        "127.0.0.1:5683 [::1]:5683 0.0.0.0",
        "attic/3303/0/5700 = 0.1234567890123456",
        "2026-11-28T20:04:43.688+00:00 info",
        "sim:0000000000000001",
        "version 0.1.0",
    ],
)
def test_what_helps_to_find_a_fault_stays(text: str) -> None:
    assert Redactor().text(text) == text


def test_the_same_device_is_the_same_in_all_its_spellings() -> None:
    redactor = Redactor()
    assert redactor.text("00:24:be:80:4f:f1") == "00:24:be:00:00:01"
    assert redactor.text("00-24-be-80-4f-f2") == "00-24-be-00-00-02"
    assert redactor.text("00-24-be-80-4f-f1") == "00-24-be-00-00-01"


def test_however_many_addresses_there_are_each_has_a_stand_in_of_its_own() -> None:
    redactor = Redactor()
    found = {redactor.text(f"10.1.{n // 256}.{n % 256}") for n in range(2_000)}
    assert len(found) == 2_000
    assert not any(text.startswith("10.") for text in found)
    assert redactor.text("10.1.0.7") == "192.0.2.8"
    assert redactor.text("10.1.4.0") == redactor.text("10.1.4.0")


def test_secrets_are_left_out_and_the_names_of_their_files_are_not() -> None:
    data = {
        "place": {"latitude": 47.37},
        "password": "x",
        "password_file": "/etc/pw",
        "inner": [{"link_key": "00ff"}],
        "n": 1.5,
    }
    assert Redactor().value(data) == {
        "place": {"latitude": "redacted"},
        "password": "redacted",
        "password_file": "/etc/pw",
        "inner": [{"link_key": "redacted"}],
        "n": 1.5,
    }


def test_the_name_of_a_server_has_a_stand_in_wherever_it_stands() -> None:
    redactor = Redactor()
    data = {"log": "xmpp.farm.example.net is away", "xmpp": {"host": "xmpp.farm.example.net"}}
    redactor.value(data)
    assert redactor.value(data) == {
        "log": "host1.example is away",
        "xmpp": {"host": "host1.example"},
    }


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists))
def test_any_value_can_be_redacted(value: object) -> None:
    Redactor().value(value)

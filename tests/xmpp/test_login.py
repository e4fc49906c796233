"""Who gets in, what the operator reads when not, and what a bad server never learns."""

from pathlib import Path as FilePath

import pytest
from slixmpp.util.sasl import SASLCancelled

from adapters.sim.prosody import SERVICE, ThrowawayProsody, make_certificates
from adapters.xmpp import adapter, publisher
from adapters.xmpp.config import XmppSection
from adapters.xmpp.scram import MAX_ITERATIONS, Scram
from gateway.errors import AdapterError
from tests.fakes import HubBench
from tests.xmpp.conftest import NODE, VALUE, Gateway, Peer, Run, peer_of
from tests.xmpp.servers import odd_server

SASL = "urn:ietf:params:xml:ns:xmpp-sasl"
PLAIN = f"<mechanisms xmlns='{SASL}'><mechanism>PLAIN</mechanism></mechanisms>"
SCRAM = f"<mechanisms xmlns='{SASL}'><mechanism>SCRAM-SHA-1</mechanism></mechanisms>"


def logins(gateway: Gateway) -> int:
    return sum("not connected" in text for text in gateway.slot.texts)


async def test_a_wrong_password_is_told_and_not_tried_over_and_over(run: Run) -> None:
    async with run(password="wrong") as gateway:
        text = await gateway.says("not connected")
    assert "refuses account gateway@localhost or its password" in text
    assert logins(gateway) == 1
    assert sum(pause < 60 for pause in adapter.REFUSED_PAUSES_S) <= 2
    assert "wrong" not in "".join(gateway.slot.texts).replace("not-authorized", "")


async def test_the_password_is_read_again_at_each_login(
    run: Run, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "REFUSED_PAUSES_S", (0.05, 0.05))
    async with run(password="wrong") as gateway:
        await gateway.says("refuses account")
        (tmp_path / "password").write_text("gateway-pw")
        await gateway.says("connected as gateway@localhost, publishing")


async def test_a_certificate_of_an_unknown_authority_ends_the_login(
    run: Run, tmp_path: FilePath
) -> None:
    async with run(ca_file=None) as gateway:
        assert "certificate is not trusted" in await gateway.says("not connected")


async def test_an_authority_that_was_put_right_is_used_at_the_next_login(
    run: Run, server: ThrowawayProsody, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(adapter, "LONGEST_PAUSE_S", 0.05)
    await make_certificates(tmp_path)
    async with run(ca_file=tmp_path / "ca.crt") as gateway:
        await gateway.says("certificate is not trusted")
        (tmp_path / "ca.crt").write_bytes(server.ca_file.read_bytes())
        await gateway.says("connected as gateway@localhost, publishing")


async def test_a_certificate_for_another_name_ends_the_login(
    launch: Run, certificates: FilePath
) -> None:
    async with (
        odd_server(SCRAM, certificates) as odd,
        launch(
            jid="gateway@example.org",
            port=odd.port,
            direct_tls=True,
            ca_file=certificates / "ca.crt",
        ) as gateway,
    ):
        assert "not valid for 'example.org'" in await gateway.says("not connected")
        assert odd.received == b""


async def test_a_server_with_a_wrong_certificate_learns_nothing(
    launch: Run, tmp_path: FilePath
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    await make_certificates(other)
    async with (
        odd_server(SCRAM, other) as odd,
        launch(port=odd.port, direct_tls=True) as gateway,
    ):
        assert "certificate" in await gateway.says("not connected")
        assert odd.received == b""


async def test_a_server_without_tls_learns_no_credential(launch: Run) -> None:
    async with (
        odd_server(SCRAM + PLAIN) as odd,
        launch(port=odd.port) as gateway,
    ):
        assert "TLS and SCRAM are needed" in await gateway.says("not connected")
        assert b"<auth" not in odd.received


async def test_the_password_is_never_sent_in_plain_even_within_tls(
    launch: Run, certificates: FilePath
) -> None:
    async with (
        odd_server(PLAIN, certificates) as odd,
        launch(port=odd.port, direct_tls=True, ca_file=certificates / "ca.crt") as gateway,
    ):
        assert "TLS and SCRAM are needed" in await gateway.says("not connected")
        assert odd.connections == 1
        assert b"<stream:stream" in odd.received
        assert b"<auth" not in odd.received


async def test_a_redirection_before_tls_is_not_followed(
    launch: Run, certificates: FilePath
) -> None:
    error = (
        "</stream:features><stream:error><see-other-host "
        "xmlns='urn:ietf:params:xml:ns:xmpp-streams'>127.0.0.1:9</see-other-host></stream:error>"
        "<stream:features>"
    )
    async with (
        odd_server(error) as odd,
        launch(port=odd.port) as gateway,
    ):
        assert "see-other-host" in await gateway.says("not connected")


@pytest.mark.parametrize("server_options", [{"admins": []}])
async def test_an_account_that_may_not_create_nodes_is_told_what_to_ask_for(
    run: Run, bench: HubBench
) -> None:
    async with run(service=SERVICE) as gateway:
        text = await gateway.says("does not let")
        assert 'admins = { "gateway@localhost" }' in text
        assert publisher.FORBIDDEN_PAUSE_S == 300


@pytest.mark.parametrize("server_options", [{"admins": []}])
async def test_without_that_right_the_own_account_is_used(
    run: Run, server: ThrowawayProsody, reader: Peer, bench: HubBench
) -> None:
    async with run() as gateway:
        await gateway.says("publishing on the own account (PEP)")
        await gateway.settled()
        reader.auto_subscribe = False
        reader.send_presence(pto="gateway@localhost", ptype="subscribe")
        contact = reader.client_roster["gateway@localhost"]
        await reader.until(lambda: contact["to"], "the presence is shown")
        await reader.subscribe(NODE, "gateway@localhost")
        stored = await reader.stored(NODE, "gateway@localhost")
        assert set(stored) >= {"3303/0", "status", "meta"}
        bench.clock.advance(1)
        bench.say({VALUE: 30.0})
        await reader.until(lambda: reader.value(NODE, "3303/0", "5700") == "30.0")


async def test_a_stranger_does_not_get_to_see_the_gateways_presence(
    run: Run, server: ThrowawayProsody
) -> None:
    async with run() as gateway, peer_of(server, "stranger") as stranger:
        await gateway.settled()
        refused: list[object] = []
        stranger.add_event_handler("presence_unsubscribed", refused.append)
        stranger.add_event_handler("presence_unsubscribed", lambda _: stranger.changed())
        stranger.send_presence(pto="gateway@localhost", ptype="subscribe")
        await stranger.until(lambda: refused)
        assert not stranger.client_roster["gateway@localhost"]["to"]


async def test_contacts_see_at_once_that_a_gateway_is_gone(
    run: Run, server: ThrowawayProsody, reader: Peer
) -> None:
    async with run() as gateway:
        await gateway.settled()
        seen: list[str] = []
        for kind in ("available", "unavailable"):
            reader.add_event_handler(
                f"presence_{kind}", lambda presence: seen.append(str(presence["type"]))
            )
            reader.add_event_handler(f"presence_{kind}", lambda _: reader.changed())
        reader.send_presence(pto="gateway@localhost", ptype="subscribe")
        await reader.until(lambda: "available" in seen)
    await reader.until(lambda: seen[-1] == "unavailable")


async def test_the_password_may_be_a_systemd_credential(
    run: Run, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "xmpp-password").write_text("gateway-pw\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    async with run(password_file=None) as gateway:
        await gateway.says("connected as gateway@localhost")


def test_a_missing_password_names_the_key_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(AdapterError, match="password_file"):
        XmppSection(jid="gateway@localhost").account()


def test_the_password_is_in_no_representation(tmp_path: FilePath) -> None:
    (tmp_path / "pw").write_text("geheim")
    account = XmppSection(jid="gateway@localhost", password_file=tmp_path / "pw").account()
    assert account.password == "geheim"
    assert "geheim" not in repr(account)
    assert account.jid == "gateway@localhost/gateway"


@pytest.mark.parametrize(
    "fault",
    [
        {"jid": "localhost"},
        {"jid": "a@b@c"},
        {"root": "Iot"},
        {"gateway": ""},
        {"window": 0},
        {"roles": {"localhost": "reader"}},
        {"roles": {"@a@localhost": "reader"}},
        {"roles": {"a@localhost": "king"}},
        {"verify": False},
    ],
)
def test_a_configuration_that_cannot_work_is_refused(fault: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        XmppSection.model_validate({"jid": "gateway@localhost"} | fault)


def test_scram_follows_its_rfc() -> None:
    """RFC 7677, 3; and RFC 5802, 5 for SHA-1."""
    vectors = {
        "SCRAM-SHA-256": (
            b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,"
            b"s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
            b"rOprNGfwEbeRWgbNEkqO",
            b"p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
        ),
        "SCRAM-SHA-1": (
            b"r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
            b"fyko+d2lbbFgONRv9qkxdawL",
            b"p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
        ),
    }
    for name, (challenge, nonce, proof) in vectors.items():
        mech = scram(name)
        mech.process(b"")
        mech._nonce = nonce
        mech.client_first_message_bare = b"n=user,r=" + nonce
        assert mech.process(challenge).endswith(proof)


def test_each_login_has_a_nonce_of_its_own_that_cannot_be_guessed() -> None:
    nonces = set()
    for _ in range(10):
        mech = scram("SCRAM-SHA-1")
        mech.process(b"")
        nonces.add(mech.cnonce)
    assert len(nonces) == 10
    assert min(map(len, nonces)) >= 24


def test_a_server_cannot_have_us_count_for_ever() -> None:
    with pytest.raises(SASLCancelled):
        scram("SCRAM-SHA-1").Hi("pw", b"salt", MAX_ITERATIONS + 1)


def scram(name: str) -> Scram:
    credentials = dict.fromkeys(("authzid", "channel_binding"), b"")
    credentials |= {"username": b"user", "password": b"pencil"}
    settings = {"encrypted": True, "binding_proposed": True, "unencrypted_scram": False}
    return Scram(name, credentials, settings)  # type: ignore[no-untyped-call]

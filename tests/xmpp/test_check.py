"""What `check` finds out about an XMPP server, at a real one."""

import xml.etree.ElementTree as ET
from pathlib import Path as FilePath

import pytest
from slixmpp import JID

from adapters.sim.prosody import SERVICE, ThrowawayProsody
from adapters.xmpp.check import check
from adapters.xmpp.config import XmppSection
from gateway.configuration.checks import Finding, Severity
from gateway.objects.registry import Registry
from tests.xmpp.conftest import PASSWORDS, peer_of

IN = Finding(Severity.OK, "xmpp", "gateway@localhost is logged in over verified TLS")


def section(
    server: ThrowawayProsody, folder: FilePath, password: str = "gateway-pw"
) -> XmppSection:
    (folder / "password").write_text(password)
    (folder / "password").chmod(0o600)
    return XmppSection(
        jid="gateway@localhost",
        password_file=folder / "password",
        host="127.0.0.1",
        port=server.port,
        ca_file=server.ca_file,
    )


async def test_login_and_rights_are_tried_and_nothing_stays(
    server: ThrowawayProsody, tmp_path: FilePath
) -> None:
    found = await check(section(server, tmp_path), Registry.builtin())
    assert found == [IN, Finding(Severity.OK, "xmpp", f"nodes may be created on {SERVICE}")]
    async with peer_of(server, "gateway") as peer:
        nodes = await peer.plugin["xep_0030"].get_items(jid=JID(SERVICE))
    assert not nodes["disco_items"]["items"]


async def test_what_a_check_that_was_broken_off_left_behind_goes_with_the_next_one(
    server: ThrowawayProsody, tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("adapters.xmpp.stanzas.delete", lambda node: ET.Element("{urn:x}nothing"))
        await check(section(server, tmp_path), Registry.builtin())
    async with peer_of(server, "gateway") as peer:
        disco = peer.plugin["xep_0030"]
        nodes = await disco.get_items(jid=JID(SERVICE))
        assert len(nodes["disco_items"]["items"]) == 1
        _, found = await check(section(server, tmp_path), Registry.builtin())
        assert found.severity is Severity.OK
        nodes = await disco.get_items(jid=JID(SERVICE))
    assert not nodes["disco_items"]["items"]


@pytest.mark.parametrize("server_options", [{"admins": []}])
async def test_a_service_that_refuses_nodes_is_told_with_the_remedy(
    server: ThrowawayProsody, tmp_path: FilePath
) -> None:
    wanted = section(server, tmp_path)
    _, refused, instead = await check(wanted, Registry.builtin())
    assert refused.severity is Severity.WARNING
    assert 'put admins = { "gateway@localhost" } under' in refused.text
    assert instead.text == "nodes may be created on the own account (PEP)"
    for service in (SERVICE, "nope.localhost"):
        _, refused = await check(wanted.model_copy(update={"service": service}), Registry.builtin())
        assert refused.severity is Severity.ERROR
    assert "nope.localhost does not exist, take service out" in refused.text


async def test_a_refused_password_is_told_and_one_that_others_can_read(
    server: ThrowawayProsody, tmp_path: FilePath
) -> None:
    wanted = section(server, tmp_path, "wrong")
    (refused,) = await check(wanted, Registry.builtin())
    assert "refuses account gateway@localhost or its password" in refused.text
    assert refused.text.endswith("prosodyctl adduser gateway@localhost")
    (tmp_path / "password").write_text(PASSWORDS["gateway"])
    (tmp_path / "password").chmod(0o644)
    found = await check(wanted, Registry.builtin())
    assert f"chmod 640 {tmp_path / 'password'}" in found[0].text


async def test_a_server_whose_certificate_is_not_trusted_is_told(
    server: ThrowawayProsody, tmp_path: FilePath
) -> None:
    wanted = section(server, tmp_path).model_copy(update={"ca_file": None})
    (refused,) = await check(wanted, Registry.builtin())
    assert "certificate is not trusted" in refused.text
    assert "ca_file says whom to trust" in refused.text

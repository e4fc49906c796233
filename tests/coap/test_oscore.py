"""Writing from another machine, under OSCORE (RFC 8613)."""

import gc
import json
from pathlib import Path as File
from tempfile import TemporaryDirectory

import pytest
from aiocoap import Message, oscore
from aiocoap.numbers.optionnumbers import OptionNumber
from hypothesis import example, given
from hypothesis import strategies as st

from adapters.coap.adapter import Coap, CoapSection
from adapters.coap.datagram import Datagram, Type, decode, encode
from adapters.coap.messages import Code, Option, Refusal
from adapters.coap.oscore import Contexts
from adapters.coap.secured import Recovery, Unprotected
from gateway.configuration.checks import Severity
from gateway.errors import AdapterError
from gateway.events import Write
from gateway.model import Path
from gateway.policy import DeviceRule
from tests.coap.conftest import BUILTIN, Serve
from tests.coap.network import GATEWAY, Network
from tests.coap.peers import Peer, Served, content_format, option
from tests.fakes import HubBench

LIGHT, LINKS = "/light/3311/0/5850", "/.well-known/core"


def write_context(folder: File, ours: str, theirs: str, secret: str = "0102030405060708") -> File:
    folder.mkdir(parents=True)
    settings = {"sender-id_hex": ours, "recipient-id_hex": theirs, "secret_hex": secret * 2}
    (folder / "settings.json").write_text(json.dumps(settings), "utf-8")
    return folder


def as_datagram(message: Message, mid: int = 1) -> Datagram:
    options = tuple((int(o.number), o.encode()) for o in message.opt.option_list())
    return Datagram(Type.CON, int(message.code), mid, b"\xaa", options, message.payload)


class Client:
    """A client that speaks under a key, on the machine of a peer."""

    def __init__(self, folder: File, peer: Peer) -> None:
        self.context = oscore.FilesystemSecurityContext(str(folder))
        self.peer = peer

    def protect(
        self, path: str, *more: tuple[int, bytes], code: int = Code.GET, payload: bytes = b""
    ) -> tuple[bytes, object]:
        """The octets of a protected request, and what its answer is unprotected with."""
        inner = Message(code=code, payload=payload)
        for number, value in decode(self.peer.request(path, *more)).options:
            inner.opt.add_option(OptionNumber(number).create_option(decode=value))
        protected, identifiers = self.context.protect(inner)
        return encode(as_datagram(protected, self.peer.mid)), identifiers

    def unprotect(self, answer: Datagram, identifiers: object) -> Message:
        return self.context.unprotect(Message.decode(encode(answer)), identifiers)[0]

    async def ask(
        self, path: str, *more: tuple[int, bytes], code: int = Code.GET, payload: bytes = b""
    ) -> Message:
        """Sends a request under the key and gives what the answer says."""
        octets, identifiers = self.protect(path, *more, code=code, payload=payload)
        self.peer.send(octets)
        answer = await self.peer.receive()
        assert option(answer, Option.OSCORE) is not None
        return self.unprotect(answer, identifiers)


@pytest.fixture
def keys(tmp_path: File) -> File:
    """The gateway's folder, with the context of one client."""
    write_context(tmp_path / "keys" / "phone", "01", "02")
    return tmp_path / "keys"


@pytest.fixture
async def guarded(home: HubBench, network: Network, serve: Serve, keys: File) -> Served:
    """A listener that the network reaches, with keys."""
    home.rules(meter=DeviceRule(listed=True, writable=True))
    with network.gateway.inside():
        return await serve(listen=(f"{GATEWAY}:0",), oscore=keys)


@pytest.fixture
def peer(network: Network, guarded: Served) -> Peer:
    with network.client.inside():
        return guarded.peer(GATEWAY)


@pytest.fixture
def phone(tmp_path: File, peer: Peer) -> Client:
    return Client(write_context(tmp_path / "phone", "02", "01"), peer)


async def test_who_has_a_key_writes_and_executes(home: HubBench, phone: Client) -> None:
    answer = await phone.ask(LIGHT, content_format(0), code=Code.PUT, payload=b"1")
    assert int(answer.code) == Code.CHANGED
    command = home.adapter.commands[0]
    assert isinstance(command, Write)
    assert command.values == {Path(3311, 0, 5850): True}
    assert command.origin.startswith("coap phone at 192.0.2.2:")
    assert int((await phone.ask("/light/3340/0/5523", code=Code.POST)).code) == Code.CHANGED


async def test_what_was_said_under_a_key_is_not_kept(phone: Client) -> None:
    await phone.ask(LIGHT, content_format(0), code=Code.PUT, payload=b"1")
    gc.collect()
    assert not [each for each in gc.get_objects() if isinstance(each, Unprotected)]


async def test_who_has_a_key_reads_everything_at_once(phone: Client) -> None:
    links = await phone.ask(LINKS)
    assert len(links.payload) == 1024
    value = await phone.ask(LIGHT)
    assert (int(value.code), value.payload) == (Code.CONTENT, b"0")
    assert int((await phone.ask("/nobody/3")).code) == Code.NOT_FOUND


async def test_without_a_key_nobody_writes(home: HubBench, peer: Peer) -> None:
    answer = await peer.ask(LIGHT, content_format(0), code=Code.PUT, payload=b"1")
    assert (answer.code, home.adapter.commands) == (Code.FORBIDDEN, [])


async def test_what_is_not_enabled_is_not_written_with_a_key_either(
    home: HubBench, phone: Client
) -> None:
    home.rules(meter=DeviceRule(listed=True))
    answer = await phone.ask(LIGHT, content_format(0), code=Code.PUT, payload=b"1")
    assert (int(answer.code), home.adapter.commands) == (Code.FORBIDDEN, [])


async def test_a_repetition_has_the_same_answer_and_a_replay_none(
    home: HubBench, network: Network, guarded: Served, phone: Client
) -> None:
    more = content_format(0)
    await phone.ask(LIGHT, more, code=Code.PUT, payload=b"1")
    octets, identifiers = phone.protect(LIGHT, more, code=Code.PUT, payload=b"0")
    answers = []
    for _ in range(3):
        phone.peer.send(octets)
        answers.append(await phone.peer.receive())
    assert answers[0] == answers[1] == answers[2]
    assert int(phone.unprotect(answers[0], identifiers).code) == Code.CHANGED
    with network.client.inside():
        enemy = guarded.peer(GATEWAY)
    enemy.send(octets)
    assert (await enemy.receive()).code == Code.UNAUTHORIZED
    assert len(home.adapter.commands) == 2


@pytest.mark.parametrize(
    ("value", "payload", "code"),
    [
        (b"\x09\x00\x02", b"x" * 20, Code.BAD_REQUEST),
        (b"\x09\x00\x07", b"x" * 20, Code.UNAUTHORIZED),
        (b"\x09\x00\x02", b"", Code.BAD_REQUEST),
        (b"\xff\xff", b"x", Code.BAD_OPTION),
        (b"", b"x", Code.UNAUTHORIZED),
    ],
)
async def test_what_is_not_under_a_key_is_refused(
    home: HubBench, peer: Peer, value: bytes, payload: bytes, code: Code
) -> None:
    request = peer.request("/", (Option.OSCORE, value), code=Code.POST, payload=payload)
    peer.send(request)
    answer = await peer.receive()
    assert len(encode(answer)) <= 3 * len(request)
    assert answer.code == code
    assert home.adapter.commands == []


async def test_after_a_crash_a_client_shows_that_its_request_is_new(
    home: HubBench, network: Network, serve: Serve, keys: File, tmp_path: File
) -> None:
    home.rules(meter=DeviceRule(listed=True, writable=True))
    sequence = {"next-to-send": 100, "received": "unknown"}
    (keys / "phone" / "sequence.json").write_text(json.dumps(sequence), "utf-8")
    with network.gateway.inside():
        served = await serve(listen=(f"{GATEWAY}:0",), oscore=keys)
    with network.client.inside():
        peer = served.peer(GATEWAY)
    phone = Client(write_context(tmp_path / "phone", "02", "01"), peer)
    asked = await phone.ask(LIGHT, content_format(0), code=Code.PUT, payload=b"1")
    assert (int(asked.code), home.adapter.commands) == (Code.UNAUTHORIZED, [])
    echo = (Option.ECHO, asked.opt.echo)
    answer = await phone.ask(LIGHT, content_format(0), echo, code=Code.PUT, payload=b"1")
    assert int(answer.code) == Code.CHANGED


async def test_a_stopped_gateway_lets_go_of_the_keys_and_notes_what_was_said(
    keys: File, tmp_path: File
) -> None:
    phone = oscore.FilesystemSecurityContext(str(write_context(tmp_path / "phone", "02", "01")))
    request, _ = phone.protect(Message(code=Code.GET, uri_path=["light"]))
    octets = encode(as_datagram(request))
    contexts = Contexts(keys)
    with pytest.raises(AdapterError, match="phone is in use by another program"):
        Contexts(keys)
    assert contexts.take(decode(octets)).client == "phone"
    contexts.close()
    contexts = Contexts(keys)
    with pytest.raises((Refusal, Recovery)):
        contexts.take(decode(octets))
    contexts.close()


async def test_nothing_is_done_while_counters_cannot_be_saved(keys: File, tmp_path: File) -> None:
    phone = oscore.FilesystemSecurityContext(str(write_context(tmp_path / "phone", "02", "01")))

    def request() -> Datagram:
        message, _ = phone.protect(Message(code=Code.GET, uri_path=["light"]))
        return decode(encode(as_datagram(message)))

    contexts = Contexts(keys)
    sent = request()
    away = (keys / "phone").rename(tmp_path / "away")
    for _ in range(2):
        with pytest.raises(Refusal, match="counters cannot be saved") as refused:
            contexts.take(sent)
        assert refused.value.code == Code.INTERNAL_SERVER_ERROR
        sent = request()
    away.rename(keys / "phone")
    assert contexts.take(sent).client == "phone"
    contexts.close()


FAULTY = {
    "nothing": (None, "no recipient-id, secret, sender-id"),
    "no JSON": ("{", "settings.json is faulty"),
    "no object": ('["sender-id_hex"]', "settings.json is faulty: it holds no JSON object"),
    "a text": ('"sender-id_hex recipient-id_hex secret_hex"', "it holds no JSON object"),
    "no text": ('{"sender-id_hex": 5}', "settings.json is faulty"),
    "no digits": ('{"sender-id_hex": "0g"}', "settings.json is faulty"),
    "a key lacks": ('{"sender-id_hex": "01", "secret_hex": "02"}', "no recipient-id; write"),
    "no octets": ('{"sender-id": "01", "recipient-id": "02", "secret": "03"}', "no recipient-id"),
}


@pytest.mark.parametrize(("settings", "told"), FAULTY.values(), ids=FAULTY.keys())
async def test_a_faulty_context_is_told_and_the_others_serve(
    keys: File, settings: str | None, told: str, caplog: pytest.LogCaptureFixture
) -> None:
    (keys / "tablet").mkdir()
    if settings is not None:
        (keys / "tablet" / "settings.json").write_text(settings)
    contexts = Contexts(keys)
    contexts.close()
    (line,) = caplog.messages
    assert line.startswith("tablet is left out")
    assert told in line
    findings = await Coap.check(CoapSection(listen=("127.0.0.1:0",), oscore=keys), BUILTIN)
    assert [told in f.text for f in findings if f.severity is Severity.ERROR] == [True]


def test_a_context_with_garbled_counters_is_told_and_the_others_serve(
    keys: File, tmp_path: File, caplog: pytest.LogCaptureFixture
) -> None:
    write_context(keys / "tablet", "01", "03")
    (keys / "tablet" / "sequence.json").write_bytes(bytes(30))
    phone = oscore.FilesystemSecurityContext(str(write_context(tmp_path / "phone", "02", "01")))
    request, _ = phone.protect(Message(code=Code.GET, uri_path=["light"]))
    contexts = Contexts(keys)
    assert "tablet is left out" in caplog.text
    assert contexts.take(decode(encode(as_datagram(request)))).client == "phone"
    contexts.close()


@pytest.mark.parametrize(("name", "told"), [("absent", "No such file"), ("file", "Not a dir")])
async def test_a_folder_of_contexts_that_is_none_is_named_and_by_check_before(
    tmp_path: File, name: str, told: str
) -> None:
    (tmp_path / "file").touch()
    folder = tmp_path / name
    with pytest.raises(AdapterError, match=f"{name}: {told}"):
        Contexts(folder)
    findings = await Coap.check(CoapSection(listen=("127.0.0.1:0",), oscore=folder), BUILTIN)
    (fault,) = (finding.text for finding in findings if finding.severity is Severity.ERROR)
    assert f"{name}: {told}" in fault
    assert "[coap] oscore" in fault


@example(value=b"\x1d\x00\x00\x00\x00\x00", payload=b"", code=Code.POST)
@given(
    st.binary(max_size=12),
    st.binary(max_size=40),
    st.sampled_from([Code.POST, Code.FETCH, Code.GET]),
)
def test_random_octets_are_refused_and_nothing_else(
    value: bytes, payload: bytes, code: Code
) -> None:
    with TemporaryDirectory() as folder:
        write_context(File(folder) / "phone", "01", "02")
        contexts = Contexts(File(folder))
        for head in (b"", b"\x09\x00\x02", b"\x19\x00\x00\x02"):
            options = ((int(Option.OSCORE), head + value),)
            with pytest.raises(Refusal):
                contexts.take(Datagram(Type.CON, code, 1, b"", options, payload))
        contexts.close()

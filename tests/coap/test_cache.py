"""ETags, what depends on them, and answers that nobody wants (RFC 7252 5.10, RFC 7967)."""

from collections.abc import Sequence

import pytest

from adapters.coap import formats
from adapters.coap.datagram import Datagram, Type
from adapters.coap.formats import Item
from adapters.coap.messages import Code, Format, Option, Request
from adapters.coap.server import Server
from gateway.model import Path
from gateway.policy import DeviceRule
from tests.coap.peers import Peer, Served, accept, content_format, option
from tests.fakes import METER, STATION, HubBench

VALUE, LIGHT = "/weather/3303/0/5700", "/light/3311/0/5850"
FAILED = Code.PRECONDITION_FAILED


pytestmark = pytest.mark.filterwarnings(  # aiocoap's own way to an empty ACK
    "ignore:Initializing messages with an m:DeprecationWarning:aiocoap"
)


@pytest.fixture
def peer(home: HubBench, served: Served) -> Peer:
    """A client on this machine, which may switch the light."""
    home.rules(meter=DeviceRule(listed=True, writable=True))
    return served.peer()


async def tag(peer: Peer, path: str, *more: tuple[int, bytes]) -> bytes:
    """The ETag of what the path shows now."""
    etag = option(await peer.ask(path, *more), Option.ETAG)
    assert etag
    return etag


@pytest.mark.parametrize("path", [VALUE, "/weather/3303/0", "/.well-known/core", "/weather/3303"])
async def test_what_the_client_has_already_is_valid(peer: Peer, path: str) -> None:
    etag = await tag(peer, path)
    for tags in ([etag], [b"other", etag]):
        answer = await peer.ask(path, *((Option.ETAG, each) for each in tags))
        assert (answer.code, answer.payload) == (Code.VALID, b"")
        assert option(answer, Option.ETAG) == etag
        assert option(answer, Option.CONTENT_FORMAT) is None
        assert option(answer, Option.MAX_AGE) is not None


async def test_another_value_and_another_format_have_another_etag(
    home: HubBench, peer: Peer
) -> None:
    before = await tag(peer, VALUE)
    assert await tag(peer, VALUE, accept(60)) != before
    home.say({Path(3303, 0, 5700): 22.0})
    answer = await peer.ask(VALUE, (Option.ETAG, before))
    assert (answer.code, answer.payload) == (Code.CONTENT, b"22")


async def test_an_observe_of_what_is_valid_is_an_observation(home: HubBench, peer: Peer) -> None:
    etag = await tag(peer, VALUE)
    answer = await peer.ask(VALUE, (Option.ETAG, etag), (Option.OBSERVE, b""))
    assert answer.code == Code.VALID
    home.say({Path(3303, 0, 5700): 22.0})
    home.say({Path(3303, 0, 5700): 21.5})
    told = await peer.receive()
    assert (told.code, option(told, Option.OBSERVE) is not None) == (Code.CONTENT, True)
    links = await peer.ask("/.well-known/core", (Option.OBSERVE, b""), token=b"l")
    again = (Option.ETAG, option(links, Option.ETAG) or b"")
    answer = await peer.ask("/.well-known/core", again, (Option.OBSERVE, b""), token=b"l")
    assert (answer.code, option(answer, Option.OBSERVE)) == (Code.VALID, None)


async def test_a_write_for_an_etag_is_done_only_while_that_is_shown(
    home: HubBench, peer: Peer
) -> None:
    text, cbor = await tag(peer, LIGHT), await tag(peer, LIGHT, accept(60))

    async def put(*more: tuple[int, bytes]) -> int:
        return (await peer.ask(LIGHT, content_format(0), *more, code=Code.PUT, payload=b"1")).code

    assert await put((Option.IF_MATCH, b"other"), (Option.IF_MATCH, text)) == Code.CHANGED
    assert await put((Option.IF_MATCH, cbor)) == Code.CHANGED
    home.say({Path(3311, 0, 5850): True}, METER)
    assert await put((Option.IF_MATCH, text)) == FAILED
    assert await put((Option.IF_MATCH, cbor)) == FAILED
    assert len(home.adapter.commands) == 2


@pytest.mark.parametrize(
    ("path", "options", "code"),
    [
        (VALUE, [(Option.IF_MATCH, b"")], Code.CONTENT),
        (VALUE, [(Option.IF_MATCH, b"other")], FAILED),
        (VALUE, [(Option.IF_MATCH, b"\0" * 8)], FAILED),
        (VALUE, [(Option.IF_NONE_MATCH, b"")], FAILED),
        ("/weather/3303/7", [(Option.IF_MATCH, b"")], FAILED),
        ("/weather/3303/7", [(Option.IF_NONE_MATCH, b"")], Code.NOT_FOUND),
        ("/nobody/3303/0", [(Option.IF_MATCH, b"other")], FAILED),
        ("/.well-known/core", [(Option.IF_MATCH, b"")], Code.CONTENT),
        ("/.well-known/core", [(Option.IF_NONE_MATCH, b"")], FAILED),
    ],
)
async def test_a_read_has_preconditions_too(
    peer: Peer, path: str, options: list[tuple[int, bytes]], code: Code
) -> None:
    for _ in range(2):
        assert (await peer.ask(path, *options)).code == code


def test_however_many_etags_are_named_an_answer_is_made_once_for_each_format(
    home: HubBench, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []

    def counted(items: Sequence[Item], form: Format, base: Path | None = None) -> bytes:
        made.append(form)
        return b""

    monkeypatch.setattr(formats, "write", counted)
    forms = (Format.SENML_CBOR, Format.SENML_JSON)
    etags = [n.to_bytes(6, "big") + form.to_bytes(2, "big") for n in range(32) for form in forms]
    asked = Request(Code.GET, ("weather", "3303", "0"), if_match=tuple(etags))
    assert Server(home.north).read(asked).code == FAILED
    assert sorted(made) == sorted([Format.SENML_CBOR, *forms])  # the answer's own comes first


NAMES = b'[{"n":"/weather/3303/0/5700"},{"n":"/light/3311/0/5850"}]'


@pytest.mark.parametrize(
    ("path", "options", "payload"),
    [
        (VALUE, [], b""),
        (VALUE, [accept(60)], b""),
        ("/weather/3303", [accept(40)], b""),
        ("/weather/3303", [accept(40), (Option.URI_QUERY, b"depth=3")], b""),
        ("/.well-known/core", [], b""),
        ("/.well-known/core", [(Option.URI_QUERY, b"rt=oma*")], b""),
        ("/", [content_format(110), accept(110)], NAMES),
    ],
)
async def test_what_is_read_again_in_the_same_words_matches_until_something_else_would_be_shown(
    home: HubBench, peer: Peer, path: str, options: list[tuple[int, bytes]], payload: bytes
) -> None:
    code = Code.FETCH if payload else Code.GET

    async def read(*more: tuple[int, bytes]) -> Datagram:
        return await peer.ask(path, *more, *options, code=code, payload=payload)

    match = Option.IF_MATCH, option(await read(), Option.ETAG) or b""
    assert (await read(match)).code == Code.CONTENT
    home.hub.forget(STATION)
    await after(peer)
    assert (await read(match)).code == FAILED


async def test_an_execute_has_preconditions_too(home: HubBench, peer: Peer) -> None:
    path = "/light/3340/0/5523"
    assert (await peer.ask(path, (Option.IF_MATCH, b"x"), code=Code.POST)).code == FAILED
    assert home.adapter.commands == []
    assert (await peer.ask(path, (Option.IF_MATCH, b""), code=Code.POST)).code == Code.CHANGED


# --- No-Response ---

SUCCESS, CLIENT_ERROR, EVERYTHING = b"\x02", b"\x08", b"\x1a"


async def after(peer: Peer) -> Datagram:
    """What comes before the answer to a ping, which comes last; the ping's if nothing does."""
    peer.send(b"\x40\x00\x30\x39")
    return await peer.receive()


@pytest.mark.parametrize(
    ("path", "code", "wish", "answer"),
    [
        (VALUE, Code.GET, SUCCESS, None),
        (VALUE, Code.GET, CLIENT_ERROR, Code.CONTENT),
        (VALUE, Code.GET, b"", Code.CONTENT),
        ("/nobody/3", Code.GET, SUCCESS, Code.NOT_FOUND),
        ("/nobody/3", Code.GET, CLIENT_ERROR, None),
        ("/light/3340/0/5523", Code.POST, SUCCESS, None),
        ("/light/3340/0/5523", Code.POST, CLIENT_ERROR, Code.CHANGED),
        ("/light/3340/0/5700", Code.POST, SUCCESS, Code.NOT_FOUND),
        ("/light/3340/0/5700", Code.POST, EVERYTHING, None),
    ],
)
@pytest.mark.parametrize("kind", [Type.CON, Type.NON])
async def test_what_nobody_wants_to_hear_is_not_said(
    peer: Peer, path: str, code: Code, wish: bytes, answer: Code | None, kind: Type
) -> None:
    for _ in range(2):  # the same token again: no command is under way any more
        peer.send(peer.request(path, (Option.NO_RESPONSE, wish), code=code, kind=kind))
        if answer is None and kind is Type.NON:
            assert (await after(peer)).mid == 12345
        elif answer is None:
            said = await peer.receive()
            assert (said.type, said.code, said.mid) == (Type.ACK, Code.EMPTY, peer.mid)
        else:
            assert (await peer.receive()).code == answer


async def test_an_unwanted_write_is_done(home: HubBench, peer: Peer) -> None:
    more = content_format(0), (Option.NO_RESPONSE, EVERYTHING)
    answer = await peer.ask(LIGHT, *more, code=Code.PUT, payload=b"1")
    assert (answer.type, answer.code) == (Type.ACK, Code.EMPTY)
    assert len(home.adapter.commands) == 1

"""LwM2M's Discover: what an object holds, with versions, dimensions and attributes."""

import json
from pathlib import Path as File

import pytest

from adapters.coap.attributes import Attached
from adapters.coap.links import discover
from adapters.coap.messages import Code, Format, Option, Request, Response
from adapters.coap.server import Server
from adapters.coap.tree import Target
from gateway.events import Availability, Device, Resource, State
from gateway.model import Path, ResourceType
from tests.coap.conftest import BUILTIN
from tests.coap.peers import Served, accept, coap_client, observe_number
from tests.fakes import STATION, HubBench

VECTORS = {
    v["id"]: v for v in json.loads(File(__file__).with_name("vectors.json").read_text())["vectors"]
}
DEVICE = Device(STATION, "dev0", "", "ble", Availability(State.ONLINE, "", 0))


@pytest.fixture
def server(home: HubBench) -> Server:
    return Server(home.north)


def ask(server: Server, path: str, *query: str) -> Response:
    segments = tuple(path.strip("/").split("/")) if path != "/" else ()
    return server.read(Request(Code.GET, segments, query, Format.LINK))


@pytest.mark.parametrize(
    ("path", "query", "links"),
    [
        (
            "/weather/3303",
            [],
            "</3303>;ver=1.1,</3303/0>,</3303/0/5605>,</3303/0/5700>,</3303/0/5701>,"
            "</3303/1>,</3303/1/5700>",
        ),
        ("/weather/3303", ["depth=0"], "</3303>;ver=1.1"),
        ("/weather/3303", ["depth=1"], "</3303>;ver=1.1,</3303/0>,</3303/1>"),
        ("/weather/3303/1", [], "</3303/1>,</3303/1/5700>"),
        ("/weather/3303/1", ["depth=0"], "</3303/1>"),
        ("/weather/3", [], "</3>;ver=1.2,</3/0>,</3/0/0>,</3/0/9>,</3/0/11>;dim=2"),
        (
            "/weather/3",
            ["depth=3"],
            "</3>;ver=1.2,</3/0>,</3/0/0>,</3/0/9>,</3/0/11>;dim=2,</3/0/11/0>,</3/0/11/1>",
        ),
        ("/weather/3/0/11", [], "</3/0/11>;dim=2,</3/0/11/0>,</3/0/11/1>"),
        ("/weather/3/0/11", ["depth=0"], "</3/0/11>;dim=2"),
        ("/weather/3303/0/5700", [], "</3303/0/5700>"),
        ("/weather/3303/0/5605", [], "</3303/0/5605>"),
        ("/25", ["depth=1"], "</25>;ver=2.0,</25/0>,</25/1>"),
        (
            "/25/0",
            [],
            "</25/0>,</25/0/0>,</25/0/1>,</25/0/3>,</25/0/26241>,</25/0/26242>,</25/0/26243>",
        ),
    ],
)
def test_a_discover_shows_the_tree_without_prefix(
    server: Server, path: str, query: list[str], links: str
) -> None:
    answer = ask(server, path, *query)
    assert (answer.code, answer.format) == (Code.CONTENT, Format.LINK)
    assert answer.payload.decode() == links


@pytest.mark.parametrize(
    ("path", "query", "code"),
    [
        ("/weather/3303", ["depth=4"], Code.BAD_REQUEST),
        ("/weather/3303", ["depth"], Code.BAD_REQUEST),
        ("/weather/3303", ["depth=1", "depth=1"], Code.BAD_REQUEST),
        ("/weather/3303", ["pmin=1"], Code.BAD_REQUEST),
        ("/weather/3/0/11/0", [], Code.METHOD_NOT_ALLOWED),
        ("/weather/3304", [], Code.NOT_FOUND),
        ("/weather/3303/0/5999", [], Code.NOT_FOUND),
        ("/nobody/3303", [], Code.NOT_FOUND),
        ("/weather", [], Code.BAD_REQUEST),
        ("/", [], Code.METHOD_NOT_ALLOWED),
        ("/0", [], Code.UNAUTHORIZED),
    ],
)
def test_a_discover_that_cannot_be_is_refused(
    server: Server, path: str, query: list[str], code: Code
) -> None:
    assert ask(server, path, *query).code == code


def listed(attached: Attached, path: str, held: str, depth: int | None = None) -> str:
    resources = [Resource(Path.parse(p), 1, 0) for p in held.split()]
    target = Target(DEVICE, Path.parse(path))
    return ",".join(map(str, discover(target, resources, attached, BUILTIN, depth)))


def test_the_target_shows_what_it_inherits_and_the_links_below_only_their_own() -> None:
    attached = Attached()
    attached.write(STATION, Path(3303), ["pmax=60", "con=1"], None)
    attached.write(STATION, Path(3303, 0), ["pmin=10", "epmin=2"], None)
    attached.write(STATION, Path(3303, 0, 5700), ["pmin=1", "pmax=3"], ResourceType.FLOAT)
    held = "3303/0/5601 3303/0/5602 3303/0/5605 3303/0/5700 3303/0/5750"
    expected = VECTORS["observed-anjay-discover-attributes"]["text"]
    assert listed(attached, "3303/0", held) == expected


def test_omas_examples_are_shown_as_printed_but_for_the_version() -> None:
    attached = Attached()
    attached.write(STATION, Path(3), ["pmin=10"], None)
    attached.write(STATION, Path(3, 0), ["pmax=60"], None)
    attached.write(STATION, Path(3, 0, 7), ["gt=50", "lt=42.2"], ResourceType.INTEGER)
    held = "3/0/1 3/0/2 3/0/3 3/0/4 3/0/6/0 3/0/6/1 3/0/7/0 3/0/7/1 3/0/8/0 3/0/8/1 3/0/11 3/0/16"
    expected = VECTORS["lf-discover-object"]["text"].replace(", ", ",")
    assert listed(attached, "3", held).replace("</3>;ver=1.2", "</3>") == expected
    assert listed(attached, "3/0", held, 0) == VECTORS["lf-discover-instance-depth0"]["text"]


async def test_a_discover_after_a_read_is_not_answered_with_the_value(served: Served) -> None:
    peer = served.peer()
    for _ in range(2):
        assert (await peer.ask("/weather/3303/0/5700")).payload == b"21.5"
        links = await peer.ask("/weather/3303/0/5700", accept(40))
        assert links.payload == b"</3303/0/5700>"


async def test_links_cannot_be_observed(served: Served) -> None:
    answer = await served.peer().ask("/weather/3303", (Option.OBSERVE, b""), accept(40))
    assert (answer.code, observe_number(answer)) == (Code.CONTENT, None)


async def test_libcoap_discovers_an_object(served: Served) -> None:
    result = await coap_client(served.port, "/weather/3303?depth=1", "-A", "40")
    assert result.out.strip() == "</3303>;ver=1.1,</3303/0>,</3303/1>"

"""All links, block by block: one body for each client, whatever happens meanwhile."""

from adapters.coap.blocks import Kept
from adapters.coap.messages import Block, Code, Request, Response
from adapters.coap.server import Server
from gateway.model import Path
from tests.fakes import STATION, HubBench

LINKS = (".well-known", "core")


def block(server: Server, number: int, client: str, *query: str) -> Response:
    """One block of 64 octets."""
    wanted = Block(number, more=False, exponent=2)
    return server.read(Request(Code.GET, LINKS, query, block2=wanted, peer=client))


def change(home: HubBench, server: Server, instance: int) -> None:
    home.say({Path(3303, instance, 5700): 1.0})
    server.directory.forget(STATION)


def test_slow_clients_get_the_list_of_when_they_began(home: HubBench) -> None:
    server = Server(home.north)
    clients = [f"client {number}" for number in range(30)]
    bodies, etags = {}, {}
    for number, client in enumerate(clients):
        first = block(server, 0, client)
        bodies[client], etags[client] = first.payload, first.etag
        change(home, server, number + 2)
    assert len(set(etags.values())) == 30
    going, number = set(clients), 0
    while going:
        number += 1
        for client in list(going):
            answer = block(server, number, client)
            assert (answer.code, answer.etag) == (Code.CONTENT, etags[client])
            bodies[client] += answer.payload
            if answer.block2 and not answer.block2.more:
                going.remove(client)
    for number, body in enumerate(bodies.values()):
        instances = [f"</weather/3303/{n}>;".encode() in body for n in range(32)]
        assert instances == [n < number + 2 for n in range(32)]


def test_a_transfer_goes_on_after_a_restart_unless_the_list_changed(home: HubBench) -> None:
    before = block(Server(home.north), 0, "client")
    again = Server(home.north)
    assert block(again, 1, "client").etag == before.etag
    change(home, again, 9)
    other = block(again, 1, "client")
    assert other.etag != before.etag  # the client sees that it must begin again


def test_what_selects_nothing_is_not_kept_without_end() -> None:
    kept = Kept(3, 100)
    for number in range(5):
        kept.put(number, Response(Code.CONTENT))
    assert [kept.get(number) is not None for number in range(5)] == [False, False, True, True, True]


def test_filtered_lists_are_transferred_alike(home: HubBench) -> None:
    server = Server(home.north)
    first = block(server, 0, "client", "href=/weather*")
    change(home, server, 9)
    assert block(server, 1, "client", "href=/weather*").etag == first.etag
    assert block(server, 0, "client", "href=/weather*").etag != first.etag


def test_what_is_kept_is_bounded_in_octets_but_for_the_newest() -> None:
    kept = Kept(20, 100)
    for number in range(10):
        kept.put(number, Response(Code.CONTENT, bytes(30)))
    assert [number for number in range(10) if kept.get(number)] == [7, 8, 9]
    kept.put("huge", Response(Code.CONTENT, bytes(1_000)))
    assert kept.get("huge")
    assert not kept.get(9)
    kept.put("huge", Response(Code.CONTENT, bytes(10)))
    kept.put(10, Response(Code.CONTENT, bytes(90)))
    assert kept.get("huge")

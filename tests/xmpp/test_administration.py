"""What an admin does with the gateway itself by an ad-hoc command."""

from collections.abc import Callable

import pytest
from slixmpp.exceptions import IqError

from adapters.sim.prosody import SERVICE, ThrowawayProsody
from adapters.xmpp.access import Roles
from adapters.xmpp.adhoc import AdHoc
from adapters.xmpp.administration import Administration
from adapters.xmpp.control import Control
from adapters.xmpp.errors import Forbidden
from gateway.policy import DeviceRule
from tests.fakes import METER, STATION, Clock, HubBench
from tests.xmpp.conftest import NODE, Run, peer_of
from tests.xmpp.test_adhoc import ask, command, fields, note

BOSS = "boss@x/desk"


@pytest.fixture
def republished() -> list[None]:
    return []


@pytest.fixture
def commands(bench: HubBench, clock: Clock, republished: list[None]) -> AdHoc:
    """The commands without a server in between."""
    roles = Roles({"boss@x": "admin", "op@x": "operator"})
    door = Control(bench.north, roles, clock.monotonic)
    again: Callable[[], None] = lambda: republished.append(None)  # noqa: E731
    return AdHoc(door, Administration(door, again), clock.monotonic)


async def test_a_device_is_named_and_forgotten(
    commands: AdHoc, bench: HubBench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    named = command("gateway", {"action": "rename", "device": "d1", "name": "Cellar"})
    assert note(await commands.handle(BOSS, named)) == ("info", "d1 is named 'Cellar'")
    device = bench.north.device_by_id(STATION)
    assert device is not None
    assert device.name == "Cellar"
    forget = command("gateway", {"action": "remove", "device": "d1"})
    assert note(await commands.handle(BOSS, forget)) == ("info", "d1 is forgotten")
    assert bench.north.device_by_id(STATION) is None
    assert "xmpp boss@x: d1 is forgotten" in caplog.text


async def test_devices_may_join_for_a_while(commands: AdHoc, bench: HubBench) -> None:
    permit = command("gateway", {"action": "permit", "for": "2min"})
    assert note(await commands.handle(BOSS, permit)) == ("info", "devices may join for 120 s")
    assert bench.hub.admission.join_window.remaining_s(bench.clock.monotonic()) == 120
    close = command("gateway", {"action": "permit", "for": "0s"})
    assert note(await commands.handle(BOSS, close)) == ("info", "none may join now")


async def test_a_person_is_asked_for_what_the_action_needs(
    commands: AdHoc, republished: list[None]
) -> None:
    first = await commands.handle(BOSS, command("gateway"))
    assert set(fields(first)) == {"action"}
    session = first.get("sessionid", "")
    second = await commands.handle(
        BOSS, command("gateway", {"action": "permit"}, sessionid=session, action="next")
    )
    assert set(fields(second)) == {"for"}
    done = await commands.handle(BOSS, command("gateway", {"action": "republish"}))
    assert note(done)[0] == "info"
    assert republished == [None]


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"action": "reboot"}, "no action"),
        ({"action": "permit", "for": "soon"}, "duration"),
        ({"action": "permit", "for": "2h"}, "an hour at most"),
        ({"action": "rename", "device": "d9", "name": "x"}, "no device"),
        ({"action": "rename", "device": "d1", "name": "a\x07b"}, "printable"),
        ({"action": "remove", "device": "gateway"}, "no device"),
    ],
)
async def test_what_cannot_be_done_is_told(
    commands: AdHoc, values: dict[str, str], complaint: str
) -> None:
    kind, text = note(await commands.handle(BOSS, command("gateway", values)))
    assert kind == "error"
    assert complaint in text


async def test_who_is_no_admin_is_refused(commands: AdHoc, bench: HubBench) -> None:
    with pytest.raises(Forbidden):
        await commands.handle("op@x/a", command("gateway", {"action": "remove", "device": "d1"}))
    assert bench.north.device_by_id(STATION)
    assert "gateway" not in commands.listed("op@x/a")


async def test_everything_is_published_again_where_an_admin_wants_it(
    run: Run, server: ThrowawayProsody, bench: HubBench
) -> None:
    bench.rules(meter=DeviceRule(listed=True))
    bench.join(METER)
    async with run(roles={"boss@localhost": "admin"}) as gateway:
        await gateway.settled()
        async with peer_of(server, "gateway") as owner, peer_of(server, "boss") as boss:
            await owner.pubsub.purge(SERVICE, NODE)
            assert note(await ask(boss, "gateway", {"action": "republish"}))[0] == "info"
            await gateway.settled()
            assert len(await owner.stored(NODE)) == 6
            with pytest.raises(IqError):
                await ask(owner, "gateway", {"action": "republish"})
